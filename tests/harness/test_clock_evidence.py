"""When a clock counts as moved: only when it could be seen to do as it was told."""

import pytest

from harness.nemesis.kinds import clock_moved_as_told

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
