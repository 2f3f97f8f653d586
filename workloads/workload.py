"""What a workload is: what clients do, what must hold, and what it needs of a system.

Rules of this file:
- A workload is a value: a name, two functions that make generators, and checks. It knows no
  system: it speaks the words of its kind of data (`workloads.data`), and every system that offers
  that kind understands them.
- Rate and time limit are the run's business, not the workload's: `load` makes an endless generator.
- A check is a pure function of a history. It answers `invalid` only with the operations that show
  it, and `unknown` when it has seen nothing to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from checker.budget import Budget
from checker.history import History
from checker.verdict import CheckResult
from workloads.generator import Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run tells its workload.

    `keys` is how many objects the clients share. Thread t speaks to node ``t % nodes``; `threads`
    is at least `nodes`. `seed` is the one that named streams (`workloads.randomness`) draw from.
    """

    seed: int
    keys: int
    threads: int
    nodes: int

    def names(self, prefix: str = "k") -> tuple[str, ...]:
        """Return the names of the keys: k0, k1, ..."""
        return tuple(f"{prefix}{number}" for number in range(self.keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An operation that every node must be able to serve.

    It is no part of the history, so it must not disturb: a read, or something on a key of its own.
    """

    f: str
    value: Any = None
    key: str | None = None


class Check(Protocol):
    """Something that must hold of the history."""

    @property
    def name(self) -> str:
        """What outcomes and reports call it."""
        ...

    def judge(self, history: History, budget: Budget) -> CheckResult:
        """Judge a history. Raises `HistoryError` if it is none of this workload's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload. `functions` must each be acknowledged once, or the run has shown nothing.

    `data` names the kind of data that the system has to offer. `load` makes what clients do under
    faults, `final` what they do after all of it is healed (and every thread is free).
    Every node must serve `probe` before the load and after the faults, and then `change` too, if
    there is one: it changes something, on a key that is made unique for each node and each try.
    """

    name: str
    summary: str
    data: str
    functions: tuple[str, ...]
    load: Callable[[Setting], Generator]
    final: Callable[[Setting], Generator]
    checks: tuple[Check, ...]
    probe: Probe
    change: Probe | None = None
