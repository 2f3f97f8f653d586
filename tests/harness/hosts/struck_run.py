"""A run in a process of its own, something bad that happens to it, and what is left afterwards.

Rules of this file:
- A run is a real `splitbrain test` in the lab. Where a signal must come in a certain phase, the run
  sends it to itself as it enters the phase: nobody outside could be in time.
- What is left is looked for from outside: in the hosts' namespaces while there is a lab, on the
  whole machine when there is none.
- Every wait has an end, and names what did not come.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from checker.history import History, read_jsonl
from harness.hosts import lab
from harness.nemesis.plan import make_plan

ROOT = Path(__file__).resolve().parents[3]
# Far from 0, which is what people get who do not choose, and not every process the same.
LAB = 100 + os.getpid() % 50
NODES = ("n1", "n2", "n3")
INTERVAL_S = 3
# The phases of a run in their order, as `harness.log` has them.
PHASES = (
    "hosts up",
    "deploy",
    "start",
    "load and faults",
    "heal and recover",
    "final reads",
    "converge",
    "collect logs",
    "check",
    "report",
)

# Sends signals to itself, or to its whole group as a terminal does, some time into a phase.
_LAUNCH = """
import contextlib, os, sys, threading
from harness.cli import main
from harness.progress import Progress

phase, number, delay_s, times, group = sys.argv[1:6]
enter = Progress.phase

def send():
    for _ in range(int(times)):
        (os.killpg if int(group) else os.kill)(os.getpid(), int(number))

@contextlib.contextmanager
def entered(self, name):
    with enter(self, name):
        if name == phase and float(delay_s):
            threading.Timer(float(delay_s), send).start()
        elif name == phase:
            send()
        yield

Progress.phase = entered
sys.exit(main(sys.argv[6:]))
"""


@dataclass(frozen=True, kw_only=True)
class Deed:
    """A signal that a run sends to itself, `delay_s` after it entered a phase."""

    phase: str
    number: signal.Signals
    delay_s: float = 0.0
    times: int = 1
    group: bool = False


NOTHING = Deed(phase="", number=signal.SIGINT)


@dataclass(kw_only=True)
class StruckRun:
    """A run under way. `folder` is there once the run has made it."""

    process: subprocess.Popen[str]
    store: Path

    @property
    def folder(self) -> Path:
        return self.store / "register" / "latest"

    def end(self, timeout_s: float) -> int:
        """Wait for its end; return its exit code."""
        self.said, self.complained = self.process.communicate(timeout=timeout_s)
        return self.process.returncode

    @property
    def outcome(self) -> dict[str, Any]:
        """What it wrote, which must be what it printed."""
        document: dict[str, Any] = json.loads((self.folder / "outcome.json").read_text())
        return document

    @property
    def history(self) -> History:
        return read_jsonl(self.folder / "history.jsonl")

    @property
    def log(self) -> str:
        return (self.folder / "harness.log").read_text()

    def wait_for_phase(self, phase: str, timeout_s: float = 60) -> None:
        """Wait until it enters a phase."""
        line = f"phase: {phase}\n"
        wait(lambda: self._is_in(line), f"the phase {phase!r}", timeout_s)

    def _is_in(self, line: str) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        log = self.folder / "harness.log"
        return log.is_file() and line in log.read_text()

    def wait_for_faults(self, *kinds: str, timeout_s: float = 60) -> None:
        """Wait until a fault of each kind is in force at the same time."""
        wait(lambda: set(kinds) <= self._in_force(), f"{kinds} at the same time", timeout_s)

    def _in_force(self) -> set[str]:
        assert self.process.poll() is None, self.process.communicate()
        in_force: dict[int, str] = {}
        if (self.folder / "history.jsonl").is_file():
            for event in self.history.nemesis_events:
                if event.value["phase"] == "stop":
                    in_force.pop(event.value["fault"], None)
                elif event.value.get("evidence", "skipped") != "skipped":
                    in_force[event.value["fault"]] = event.f
        return set(in_force.values())


@contextmanager
def struck_run(
    store: Path,
    *kinds: str,
    deed: Deed = NOTHING,
    time_limit_s: float = 30,
    options: tuple[str, ...] = (),
) -> Iterator[StruckRun]:
    """Start a run; afterwards it is gone and so is its lab, whatever happened."""
    seed = _seed_of(kinds, time_limit_s) if kinds else 1
    how = [deed.phase, str(int(deed.number)), str(deed.delay_s), str(deed.times)]
    command = [sys.executable, "-c", _LAUNCH, *how, str(int(deed.group))]
    command += ["test", "--lab", str(LAB), "--nodes", str(len(NODES)), "--seed", str(seed)]
    command += ["--store", str(store), "--time-limit", str(time_limit_s), "--json"]
    command += ["--nemesis", ",".join(kinds) or "none", "--nemesis-interval", str(INTERVAL_S)]
    process = subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield StruckRun(process=process, store=store)
    finally:
        process.kill()
        process.communicate()
        lab.down(LAB)


@cache
def _seed_of(kinds: tuple[str, ...], time_limit_s: float) -> int:
    """Plans are pure: look for the one in which all kinds are in force together soonest."""
    found: list[tuple[int, int]] = []
    for seed in range(500):
        plan = make_plan(
            seed=seed,
            kinds=kinds,
            nodes=NODES,
            time_limit_ns=int(time_limit_s * 1e9),
            interval_ns=INTERVAL_S * 1_000_000_000,
        )
        for at_ns in range(0, 5_000_000_000, 200_000_000):
            # A second long, so that commands and eyes have time.
            in_force = {
                fault.kind
                for fault in plan.faults
                if fault.start_ns <= at_ns and fault.stop_ns >= at_ns + 1_000_000_000
            }
            if in_force == set(kinds):
                found.append((at_ns, seed))
                break
    assert found, f"no seed has {kinds} at once"
    return min(found)[1]


def wait(condition: Callable[[], object], what: str, timeout_s: float) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.02)


def pids_on(name: str, word: str = "") -> list[int]:
    """The processes of a host with this in their command line."""
    found = []
    space = f"splitbrain-{LAB}-{name}"
    if not Path("/run/netns", space).exists():
        return []
    for pid in _output("ip", "netns", "pids", space).split():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in words:
            found.append(int(pid))
    return found


def left_on_hosts() -> list[str]:
    """What is left of faults and of the system on the hosts of the lab."""
    return [f"{name}: {what}" for name in NODES for what in _left_on(name)]


def _left_on(name: str) -> Iterator[str]:
    space = f"splitbrain-{LAB}-{name}"
    if "splitbrain" in _output("ip", "netns", "exec", space, "nft", "list", "tables"):
        yield "an nft table"
    for pid in pids_on(name):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            mounts = Path(f"/proc/{pid}/mountinfo").read_text()
        except OSError:
            continue
        if state == "T":
            yield f"process {pid} is stopped"
        for word in (b"node.pyz", b"agent.pyz"):
            if word in words:
                yield f"{word.decode()} still runs"
        if "/dev/loop" in mounts and "/srv/splitbrain/system" in mounts:
            yield "a volume is mounted"
    clock = _srv(name) / "clock"
    if clock.exists() and not clock.read_text().startswith("+0.0"):
        yield "a skewed clock"


def _srv(name: str) -> Path:
    return lab.host_files(LAB, name).directory / "srv" / "splitbrain"


def images() -> set[int]:
    """The inodes of the hosts' volumes: by them a loop device is known after its path is gone."""
    paths = [_srv(name) / "volume.img" for name in NODES]
    return {path.stat().st_ino for path in paths if path.exists()}


def loop_devices(inodes: set[int]) -> list[str]:
    """The loop devices on this machine that still hold one of these images."""
    said = _output("losetup", "--list", "--noheadings", "--output", "NAME,BACK-INO")
    rows = [line.split() for line in said.splitlines()]
    return [row[0] for row in rows if len(row) == 2 and int(row[1]) in inodes]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
