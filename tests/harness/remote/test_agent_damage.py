"""Damaged files: what the agent does to them, and what our node makes of it when it starts again."""

import random
import shutil
import sys
import time
from pathlib import Path

import pytest

from harness.remote.agent import damage, process
from harness.remote.evidence import DAMAGED_DATA, Damaged
from harness.systems.raft import MODEL
from node.core.messages import Entry, HardState
from node.storage import identity
from node.storage.errors import Corrupt
from node.storage.files import RealDirectory
from node.storage.snapshots import SnapshotMeta
from node.storage.store import Store
from node.storage.wal import Batch

LOOP = "import threading\nwhile True: threading.Event().wait(1)"
OWNER = identity.Identity("splitbrain", "n1", 7)
ENTRIES = 60


@pytest.fixture
def system(tmp_path: Path) -> process.System:
    notes = tmp_path / "agent"
    notes.mkdir()
    return process.System(notes)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The system's folder with what a node keeps: all of it durable."""
    made = tmp_path_factory.mktemp("system")
    (made / "data").mkdir()
    directory = RealDirectory(made / "data")
    identity.init(directory, OWNER)
    store = Store.opened(directory, OWNER)
    for index in range(1, ENTRIES + 1):
        entry = Entry(index=index, term=1, data=f"value {index}")
        store.append(Batch(HardState(1, "n1") if index == 1 else None, entries=(entry,)))
        store.sync()
        if index == ENTRIES // 2:
            store.save_snapshot(SnapshotMeta(index, 1, "n1"), b"state " * 50)
    store.close()
    return made


@pytest.fixture
def root(kept: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(kept, tmp_path / "system"))


def do(system: process.System, root: Path, how: str, draw: int) -> Damaged:
    done = damage.Damage(system).do(how, root, logs=MODEL.logs, states=MODEL.states, draw=draw)
    return Damaged(**done)


def last_index(root: Path) -> int:
    """Start as the node does; return where its log ends."""
    directory = RealDirectory(root / "data")
    store = Store.opened(directory, identity.load(directory))
    try:
        recovered = store.recovered
        return recovered.base_index + len(recovered.entries)
    finally:
        store.close()


@pytest.mark.parametrize("draw", range(40))
def test_the_node_sees_a_flipped_bit_and_a_short_file_and_refuses(
    system: process.System, root: Path, draw: int
) -> None:
    how = ("bit-flip", "truncate")[draw % 2]
    seen = do(system, root, how, draw)
    assert seen.differs, seen
    assert (seen.size_after < seen.size_before) is (how == "truncate")
    if "wal-" in seen.file:
        assert seen.offset < seen.size_before // 2, "what is behind shows that it was durable"
    with pytest.raises(Corrupt):
        last_index(root)


@pytest.mark.parametrize("draw", range(20))
def test_the_node_comes_back_by_itself_after_half_a_write_and_has_everything(
    system: process.System, root: Path, draw: int
) -> None:
    seen = do(system, root, "torn-write", draw)
    assert (seen.differs, seen.was, seen.size_after > seen.size_before) == (True, "", True)
    assert last_index(root) == ENTRIES


@pytest.mark.parametrize("draw", range(20))
def test_the_node_cannot_see_that_the_newest_of_its_log_is_gone(
    system: process.System, root: Path, draw: int
) -> None:
    seen = do(system, root, "cut-log", draw)
    assert seen.file.startswith("data/wal-")
    assert seen.size_after < seen.size_before
    assert last_index(root) < ENTRIES


def test_the_same_number_damages_the_same_place(system: process.System, root: Path) -> None:
    def flipped(draw: int) -> tuple[str, int, str]:
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        seen = do(system, root, "bit-flip", draw)
        for path, content in before.items():
            path.write_bytes(content)
        return seen.file, seen.offset, seen.found

    assert flipped(5) == flipped(5)
    assert len({flipped(draw)[0] for draw in range(20)}) == 3, "every file has its turn"


def test_logs_that_are_allocated_ahead_are_torn_where_their_content_ends(
    system: process.System, tmp_path: Path
) -> None:
    (tmp_path / "log").write_bytes(b"record" * 100 + bytes(5000))
    agent = damage.Damage(system)
    for how in ("torn-write", "bit-flip", "cut-log"):
        (tmp_path / "log").write_bytes(b"record" * 100 + bytes(5000))
        done = Damaged(**agent.do(how, tmp_path, logs=("log",), states=(), draw=1))
        assert done.differs
        if how == "torn-write":
            assert (done.offset, done.size_after, done.size_before) == (600, 5600, 5600)
        else:
            assert done.offset < 600


def test_only_the_log_in_use_is_cut_and_only_the_others_are_truncated(
    system: process.System, tmp_path: Path
) -> None:
    agent = damage.Damage(system)

    def struck(how: str) -> set[str]:
        files = set()
        for draw in range(12):
            for name in ("log-1", "log-2", "log-3"):
                (tmp_path / name).write_bytes(b"x" * 100)
            done = agent.do(how, tmp_path, logs=("log-*",), states=(), draw=draw)
            files.add(str(done["file"]))
        return files

    assert struck("cut-log") == struck("torn-write") == {"log-3"}
    assert struck("truncate") == {"log-1", "log-2"}


def test_without_a_file_to_damage_the_system_goes_on(
    system: process.System, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", LOOP]
    system.start(argv, env={}, cwd=None, log=str(tmp_path / "log"))
    try:
        done = damage.Damage(system).do("bit-flip", tmp_path, logs=("wal-*",), states=(), draw=1)
        assert "no file" in done["skipped"]
        assert system.leader() is not None
        with pytest.raises(damage.DamageError, match="no such damage"):
            damage.Damage(system).do("earthquake", tmp_path, logs=(), states=(), draw=1)
    finally:
        system.kill()


def test_ends_after_damage_are_noted_as_such_until_the_data_are_made_anew(
    system: process.System, root: Path, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    agent = damage.Damage(system)

    def ended(number: int) -> dict[str, object]:
        system.start([sys.executable, "-c", "raise SystemExit(3)"], env={}, cwd=None, log=log)
        deadline_ns = time.monotonic_ns() + 10_000_000_000
        while system.report()["exits_total"] < number:
            assert time.monotonic_ns() < deadline_ns
            time.sleep(0.01)
        last: dict[str, object] = system.report()["exits"][-1]
        return last

    system.start([sys.executable, "-c", LOOP], env={}, cwd=None, log=log)
    assert do(system, root, "torn-write", 1).was_running
    assert system.report()["exits"][-1]["asked_by"] == "kill"
    assert ended(2)["asked_by"] is None  # half a write is no reason to end
    do(system, root, "bit-flip", 1)
    assert ended(3)["asked_by"] == DAMAGED_DATA
    agent.end()
    assert ended(4)["asked_by"] is None


def test_a_damage_that_changes_nothing_is_seen_to(
    system: process.System, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "_overwrite", lambda path, content: None)
    seen = do(system, root, "bit-flip", random.Random(1).getrandbits(32))
    assert not seen.differs
    assert "reads as before" in seen.detail
