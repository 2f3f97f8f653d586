"""Why a node may refuse to start on the data it finds.

Rules of this file: each of them ends the start; none is repaired here. `OSError` means that the disk
refused, these mean that the disk answered and the answer cannot be used.
"""


class Corrupt(Exception):
    """What had been made durable is damaged or missing."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(f"{file}: damaged at offset {offset}: {reason}")
        self.file = file
        self.offset = offset
        self.reason = reason


class WrongOwner(Exception):
    """The data belong to another node, another cluster, or an earlier life of this node."""


class NotInitialised(Exception):
    """There is no data: the node is new, or was wiped. It must not vote before somebody says which."""


class AlreadyInitialised(Exception):
    """There is data already: it is not written over."""
