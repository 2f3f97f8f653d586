"""What a log entry of a client's operation carries: the operation and the time of the log.

Rules of this file:
- `time_ms` comes from the leader that proposed the entry. It is data like any other: whoever applies
  the entry reads no clock of its own.
- Text that is no command raises `Malformed`, on every node alike.
"""

from typing import NamedTuple

from node.core.messages import Malformed, natural
from node.json_text import decode_list
from node.operations import Operation, operation_from_list


class Command(NamedTuple):
    """An operation and when its leader says that it is."""

    time_ms: int
    operation: Operation

    def to_text(self) -> str:
        """The data of the entry."""
        return stamped(self.time_ms, self.operation.to_text())


def stamped(time_ms: int, operation_text: str) -> str:
    """The data of an entry for an operation that is text already: it arrived forwarded."""
    return f"[{time_ms},{operation_text[1:]}"


def command_from_text(text: str) -> Command:
    """The command in an entry."""
    parts = decode_list(text)
    if not parts:
        raise Malformed("not a command: it is empty")
    return Command(natural(parts[0]), operation_from_list(parts[1:]))
