"""The log and the progress of followers against dumb twins that are obviously right."""

from hypothesis import given
from hypothesis import strategies as st
from servers import log_of

from node.core.log import RaftLog
from node.core.messages import Entry
from node.core.progress import Flow, Progress

terms = st.lists(st.integers(1, 5), max_size=8).map(sorted)


class DumbLog:
    """A log as a dictionary."""

    def __init__(self, entry_terms: list[int]) -> None:
        self.terms = dict(enumerate(entry_terms, 1))

    def receive(self, prev_index: int, new: list[int]) -> None:
        """Figure 2, AppendEntries, steps 3 and 4, word for word."""
        for offset, term in enumerate(new, 1):
            index = prev_index + offset
            if index in self.terms and self.terms[index] != term:
                self.terms = {i: t for i, t in self.terms.items() if i < index}
            self.terms.setdefault(index, term)


@given(terms, st.data())
def test_appending_agrees_with_the_paper_word_for_word(own: list[int], data: st.DataObject) -> None:
    prev = data.draw(st.integers(0, len(own)))
    floor = own[prev - 1] if prev else 1
    new = sorted(data.draw(st.lists(st.integers(floor, 6), max_size=5)))
    log, dumb = log_of(*own), DumbLog(own)
    entries = [Entry(prev + i, term, "") for i, term in enumerate(new, 1)]
    conflict = log.find_conflict(entries)
    if conflict is not None:
        if conflict <= log.last_index:
            log.truncate_from(conflict)
        log.append(entries[conflict - entries[0].index :])
    dumb.receive(prev, new)
    assert {i: log.term(i) for i in range(1, log.last_index + 1)} == dumb.terms


@given(terms, terms)
def test_up_to_date_is_total_and_reflexive(one: list[int], other: list[int]) -> None:
    a, b = log_of(*one), log_of(*other)
    a_wins = b.is_up_to_date(a.last_index, a.last_term)
    b_wins = a.is_up_to_date(b.last_index, b.last_term)
    assert a_wins or b_wins
    same = (a.last_term, a.last_index) == (b.last_term, b.last_index)
    assert (a_wins and b_wins) == same


@given(terms, st.integers(0, 12), st.integers(0, 6))
def test_last_agreeable_agrees_with_a_scan(own: list[int], index: int, term: int) -> None:
    log = log_of(*own)
    expected = max(
        (i for i in range(1, len(own) + 1) if i <= index and own[i - 1] <= term), default=0
    )
    assert log.last_agreeable(index, term) == expected


@given(terms, st.integers(1, 9), st.integers(1, 5), st.integers(1, 12))
def test_slices_stay_within_their_limits(
    own: list[int], start: int, entries_max: int, bytes_max: int
) -> None:
    log = log_of(*own)
    if start > log.last_index:
        return
    chosen = log.slice(start, entries_max, bytes_max)
    assert [entry.index for entry in chosen] == list(range(start, start + len(chosen)))
    assert 1 <= len(chosen) <= entries_max
    assert len(chosen) == 1 or sum(len(entry.data) for entry in chosen) <= bytes_max


def test_a_log_behind_a_snapshot_knows_its_base() -> None:
    log = RaftLog([Entry(11, 4, "")], base_index=10, base_term=3)
    assert (log.first_index, log.last_index, log.term(10), log.term(9)) == (11, 11, 3, None)
    log.truncate_from(11)
    assert (log.last_index, log.last_term) == (10, 3)
    assert log.is_up_to_date(10, 3)
    assert not log.is_up_to_date(11, 2)


@given(st.lists(st.tuples(st.sampled_from(["ack", "refuse", "send", "resume"]), st.integers(0, 9))))
def test_progress_keeps_its_invariants_whatever_comes(steps: list[tuple[str, int]]) -> None:
    progress = Progress(next_index=5, now_ns=0, inflight_max=3)
    for kind, index in steps:
        match = progress.match_index
        if kind == "ack":
            progress.acknowledged(index)
        elif kind == "refuse":
            progress.refused(index, index - 1)
        elif kind == "resume":
            progress.resume()
        elif progress.may_send():
            progress.sent(progress.next_index)
        assert progress.match_index >= match
        assert progress.next_index > progress.match_index
        assert len(progress.inflight) <= 3
        assert progress.flow is Flow.REPLICATE or not progress.inflight
