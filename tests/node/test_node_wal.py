"""The write-ahead log at every byte where a crash or a bit flip can hit it."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import SimFile

from node.core.messages import Entry, HardState
from node.storage.files import RealFile
from node.storage.wal import HEADER_BYTES, MAGIC, Batch, Corrupt, Wal, WrongOwner

MEMBERS = ("n1", "n2", "n3")


def open_wal(file: SimFile, name: str = "n1") -> Wal:
    return Wal(file, name=name, members=MEMBERS)


def entry(index: int, term: int = 1) -> Entry:
    return Entry(index, term, f'"data {index}"')


def image_of(content: bytes) -> SimFile:
    file = SimFile()
    file.content = content
    file.durable_bytes = len(content)
    return file


def three_batches() -> tuple[SimFile, list[int]]:
    """A log of three batches, each synced; and where each one ends."""
    file = SimFile()
    wal = open_wal(file)
    ends = [len(file.content)]
    for batch in (
        Batch(HardState(1, "n2"), None, (entry(1), entry(2))),
        Batch(None, None, (entry(3),)),
        Batch(HardState(2, None), 2, (entry(2, 2),)),
    ):
        wal.append(batch)
        wal.sync()
        ends.append(len(file.content))
    return file, ends


EXPECTED = [
    (HardState(), []),
    (HardState(1, "n2"), [entry(1), entry(2)]),
    (HardState(1, "n2"), [entry(1), entry(2), entry(3)]),
    (HardState(2, None), [entry(1), entry(2, 2)]),
]


def test_what_was_written_is_read_back() -> None:
    file, _ = three_batches()
    recovered = open_wal(file).recovered
    assert (recovered.hard_state, recovered.entries) == EXPECTED[-1]
    assert recovered.torn_bytes == 0


def test_a_crash_at_every_byte_leaves_whole_batches_and_room_to_go_on() -> None:
    file, ends = three_batches()
    for size in range(len(file.content) + 1):
        torn = image_of(file.content[:size])
        wal = open_wal(torn)
        whole = max((i for i, end in enumerate(ends) if end <= size), default=0)
        assert (wal.recovered.hard_state, wal.recovered.entries) == EXPECTED[whole]
        # The tail is gone from the file itself: what is written next will be found again.
        last = len(wal.recovered.entries)
        wal.append(Batch(None, None, (entry(last + 1, 3),)))
        wal.sync()
        again = open_wal(torn).recovered
        assert again.entries == [*EXPECTED[whole][1], entry(last + 1, 3)]
        assert again.torn_bytes == 0


def test_a_bit_flipped_below_the_durable_offset_is_refused() -> None:
    file, ends = three_batches()
    for position in range(ends[-2]):
        for bit in (0, 3, 7):
            content = bytearray(file.content)
            content[position] ^= 1 << bit
            with pytest.raises(Corrupt) as caught:
                open_wal(image_of(bytes(content)))
            assert caught.value.offset <= position


def test_a_log_without_its_first_frame_is_damaged_and_not_new() -> None:
    """The first frame is synced before any other is written: zeros in its place are no torn tail."""
    file, _ = three_batches()
    size = len(file.read())
    with pytest.raises(Corrupt):
        open_wal(image_of(bytes(size)))


def test_a_bit_flipped_in_what_was_never_known_durable_is_a_torn_tail() -> None:
    file, ends = three_batches()
    for position in range(ends[-2], ends[-1]):
        content = bytearray(file.content)
        content[position] ^= 1
        recovered = open_wal(image_of(bytes(content))).recovered
        assert (recovered.hard_state, recovered.entries) == EXPECTED[2]
        assert recovered.torn_bytes == ends[-1] - ends[-2]


def test_a_valid_frame_behind_damage_proves_nothing_when_neither_was_synced() -> None:
    file = SimFile()
    wal = open_wal(file)
    start = len(file.content)
    wal.append(Batch(None, None, (entry(1),)))
    wal.append(Batch(None, None, (entry(2),)))
    content = bytearray(file.content)
    content[start + HEADER_BYTES] ^= 1  # the first sector never arrived, the second did
    recovered = open_wal(image_of(bytes(content))).recovered
    assert recovered.entries == []
    assert recovered.torn_bytes == len(content) - start


def test_a_client_cannot_write_a_frame_into_the_log() -> None:
    file = SimFile()
    wal = open_wal(file)
    wal.append(Batch(None, None, (Entry(1, 1, MAGIC.decode("latin-1")),)))
    assert file.content.count(MAGIC) == 2


@pytest.mark.parametrize("name", ["n2", "n9"])
def test_the_log_of_another_node_is_refused(name: str) -> None:
    file, _ = three_batches()
    with pytest.raises(WrongOwner):
        Wal(file, name=name, members=MEMBERS)
    with pytest.raises(WrongOwner):
        Wal(file, name="n1", members=("n1", "n2"))


@given(st.integers(0, 10_000))
def test_random_batches_survive_random_crashes(seed: int) -> None:
    """Whatever was synced is there after any crash; a crash never makes the log refuse."""
    chance = random.Random(seed)
    file = SimFile()
    wal = open_wal(file)
    log: list[Entry] = []
    synced: list[Entry] = []
    for _ in range(30):
        action = chance.choice(("append", "append", "sync", "crash"))
        if action == "append":
            cut = chance.randrange(len(log) + 1) if chance.random() < 0.2 else len(log)
            new = [Entry(cut + 1 + i, 1, str(chance.random())) for i in range(chance.randrange(3))]
            truncate_from = cut + 1 if cut < len(log) else None
            # A cut that was synced with nothing in its place is a loss that Raft never asks for.
            if truncate_from is not None and truncate_from <= len(synced):
                continue
            log = log[:cut] + new
            wal.append(Batch(None, truncate_from, tuple(new)))
        elif action == "sync":
            wal.sync()
            synced = list(log)
        else:
            file.crash(chance)
            wal = open_wal(file)
            log = list(wal.recovered.entries)
            assert log[: len(synced)] == synced
            synced = list(log)


def test_the_file_of_the_operating_system(tmp_path: Path) -> None:
    path = tmp_path / "wal"
    wal = Wal(RealFile(path), name="n1", members=MEMBERS)
    wal.append(Batch(HardState(3, "n2"), None, (entry(1, 3),)))
    wal.sync()
    size = os.path.getsize(path)
    with path.open("ab") as raw:
        raw.write(b"torn")
    recovered = Wal(RealFile(path), name="n1", members=MEMBERS).recovered
    assert recovered.entries == [entry(1, 3)]
    assert recovered.hard_state == HardState(3, "n2")
    assert recovered.torn_bytes == 4
    assert os.path.getsize(path) == size
