"""What an agent saw on its host, as the rest of the harness gets to know it.

Rules of this file:
- Data only, nothing is concluded: what counts as proof of a fault is for the nemesis to say.
- `detail` is one sentence for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Who asked for an end (`Exit.asked_by`) that came while we left the system no room, while its disk
# refused everything, and after we damaged its data.
FULL_DISK: Final = "full disk"
FAILING_DISK: Final = "failing disk"
DAMAGED_DATA: Final = "damaged data"
# The same for memory (the kernel kills who needs more) and for open files and connections.
MEMORY_SQUEEZE: Final = "memory squeeze"
FEW_DESCRIPTORS: Final = "descriptor limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What the agent can do on its host. An empty `nft_problem` means that cuts work there."""

    pid: int
    python: str
    kernel: str
    machine: str
    root: bool
    nft_problem: str
    tc: bool
    faketime: str | None
    protected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """The host cannot do this; why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Packets dropped by source since the cut was made.

    `lapses` counts how often the cut had expired before it could be renewed: then it was not in
    place all the time.
    """

    by_source: Mapping[str, int]
    lapses: int

    @property
    def total(self) -> int:
        """All packets dropped."""
        return sum(self.by_source.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The system runs. `already`: it did before. An empty `clock_problem`: its clock can be moved."""

    pid: int
    already: bool
    clock_problem: str

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return f"was running as process {self.pid}" if self.already else f"runs as {self.pid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Whether nothing of the system is left in /proc; `killed`: it did not stop by itself."""

    gone: bool
    was_running: bool
    killed: bool

    @property
    def detail(self) -> str:
        """One sentence for people."""
        if not self.gone:
            return "some of its processes are still in /proc"
        return "its processes are gone from /proc" if self.was_running else "it was not running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """What /proc showed after a signal: `done` if every thread is as intended.

    `states` has one letter for each thread of the system (T stopped, S asleep, R running).
    """

    done: bool
    states: str

    @property
    def stopped(self) -> bool:
        """Whether there are threads, and all of them are stopped."""
        return bool(self.states) and set(self.states) <= {"T", "t"}

    @property
    def detail(self) -> str:
        """One sentence for people."""
        if not self.states:
            return "there is no process"
        stopped = sum(state in "Tt" for state in self.states)
        return f"{stopped} of {len(self.states)} threads are stopped (/proc)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """One end of the system. `asked_by` is ``kill`` or ``stop``; None if nobody asked.

    It is `FULL_DISK` if nobody asked, but its disk was full just then; so with the others.
    """

    pid: int
    status: int | None
    signal: str | None
    asked_by: str | None
    at_wall_ns: int

    @property
    def detail(self) -> str:
        """One sentence for people."""
        how = f"was killed by {self.signal}" if self.signal else f"ended with status {self.status}"
        return f"process {self.pid} {how}" + (f" ({self.asked_by})" if self.asked_by else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The system now, and how it ended before (of `exits_total` times a thousand, rather those that
    nobody asked for)."""

    running: bool
    pid: int | None
    state: str | None
    paused: bool
    exits: tuple[Exit, ...]
    exits_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """What the system's clock is meant to show.

    `probe_ms` is what a fresh process with the same clock was seen to show, give or take
    `probe_error_ms`; only after a bump.
    """

    offset_ms: float
    rate: float
    strobing: bool
    flips: int
    probe_ms: float | None = None
    probe_error_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The host's own clocks."""

    wall_ns: int
    monotonic_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLoss:
    """What became of the canaries, once the volume was mounted again.

    Of two files one had been made durable before, the other had not.
    """

    was_running: bool
    kept_durable: bool
    kept_fleeting: bool

    @property
    def detail(self) -> str:
        """One sentence for people."""
        durable = "is there" if self.kept_durable else "IS GONE"
        fleeting = "is there too" if self.kept_fleeting else "is gone"
        return f"power was cut: a file that was fsynced {durable}, one that was not {fleeting}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FullDisk:
    """The room that is left, and whether a write was refused for want of it."""

    available_bytes: int
    refused: bool

    @property
    def detail(self) -> str:
        """One sentence for people."""
        tried = "was refused (ENOSPC)" if self.refused else "was not refused"
        return f"{self.available_bytes} bytes are available, a write {tried}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDisk:
    """How long an fsync took in the same surroundings as the system's, without and with the limit."""

    before_ms: float
    after_ms: float

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return f"an fsync took {self.before_ms:.1f} ms before, and takes {self.after_ms:.1f} ms now"


@dataclass(frozen=True, slots=True, kw_only=True)
class LittleCpu:
    """How often the system had used up its CPU time since, and for how long its threads waited."""

    percent: float
    times: int
    waited_ms: float

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return (
            f"{self.percent:g} % of a CPU: its time was used up {self.times} times, "
            f"it waited {self.waited_ms:.0f} ms"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LittleMemory:
    """How often the system met the limit since, and how many of its processes the kernel killed."""

    limit_bytes: int
    used_bytes: int
    hits: int
    kills: int

    @property
    def detail(self) -> str:
        """One sentence for people."""
        killed = f", and the kernel killed {self.kills}" if self.kills else ""
        return (
            f"{self.used_bytes // 1024} kB of {self.limit_bytes // 1024} kB are used, "
            f"the limit was met {self.hits} times{killed}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FewDescriptors:
    """The limit as /proc shows it, what is open, and how many numbers below the limit are free."""

    limit: int
    opened: int
    free: int

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return (
            f"{self.opened} descriptors are open, the limit is {self.limit} (/proc), "
            f"{self.free} are free"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingDisk:
    """Whether an fsync was refused, and whether the system ended by itself within a second."""

    was_running: bool
    refused: bool
    ended: bool

    @property
    def detail(self) -> str:
        """One sentence for people."""
        tried = "was refused (EIO)" if self.refused else "was not refused"
        then = "ended by itself" if self.ended else "went on for a second at least"
        return f"an fsync {tried}, and the system {then if self.was_running else 'was not running'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """What a damaged file holds now. `differs`: read back, it is other than before, as intended.

    `was` and `found` are the byte at `offset` in hexadecimal, empty behind the end.
    """

    was_running: bool
    file: str
    offset: int
    size_before: int
    size_after: int
    differs: bool
    was: str
    found: str

    @property
    def detail(self) -> str:
        """One sentence for people."""
        if not self.differs:
            return f"{self.file} reads as before"
        if self.size_after != self.size_before:
            sizes = f"{self.size_after} bytes long, it was {self.size_before}"
            return f"{self.file} is {sizes}, and other from offset {self.offset} on"
        return f"{self.file} reads {self.found} at offset {self.offset}, where it was {self.was}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """Whether everything was undone; `problems` names what was not, by step."""

    healed: bool
    problems: Mapping[str, str]
    dropped: Mapping[str, int]


def skipped_of(answer: Mapping[str, Any]) -> Skipped | None:
    """Return why the host could not do it, if it could not."""
    return Skipped(answer["skipped"]) if "skipped" in answer else None


def dropped_of(answer: Mapping[str, Any]) -> Dropped:
    """Read the packet counters of an answer."""
    return Dropped(by_source=answer["dropped"], lapses=answer["lapses"])


def ended_of(answer: Mapping[str, Any]) -> Ended:
    """Read what is left of the system."""
    return Ended(
        gone=answer["gone"], was_running=answer["was_running"], killed=answer.get("killed", True)
    )


def healed_of(answer: Mapping[str, Any]) -> Healed:
    """Read what was undone."""
    return Healed(healed=answer["healed"], problems=answer["problems"], dropped=answer["dropped"])
