"""The nemesis plan: which fault, on whom, from when to when. Pure, and all from the seed.

Rules of this file:
- A plan is data: it is written into the run, can be repeated and carried elsewhere.
- Each kind of fault has its own schedule: one fault in each interval, so different kinds overlap
  and two of one kind never do.
- Kinds have variants ("partition" has halves, isolate-one, ...). They are dealt like cards from a
  shuffled deck: every variant comes once before any comes twice, so a short run misses none.
- Who leads is not known when planning: a fault may name the target ``leader``, and says in
  `fallback` whom to take when nobody leads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any, Final

from harness.nemesis.schedule import Schedule, at_most
from workloads.randomness import Stream

LEADER: Final = "leader"

# The variants of each kind. The first card of a deck is always its first variant: those that
# strike the leader come early, because the rest of a run then shows whether the cluster recovered.
VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "partition": (
        "isolate-leader",
        "halves",
        "isolate-one",
        "majorities-ring",
        "one-way",
        "bridge",
        "minority",
        "one-way-leader",
        "flapping",
        "no-votes",
        "no-appends",
        "no-snapshots",
    ),
    "kill": (
        "kill-leader",
        "kill-one",
        "kill-minority",
        "kill-majority",
        "kill-all",
        "rolling",
        "crash-loop",
        "after-vote",
    ),
    "pause": ("pause-leader", "pause-one", "pause-minority", "pause-majority", "pause-all"),
    "clock": ("bump", "strobe", "rate"),
    "disk": (
        "power-loss-leader",
        "power-loss-all",
        "full",
        "slow",
        "power-loss-minority",
        "power-loss-one",
        "failing",
    ),
    "resource": ("cpu", "memory", "descriptors"),
    "network": (
        "latency",
        "jitter",
        "loss",
        "duplication",
        "reordering",
        "corruption",
        "bandwidth",
    ),
    "member": ("remove-leader", "replace-one", "remove-one", "replace-leader"),
    "transfer": ("to-another", "there-and-back"),
    "snapshot": ("on-leader", "on-all", "on-one"),
    "damage": ("torn-write", "bit-flip", "truncate"),
    "amnesia": ("cut-one", "cut-majority"),
}

# Kinds that the system itself has to carry out: it may well refuse while it has no quorum, so that
# one of them may be impossible without anything being wrong.
ADMINISTRATIVE: Final = ("member", "transfer", "snapshot")

# Kinds that damage a node's data, so that it has to be made anew.
DAMAGING: Final = ("damage", "amnesia")

# Partitions that cut no link: messages of one class are lost, where the system can be told to lose
# them. The parameter `classes` names it.
LOSSES: Final = ("no-votes", "no-appends", "no-snapshots")

_VERSION: Final = 1

# Variants for which many hosts lack the means, that pass over a node which is no voter just then or
# not made anew yet, or that need an election to happen: where they were skipped, the others count.
OPTIONAL: Final = (
    ("kill", "after-vote"),
    ("disk", "slow"),
    ("resource", "cpu"),
    ("resource", "memory"),
    *(("partition", name) for name in LOSSES),
    *(("network", name) for name in VARIANTS["network"]),
    ("damage", "torn-write"),
    ("damage", "bit-flip"),
    ("damage", "truncate"),
    ("amnesia", "cut-one"),
    ("amnesia", "cut-majority"),
)

# Variants that take from a system what it cannot do without: what it says of that, and how it ends
# for it, is explained.
TAKING: Final = (
    ("disk", "full"),
    ("disk", "failing"),
    ("resource", "memory"),
    ("resource", "descriptors"),
)

# The most that a kind's first interval is shifted, in intervals: never a whole one, so that a run
# of n intervals has at least n - 1 faults of each kind.
_SHIFT_MAX: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a plan. Times are nanoseconds since the run's start.

    `targets` are node names or `LEADER`. `fallback` is an order of all nodes from which the first
    suitable ones are taken where a symbolic target means nobody.
    """

    id: int
    kind: str
    name: str
    start_ns: int
    stop_ns: int
    targets: tuple[str, ...]
    fallback: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All faults of a run, by start time."""

    seed: int
    faults: tuple[Fault, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the content of `plan.json`."""
        return {
            "version": _VERSION,
            "seed": self.seed,
            "faults": [
                {**asdict(fault), "targets": list(fault.targets), "fallback": list(fault.fallback)}
                for fault in self.faults
            ],
        }

    @classmethod
    def from_json(cls, content: Any) -> Plan:
        """Return the plan that a `plan.json` holds. Raises `ValueError` saying what is wrong."""
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            raise ValueError(f"expected a plan of version {_VERSION}")
        try:
            return cls(seed=int(content["seed"]), faults=tuple(map(_read, content["faults"])))
        except KeyError as error:
            raise ValueError(f"expected a field {error} that is not there") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"expected faults as this program writes them ({error})") from None


def _read(fault: Mapping[str, Any]) -> Fault:
    if fault["kind"] not in VARIANTS:
        raise ValueError(f"the kind of fault {fault['kind']!r} is not known")
    return Fault(
        id=int(fault["id"]),
        kind=str(fault["kind"]),
        name=str(fault["name"]),
        start_ns=int(fault["start_ns"]),
        stop_ns=int(fault["stop_ns"]),
        targets=tuple(map(str, fault["targets"])),
        fallback=tuple(map(str, fault["fallback"])),
        parameters=dict(fault["parameters"]),
    )


def make_plan(
    *,
    seed: int,
    kinds: Sequence[str],
    nodes: Sequence[str],
    time_limit_ns: int,
    interval_ns: int,
    schedules: Mapping[str, Schedule] | None = None,
    at_once: int = 0,
) -> Plan:
    """Plan the faults of a run that ends at `time_limit_ns`.

    Each interval of each kind holds one fault: it starts in the interval's first third and lasts a
    third to a half of it, so that every fault is followed by a time without it. Each kind's intervals
    begin at a random shift, so that over many seeds faults meet in all combinations. `schedules` has
    what is otherwise for single kinds; with `at_once` no more faults than that are in force together.
    """
    dealt: list[Fault] = []
    for kind in kinds:
        schedule = (schedules or {}).get(kind, Schedule(interval_ns))
        random = Stream(seed, f"nemesis:{kind}").random()
        deck: list[str] = []
        shift_ns = int(random.uniform(0, _SHIFT_MAX) * schedule.interval_ns)
        for number in range((time_limit_ns - shift_ns) // schedule.interval_ns):
            if not deck:
                deck = _shuffled_deck(kind, random, first=number == 0)
            begin_ns = shift_ns + number * schedule.interval_ns
            start_ns, stop_ns = schedule.draw(begin_ns, random)
            fault = _fault(kind, deck.pop(0), start_ns, stop_ns, nodes=nodes, random=random)
            dealt.append(fault)
    dealt.sort(key=_by_start)
    if at_once:
        dealt, _ = at_most(at_once, dealt, time_limit_ns)
        dealt.sort(key=_by_start)
    numbered = tuple(replace(fault, id=number) for number, fault in enumerate(dealt))
    return Plan(seed=seed, faults=numbered)


def _by_start(fault: Fault) -> tuple[int, str]:
    return fault.start_ns, fault.kind


def _shuffled_deck(kind: str, random: Random, *, first: bool) -> list[str]:
    deck = list(VARIANTS[kind])
    if first:
        head, *rest = deck
        random.shuffle(rest)
        return [head, *rest]
    random.shuffle(deck)
    return deck


def _fault(
    kind: str,
    name: str,
    start_ns: int,
    stop_ns: int,
    *,
    nodes: Sequence[str],
    random: Random,
) -> Fault:
    fallback = list(nodes)
    random.shuffle(fallback)
    targets: tuple[str, ...]
    parameters: dict[str, Any] = {}
    if kind == "clock":
        targets = tuple(fallback[: random.randint((len(nodes) + 1) // 2, len(nodes))])
        parameters = _clock_parameters(name, random, (stop_ns - start_ns))
    elif kind == "network":
        targets = tuple(fallback[: random.randint(1, len(nodes))])
        parameters = _network_parameters(name, random)
    elif kind == "resource":
        targets = (LEADER if random.random() < 0.5 else fallback[0],)
        parameters = _resource_parameters(name, random)
    elif name in LOSSES:
        targets, parameters = _loss(name, random, fallback)
    elif name in ("on-all", "kill-all", "pause-all", "power-loss-all"):
        targets = tuple(nodes)
    elif name.endswith("minority"):
        targets = tuple(fallback[: max(1, (len(nodes) - 1) // 2)])
    elif name.endswith("majority"):
        targets = tuple(fallback[: len(nodes) // 2 + 1])
    elif name in ("halves", "majorities-ring", "bridge"):
        targets = tuple(nodes)
        parameters = {"shuffle": random.getrandbits(32)}
    elif name in ("one-way", "one-way-leader"):
        targets = (LEADER if name.endswith("leader") else fallback[0],)
        parameters = {"deaf": random.random() < 0.5}
    elif name == "rolling":
        # Once around while the fault lasts: each is back before its successor goes.
        targets = tuple(fallback)
        parameters = {"period_ms": (stop_ns - start_ns) // 1_000_000 // len(nodes)}
    elif name in ("crash-loop", "flapping"):
        targets = (fallback[0],)
        parameters = {"period_ms": int(200 * 2 ** random.uniform(0, 2))}
    elif name == "after-vote":
        # The leader, and of the others a majority of all: whoever wins needs the vote of one of them.
        targets = (LEADER, *fallback[: len(nodes) // 2 + 1])
    elif name.endswith("-leader"):
        targets = (LEADER,)
    else:
        targets = (fallback[0],)
    if kind in DAMAGING:
        parameters = {"draw": random.getrandbits(32)}  # which file, where, how much
    return Fault(
        id=0,
        kind=kind,
        name=name,
        start_ns=start_ns,
        stop_ns=stop_ns,
        targets=targets,
        fallback=tuple(fallback),
        parameters=parameters,
    )


def _loss(
    name: str, random: Random, fallback: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Choose who loses what. Votes and snapshots are seldom sent: so one node `misses` something
    besides, which makes them necessary. See docs/nemesis.md, "Messages of one class"."""
    if name == "no-votes":
        one = random.choice(("leader", "other"))
        parameters = {"classes": ["votes"], "one": one, "misses": ["appends", "heartbeats"]}
        return tuple(fallback), parameters
    if name == "no-snapshots":
        return tuple(fallback), {"classes": ["snapshots"], "one": "other", "misses": ["appends"]}
    majority = len(fallback) // 2 + 1
    count = random.choice((0, max(1, (len(fallback) - 1) // 2), majority))
    return tuple(fallback[:count]) or (LEADER,), {"classes": ["appends"]}


def _resource_parameters(name: str, random: Random) -> dict[str, Any]:
    """Choose what is left to the system. See docs/nemesis.md, "Resources"."""
    if name == "cpu":
        return {"percent": random.choice((1, 2, 5, 10))}
    if name == "memory":
        return {"spare_kb": int(256 * 2 ** random.uniform(0, 5))}
    return {"keep_percent": random.choice((50, 75, 100))}


def _clock_parameters(name: str, random: Random, duration_ns: int) -> dict[str, Any]:
    """Choose how far a clock jumps: from 100 ms to about 4 minutes, evenly on a log scale."""
    sign = random.choice((-1, 1))
    offset_ms = sign * int(100 * 2 ** random.uniform(0, 11))
    if name == "rate":
        return {"rate": round(random.choice((0.5, 0.9, 1.1, 2.0, 5.0)), 3)}
    if name == "strobe":
        period_ms = int(2 ** random.uniform(3, 9))
        return {
            "offset_ms": offset_ms,
            "period_ms": period_ms,
            "duration_ms": duration_ns // 1_000_000,
        }
    return {"offset_ms": offset_ms}


def _network_parameters(name: str, random: Random) -> dict[str, Any]:
    """Choose how bad a network gets: up to what keeps leaders from leading, but not for good."""
    delay_ms = int(20 * 2 ** random.uniform(0, 3.3))
    jitter_ms = int(delay_ms * random.uniform(0.5, 1))
    percent = int(10 * 2 ** random.uniform(0, 2))
    kbit_s = int(128 * 2 ** random.uniform(0, 3))
    return {
        "latency": {"delay_ms": delay_ms},
        "jitter": {"delay_ms": delay_ms, "jitter_ms": jitter_ms},
        "loss": {"percent": percent},
        "duplication": {"percent": percent},
        "reordering": {"delay_ms": delay_ms, "percent": percent},
        "corruption": {"percent": percent},
        "bandwidth": {"kbit_s": kbit_s},
    }[name]
