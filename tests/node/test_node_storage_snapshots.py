"""Snapshots: kept, read in parts, put together from chunks, and joined with the log."""

import random
from dataclasses import replace

import pytest
from faulty_directory import SimDirectory
from hypothesis import given
from hypothesis import strategies as st
from storage_model import IDENTITY, opened

from node.core.messages import Entry, HardState
from node.storage import identity, snapshots
from node.storage.errors import Corrupt
from node.storage.snapshots import Damaged, SnapshotMeta, SnapshotReceiver, described
from node.storage.store import Recovered, Store
from node.storage.wal import Batch

META = SnapshotMeta(10, 3, '{"voters":["n1","n2"],"learners":[]}')
IMAGE = bytes(range(256)) * 10


def new_directory() -> SimDirectory:
    directory = SimDirectory()
    identity.init(directory, IDENTITY)
    return directory


def test_what_was_saved_is_read_back_whole_and_in_parts() -> None:
    directory = SimDirectory()
    meta = snapshots.save(directory, META, IMAGE)
    assert (meta.size, meta.configuration) == (len(IMAGE), META.configuration)
    found = snapshots.latest(directory)
    assert found is not None
    assert found[0] == meta
    reader = found[1]
    assert reader.image() == IMAGE
    parts = [reader.read(offset, 1000) for offset in range(0, len(IMAGE), 1000)]
    assert b"".join(parts) == IMAGE
    assert reader.read(len(IMAGE), 10) == b""
    assert reader.read(len(IMAGE) + 5, 10) == b""
    with pytest.raises(ValueError):
        reader.read(-1, 10)


def test_no_snapshot_is_none() -> None:
    assert snapshots.latest(SimDirectory({"wal-x": b"", "snapshot-x.tmp": b"half"})) is None


def test_a_newer_one_takes_the_place_of_older_ones_while_they_are_read() -> None:
    directory = SimDirectory()
    snapshots.save(directory, META, IMAGE)
    old = snapshots.latest(directory)
    snapshots.save(directory, replace(META, index=11), b"new")
    assert directory.names() == [snapshots.snapshot_name(11)]
    new = snapshots.latest(directory)
    assert old is not None
    assert new is not None
    assert (old[1].image(), new[1].image()) == (IMAGE, b"new")


def test_the_older_one_serves_while_it_is_there() -> None:
    directory = SimDirectory()
    snapshots.save(directory, META, IMAGE)
    older = directory.contents()
    snapshots.save(directory, replace(META, index=11), b"new")
    name = snapshots.snapshot_name(11)
    damaged = directory.contents()[name][:-1] + b"?"
    found = snapshots.latest(SimDirectory({**older, name: damaged}))
    assert found is not None
    assert found[0].index == 10
    with pytest.raises(Corrupt) as caught:
        snapshots.latest(SimDirectory({name: damaged}))
    assert caught.value.file == name


def test_a_snapshot_under_another_name_is_refused() -> None:
    directory = SimDirectory()
    snapshots.save(directory, META, IMAGE)
    directory.rename(snapshots.snapshot_name(10), snapshots.snapshot_name(12))
    with pytest.raises(Corrupt, match="another's name"):
        snapshots.latest(directory)


# Chunks.

SENT = described(META, IMAGE)


def feed_all(receiver: SnapshotReceiver, meta: SnapshotMeta, image: bytes, chunk: int) -> None:
    wanted = receiver.begin(meta)
    while wanted < len(image):
        after = receiver.feed(meta.key, wanted, image[wanted : wanted + chunk])
        assert after is not None
        assert after > wanted
        wanted = after


@pytest.mark.parametrize("chunk", [1, 7, 1024, 10**6])
def test_chunks_of_any_size_make_up_the_image(chunk: int) -> None:
    receiver = SnapshotReceiver(1 << 20)
    assert not receiver.is_complete()
    feed_all(receiver, SENT, IMAGE, chunk)
    assert receiver.is_complete()
    assert receiver.complete() == (SENT, IMAGE)
    assert receiver.meta is None, "handed out once"


def test_an_empty_image_is_complete_at_once() -> None:
    receiver = SnapshotReceiver(100)
    meta = described(META, b"")
    assert receiver.begin(meta) == 0
    assert receiver.complete() == (meta, b"")


def test_gaps_and_repetitions_change_nothing_and_are_told_what_is_wanted() -> None:
    receiver = SnapshotReceiver(1 << 20)
    receiver.begin(SENT)
    assert receiver.feed(SENT.key, 0, IMAGE[:100]) == 100
    assert receiver.feed(SENT.key, 0, IMAGE[:100]) == 100, "repeated"
    assert receiver.feed(SENT.key, 200, IMAGE[200:300]) == 100, "a gap"
    assert receiver.feed(SENT.key, 50, IMAGE[50:150]) == 100, "overlapping"
    assert receiver.feed(SENT.key, 100, IMAGE[100:] + b"more") == 100, "past the end"
    assert receiver.begin(SENT) == 100, "the same again goes on"
    assert receiver.feed(SENT.key, 100, IMAGE[100:]) == len(IMAGE)
    assert receiver.complete() == (SENT, IMAGE)


@pytest.mark.parametrize("change", ["index", "term", "checksum", "size"])
def test_chunks_of_another_snapshot_are_not_mixed_in(change: str) -> None:
    """The second leader's image may have the same index: every part of its key counts."""
    receiver = SnapshotReceiver(1 << 20)
    receiver.begin(SENT)
    receiver.feed(SENT.key, 0, IMAGE[:100])
    other = replace(SENT, **{change: getattr(SENT, change) + 1})
    assert receiver.feed(other.key, 100, b"other") is None
    assert receiver.feed(SENT.key, 100, IMAGE[100:200]) == 200, "still the first one"
    assert receiver.begin(other) == 0, "a new one begins at its beginning"
    assert receiver.feed(SENT.key, 200, IMAGE[200:]) is None


def test_an_image_that_is_not_the_one_announced_is_never_handed_out() -> None:
    receiver = SnapshotReceiver(1 << 20)
    receiver.begin(SENT)
    receiver.feed(SENT.key, 0, IMAGE[:-1] + b"?")
    with pytest.raises(Damaged, match="checksum"):
        receiver.complete()
    assert receiver.begin(SENT) == 0, "from the beginning"
    receiver.feed(SENT.key, 0, IMAGE[:-1])
    with pytest.raises(Damaged, match="not all"):
        receiver.complete()
    with pytest.raises(Damaged):
        receiver.complete()


def test_an_image_larger_than_any_is_refused_before_it_is_sent() -> None:
    receiver = SnapshotReceiver(1000)
    with pytest.raises(Damaged, match="at most 1000"):
        receiver.begin(SENT)
    assert receiver.meta is None


@given(st.integers(0, 10_000))
def test_any_network_brings_one_of_the_images_or_none(seed: int) -> None:
    """Two senders, chunks lost, repeated, reordered and damaged: what comes out is what went in."""
    chance = random.Random(seed)
    images = [chance.randbytes(chance.randrange(60)) for _ in range(2)]
    metas = [described(replace(META, term=3 + i), image) for i, image in enumerate(images)]
    receiver = SnapshotReceiver(100)
    for _ in range(200):
        which = chance.randrange(2)
        meta, image = metas[which], images[which]
        if chance.random() < 0.1:
            receiver.begin(meta)
        start = chance.choice((len(receiver._image), chance.randrange(60)))
        chunk = image[start : start + chance.randrange(1, 30)]
        if chunk and chance.random() < 0.02:
            chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
        receiver.feed(meta.key, start, chunk)
        if receiver.is_complete():
            try:
                done, whole = receiver.complete()
            except Damaged:
                continue
            assert whole == images[metas.index(done)]


# The store.


def entries(first: int, last: int, term: int) -> tuple[Entry, ...]:
    return tuple(Entry(index, term, f"{index}") for index in range(first, last + 1))


def store_with(directory: SimDirectory, last: int, term: int) -> Store:
    store = opened(directory)
    store.append(Batch(HardState(term, None), None, entries(1, last, term)))
    store.sync()
    return store


def reopened(directory: SimDirectory) -> Recovered:
    return opened(SimDirectory(directory.contents())).recovered


def test_entries_behind_a_snapshot_stay() -> None:
    directory = new_directory()
    store = store_with(directory, 15, 3)
    meta = store.save_snapshot(META, IMAGE)
    found = reopened(directory)
    assert (found.base_index, found.base_term) == (10, 3)
    assert found.entries == list(entries(11, 15, 3))
    assert (found.snapshot, found.image) == (meta, IMAGE)
    assert store.snapshot is not None
    assert store.snapshot.meta == meta
    assert store.snapshot.read(5, 10) == IMAGE[5:15]


@pytest.mark.parametrize(("last", "term"), [(15, 2), (5, 3)], ids=["conflicting", "shorter"])
def test_an_installed_snapshot_whose_base_a_crash_kept_from_the_log(last: int, term: int) -> None:
    """Recovery gives the log the base that is missing: what follows is found again."""
    directory = new_directory()
    store_with(directory, last, term).save_snapshot(META, IMAGE)
    store = opened(directory)
    assert store.recovered.entries == []
    assert store.recovered.base_index == 10
    store.append(Batch(None, None, entries(11, 12, 3)))
    store.sync()
    assert reopened(directory).entries == list(entries(11, 12, 3))


@pytest.mark.parametrize(("term", "kept"), [(3, 2), (2, 0)], ids=["the same term", "another"])
def test_a_snapshot_where_the_log_begins(term: int, kept: int) -> None:
    """A base of another term is a log that the snapshot contradicts."""
    directory = new_directory()
    store = opened(directory)
    store.append(Batch(HardState(3, None), None, entries(11, 12, 3), (10, term)))
    store.save_snapshot(META, IMAGE)
    assert len(reopened(directory).entries) == kept


def test_a_log_behind_the_end_of_the_snapshot_is_a_gap() -> None:
    directory = new_directory()
    store = opened(directory)
    for index in range(1, 60):
        store.append(Batch(HardState(1, None), None, entries(index, index, 1)))
    store.save_snapshot(SnapshotMeta(50, 1, ""), b"fifty")
    assert store.compact(50) > 0
    files = directory.contents()
    name = snapshots.snapshot_name(50)
    del files[name]
    with pytest.raises(Corrupt, match="no snapshot"):
        opened(SimDirectory(files))
    other = SimDirectory(files)
    snapshots.save(other, SnapshotMeta(2, 1, ""), b"two")
    with pytest.raises(Corrupt, match="ends at 2"):
        opened(other)


def test_the_log_never_goes_before_its_snapshot() -> None:
    directory = new_directory()
    store = store_with(directory, 15, 3)
    with pytest.raises(ValueError, match="cannot compact up to 5"):
        store.compact(5)
    store.save_snapshot(META, IMAGE)
    store.compact(10)
    with pytest.raises(ValueError, match="the snapshot ends at 10"):
        store.compact(11)


def test_a_snapshot_does_not_go_back() -> None:
    store = store_with(new_directory(), 15, 3)
    store.save_snapshot(META, IMAGE)
    with pytest.raises(ValueError, match="behind that of 10"):
        store.save_snapshot(replace(META, index=9), IMAGE)
    store.save_snapshot(META, b"the same again")


def test_a_snapshot_written_aside_is_none_until_it_is_put_in_place() -> None:
    """The long half runs beside the log; a crash before the short one leaves no trace."""
    directory = new_directory()
    store = store_with(directory, 15, 3)
    meta = store.write_snapshot_aside(META, IMAGE)
    assert store.snapshot is None
    found = reopened(directory)
    assert found.snapshot is None
    assert len(found.entries) == 15
    store.put_snapshot_in_place(meta)
    assert reopened(directory).snapshot == meta
    assert not [name for name in directory.names() if name.endswith(".tmp")]


def test_what_a_crash_left_aside_is_removed_at_the_start() -> None:
    directory = new_directory()
    store_with(directory, 15, 3).write_snapshot_aside(META, IMAGE)
    opened(directory)
    assert not [name for name in directory.names() if name.endswith(".tmp")]


def test_the_disk_holds_one_snapshot_and_what_follows_it_however_long_it_runs() -> None:
    directory = new_directory()
    store = opened(directory)
    sizes = []
    for index in range(1, 2001):
        store.append(Batch(HardState(1, None), None, entries(index, index, 1)))
        if index % 20 == 0:
            store.save_snapshot(SnapshotMeta(index, 1, ""), b"image")
            store.compact(index)
            sizes.append(sum(map(len, directory.contents().values())))
    assert max(sizes) < 3000
    assert reopened(directory).base_index == 2000
