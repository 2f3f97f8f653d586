"""The agent's group and limits, on processes of this machine: their effect, and that they end."""

import errno
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.remote.agent import descriptors, group, healing, process, squeeze
from harness.remote.evidence import FEW_DESCRIPTORS, MEMORY_SQUEEZE

# Groups need root, as the lab does.
pytestmark = pytest.mark.lab

NAME = f"test-{os.getpid()}"
IDLE = "import threading\nwhile True: threading.Event().wait(1)"
BUSY = "while True: pass"
# Writes a file, as a log is written: its cache is what a squeeze has to take.
WRITES = """
import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
while True:
    os.write(file, bytes(65536))
    os.fdatasync(file)
    time.sleep(0.005)
"""
GROWS = "import time\nkept = []\nwhile True: kept.append(bytearray(100_000)); time.sleep(0.01)"
# Tries for another file all the time, and writes down how that goes.
OPENS = """
import os, sys, time
def tried():
    try:
        os.close(os.open("/dev/null", os.O_RDONLY))
        return "ok"
    except OSError as error:
        return os.strerror(error.errno)
kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
said = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
while True:
    os.pwrite(said, tried().ljust(40).encode(), 0)
    time.sleep(0.01)
"""


class Rig:
    """An agent's parts, with a home of their own."""

    def __init__(self, home: Path) -> None:
        self.notes = healing.notes_folder(home)
        self.notes.mkdir(parents=True)
        self.home, self.file = home, home / "file"
        self.system = process.System(self.notes)
        self.group = group.Group(self.notes)
        self.system.prepare_process = self.group.join
        self.squeeze = squeeze.Squeeze(self.group, self.notes, self.system)

    def start(self, code: str) -> int:
        argv = [sys.executable, "-c", code, str(self.file)]
        log = str(self.home / "system.log")
        return int(self.system.start(argv, env={}, cwd=None, log=log)["pid"])

    def need(self, controller: str) -> None:
        problems = self.squeeze.make(NAME)["problems"]
        if controller in problems:
            pytest.skip(problems[controller])

    def folders(self) -> list[Path]:
        return [folder for _, folder in self.group._made().values()]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    folders = made.folders()
    assert healing.heal_host(tmp_path) == {"healed": True, "problems": {}}
    assert not any(folder.exists() for folder in folders)
    assert made.group._made() == {}


def eventually(condition: object) -> None:
    assert callable(condition)
    deadline_ns = time.monotonic_ns() + 10_000_000_000
    while not condition():
        assert time.monotonic_ns() < deadline_ns
        time.sleep(0.01)


def test_a_cpu_squeeze_stops_who_wants_more_and_ends(rig: Rig) -> None:
    rig.need("cpu")
    pid = rig.start(BUSY)
    seen = rig.squeeze.cpu(5)
    assert seen["times"] > 0
    eventually(lambda: rig.squeeze.cpu_seen()["waited_ms"] > 50)
    _, folder = rig.group._of("cpu")
    assert (folder / "cgroup.procs").read_text().split() == [str(pid)]
    rig.squeeze.undo()
    rig.squeeze.undo()
    before = rig.squeeze.cpu_seen()["times"]
    time.sleep(0.3)
    assert rig.squeeze.cpu_seen()["times"] == before


def test_a_cpu_squeeze_of_who_wants_nothing_shows_no_effect(rig: Rig) -> None:
    rig.need("cpu")
    rig.start(IDLE)
    time.sleep(0.5)  # until it has loaded
    assert rig.squeeze.cpu(50)["times"] == 0


def test_a_memory_squeeze_meets_its_limit_and_the_system_goes_on(rig: Rig) -> None:
    rig.need("memory")
    rig.start(WRITES)
    eventually(lambda: rig.file.exists() and rig.file.stat().st_size > 3_000_000)
    seen = rig.squeeze.memory(1024)
    assert seen["hits"] > 0
    assert seen["kills"] == 0
    assert seen["used_bytes"] <= seen["limit_bytes"]
    assert rig.system.leader() is not None
    rig.squeeze.undo()
    assert rig.system.excuse is None
    size = rig.file.stat().st_size
    eventually(lambda: rig.file.stat().st_size > size + 3_000_000)
    assert rig.group.memory_used() > seen["limit_bytes"]


def test_who_needs_more_is_killed_with_the_reason_noted_and_later_ends_have_none(rig: Rig) -> None:
    rig.need("memory")
    rig.start(GROWS)
    time.sleep(0.3)
    rig.squeeze.memory(256)
    eventually(lambda: rig.system.report()["exits_total"] == 1)
    assert rig.squeeze.memory_seen()["kills"] > 0
    rig.squeeze.undo()
    rig.start("import os\nos.kill(os.getpid(), 9)")
    eventually(lambda: rig.system.report()["exits_total"] == 2)
    ends = [(end["signal"], end["asked_by"]) for end in rig.system.report()["exits"]]
    assert ends == [("SIGKILL", MEMORY_SQUEEZE), ("SIGKILL", None)]


def test_a_system_that_is_started_again_is_in_the_group_from_its_first_moment(rig: Rig) -> None:
    rig.need("memory")
    rig.start(IDLE)
    rig.system.kill()
    pid = rig.start(IDLE)
    for folder in rig.folders():
        assert (folder / "cgroup.procs").read_text().split() == [str(pid)]


def test_a_system_that_has_no_descriptor_to_spare_is_refused_a_file_until_it_ends(rig: Rig) -> None:
    pid = rig.start(OPENS)
    eventually(lambda: rig.file.exists() and rig.file.read_text().strip() == "ok")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    seen = rig.squeeze.descriptors(100)
    assert (seen["limit"], seen["opened"]) == (descriptors.limit_of(pid), seen["limit"])
    assert seen["free"] == 0
    eventually(lambda: rig.file.read_text().strip() == "Too many open files")
    excuses = [rig.system.excuse]
    rig.squeeze.descriptors(50)  # once more, as after an undo that failed
    rig.squeeze.undo()
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == before
    assert [*excuses, rig.system.excuse] == [FEW_DESCRIPTORS, None]
    eventually(lambda: rig.file.read_text().strip() == "ok")


def test_healing_ends_all_limits_and_leaves_a_running_system_its_group(rig: Rig) -> None:
    rig.need("cpu")
    pid = rig.start(f"import pathlib, sys\npathlib.Path(sys.argv[1]).touch()\n{BUSY}")
    eventually(rig.file.exists)  # while it loads its own code it may not survive so few
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    rig.squeeze.cpu(5)
    rig.squeeze.descriptors(50)
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) != before
    assert healing.heal_host(rig.home, leave_running=True)["healed"]
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == before
    assert all(folder.exists() for folder in rig.folders())
    stopped = rig.group.cpu_stopped()
    time.sleep(0.3)
    assert rig.group.cpu_stopped() == stopped


def test_without_a_group_cpu_and_memory_are_skipped_and_the_system_starts_all_the_same(
    rig: Rig,
) -> None:
    rig.start(IDLE)
    assert rig.squeeze.cpu(5) == {"skipped": "no group was made for this run"}
    assert rig.squeeze.memory(100) == {"skipped": "no group was made for this run"}


def test_nothing_is_taken_from_a_system_that_does_not_run(rig: Rig) -> None:
    with pytest.raises(process.ProcessError, match="not running"):
        rig.squeeze.descriptors(100)
    rig.squeeze.undo()


@pytest.mark.parametrize(
    ("opened", "keep_percent", "few"),
    [
        ([0, 1, 2, 3, 4, 5], 100, 6),
        ([0, 1, 2, 3, 4, 5], 50, 3),
        ([0, 1, 2, 3, 4, 5], 0, 3),
        ([0, 1, 2, 5, 6, 7, 8, 9], 100, 3),  # 3 is free: the limit is on numbers
        ([2, 1, 0, 3, 4, 9], 100, 5),
        ([1, 2], 100, 0),
    ],
)
def test_below_the_limit_no_number_is_free(opened: list[int], keep_percent: int, few: int) -> None:
    assert descriptors.fewest(opened, keep_percent) == few
    assert set(range(few)) <= set(opened)


def version_two(tmp_path: Path, *, offered: str) -> group.Group:
    """A mount that looks like cgroup v2; what the kernel would put into a new group is there."""
    mount, notes = tmp_path / "mount", tmp_path / "notes"
    ours = mount / "splitbrain-x"
    for folder in (ours, notes):
        folder.mkdir(parents=True)
    (mount / "cgroup.controllers").write_text(offered)
    for name, text in {
        "cgroup.procs": "",
        "cpu.max": "max 100000",
        "cpu.stat": "usage_usec 5\nnr_throttled 7\nthrottled_usec 2500",
        "memory.max": "max",
        "memory.current": "10000000",
        "memory.stat": "anon 7000000\nfile 2500000",
        "memory.events": "max 4\noom 1\noom_kill 1",
    }.items():
        (ours / name).write_text(text)
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (mount / name).write_text("")
    return group.Group(notes, mount=mount)


def test_the_files_of_version_two_are_spoken_to_in_their_own_words(tmp_path: Path) -> None:
    made, ours = version_two(tmp_path, offered="cpu io memory"), tmp_path / "mount" / "splitbrain-x"
    made.make("x")
    assert made.problems == {"cpu": "", "memory": ""}
    made.limit_cpu(5)
    assert (ours / "cpu.max").read_text().startswith("5000 100000")
    assert made.cpu_stopped() == (7, 2.5)
    assert made.limit_memory(500_000) == 8_000_000 // 4096 * 4096
    assert made.memory_refused() == (4, 1)
    assert made.limit_memory(9_000_000) == 10_000_000 // 4096 * 4096
    made.join(42)
    assert (ours / "cgroup.procs").read_text() == "42"
    made.lift()
    assert (ours / "memory.max").read_text().startswith("max")


def test_what_the_kernel_does_not_get_back_at_once_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, refusals = version_two(tmp_path, offered="memory"), [errno.EBUSY, errno.EBUSY]
    made.make("x")
    write = group._write

    def busy(path: Path, text: str) -> None:
        if refusals:
            raise OSError(refusals.pop(), "busy")
        write(path, text)

    monkeypatch.setattr(group, "_write", busy)
    assert made.limit_memory(500_000) == (7_500_000 + 2_000_000) // 4096 * 4096
    refusals += [errno.EBUSY] * 99
    with pytest.raises(group.GroupError, match="gets nothing back"):
        made.limit_memory(500_000)


def test_a_controller_that_is_not_offered_is_a_problem_and_the_other_one_works(
    tmp_path: Path,
) -> None:
    made = version_two(tmp_path, offered="memory")
    made.make("x")
    assert made.problems["memory"] == ""
    assert "there is no cpu controller to use: neither cgroup v1 nor v2" in made.problems["cpu"]
    with pytest.raises(group.GroupError, match="no cpu controller"):
        made.limit_cpu(5)
