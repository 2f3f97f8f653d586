"""Storage on the file system of this machine, and the thread that writes to it."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from faulty_directory import SimDirectory
from storage_model import IDENTITY, Twin, found_by, opened, scripted

from node.core.messages import Entry, HardState
from node.storage import identity
from node.storage.files import RealDirectory
from node.storage.group_commit import GroupCommit
from node.storage.recovery import recover
from node.storage.snapshots import SnapshotMeta
from node.storage.store import Store
from node.storage.wal import Batch

WAIT_S = 20


def test_a_real_directory_and_the_simulated_one_end_with_the_same_files(tmp_path: Path) -> None:
    real, simulated = RealDirectory(tmp_path), SimDirectory()
    for directory in (real, simulated):
        identity.init(directory, IDENTITY)
        identity.remember_peer(directory, "n2", 4)
        twin = Twin()
        scripted(5, Store.opened(directory, IDENTITY, 700), twin, 80)
        twin.check(found_by(Store.opened(directory, IDENTITY, 700)), directory)
    assert {name: real.read(name) for name in real.names()} == simulated.contents()


def test_what_others_left_behind_the_end_is_cut_off(tmp_path: Path) -> None:
    directory = RealDirectory(tmp_path)
    identity.init(directory, IDENTITY)
    store = Store.opened(directory, IDENTITY)
    store.append(Batch(HardState(3, "n2"), None, (Entry(1, 3, "x"),)))
    store.sync()
    store.close()
    path = tmp_path / "wal-0000000000000001"
    size = os.path.getsize(path)
    with path.open("ab") as raw:
        raw.write(b"torn")
    recovered = Store.opened(directory, IDENTITY).recovered
    assert recovered.entries == [Entry(1, 3, "x")]
    assert recovered.hard_state == HardState(3, "n2")
    assert recovered.torn_bytes == 4
    assert os.path.getsize(path) == size


def test_syncs_reach_the_operating_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File data by fdatasync; names by fsync of the directory, behind every rename and removal."""
    seen: list[str] = []
    real_fsync, real_fdatasync = os.fsync, os.fdatasync
    real_replace, real_unlink = os.replace, os.unlink

    def fsync(descriptor: int) -> None:
        seen.append("names" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        real_fsync(descriptor)

    def fdatasync(descriptor: int) -> None:
        seen.append("data")
        real_fdatasync(descriptor)

    def replace(old: Path, new: Path) -> None:
        seen.append("rename")
        real_replace(old, new)

    def unlink(path: Path) -> None:
        seen.append("unlink")
        real_unlink(path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "unlink", unlink)
    directory = RealDirectory(tmp_path)
    identity.init(directory, IDENTITY)
    assert seen == ["data", "names", "data", "rename", "names"]
    store = Store.opened(directory, IDENTITY, 300)
    seen.clear()
    store.append(Batch(None, None, (Entry(1, 1, "x" * 300),)))
    assert seen == []
    store.append(Batch(None, None, (Entry(2, 1, "y"),)))  # rolls
    assert seen == ["data", "data", "names", "data"]
    seen.clear()
    store.save_snapshot(SnapshotMeta(1, 1, ""), b"one")
    assert seen == ["data", "data", "rename", "names"]
    seen.clear()
    store.save_snapshot(SnapshotMeta(2, 1, ""), b"two")
    assert seen == ["data", "rename", "names", "unlink", "names"]
    seen.clear()
    assert store.compact(1) == 1
    assert seen == ["unlink", "names"]


# The thread.


class Answers:
    """What a group commit said, in order."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()

    def deliver(self, callback: Callable[[], None]) -> None:
        with self._changed:
            callback()
            self._changed.notify_all()

    def fatal(self, error: BaseException) -> NoReturn:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()
        raise SystemExit

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S)


class Held(Store):
    """A store whose syncs wait until they are let go, and are counted."""

    gate: threading.Semaphore
    syncs: int
    trace: list[str]

    def append(self, batch: Batch) -> None:
        self.trace.append("append")
        super().append(batch)

    def sync(self) -> None:
        assert self.gate.acquire(timeout=WAIT_S)
        self.trace.append("sync")
        super().sync()


def held_store() -> tuple[Held, SimDirectory]:
    directory = SimDirectory()
    identity.init(directory, IDENTITY)
    store = Held.opened(directory, IDENTITY)
    assert isinstance(store, Held)
    store.gate, store.trace = threading.Semaphore(0), []
    return store, directory


def a_batch(index: int) -> Batch:
    return Batch(None, None, (Entry(index, 1, f"{index}"),))


def test_what_gathers_during_one_fsync_shares_the_next() -> None:
    store, directory = held_store()
    answers = Answers()
    disk = GroupCommit(store, deliver=answers.deliver, fatal=answers.fatal)
    disk.submit(a_batch(1), lambda: answers.said.append(1))
    deadline = threading.Event()
    for _ in range(WAIT_S * 100):
        if store.trace:
            break
        deadline.wait(0.01)
    for index in range(2, 30):
        disk.submit(a_batch(index), lambda index=index: answers.said.append(index))  # type: ignore[misc]
    assert answers.said == [], "nothing is acknowledged before its fsync"
    store.gate.release(100)
    answers.wait(lambda: len(answers.said) == 29)
    assert answers.said == list(range(1, 30)), "in order"
    assert store.trace.count("sync") == 2
    assert disk.close(WAIT_S)
    assert len(opened(directory).recovered.entries) == 29


def test_a_vote_alone_is_synced_like_entries_and_nothing_is_not() -> None:
    store, directory = held_store()
    store.gate.release(100)
    answers = Answers()
    disk = GroupCommit(store, deliver=answers.deliver, fatal=answers.fatal)
    for batch in (Batch(HardState(4, "n2")), Batch(), Batch(None, None, (), (7, 4))):
        written, before = not batch.is_empty(), store.trace.count("sync")
        disk.submit(batch, lambda: answers.said.append(1))
        answers.wait(lambda: bool(answers.said))
        answers.said.clear()
        assert store._wal.is_synced
        assert store.trace.count("sync") == before + written
    assert disk.close(WAIT_S)
    # The base of an installed snapshot that is not here: only the log is looked at.
    log = recover(SimDirectory(directory.contents()), IDENTITY.owner).replay
    assert log.hard_state == HardState(4, "n2")
    assert (log.base_index, log.base_term) == (7, 4)


def test_tasks_have_their_turn_behind_what_is_durable() -> None:
    """A snapshot is taken of what came before it, and what comes behind waits for it."""
    store, directory = held_store()
    store.gate.release(100)
    answers = Answers()
    ready, go = threading.Event(), threading.Event()
    disk = GroupCommit(store, deliver=answers.deliver, fatal=answers.fatal)

    def hold() -> None:
        ready.set()
        assert go.wait(WAIT_S)

    def snapshot() -> None:
        assert store._wal.is_synced
        assert answers.said == ["held", 1, 2], "batches do not wait for the task behind them"
        store.save_snapshot(SnapshotMeta(2, 1, ""), b"two")

    disk.run(hold, lambda: answers.said.append("held"))
    assert ready.wait(WAIT_S)
    disk.submit(a_batch(1), lambda: answers.said.append(1))
    disk.submit(a_batch(2), lambda: answers.said.append(2))
    disk.run(snapshot, lambda: answers.said.append("saved"))
    disk.run(lambda: store.compact(2), lambda: answers.said.append("compacted"))
    disk.submit(Batch(), lambda: answers.said.append("nothing"))
    disk.submit(a_batch(3), lambda: answers.said.append(3))
    go.set()
    assert disk.close(WAIT_S)
    assert answers.errors == []
    assert answers.said == ["held", 1, 2, "saved", "compacted", "nothing", 3]
    found = opened(directory).recovered
    assert (found.base_index, [entry.index for entry in found.entries]) == (2, [3])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", ["batch", "task"])
def test_a_disk_that_refuses_is_fatal_and_nobody_is_told_of_success(kind: str) -> None:
    store, directory = held_store()
    store.gate.release(100)
    answers = Answers()
    disk = GroupCommit(store, deliver=answers.deliver, fatal=answers.fatal)
    disk.submit(a_batch(1), lambda: answers.said.append(1))
    answers.wait(lambda: answers.said == [1])
    directory.fail_at = directory.operations + 1  # the write succeeds, the fsync does not
    if kind == "batch":
        disk.submit(a_batch(2), lambda: answers.said.append(2))
    else:
        disk.run(
            lambda: store.save_snapshot(SnapshotMeta(1, 1, ""), b"one"),
            lambda: answers.said.append(2),
        )
    answers.wait(lambda: bool(answers.errors))
    disk.submit(a_batch(3), lambda: answers.said.append(3))
    assert disk.close(WAIT_S), "the thread has ended"
    assert isinstance(answers.errors[0], OSError)
    assert answers.said == [1]


def test_closing_gives_up_on_a_disk_that_hangs() -> None:
    store, _ = held_store()
    answers = Answers()
    disk = GroupCommit(store, deliver=answers.deliver, fatal=answers.fatal)
    disk.submit(a_batch(1), lambda: answers.said.append(1))
    assert not disk.close(0.05)
    store.gate.release(1)
    answers.wait(lambda: answers.said == [1])
    assert disk.close(WAIT_S)
