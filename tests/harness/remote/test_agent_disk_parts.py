"""The agent's volume, throttle and disk faults, on a real file system in a scratch folder."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.remote.agent import disk, healing, process, throttle, volume
from harness.remote.evidence import FAILING_DISK, FULL_DISK

# Mounting needs root, as the lab does.
pytestmark = pytest.mark.lab

LOOP = "import threading\nwhile True: threading.Event().wait(1)"
# Ends with the status of our node when its disk refuses a write.
WRITER = """
import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    try:
        os.write(file, bytes(65536))
        os.fdatasync(file)
    except OSError:
        sys.exit(4)
    time.sleep(0.01)
"""


class Rig:
    """An agent's parts, with a home of their own."""

    def __init__(self, home: Path) -> None:
        notes = healing.notes_folder(home)
        notes.mkdir(parents=True)
        self.home, self.notes, self.root = home, notes, home / "system"
        self.image = home / "volume.img"
        self.system = process.System(notes)
        self.volume = volume.Volume(home, notes)
        self.throttle = throttle.Throttle(notes, name="rig")
        self.disk = disk.Disk(self.volume, self.throttle, self.system)

    def start(self, code: str) -> int:
        argv = [sys.executable, "-c", code, str(self.root / "data")]
        log = str(self.home / "system.log")
        return int(self.system.start(argv, env={}, cwd=None, log=log)["pid"])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    assert healing.heal_host(tmp_path) == {"healed": True, "problems": {}}
    assert not made.root.is_mount()
    assert images_attached(made.image) == 0
    assert not made.image.exists()


@pytest.fixture
def mounted(rig: Rig) -> Rig:
    assert rig.disk.make(rig.root) == {}
    assert rig.root.is_mount()
    return rig


def images_attached(image: Path) -> int:
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return sum(str(image) in file.read_text() for file in files)


def write(path: Path, text: str, *, sync: bool) -> None:
    with path.open("a") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def eventually(condition: object) -> None:
    assert callable(condition)
    deadline_ns = time.monotonic_ns() + 10_000_000_000
    while not condition():
        assert time.monotonic_ns() < deadline_ns
        time.sleep(0.01)


def test_a_power_loss_keeps_what_was_fsynced_and_loses_everything_else(mounted: Rig) -> None:
    root = mounted.root
    write(root / "durable", "kept", sync=True)
    disk._sync(root)
    write(root / "durable", " and lost", sync=False)
    write(root / "renamed.tmp", "lost", sync=False)
    (root / "renamed.tmp").rename(root / "renamed")
    assert (root / "durable").read_text() == "kept and lost"
    mounted.volume.cut_power()
    assert (root / "durable").read_text() == "kept"
    assert not (root / "renamed").exists() or (root / "renamed").read_text() == ""
    write(root / "durable", " and more", sync=True)
    mounted.volume.cut_power()
    assert (root / "durable").read_text() == "kept and more"


def test_the_canaries_show_a_power_loss_and_the_system_is_dead_after_it(mounted: Rig) -> None:
    pid = mounted.start(LOOP)
    mounted.disk.write_canaries()
    assert mounted.disk.cut_power() == {
        "gone": True,
        "was_running": True,
        "pid": pid,
        "kept_durable": True,
        "kept_fleeting": False,
    }
    (end,) = mounted.system.report()["exits"]
    assert (end["signal"], end["asked_by"]) == ("SIGKILL", "kill")
    with pytest.raises(volume.VolumeError, match="no canaries"):
        mounted.disk.cut_power()


def test_a_canary_that_survives_unsynced_is_seen_to(
    mounted: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut that loses nothing, as a disk that was synced behind our back."""
    monkeypatch.setattr(mounted.volume, "cut_power", os.sync)
    mounted.disk.write_canaries()
    seen = mounted.disk.cut_power()
    assert (seen["kept_durable"], seen["kept_fleeting"]) == (True, True)


def test_a_volume_in_use_is_an_error_and_is_mended_when_it_is_let_go(
    mounted: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "_BUSY_TIMEOUT_S", 0.2)
    write(mounted.root / "durable", "kept", sync=True)
    with (mounted.root / "durable").open(), pytest.raises(volume.VolumeError, match="busy"):
        mounted.volume.cut_power()
    with pytest.raises(OSError, match="Input/output error"):
        (mounted.root / "other").write_text("the power is still off")
    assert healing.heal_host(mounted.home, leave_running=True)["problems"] == {}
    assert (mounted.root / "durable").read_text() == "kept"
    write(mounted.root / "other", "the power is on", sync=True)


def test_a_full_disk_refuses_everybody_and_has_room_again(mounted: Rig) -> None:
    assert mounted.disk.fill() == {"available_bytes": 0, "refused": True}
    with pytest.raises(OSError, match="No space left"):
        write(mounted.root / "file", "x" * 100_000, sync=True)
    mounted.disk.undo()
    assert disk.available_bytes(mounted.root) > volume.IMAGE_BYTES // 2
    write(mounted.root / "file", "x" * 100_000, sync=True)
    assert {path.name for path in mounted.root.iterdir()} == {"lost+found", "file"}


def test_giving_up_on_a_full_disk_is_noted_with_the_reason_and_later_ends_are_not(
    mounted: Rig,
) -> None:
    mounted.start(WRITER)
    mounted.disk.fill()
    eventually(lambda: mounted.system.report()["exits_total"] == 1)
    mounted.disk.undo()
    mounted.start("raise SystemExit(4)")
    eventually(lambda: mounted.system.report()["exits_total"] == 2)
    ends = [(end["status"], end["asked_by"]) for end in mounted.system.report()["exits"]]
    assert ends == [(4, FULL_DISK), (4, None)]


def test_a_failing_disk_ends_who_minds_and_works_again_with_what_was_durable(mounted: Rig) -> None:
    write(mounted.root / "durable", "kept", sync=True)
    disk._sync(mounted.root)
    write(mounted.root / "durable", " and lost", sync=False)
    mounted.start(WRITER)
    eventually(lambda: (mounted.root / "data").exists())
    assert mounted.disk.fail() == {"was_running": True, "refused": True, "ended": True}
    (end,) = mounted.system.report()["exits"]
    assert (end["status"], end["asked_by"]) == (4, FAILING_DISK)
    with pytest.raises(OSError, match="Input/output error"):
        write(mounted.root / "durable", "more", sync=True)
    mounted.disk.undo()
    assert mounted.system.excuse is None
    assert (mounted.root / "durable").read_text().startswith("kept")
    assert not (mounted.root / ".probe").exists()
    write(mounted.root / "durable", " and more", sync=True)


def test_who_does_not_mind_a_failing_disk_is_killed_before_it_is_mended(mounted: Rig) -> None:
    mounted.start(LOOP)
    assert mounted.disk.fail() == {"was_running": True, "refused": True, "ended": False}
    assert mounted.system.leader() is not None
    mounted.disk.undo()
    assert mounted.system.leader() is None
    assert mounted.system.report()["exits"][-1]["asked_by"] == "kill"
    write(mounted.root / "file", "the disk works", sync=True)


def test_a_failing_disk_is_mended_when_its_agent_is_gone(mounted: Rig) -> None:
    mounted.start(LOOP)
    mounted.disk.fail()
    assert healing.heal_host(mounted.home, leave_running=True)["problems"] == {}
    write(mounted.root / "file", "the disk works", sync=True)


def test_a_slow_disk_is_slow_for_the_system_and_the_group_goes(mounted: Rig) -> None:
    if throttle.why_writes_cannot_be_slowed():
        pytest.skip(throttle.why_writes_cannot_be_slowed())
    pid = mounted.start(LOOP)
    group = throttle._CONTROLLER / "splitbrain-rig-{}".format(
        str(mounted.volume.device()).replace(":", "-")
    )
    seen = mounted.disk.slow()
    assert seen["after_ms"] > 20
    assert seen["after_ms"] > 3 * seen["before_ms"]
    assert (group / "cgroup.procs").read_text().split() == [str(pid)]
    mounted.disk.undo()
    assert not group.exists()
    assert mounted.system.leader() is not None
    assert throttle._measure(mounted.root / "probe", throttle._own_group()) < seen["after_ms"]


def test_a_slow_disk_of_a_system_that_does_not_run_shows_nothing(mounted: Rig) -> None:
    if throttle.why_writes_cannot_be_slowed():
        pytest.skip(throttle.why_writes_cannot_be_slowed())
    with pytest.raises(volume.VolumeError, match="not running"):
        mounted.disk.slow()


def test_without_a_controller_a_slow_disk_is_skipped_with_the_reason(
    mounted: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_CONTROLLER", mounted.home / "nowhere")
    assert "no blkio controller" in mounted.disk.slow()["skipped"]


def test_healing_ends_a_slow_and_full_disk_and_leaves_the_volume_to_a_running_system(
    mounted: Rig,
) -> None:
    mounted.start(LOOP)
    mounted.disk.fill()
    write_failed = disk.available_bytes(mounted.root)
    assert healing.heal_host(mounted.home, leave_running=True)["healed"]
    assert write_failed == 0 < disk.available_bytes(mounted.root)
    assert mounted.root.is_mount()
    assert mounted.system.leader() is not None


def test_a_volume_goes_where_nothing_would_be_hidden_and_nowhere_else(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rig.root.mkdir()
    (rig.root / "precious").write_text("data")
    assert "is not empty" in rig.disk.make(rig.root)["skipped"]
    outside = tmp_path_factory.mktemp("outside")
    assert "is not below" in rig.disk.make(outside)["skipped"]
    assert not outside.is_mount()
    assert (rig.root / "precious").read_text() == "data"
    assert rig.disk.problem


def test_what_is_missing_is_named_and_nothing_is_left(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setattr(shutil, "which", lambda tool, path: None)
        assert "apt-get install e2fsprogs" in rig.disk.make(rig.root)["skipped"]
    with monkeypatch.context() as without:
        without.setattr(volume, "_OPTIONS", "loop,no-such-option")
        assert "no volume could be mounted: mount:" in rig.disk.make(rig.root)["skipped"]
    assert not rig.image.exists()
    assert rig.disk.make(rig.root) == {}


@pytest.mark.parametrize("theirs", ["tmpfs", "image"])
def test_a_mount_that_is_not_ours_is_left_alone(mounted: Rig, theirs: str) -> None:
    other = mounted.home / "other.img"
    mounted.volume.remove()
    if theirs == "tmpfs":
        command = ["mount", "-t", "tmpfs", "tmpfs", str(mounted.root)]
    else:
        with other.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run([*volume._MKFS, str(other)], check=True, timeout=20)
        command = ["mount", "-o", "loop", str(other), str(mounted.root)]
    subprocess.run(command, check=True, timeout=20)
    mounted.volume._note(mounted.root, cut=False)  # notes of ours, and somebody else's mount
    try:
        assert mounted.volume.device() is None
        mounted.volume.remove()
        assert mounted.root.is_mount()
    finally:
        subprocess.run(["umount", str(mounted.root)], check=True, timeout=20)
