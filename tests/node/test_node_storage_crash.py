"""Storage is stopped at every boundary between two operations of the disk, and must remember.

Rules of this file: the twin in `storage_model.py` says what may be found; the disk in
`faulty_directory.py` says what a crash keeps.
"""

import random

import pytest
from faulty_directory import POLICIES, PowerLoss, SimDirectory
from hypothesis import given
from hypothesis import strategies as st
from storage_model import IDENTITY, State, Twin, found_by, opened, scripted

from node.core.messages import HardState
from node.storage import identity
from node.storage.errors import NotInitialised

STEPS = 60
WORKLOADS = (1, 2)


def new_directory() -> SimDirectory:
    directory = SimDirectory()
    identity.init(directory, IDENTITY)
    return SimDirectory(directory.contents())


def operations_of(seed: int) -> int:
    """How many operations of the disk the workload takes when nothing stops it."""
    directory = new_directory()
    scripted(seed, opened(directory), Twin(), STEPS)
    return directory.operations


def stopped(directory: SimDirectory, twin: Twin, seed: int, crash_at: int) -> bool:
    """Start, check what is found, work until the machine stops. False if it never did."""
    directory.crash_at = directory.operations + crash_at
    try:
        store = opened(directory)
        twin.check(found_by(store), (seed, crash_at))
        store.release_recovered()
        scripted(seed, store, twin, STEPS)
    except PowerLoss:
        return True
    return False


def test_a_workload_does_everything_that_can_be_done() -> None:
    """The crashes below are worth something: segments were rolled, removed, snapshots replaced."""
    for seed in WORKLOADS:
        directory = new_directory()
        store, twin = opened(directory), Twin()
        scripted(seed, store, twin, STEPS)
        assert store.segments[0] > 1, "compacted"
        assert store.segments[-1] > 3, "rolled"
        assert store.snapshot is not None
        assert operations_of(seed) > 100
        twin.check(found_by(opened(directory)), seed)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", WORKLOADS)
def test_a_crash_at_every_boundary_and_another_soon_after(seed: int, policy: str) -> None:
    """What was durable is there, what is there is a state that was; also the second time."""
    total = operations_of(seed)
    for crash_at in range(total + 1):
        chance = random.Random(f"{seed}:{policy}:{crash_at}")
        directory, twin = new_directory(), Twin()
        stopped(directory, twin, seed, crash_at)
        directory = directory.after_crash(policy, chance)
        # The second crash often hits the recovery itself.
        second = chance.choice((chance.randrange(6), chance.randrange(total)))
        stopped(directory, twin, seed + 1000, second)
        final = policy if policy != "process" else "nothing"
        directory = directory.after_crash(final, chance)
        twin.check(found_by(opened(directory)), (seed, policy, crash_at, second))


@given(st.integers(0, 2**32))
def test_random_workloads_survive_many_crashes(seed: int) -> None:
    """Other workloads than the scripted ones, five crashes each, every kind of loss among them."""
    chance = random.Random(seed)
    directory, twin = new_directory(), Twin()
    for life in range(5):
        stopped(directory, twin, chance.randrange(2**32), chance.randrange(150))
        directory = directory.after_crash(chance.choice(POLICIES), chance)
        if life == 4:
            twin.check(found_by(opened(directory)), seed)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_first_start_that_a_crash_interrupts_is_no_start_or_a_whole_one(policy: str) -> None:
    whole = SimDirectory()
    identity.init(whole, IDENTITY)
    for crash_at in range(whole.operations + 1):
        for attempt in range(5):
            directory = SimDirectory()
            directory.crash_at = crash_at
            initialised = False
            try:
                identity.init(directory, IDENTITY)
                initialised = True
            except PowerLoss:
                pass
            directory = directory.after_crash(policy, random.Random(f"{crash_at}:{attempt}"))
            try:
                found = identity.load(directory)
            except NotInitialised:
                assert not initialised
                identity.init(directory, IDENTITY)
                found = identity.load(directory)
            assert found == IDENTITY
            assert found_by(opened(directory)) == State(HardState(), (0, 0), (), None, None)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_peer_is_known_when_remembering_has_returned(policy: str) -> None:
    start = new_directory()
    identity.remember_peer(start, "n2", 5)
    contents = start.contents()
    for crash_at in range(8):
        directory = SimDirectory(contents)
        directory.crash_at = crash_at
        remembered = False
        try:
            identity.remember_peer(directory, "n3", 7)
            remembered = True
        except PowerLoss:
            pass
        found = identity.known_peers(directory.after_crash(policy, random.Random(crash_at)))
        assert found in ({"n2": 5, "n3": 7}, {"n2": 5})
        assert not remembered or found == {"n2": 5, "n3": 7}


def test_a_start_can_be_repeated_without_changing_anything() -> None:
    """Recovery writes only where there is something to heal."""
    directory, twin = new_directory(), Twin()
    stopped(directory, twin, 1, 10**6)
    before = directory.contents()
    twin.check(found_by(opened(directory)), "again")
    assert directory.contents() == before
