"""Storage with a bit flipped, a file cut short, a file gone: it knows, or nothing is missing.

Rules of this file: everything was durable when the damage happened. So a start finds all of it, or
refuses and names the file and a place not behind the damage. The one thing that may be lost without
a word is the last group that was synced: nothing written later says that it was.
"""

import random

import pytest
from faulty_directory import SimDirectory
from hypothesis import given
from hypothesis import strategies as st
from storage_model import IDENTITY, State, Twin, begun, found_by, opened, scripted, sync

from node.core.messages import HardState
from node.storage import identity
from node.storage.errors import AlreadyInitialised, Corrupt, NotInitialised, WrongOwner
from node.storage.segments import is_segment, segment_name
from node.storage.store import Store
from node.storage.wal import Batch


def worked(seed: int, steps: int = 40) -> tuple[dict[str, bytes], list[State], str, int]:
    """Durable files, the last three states, the newest segment, and where its last group began."""
    directory = SimDirectory()
    identity.init(directory, IDENTITY)
    identity.remember_peer(directory, "n2", 4)
    store, twin = opened(directory), Twin()
    scripted(seed, store, twin, steps)
    for vote in (None, "n9", None):  # a group behind what is known to be durable, in one segment
        number, start = store.segments[-1], len(directory.read(segment_name(store.segments[-1])))
        begun(twin, Batch(HardState(100, vote)), store)
        if store.segments[-1] != number:
            sync(store, twin)
    begun(twin, Batch(HardState(101, "n1")), store)
    sync(store, twin)
    newest = segment_name(store.segments[-1])
    sync(store, twin)
    start = len(directory.contents()[newest])
    begun(twin, Batch(HardState(102, "n1")), store)
    begun(twin, Batch(HardState(103, "n1")), store)
    sync(store, twin)
    if store.segments[-1] != int(newest.removeprefix("wal-"), 16):
        return worked(seed + 1000, steps)
    return directory.contents(), twin.states[-3:], newest, start


def start_with(files: dict[str, bytes]) -> State | Corrupt:
    directory = SimDirectory(files)
    try:
        identity.load(directory)
        identity.known_peers(directory)
        return found_by(opened(directory))
    except Corrupt as error:
        return error


def judge(
    outcome: State | Corrupt, states: list[State], name: str, position: int, *, in_last_group: bool
) -> None:
    if isinstance(outcome, Corrupt):
        assert outcome.file == name, outcome
        assert outcome.offset <= position, outcome
        assert name in str(outcome)
    elif in_last_group:
        assert outcome in states
    else:
        assert outcome == states[-1], f"{name} at {position}: lost without a word"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_bit_flipped_anywhere(seed: int) -> None:
    files, states, newest, start = worked(seed)
    chance = random.Random(seed)
    refused = 0
    for name, content in files.items():
        for position in range(len(content)):
            damaged = bytearray(content)
            damaged[position] ^= 1 << chance.randrange(8)
            outcome = start_with({**files, name: bytes(damaged)})
            in_last_group = name == newest and position >= start
            judge(outcome, states, name, position, in_last_group=in_last_group)
            refused += isinstance(outcome, Corrupt)
    total = sum(map(len, files.values()))
    assert refused > 0.9 * total, "most of it is vouched for by something behind it"


@given(st.integers(0, 10**6))
def test_a_bit_flipped_in_random_histories(seed: int) -> None:
    files, states, newest, start = worked(seed, steps=25)
    chance = random.Random(seed)
    for name in files:
        content = bytearray(files[name])
        position = chance.randrange(len(content))
        content[position] ^= 1 << chance.randrange(8)
        outcome = start_with({**files, name: bytes(content)})
        in_last_group = name == newest and position >= start
        judge(outcome, states, name, position, in_last_group=in_last_group)


def test_a_file_cut_short_anywhere() -> None:
    """As a file system's repair may leave it. Only the newest segment may end early."""
    files, states, newest, start = worked(3)
    for name, content in files.items():
        for size in range(0, len(content), 3):
            outcome = start_with({**files, name: content[:size]})
            if name == newest and not isinstance(outcome, Corrupt):
                # Nothing says how long the newest segment was: a prefix of what was written.
                assert outcome.hard_state.term <= states[-1].hard_state.term
                assert size >= start or outcome not in states
            else:
                judge(outcome, states, name, size, in_last_group=False)


def test_a_file_that_is_gone() -> None:
    files, _, newest, _ = worked(1)
    assert sum(map(is_segment, files)) > 2
    for name in files:
        rest = {other: content for other, content in files.items() if other != name}
        if name == identity.PEERS:
            assert identity.known_peers(SimDirectory(rest)) == {}
            continue
        outcome = start_with(rest)
        if name == min(filter(is_segment, files)) and not isinstance(outcome, Corrupt):
            # All that was in it may be covered by the snapshot.
            assert outcome.snapshot is not None
        else:
            assert isinstance(outcome, Corrupt), f"{name} is gone and nobody noticed"
    assert newest in files


def test_an_error_says_what_to_look_at() -> None:
    error = Corrupt("wal-0000000000000003", 512, "had been durable up to offset 900")
    assert str(error) == (
        "wal-0000000000000003: damaged at offset 512: had been durable up to offset 900"
    )
    assert (error.file, error.offset, error.reason) == (
        "wal-0000000000000003",
        512,
        "had been durable up to offset 900",
    )


# Identity.


def test_an_empty_directory_is_no_node() -> None:
    """New or wiped: nobody can tell, so it does not start. Files of others do not make it one."""
    for files in ({}, {"lock": b""}, {"identity.tmp": b"half"}):
        with pytest.raises(NotInitialised, match="wiped"):
            identity.load(SimDirectory(files))


def test_a_wiped_node_comes_back_as_another() -> None:
    files, *_ = worked(1)
    directory = SimDirectory()
    again = identity.Identity("lab", "n1", 12)
    identity.init(directory, again)
    assert identity.load(directory).incarnation == 12
    # The data of its earlier life, found again, are not its own.
    mixed = SimDirectory({**files, identity.IDENTITY: directory.read(identity.IDENTITY)})
    with pytest.raises(WrongOwner, match="the log belongs to"):
        Store.opened(mixed, again)


def test_the_directory_of_another_is_refused() -> None:
    directory = SimDirectory()
    identity.init(directory, IDENTITY)
    assert identity.load(directory, cluster="lab", name="n1") == IDENTITY
    with pytest.raises(WrongOwner, match="cluster lab, not attic"):
        identity.load(directory, cluster="attic", name="n1")
    with pytest.raises(WrongOwner, match="n1, not n2"):
        identity.load(directory, cluster="lab", name="n2")


def test_a_node_is_not_made_twice() -> None:
    directory = SimDirectory()
    identity.init(directory, IDENTITY)
    with pytest.raises(AlreadyInitialised):
        identity.init(directory, IDENTITY)
    directory.remove(identity.IDENTITY)
    opened(directory).append(Batch(HardState(1, None)))
    with pytest.raises(Corrupt, match="identity"):
        identity.init(directory, IDENTITY)


def test_peers_are_known_by_their_incarnation() -> None:
    directory = SimDirectory()
    assert identity.known_peers(directory) == {}
    identity.remember_peer(directory, "n2", 2**63 - 1)
    identity.remember_peer(directory, "n3", 0)
    before = directory.operations
    identity.remember_peer(directory, "n2", 2**63 - 1)
    assert directory.operations == before, "known already: nothing is written"
    with pytest.raises(ValueError, match="n2 is known as"):
        identity.remember_peer(directory, "n2", 5)
    assert identity.known_peers(directory) == {"n2": 2**63 - 1, "n3": 0}
    identity.forget_peer(directory, "n2")
    identity.forget_peer(directory, "n2")
    identity.remember_peer(directory, "n2", 5)
    assert identity.known_peers(directory) == {"n3": 0, "n2": 5}
