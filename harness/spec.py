"""What a run is asked to do: one object behind the command line, the TOML file and Python.

Rules of this file:
- `Spec` is the only list of options. A field's name is its key in TOML and its keyword in Python;
  its flag is the same name with dashes. Help texts and bounds stand beside the field.
- Every value is checked once, in `Spec.__post_init__`, however it came in. An error names the
  option, what it was, and what it may be.
- Durations are in seconds, as people type them; the code behind converts to nanoseconds.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomli_w

from harness import own_code
from harness.errors import UsageError
from harness.nemesis.schedule import schedules_from
from harness.own_workload import require_known
from workloads.catalogue import WORKLOADS

SYSTEMS = ("raft", "etcd")
READS = ("linear", "lease", "stale")
# Whether faults may take the cluster's majority, or have to leave it one.
ANY, KEEP = "any", "keep"
IP_VERSIONS = (0, 4, 6)
FAULTS = (
    "partition",
    "kill",
    "pause",
    "clock",
    "disk",
    "resource",
    "network",
    "member",
    "transfer",
    "snapshot",
    "damage",
    "amnesia",
)
ALL = "all"
# Of the nodes one may be removed, and then a majority must be left that can lose one more.
NODES_MIN_TO_REMOVE = 4
# Kinds of fault after which a node is removed and added again.
REMOVING = ("member", "damage", "amnesia")

_SEED_BOUND = 2**63


def _option(
    default: Any,
    help_text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    metadata = {"help": help_text, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A test: which system, which workload, which faults, where, for how long.

    Text is converted, as a command line gives it. Raises `UsageError` on construction when an
    option does not convert or is out of its bounds.
    """

    system: str = _option(
        "raft",
        f"the system under test: {', '.join(SYSTEMS)}, or a file with a system of your own",
    )
    workload: str = _option(
        "register",
        "what clients do and what must hold: "
        f"{', '.join(WORKLOADS)}, or a file with a workload of your own",
    )
    nemesis: tuple[str, ...] = _option(
        (),
        "faults to inject, separated by commas; 'none' for none, 'all' for a choice of those that "
        "the system can have, another one with each seed",
        choices=FAULTS,
    )
    hosts: str = _option(
        "lab",
        "'lab' (SSH hosts on this machine), 'vm' (virtual machines on it), 'docker' or 'docker:BASE' "
        "(containers, made of that base image) or an inventory file",
    )
    ip: int = _option(
        0,
        "the IP version of everything, 4 or 6; 0 takes IPv4 in the lab and the addresses of an "
        "inventory as they are",
        low=0,
        high=6,
    )
    nodes: int = _option(5, "how many nodes", low=1, high=31)
    concurrency: int = _option(10, "how many clients at a time", low=1, high=1000)
    rate: float = _option(200.0, "operations offered per second", low=0.1, high=100_000)
    keys: int = _option(8, "how many keys", low=1, high=100_000)
    time_limit: float = _option(60.0, "seconds of load and faults", low=1, high=86_400)
    operation_timeout: float = _option(
        5.0, "seconds until a client gives up on an answer", low=0.1, high=600
    )
    reads: str = _option(
        "linear",
        "what reads the clients ask for: linearizable ones, ones by the leader's lease, or stale "
        "ones (which are a violation, to be caught)",
        choices=READS,
    )
    retries: int = _option(
        2,
        "how often half of the clients repeat an operation in doubt, if the system has sessions that "
        "make it happen once; 0 for never",
        low=0,
        high=100,
    )
    nemesis_interval: float = _option(
        5.0, "seconds from one fault of a kind to the next", low=1, high=3600
    )
    nemesis_schedule: str = _option(
        "",
        "what is otherwise for single kinds, such as 'kill=20,clock=30/10': seconds from one fault to "
        "the next, and how long each lasts",
    )
    nemesis_at_once: int = _option(
        0, "the most faults planned for one moment; 0 for any number", low=0, high=100
    )
    quorum: str = _option(
        ANY,
        "'keep': only nodes are struck without which a majority of every configuration stays "
        "unharmed, and something has to be acknowledged during every fault; 'any': whoever the plan "
        "says",
        choices=(ANY, KEEP),
    )
    recovery_timeout: float = _option(
        20.0,
        "seconds in which every node must serve writes and reads again after the faults",
        low=1,
        high=3600,
    )
    test_count: int = _option(1, "how many runs, each with its own seed", low=1, high=10_000)
    seed: int = _option(0, "the one source of randomness", low=0, high=_SEED_BOUND)
    store: str = _option("store", "the folder that runs are kept in")
    mutant: str = _option("", "deploy a copy of the node with this known bug in it")
    budget_s: float = _option(60.0, "seconds that the checker may take", low=0.1, high=86_400)
    memory_mb: int = _option(2048, "memory that the checker may take", low=64, high=1_000_000)
    lab: int = _option(-1, "the lab's number; -1 takes the first that is free", low=-1, high=255)

    def __post_init__(self) -> None:
        for option in fields(self):
            value = _convert(option.name, getattr(self, option.name), option.default)
            _check(option.name, value, option.metadata)
            object.__setattr__(self, option.name, value)
        if self.ip not in IP_VERSIONS:
            raise UsageError(
                f"ip is {self.ip}, but must be 4 or 6, or 0 for whatever the hosts have"
            )
        try:
            schedules_from(self.nemesis_schedule, FAULTS)
        except ValueError as error:
            raise UsageError(
                f"nemesis_schedule is {self.nemesis_schedule!r}, but {error}"
            ) from None
        require_known(self.workload)
        if self.system not in SYSTEMS and not own_code.is_file(self.system):
            raise UsageError(
                f"system is {self.system!r}, but must be one of: {', '.join(SYSTEMS)}; "
                "or a file with a system of your own, such as mine.py"
            )
        if self.concurrency < self.nodes:
            raise UsageError(
                f"concurrency is {self.concurrency}, but must be at least nodes ({self.nodes}), "
                "so that every node has a client"
            )
        for kind in REMOVING:
            if kind in self.nemesis and self.nodes < NODES_MIN_TO_REMOVE:
                raise UsageError(
                    f"nodes is {self.nodes}, but the nemesis {kind!r} needs at least "
                    f"{NODES_MIN_TO_REMOVE}: it removes one of them and leaves three"
                )

    @property
    def name(self) -> str:
        """What the run is called: its workload's name, or that of the workload's file."""
        if not own_code.is_file(self.workload):
            return self.workload
        return Path(self.workload.rpartition(".py")[0]).name

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, ready for TOML and JSON."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        return {**values, "nemesis": list(self.nemesis)}

    def to_toml(self) -> str:
        """Return the spec as a TOML document that `from_toml` reads back."""
        return tomli_w.dumps(self.to_dict())

    def repeat_line(self) -> str:
        """Return the command that runs the same test again."""
        words = ["splitbrain", "test"]
        standard = Spec()
        shown = {"system", "workload", "nemesis", "hosts", "nodes", "time_limit", "seed"}
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in {"test_count", "lab"}:
                continue
            if option.name in shown or value != getattr(standard, option.name):
                words += [flag(option.name), _shown(value)]
        return shlex.join(words)


def flag(name: str) -> str:
    """Return the command-line flag of a field."""
    return "--" + name.replace("_", "-")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _check(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    choices, low, high = metadata["choices"], metadata["low"], metadata["high"]
    values = value if isinstance(value, tuple) else (value,)
    if choices is not None:
        for one in values:
            if one not in choices and not (name == "nemesis" and one == ALL):
                raise UsageError(f"{name} is {one!r}, but must be one of: {', '.join(choices)}")
    if low is not None and not low <= value <= high:
        raise UsageError(f"{name} is {value}, but must be from {low:g} to {high:g}")


def from_values(values: Mapping[str, Any]) -> Spec:
    """Build a spec from values by name (TOML, command line).

    Raises `UsageError` for unknown names and for values that make no sense.
    """
    known = [option.name for option in fields(Spec)]
    for name in values:
        if name not in known:
            raise UsageError(f"unknown option {name!r}; known are: {', '.join(known)}")
    return Spec(**values)


def _convert(name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if kind is tuple:
        words = value.split(",") if isinstance(value, str) else value
        return _fault_names(name, words)
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        raise UsageError(f"{name} is {value!r}, but must be {_KINDS[kind]}")
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise UsageError(f"{name} is {value!r}, but must be {_KINDS[kind]}")
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {value!r}, but must be {_KINDS[kind]}") from None


_KINDS = {int: "a whole number", float: "a number", str: "text"}


def _fault_names(name: str, words: object) -> tuple[str, ...]:
    if not isinstance(words, Iterable):
        raise UsageError(f"{name} is {words!r}, but must be a list of names")
    names = [str(word).strip() for word in words]
    if ALL in names:
        if set(names) != {ALL}:
            raise UsageError(f"{name} is {','.join(names)!r}, but {ALL!r} stands alone")
        return (ALL,)
    names = [word for word in names if word not in ("", "none")]
    # Each once, in the order of the table: the plan must not depend on how they were typed.
    unknown = [word for word in names if word not in FAULTS]
    return tuple(unknown) + tuple(fault for fault in FAULTS if fault in names)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a spec file into loosely typed values. Raises `UsageError` naming file and place."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML ({error})") from None
