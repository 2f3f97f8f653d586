"""When a clock counts as moved: only when it could be seen to do as it was told."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.nemesis.faults import Certainty, Crew, Report
from harness.nemesis.kinds import Clock, clock_moved_as_told
from harness.nemesis.plan import Fault
from harness.systems.system import System

MS = 1_000_000


@pytest.mark.parametrize(
    ("moved_ms", "expected_ms", "error_ms", "believed"),
    [
        (150, 150, 1, True),
        (-3, 150, 1, False),  # it did not move
        (3, 150, 1, False),  # nor here
        (150, 150, 200, False),  # it cannot be seen
        (-150, 150, 1, False),  # the wrong way
        (2000, 150, 1, False),  # somebody else's doing
        (-60_010, -60_000, 5, True),
        (1800, 2000, 5, True),  # a drifting clock, looked at a little early
        (2300, 2000, 5, True),  # or a little late
    ],
)
def test_a_clock_has_to_be_seen_moving(
    moved_ms: int, expected_ms: int, error_ms: int, believed: bool
) -> None:
    assert (
        clock_moved_as_told(moved_ms * MS, expected_ns=expected_ms * MS, error_ns=error_ms * MS)
        is believed
    )


@dataclass
class Sundial:
    """A node whose clock never moves; each answer says how it was off, and by how much it may be."""

    answers: list[tuple[int, int]]

    def status(self, node: str, timeout_s: float) -> Any:
        offset_ms, error_ms = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return SimpleNamespace(clock_offset_ns=offset_ms * MS, clock_error_ns=error_ms * MS)


class Obedient:
    """Agents that say that they did as they were told."""

    def on(self, nodes: Sequence[str], act: Any) -> dict[str, Report]:
        return {node: act(node, self) for node in nodes}

    def clock_strobe(self, **_: object) -> object:
        return object()


@pytest.mark.parametrize(
    ("answers", "seen"),
    [
        ([(0, 1), (300, 1), (0, 1)], Certainty.INSTALLED),
        ([(0, 1), (300, 200), (0, 1)], Certainty.INDETERMINATE),  # a slow answer, and no jump
        ([(0, 200), (300, 1), (0, 1)], Certainty.INDETERMINATE),
        ([(0, 1)], Certainty.INDETERMINATE),
    ],
)
def test_a_strobe_is_seen_only_by_looks_that_can_tell_away_from_home(
    answers: list[tuple[int, int]], seen: Certainty
) -> None:
    strobe = Fault(id=0, kind="clock", name="strobe", start_ns=0, stop_ns=1, targets=("n1",),
                   fallback=("n1",), parameters={"offset_ms": 300, "period_ms": 9,
                                                 "duration_ms": 90})  # fmt: skip
    kind = Clock(cast("Crew", Obedient()), cast("System", Sundial(answers)))
    assert kind.start(strobe, ["n1"])["n1"].certainty is seen
