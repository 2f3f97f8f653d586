"""What the core asks of its driver.

Rules of this file: the order in which a driver does things is written here and nowhere else.
"""

from dataclasses import dataclass

from node.core.messages import Entry, HardState, Message
from node.core.reads import ReadGrant


@dataclass(frozen=True, slots=True)
class Ready:
    """What the driver has to do now, in this order.

    1. Hand hard state, cut and entries to the disk, as one batch numbered `seq`.
    2. Send `messages`.
    3. Apply up to `commit_to`, then answer reads.
    4. When the batch and all before it are durable: call `persisted(seq)`, send
       `messages_after_persist`.
    """

    seq: int
    hard_state: HardState | None
    truncate_from: int | None
    entries: tuple[Entry, ...]
    messages: tuple[Message, ...]
    messages_after_persist: tuple[Message, ...]
    commit_to: int
    reads_ready: tuple[ReadGrant, ...]
    reads_aborted: tuple[int, ...]

    @property
    def changes_disk(self) -> bool:
        """Is there anything to write?"""
        return bool(self.entries) or self.hard_state is not None or self.truncate_from is not None
