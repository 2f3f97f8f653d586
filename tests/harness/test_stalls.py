"""Stalls: measured by oversleeping, and what they excuse."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.stalls import StallMeter, Stalls, excuse

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("stalls", "excused"),
    [
        (Stalls(), False),
        (Stalls(total_s=3.9, longest_s=1.0), False),
        (Stalls(total_s=4.1, longest_s=1.0), True),
        (Stalls(total_s=2.1, longest_s=2.1), True),
        (Stalls(suspended_s=1.9), False),
        (Stalls(suspended_s=60.0), True),
        (Stalls(total_s=2.5, longest_s=0.5, suspended_s=1.9), True),
    ],
)
def test_long_stalls_and_many_short_ones_excuse_a_missed_deadline(
    stalls: Stalls, *, excused: bool
) -> None:
    assert (excuse(stalls, 20.0) is not None) is excused


def test_sleeping_a_little_too_long_is_no_stall() -> None:
    meter = StallMeter()
    for slept_s in (0.05, 0.14, 0.06):
        meter.note(slept_s)
    with meter:
        pass
    assert meter.stalls.total_s < 1.0
    other = StallMeter()
    other.note(3.05)
    other.note(1.05)
    with other:
        pass
    assert other.stalls.total_s == pytest.approx(4.0, abs=1.0)
    assert other.stalls.longest_s == pytest.approx(3.0, abs=0.5)


def test_a_suspended_machine_shows_on_the_clock_that_goes_on() -> None:
    asleep_s = 0.0
    meter = StallMeter(always=lambda: time.monotonic() + 100.0 + asleep_s)
    with meter:
        asleep_s = 7.0
    assert meter.stalls.suspended_s == pytest.approx(7.0, abs=0.1)


def test_a_process_that_was_stopped_knows_for_how_long() -> None:
    code = (
        "import sys, time\n"
        "from harness.stalls import StallMeter\n"
        "with StallMeter() as meter:\n"
        "    print('go', flush=True)\n"
        "    sys.stdin.readline()\n"
        "print(meter.stalls.longest_s)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        os.kill(process.pid, signal.SIGSTOP)
        before = time.monotonic()
        while time.monotonic() - before < 1.5:
            time.sleep(0.1)
        process.stdin.write("\n")
        process.stdin.flush()
        os.kill(process.pid, signal.SIGCONT)
        longest_s = float(process.stdout.readline())
    assert longest_s > 1.0
