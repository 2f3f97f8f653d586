"""What is durable, believed when it says so, for tests of pure cores.

Rules of this file: batches are written whole and in order; what is recovered is the newest snapshot
and the log behind it.
"""

from dataclasses import dataclass, field

from core_observer import check

from node.core.log import RaftLog
from node.core.membership import configuration_from_text
from node.core.messages import Entry, HardState
from node.core.ready import Ready


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at an index."""

    index: int
    term: int
    configuration: str
    items: tuple[str, ...]


@dataclass
class Disk:
    """What is durable. The configuration below everything is that of the first start."""

    bootstrap: str
    hard_state: HardState = field(default_factory=HardState)
    base: tuple[int, int] = (0, 0)
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None

    def write(self, ready: Ready) -> None:
        """One batch, in the order of its parts."""
        self.hard_state = ready.hard_state or self.hard_state
        if ready.base is not None:
            self.base, self.entries = ready.base, ()
        if ready.truncate_from is not None:
            self.entries = self.entries[: ready.truncate_from - self.base[0] - 1]
        end = self.base[0] + len(self.entries)
        check(not ready.entries or ready.entries[0].index == end + 1, "a gap on disk")
        self.entries += ready.entries

    def compact(self, index: int) -> None:
        """Forget a prefix that a snapshot holds."""
        count = min(index, self.base[0] + len(self.entries)) - self.base[0]
        if count > 0:
            self.base = (self.base[0] + count, self.entries[count - 1].term)
            self.entries = self.entries[count:]

    def recover(self) -> tuple[RaftLog, bool]:
        """The log behind the snapshot; whether what lay behind it was of another history."""
        snapshot = self.snapshot
        if snapshot is None:
            check(self.base == (0, 0), "a log without its beginning")
            return RaftLog(
                self.entries, configuration=configuration_from_text(self.bootstrap)
            ), False
        configuration = configuration_from_text(snapshot.configuration)
        check(self.base[0] <= snapshot.index, "a gap between snapshot and log")
        terms = {self.base[0]: self.base[1]} | {e.index: e.term for e in self.entries}
        whole = terms.get(snapshot.index) == snapshot.term
        rest = [e for e in self.entries if e.index > snapshot.index] if whole else []
        self.base, self.entries = (snapshot.index, snapshot.term), tuple(rest)
        return RaftLog(rest, *self.base, configuration), not whole
