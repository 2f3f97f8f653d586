"""The write-ahead log: what it reads back, what it refuses, where a crash cuts it, how it rolls."""

import random

import pytest
from faulty_directory import SimDirectory
from hypothesis import given
from hypothesis import strategies as st

from node.core.messages import CONFIGURATION, NOOP, Entry, HardState, Malformed
from node.storage.errors import Corrupt, WrongOwner
from node.storage.frames import HEADER_BYTES, MAGIC
from node.storage.replay import Replay
from node.storage.segments import FIRST, Head, Owner, create_segment, segment_name
from node.storage.wal import Batch, Wal

OWNER: Owner = ("lab", "n1", 77)
FIRST_NAME = segment_name(FIRST)


def new_directory() -> SimDirectory:
    directory = SimDirectory()
    create_segment(directory, Head(OWNER, FIRST, 0, HardState(), 0, 0))
    return directory


def open_wal(directory: SimDirectory, segment_bytes: int = 1 << 20) -> Wal:
    return Wal(directory, OWNER, segment_bytes=segment_bytes)


def entry(index: int, term: int = 1) -> Entry:
    return Entry(index, term, f'"data {index}"')


def state_of(wal: Wal) -> tuple[HardState, list[Entry]]:
    assert wal.replay is not None
    return wal.replay.hard_state, wal.replay.entries


def sized(directory: SimDirectory, name: str = FIRST_NAME) -> int:
    return len(directory.contents()[name])


BATCHES = (
    Batch(HardState(1, "n2"), None, (entry(1), entry(2))),
    Batch(None, None, (entry(3),)),
    Batch(HardState(2, None), 2, (entry(2, 2),)),
)
EXPECTED = [
    (HardState(), []),
    (HardState(1, "n2"), [entry(1), entry(2)]),
    (HardState(1, "n2"), [entry(1), entry(2), entry(3)]),
    (HardState(2, None), [entry(1), entry(2, 2)]),
]


def three_batches() -> tuple[SimDirectory, list[int]]:
    """A log of three batches, each synced; and where each one ends."""
    directory = new_directory()
    wal = open_wal(directory)
    ends = [sized(directory)]
    for batch in BATCHES:
        wal.append(batch)
        wal.sync()
        ends.append(sized(directory))
    return directory, ends


def test_what_was_written_is_read_back() -> None:
    directory, _ = three_batches()
    wal = open_wal(directory)
    assert state_of(wal) == EXPECTED[-1]
    assert wal.torn_bytes == 0
    assert wal.last_index == 2


def test_every_kind_of_entry_keeps_its_kind_and_its_text() -> None:
    directory = new_directory()
    wal = open_wal(directory)
    entries = (
        Entry(1, 1, "", NOOP),
        Entry(2, 1, '{"voters":[]}', CONFIGURATION),
        Entry(3, 1, 'é \U0001f600 \x00 "\\'),
    )
    wal.append(Batch(None, None, entries))
    wal.sync()
    assert state_of(open_wal(directory))[1] == list(entries)


def test_a_base_drops_what_was_written_before_it() -> None:
    directory, _ = three_batches()
    wal = open_wal(directory)
    wal.append(Batch(None, None, (entry(51, 5),), (50, 4)))
    wal.sync()
    wal = open_wal(directory)
    assert wal.replay is not None
    assert (wal.replay.base_index, wal.replay.base_term) == (50, 4)
    assert state_of(wal) == (HardState(2, None), [entry(51, 5)])


def test_a_crash_at_every_byte_leaves_whole_batches_and_room_to_go_on() -> None:
    directory, ends = three_batches()
    content = directory.contents()[FIRST_NAME]
    for size in range(ends[0], len(content) + 1):
        torn = SimDirectory({FIRST_NAME: content[:size]})
        wal = open_wal(torn)
        whole = max(i for i, end in enumerate(ends) if end <= size)
        assert state_of(wal) == EXPECTED[whole]
        assert wal.torn_bytes == size - ends[whole]
        # The tail is gone from the file itself: what is written next will be found again.
        wal.append(Batch(None, None, (entry(wal.last_index + 1, 3),)))
        wal.sync()
        again = open_wal(torn)
        expected = EXPECTED[whole][1]
        assert state_of(again)[1] == [*expected, entry(len(expected) + 1, 3)]
        assert again.torn_bytes == 0


def test_a_log_cut_short_within_its_head_is_damaged_and_not_new() -> None:
    """The head is durable before anything relies on the segment; zeros in its place are no log."""
    directory, ends = three_batches()
    content = directory.contents()[FIRST_NAME]
    for image in (b"", content[: ends[0] - 1], bytes(len(content))):
        with pytest.raises(Corrupt) as caught:
            open_wal(SimDirectory({FIRST_NAME: image}))
        assert (caught.value.file, caught.value.offset) == (FIRST_NAME, 0)


def test_a_valid_frame_behind_damage_proves_nothing_when_neither_was_synced() -> None:
    directory = new_directory()
    wal = open_wal(directory)
    start = sized(directory)
    wal.append(Batch(None, None, (entry(1),)))
    wal.append(Batch(None, None, (entry(2),)))
    content = bytearray(directory.contents()[FIRST_NAME])
    content[start + HEADER_BYTES] ^= 1  # the first sector never arrived, the second did
    wal = open_wal(SimDirectory({FIRST_NAME: bytes(content)}))
    assert state_of(wal)[1] == []
    assert wal.torn_bytes == len(content) - start


def test_nothing_written_before_a_sync_is_said_to_be_durable() -> None:
    """A frame carries what was known when it was written, not what is true when it is read."""
    directory = new_directory()
    wal = open_wal(directory)
    start = sized(directory)
    wal.append(Batch(None, None, (entry(1),)))
    assert wal.durable_offset == start
    assert not wal.is_synced
    wal.sync()
    assert wal.durable_offset == sized(directory)
    assert wal.is_synced


def test_a_client_cannot_write_a_frame_into_the_log() -> None:
    directory = new_directory()
    wal = open_wal(directory)
    wal.append(Batch(None, None, (Entry(1, 1, MAGIC.decode("latin-1")),)))
    assert directory.contents()[FIRST_NAME].count(MAGIC) == 2


@pytest.mark.parametrize(
    "owner", [("lab", "n2", 77), ("other", "n1", 77), ("lab", "n1", 78)], ids=str
)
def test_the_log_of_another_is_refused(owner: Owner) -> None:
    directory, _ = three_batches()
    with pytest.raises(WrongOwner, match=FIRST_NAME):
        Wal(directory, owner)


@pytest.mark.parametrize(
    "batch",
    [
        Batch(None, None, (entry(4),)),
        Batch(None, None, (entry(2),)),
        Batch(None, 4, ()),
        Batch(None, 0, ()),
        Batch(None, 2, (entry(3),)),
        Batch(None, None, (entry(10),), (10, 1)),
    ],
    ids=["gap", "overlap", "cut behind the end", "cut of nothing", "gap at a cut", "base"],
)
def test_what_does_not_continue_the_log_is_not_written(batch: Batch) -> None:
    directory, ends = three_batches()
    wal = open_wal(directory)
    with pytest.raises(Malformed):
        wal.append(batch)
    assert sized(directory) == ends[-1]
    wal.append(Batch(None, None, (entry(3, 2),)))
    wal.sync()
    assert len(state_of(open_wal(directory))[1]) == 3


# Segments.


def rolled(batches: int, segment_bytes: int = 600) -> tuple[SimDirectory, Wal]:
    directory = new_directory()
    wal = open_wal(directory, segment_bytes)
    for index in range(1, batches + 1):
        wal.append(Batch(HardState(index, "n2"), None, (entry(index, index),)))
        wal.sync()
    return directory, wal


def test_a_log_in_many_segments_is_read_back_as_one() -> None:
    directory, wal = rolled(60)
    assert len(wal.segments) > 5
    assert all(sized(directory, name) < 1000 for name in directory.names())
    again = open_wal(directory)
    assert state_of(again) == (HardState(60, "n2"), [entry(i, i) for i in range(1, 61)])
    assert again.segments == wal.segments


def test_only_whole_segments_go_and_the_rest_knows_where_it_begins() -> None:
    directory, wal = rolled(60)
    before = wal.segments
    for index in range(61):
        wal.compact(index)
        again = open_wal(SimDirectory(directory.contents()))
        assert again.replay is not None
        assert again.replay.base_index <= index, "nothing above the index is gone"
        assert again.replay.base_term == again.replay.base_index
        first = again.replay.base_index + 1
        assert state_of(again) == (HardState(60, "n2"), [entry(i, i) for i in range(first, 61)])
    assert wal.segments == (before[-1],), "the newest stays"


def test_the_hard_state_outlives_the_segment_that_it_was_written_in() -> None:
    directory = new_directory()
    wal = open_wal(directory, 600)
    wal.append(Batch(HardState(9, "n3")))
    for index in range(1, 40):
        wal.append(Batch(None, None, (entry(index, 9),)))
    wal.sync()
    wal.compact(30)
    assert wal.segments[0] > FIRST
    assert state_of(open_wal(directory))[0] == HardState(9, "n3")


def test_a_cut_below_the_first_segment_that_is_left() -> None:
    """The cut was made before the snapshot that let the segment go: the log begins where it cut."""
    directory, wal = rolled(20)
    newest = wal.segments[-1]
    while wal.segments[-1] == newest:
        wal.append(Batch(None, None, (entry(wal.last_index + 1, 20),)))
    base = wal.last_index - 1  # of the newest segment: it holds one entry
    wal.append(Batch(HardState(30, None), base - 1, (entry(base - 1, 30),)))
    for index in range(base, base + 30):
        wal.append(Batch(None, None, (entry(index, 30),)))
    wal.sync()
    wal.compact(base)
    assert wal.segments[0] == newest + 1
    again = open_wal(directory)
    assert again.replay is not None
    assert (again.replay.base_index, again.replay.base_term) == (base - 2, None)
    assert again.replay.entries == [entry(index, 30) for index in range(base - 1, base + 30)]


@pytest.mark.parametrize("which", [0, 2, -1], ids=["first", "inner", "newest"])
def test_a_segment_that_is_missing_is_named(which: int) -> None:
    """An inner or the newest one; what is left of a log without its first ones is for the store."""
    directory, wal = rolled(60)
    number = wal.segments[which]
    directory.remove(segment_name(number))
    if which == 0:
        wal = open_wal(directory)
        assert wal.replay is not None
        assert wal.replay.base_index > 0
        return
    with pytest.raises(Corrupt) as caught:
        open_wal(directory)
    assert caught.value.file == segment_name(number)


def test_no_segment_at_all_is_a_loss() -> None:
    with pytest.raises(Corrupt, match="missing"):
        open_wal(SimDirectory())


def test_segments_of_two_logs_are_not_mixed() -> None:
    """The same numbers, the same sizes, another history: the chain of checksums tells."""
    ours, _ = rolled(60)
    other = new_directory()
    wal = open_wal(other, 600)
    for index in range(1, 61):
        other_entry = Entry(index, index, f'"atad {index}"')
        wal.append(Batch(HardState(index, "n2"), None, (other_entry,)))
        wal.sync()
    name = segment_name(3)
    mixed = ours.contents() | {name: other.contents()[name]}
    assert len(mixed[name]) == len(ours.contents()[name])
    with pytest.raises(Corrupt, match="does not continue"):
        open_wal(SimDirectory(mixed))


def test_nothing_is_behind_a_seal() -> None:
    directory, _ = rolled(60)
    content = directory.contents()[FIRST_NAME]
    for more in (b"junk", content[-30:], content):
        with pytest.raises(Corrupt, match="behind the seal") as caught:
            open_wal(SimDirectory(directory.contents() | {FIRST_NAME: content + more}))
        assert (caught.value.file, caught.value.offset) == (FIRST_NAME, len(content))


def test_a_file_that_only_looks_like_a_segment_is_refused() -> None:
    directory, _ = three_batches()
    for name in ("wal-1", "wal-000000000000000G", "wal-0000000000000000"):
        with pytest.raises(Corrupt, match=name):
            open_wal(SimDirectory(directory.contents() | {name: b""}))


@given(st.integers(0, 10_000))
def test_what_the_writer_knows_of_the_log_is_what_a_reader_finds(seed: int) -> None:
    """`Shape` keeps runs of terms, its twin `Replay` all entries; they agree behind every batch."""
    chance = random.Random(seed)
    replay = Replay(Head(OWNER, FIRST, 0, HardState(), 0, 0))
    shape, term = replay.shape(), 0
    for _ in range(30):
        term += chance.choice((0, 0, 1, 3))
        base = (shape.last_index + chance.randrange(3), term) if chance.random() < 0.1 else None
        last = base[0] if base is not None else shape.last_index
        cut = chance.randrange(max(0, last - 5), last + 1) + 1 if chance.random() < 0.3 else None
        first = cut if cut is not None else last + 1
        entries = tuple(entry(first + i, term) for i in range(chance.randrange(4)))
        batch = Batch(None, cut, entries, base)
        shape.follow(batch)
        replay.batch(batch.document())
        assert (shape.base_index, shape.last_index) == (replay.base_index, replay.last_index)
        assert shape.last_term == replay.last_term
