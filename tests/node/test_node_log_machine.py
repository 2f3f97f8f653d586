"""The log and its ledger against twins that are lists: any order of appending, cutting, compacting,
restarting behind a snapshot, writing, and crashing.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from servers import configuration_of

from node.core import acceptance
from node.core.ledger import Handed, Ledger
from node.core.log import RaftLog
from node.core.membership import Configuration
from node.core.messages import COMMAND, CONFIGURATION, AppendRequest, Entry, HardState

CONFIGURATIONS = (
    configuration_of("a", "b", "c"),
    configuration_of("a", "d", outgoing="abc"),
    configuration_of("a", "d"),
    configuration_of("b", learners="c"),
)


class DumbLog:
    """All entries that ever were in the log, from index 1 on, whatever is compacted away."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.first_configuration = Configuration()
        self.base_index = 0

    def term(self, index: int) -> int | None:
        if index < self.base_index or index > len(self.entries):
            return None
        return self.entries[index - 1].term if index else 0

    def configuration_at(self, index: int) -> Configuration:
        known = [e for e in self.entries[:index] if e.kind == CONFIGURATION]
        texts = {one.to_text(): one for one in CONFIGURATIONS}
        return texts[known[-1].data] if known else self.first_configuration


class DumbDisk:
    """Batches as they were given; a crash keeps the first so many."""

    def __init__(self) -> None:
        self.base = (0, 0)
        self.entries: list[Entry] = []

    def write(self, handed: Handed) -> None:
        if handed.base is not None:
            self.base, self.entries = handed.base, []
        if handed.truncate_from is not None:
            del self.entries[handed.truncate_from - self.base[0] - 1 :]
        for entry in handed.entries:
            assert entry.index == self.base[0] + len(self.entries) + 1, "a gap on disk"
            self.entries.append(entry)

    def holds(self, entry: Entry) -> bool:
        return entry in self.entries


class LogMachine(RuleBasedStateMachine):
    """A follower's log. What is at or below `committed` is never cut."""

    def __init__(self) -> None:
        super().__init__()
        self.log = RaftLog()
        self.ledger = Ledger(HardState(), 0)
        self.twin = DumbLog()
        self.disk = DumbDisk()
        self.on_its_way: list[Handed] = []
        self.done = 0
        self.committed = 0
        self.term = 1

    @rule(data=st.data())
    def a_leader_sends(self, data: st.DataObject) -> None:
        """Entries that match up to some index, agree for a while, then are new."""
        term = self.term = self.term + data.draw(st.integers(0, 2))
        prev = data.draw(st.integers(self.committed, len(self.twin.entries)))
        same = data.draw(st.integers(0, len(self.twin.entries) - prev))
        kept = self.twin.entries[prev : prev + same]
        new = [self._entry(prev + same + i, term, data) for i in (1, 2, 3)]
        new = new[: data.draw(st.integers(0, 3))]
        if not new and same == 0:
            return
        message = AppendRequest("b", "a", term, prev, self._term(prev), 0, (*kept, *new))
        accepted = acceptance.accept(self.log, self.ledger, self.committed, message)
        assert accepted is not None
        assert accepted.success
        assert accepted.index == prev + len(kept) + len(new)
        # Figure 2, AppendEntries, steps 3 and 4, word for word.
        for entry in message.entries:
            known = self.twin.entries[entry.index - 1 : entry.index]
            if known and known[0].term != entry.term:
                del self.twin.entries[entry.index - 1 :]
            if entry.index > len(self.twin.entries):
                self.twin.entries.append(entry)

    def _entry(self, index: int, term: int, data: st.DataObject) -> Entry:
        if data.draw(st.integers(0, 2)) == 0:
            text = data.draw(st.sampled_from(CONFIGURATIONS)).to_text()
            return Entry(index, term, text, CONFIGURATION)
        return Entry(index, term, f"{index}/{term}", COMMAND)

    def _term(self, index: int) -> int:
        return self.twin.entries[index - 1].term if index else 0

    @rule(data=st.data())
    def more_is_committed(self, data: st.DataObject) -> None:
        self.committed = data.draw(st.integers(self.committed, len(self.twin.entries)))

    @rule(data=st.data())
    def the_log_is_compacted(self, data: st.DataObject) -> None:
        limit = min(self.committed, self.ledger.durable_index)
        if limit > self.log.base_index:
            index = data.draw(st.integers(self.log.base_index, limit))
            self.log.compact(index)
            self.twin.base_index = index

    @rule(data=st.data())
    def a_snapshot_arrives(self, data: st.DataObject) -> None:
        """Of an index that is not known to be committed: in this log, matching or not, or behind it."""
        index = self.committed + data.draw(st.integers(1, 6))
        matches = index <= len(self.twin.entries) and data.draw(st.booleans())
        if matches:
            term = self._term(index)
        else:
            term = self.term = self.term + 1
        configuration = data.draw(st.sampled_from(CONFIGURATIONS))
        if matches:
            configuration = self.twin.configuration_at(index)
        acceptance.install(self.log, self.ledger, index, term, configuration)
        if not matches:
            filler = [Entry(i, term, "", COMMAND) for i in range(1, index + 1)]
            self.twin.entries = filler
            self.twin.first_configuration = configuration
        self.twin.base_index = self.committed = index

    @rule()
    def the_disk_is_given_what_it_lacks(self) -> None:
        if self.ledger.unsaved(self.log, HardState()):
            self.on_its_way.append(self.ledger.hand_out(self.log, HardState(), 0))

    @precondition(lambda self: self.done < len(self.on_its_way))
    @rule(data=st.data())
    def the_disk_is_done(self, data: st.DataObject) -> None:
        done = data.draw(st.integers(self.done + 1, len(self.on_its_way)))
        for handed in self.on_its_way[self.done : done]:
            self.disk.write(handed)
        self.done = done
        self.ledger.persisted(done)

    @invariant()
    def the_log_is_the_twin(self) -> None:
        log, twin = self.log, self.twin
        assert (log.base_index, log.last_index) == (twin.base_index, len(twin.entries))
        for index in range(max(0, log.base_index - 1), log.last_index + 2):
            assert log.term(index) == twin.term(index)
        assert log.since(log.first_index) == tuple(twin.entries[log.base_index :])
        assert log.last_term == (twin.entries[-1].term if twin.entries else 0)

    @invariant()
    def the_configuration_is_that_of_the_newest_entry_that_has_one(self) -> None:
        log, twin = self.log, self.twin
        assert log.configuration == twin.configuration_at(log.last_index)
        for index in range(log.base_index, log.last_index + 1):
            assert log.configuration_at(index) == twin.configuration_at(index)
        newest = [e.index for e in twin.entries if e.kind == CONFIGURATION]
        assert log.configuration_index == max([log.base_index, *newest])

    @invariant()
    def what_counts_as_durable_is_on_the_disk(self) -> None:
        """Up to the durable index the disk has this very log, so a crash can take none of it."""
        durable = self.ledger.durable_index
        assert durable <= self.log.last_index
        for index in range(self.log.first_index, durable + 1):
            assert self.disk.holds(self.log.entry(index)), f"{index} of {durable}"

    def teardown(self) -> None:
        """When the disk is done, it has the log, and nothing is owed."""
        self.the_disk_is_given_what_it_lacks()
        for handed in self.on_its_way[self.done :]:
            self.disk.write(handed)
        self.ledger.persisted(len(self.on_its_way))
        kept = [entry for entry in self.disk.entries if entry.index > self.log.base_index]
        assert kept == list(self.log.since(self.log.first_index))
        assert self.ledger.waiting_since_ns() is None
        assert not self.ledger.unsaved(self.log, HardState())
        assert self.ledger.durable_index >= self.log.last_index or not kept


def test_the_log_and_its_ledger_agree_with_their_twins() -> None:
    run_state_machine_as_test(LogMachine, settings=settings(stateful_step_count=30))
