"""The dumb twin of storage: what may be found after a crash, and a workload to crash.

Rules of this file:
- The twin keeps whole lists and knows nothing of files. `found` says what a start would find if the
  machine stopped behind the last step.
- A step is atomic: after any crash the state is the one behind some step that was begun, and not
  behind one before the last that was durable.
- A workload is what Raft could do: terms rise, a cut never reaches what a snapshot covers.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from faulty_directory import SimDirectory

from node.core.messages import COMMAND, CONFIGURATION, NOOP, Entry, HardState
from node.storage.identity import Identity
from node.storage.snapshots import SnapshotMeta, described
from node.storage.store import Store
from node.storage.wal import Batch

IDENTITY = Identity("lab", "n1", 2**62 + 11)
SEGMENT_BYTES = 700


@dataclass(frozen=True)
class State:
    """What a start finds."""

    hard_state: HardState
    base: tuple[int, int]
    entries: tuple[Entry, ...]
    snapshot: SnapshotMeta | None
    image: bytes | None

    @property
    def last_index(self) -> int:
        return self.base[0] + len(self.entries)

    def term_at(self, index: int) -> int:
        return self.base[1] if index == self.base[0] else self.entry(index).term

    def entry(self, index: int) -> Entry:
        return self.entries[index - self.base[0] - 1]


def found_by(store: Store) -> State:
    found = store.recovered
    return State(
        found.hard_state,
        (found.base_index, found.base_term),
        tuple(found.entries),
        found.snapshot,
        found.image,
    )


def opened(directory: SimDirectory) -> Store:
    return Store.opened(directory, IDENTITY, SEGMENT_BYTES)


@dataclass
class Twin:
    """The states behind each step, and how far they are durable."""

    states: list[State] = field(
        default_factory=lambda: [State(HardState(), (0, 0), (), None, None)]
    )
    durable: int = 0
    """The state of this number, or a later one, must be found."""

    @property
    def now(self) -> State:
        return self.states[-1]

    def batch(self, batch: Batch) -> None:
        state = self.now
        base, entries = state.base, state.entries
        if batch.base is not None:
            base, entries = batch.base, ()
        if batch.truncate_from is not None:
            entries = tuple(entry for entry in entries if entry.index < batch.truncate_from)
        self.states.append(
            State(
                batch.hard_state or state.hard_state,
                base,
                entries + batch.entries,
                state.snapshot,
                state.image,
            )
        )

    def snapshot(self, meta: SnapshotMeta, image: bytes) -> None:
        """The rule of installation: what agrees with the snapshot stays, or nothing."""
        state = self.now
        agrees = (
            state.base[0] <= meta.index <= state.last_index
            and state.term_at(meta.index) == meta.term
        )
        entries = state.entries[meta.index - state.base[0] :] if agrees else ()
        at = (meta.index, meta.term)
        self.states.append(State(state.hard_state, at, entries, described(meta, image), image))

    def synced(self) -> None:
        self.durable = len(self.states) - 1

    def check(self, found: State, context: object) -> None:
        """The state found is allowed; go on from it."""
        allowed = self.states[self.durable :]
        assert found in allowed, f"{context}: found {found}, allowed {allowed}"
        self.states = [found]
        self.durable = 0


Step = Callable[[Store, Twin], None]


def begun(twin: Twin, batch: Batch, store: Store) -> None:
    """Write a batch: from here on it may be found."""
    twin.batch(batch)
    store.append(batch)


def sync(store: Store, twin: Twin) -> None:
    store.sync()
    twin.synced()


def data_of(chance: random.Random, index: int) -> str:
    return f'{{"k":{index},"v":"{"x" * chance.choice((0, 1, 30, 900))}\u00e9"}}'


def some_entries(chance: random.Random, first: int, term: int, count: int) -> tuple[Entry, ...]:
    kinds = (COMMAND, COMMAND, COMMAND, NOOP, CONFIGURATION)
    return tuple(
        Entry(index, term, data_of(chance, index), chance.choice(kinds))
        for index in range(first, first + count)
    )


def random_step(chance: random.Random, store: Store, twin: Twin) -> None:
    """Do one of the things that a node does to its storage."""
    state = twin.now
    term, last = state.hard_state.term, state.last_index
    kind = chance.choices(
        ("entries", "term", "cut", "sync", "snapshot", "install", "compact"),
        (30, 10, 8, 20, 8, 5, 8),
    )[0]
    if kind == "entries":
        begun(twin, Batch(entries=some_entries(chance, last + 1, term, chance.randrange(4))), store)
    elif kind == "term":
        vote = chance.choice((None, "n1", "n2"))
        entries = some_entries(chance, last + 1, term + 1, chance.randrange(2))
        begun(twin, Batch(HardState(term + 1, vote), None, entries), store)
    elif kind == "cut" and state.entries:
        cut = chance.randrange(state.base[0] + 1, last + 1)
        entries = some_entries(chance, cut, term + 1, chance.randrange(3))
        begun(twin, Batch(HardState(term + 1, None), cut, entries), store)
    elif kind == "sync":
        sync(store, twin)
    elif kind == "snapshot" and state.entries:
        index = chance.randrange(state.base[0] + 1, last + 1)
        save(chance, store, twin, SnapshotMeta(index, state.term_at(index), '{"voters":["n1"]}'))
    elif kind == "install":
        install(chance, store, twin)
    elif kind == "compact":
        store.compact(max(0, state.base[0] - chance.choice((0, 0, 3))))


def save(chance: random.Random, store: Store, twin: Twin, meta: SnapshotMeta) -> None:
    image = chance.randbytes(chance.choice((0, 10, 1300)))
    twin.snapshot(meta, image)
    store.save_snapshot(meta, image)
    twin.synced()


def install(chance: random.Random, store: Store, twin: Twin) -> None:
    """A snapshot from a leader: past the end of the log, or in conflict with it."""
    state = twin.now
    term = state.hard_state.term + 1
    begun(twin, Batch(HardState(term, None)), store)
    index = chance.randrange(state.base[0] + 1, state.last_index + 4)
    save(chance, store, twin, SnapshotMeta(index, term, '{"voters":["n1","n2"]}'))
    entries = some_entries(chance, index + 1, term, chance.randrange(2))
    begun(twin, Batch(None, None, entries, (index, term)), store)


def scripted(seed: int, store: Store, twin: Twin, steps: int) -> None:
    """A workload that a seed decides; always the same up to the moment where it is stopped."""
    chance = random.Random(f"workload:{seed}")
    for _ in range(steps):
        random_step(chance, store, twin)
    sync(store, twin)
