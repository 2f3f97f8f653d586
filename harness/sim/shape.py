"""Swarm: each seed draws what its world is like, and which kinds of faults it knows.

Groce et al., "Swarm Testing", 2012: a run with few kinds of faults finds what a run with all of them
hides.

Rules of this file: pure, from the seed alone. Times of a world are multiples of its election timeout.
"""

from dataclasses import dataclass, replace
from random import Random

from harness.sim.network import Weather
from harness.sim.node import Options
from harness.sim.work import Work
from harness.sim.world import MS
from node.core.settings import Settings

FAULTS = (
    "depose", "isolate", "halves", "one-way", "bridge", "hold", "freeze", "unheard", "forget", "hand-over", "reset",
    "kill", "power", "torn", "kill-all", "power-all", "pause", "pause-two", "stall", "slow-disk",
    "clock", "snapshot", "transfer", "add", "remove", "replace", "wipe", "reinit", "rejoin",
)  # fmt: skip
OVERTAKING = ("succession", "renew", "churn")
"""Slow snapshots of several leaders, and members made anew: each the theme of some worlds."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One world."""

    nodes: int
    options: Options
    weather: Weather
    work: Work
    faults: tuple[str, ...]
    fault_pause_ns: int
    clock_ppm: int
    answers_lost: int
    client_timeout_ns: int

    @property
    def timeout_ns(self) -> int:
        """The election timeout, by which all else is measured."""
        return self.options.settings.election_timeout_ns


def shape_of(chance: Random) -> Shape:
    """Draw a world."""
    pick = chance.choice
    nodes = pick((1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7))
    timeout_ns = pick((60, 100, 200)) * MS
    heartbeat_ns = timeout_ns // pick((3, 5, 10))
    leases = chance.random() < 0.4
    settings = Settings(
        election_timeout_ns=timeout_ns,
        heartbeat_interval_ns=heartbeat_ns,
        append_entries_max=pick((1, 1, 4, 64)),
        append_bytes_max=pick((200, 4096, 512 * 1024)),
        inflight_max=pick((1, 3, 32)),
        leases=leases,
    )
    options = Options(
        settings=settings,
        request_timeout_ns=timeout_ns * pick((2, 4, 8)),
        snapshot_entries=pick((0, 5, 10, 20, 50, 100)),
        chunk_bytes=pick((300, 1024, 1024, 16 * 1024)),
        segment_bytes=pick((700, 4096, 1 << 20)),
        tick_ns=timeout_ns // pick((6, 9)),
        turn_ns=pick((0, 20_000, 300_000)),
        sync_ns=pick((50_000, 500_000, 3 * MS)),
        spread=pick((1, 1, 2, 12)),
    )
    datagrams = chance.random() < 0.6
    weather = Weather(
        delay_ns=pick((100_000, 400_000, timeout_ns // 60, timeout_ns // 20)),
        loss=pick((0, 0, 4, 25)) if datagrams else 0,
        duplicate=pick((0, 10, 40)),
        late=pick((0, 3, 12, 40)),
        late_ns=timeout_ns * pick((1, 2, 2, 5)) // pick((1, 2)),
        datagrams=datagrams,
    )
    work = Work(
        clients=pick((2, 4, 6)),
        window=pick((1, 2, 4)),
        pause_ns=timeout_ns // pick((2, 4, 8)),
        keys=pick((1, 2, 4)),
        session_ttl_ms=pick((0, 0, 3 * timeout_ns // MS)),
    )
    share = pick((0.15, 0.3, 0.6))
    faults = tuple(kind for kind in FAULTS if chance.random() < share)
    # What the network does is what most mistakes of the algorithm need.
    faults += tuple(kind for kind in FAULTS[:10] if chance.random() < 0.3)
    faults += ("depose",) * pick((0, 1, len(faults) // 2))
    pause_ns = timeout_ns * pick((1, 2, 4)) // 2
    clock_ppm = pick((0, 1000, 40_000))
    answers_lost = pick((0, 20, 80))
    client_timeout_ns = timeout_ns * pick((2, 4))
    # Drawn last: a world without them is what its seed drew before they were there.
    themes = pick(((), (), (), (), OVERTAKING, *((kind,) for kind in OVERTAKING)))
    if themes:
        faults += themes * (1 + len(faults) // 4 // len(themes))
        options = replace(options, snapshot_ns=timeout_ns * pick((0, 1, 4)) // 2)
    return Shape(
        nodes=nodes,
        options=options,
        weather=weather,
        work=work,
        faults=faults or ("kill", "isolate"),
        fault_pause_ns=pause_ns,
        clock_ppm=clock_ppm,
        answers_lost=answers_lost,
        client_timeout_ns=client_timeout_ns,
    )
