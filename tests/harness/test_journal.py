"""The journal: whole lines, in order, and nothing after a failure."""

import os
import resource
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.history import Event, EventType, read_jsonl
from harness.journal import Journal, JournalError, line_of


def test_what_was_recorded_is_on_its_way_to_the_disk_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl")
    journal.record(time_ns=1, process=0, type=EventType.INVOKE, f="write", key="k", value=1)
    # Not closed, not flushed: a kill -9 now would lose nothing.
    (event,) = read_jsonl(journal.path).events
    assert (event.index, event.time, event.value) == (0, 1, 1)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.record(time_ns=2, process=0, type=EventType.OK, f="write")


def test_many_threads_make_whole_lines_with_one_numbering(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl")

    def write(process: int) -> None:
        for number in range(100):
            kind = EventType.INVOKE if number % 2 == 0 else EventType.OK
            journal.record(time_ns=number, process=process, type=kind, f="read", value="x" * 50)

    threads = [threading.Thread(target=write, args=(process,)) for process in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    history = read_jsonl(journal.path)
    assert sorted(event.index for event in history.events) == list(range(800))
    assert len(history.operations()) == 400


def test_a_journal_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("precious\n")
    with pytest.raises(JournalError, match=str(path)):
        Journal(path)
    assert path.read_text() == "precious\n"


def fill(journal: Journal) -> int:
    for number in range(100):
        try:
            journal.record(time_ns=number, process=number, type=EventType.INVOKE, f="read")
        except JournalError as error:
            assert "choose another --store" in str(error)  # noqa: PT017  (counted until it failed)
            return number
    raise AssertionError("the disk never filled up")


def test_a_full_disk_leaves_whole_lines_only_and_refuses_what_follows(tmp_path: Path) -> None:
    """A file-size limit makes the kernel cut a write short, as a full disk does."""
    journal = Journal(tmp_path / "history.jsonl")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        recorded = fill(journal)
        with pytest.raises(JournalError):
            journal.record(time_ns=999, process=999, type=EventType.INVOKE, f="read")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old_handler)
    journal.close()
    history = read_jsonl(journal.path)
    assert history.torn_tail is None
    assert len(history.events) == recorded > 0
    assert os.path.getsize(journal.path) <= 1000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(
    st.builds(
        Event,
        index=st.integers(0),
        process=st.integers(0) | st.just("nemesis"),
        type=st.sampled_from(EventType),
        f=st.text(max_size=8),
        value=VALUES,
        key=st.none() | st.text(max_size=4),
        time=st.none() | st.integers(0),
        node=st.none() | st.text(max_size=4),
        error=st.none() | st.text(max_size=9),
    )
)
def test_the_fast_line_is_the_plain_one(event: Event) -> None:
    assert line_of(event) == event.to_json()


def test_a_batch_is_written_at_its_end_in_one_row_of_indexes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl")
    with journal.batch() as batch:
        for process in range(3):
            batch.add(process, process, EventType.INVOKE, "read", None, "k", "n1")
        assert journal.path.read_text() == ""
    assert len(journal.path.read_text().splitlines()) == len(journal) == 3
    assert journal.record(time_ns=9, process="nemesis", type=EventType.INVOKE, f="kill").index == 3
    journal.close()
    assert read_jsonl(journal.path).events[:3] == tuple(batch.events)


def test_a_batch_that_is_broken_off_is_still_written(tmp_path: Path) -> None:
    """Completions that were taken off their queue must not be lost with what went wrong."""
    journal = Journal(tmp_path / "history.jsonl")

    def broken_off() -> None:
        with journal.batch() as batch:
            batch.add(1, 0, EventType.INVOKE, "read", None, None, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert journal.record(time_ns=2, process=0, type=EventType.OK, f="read").index == 1
    journal.close()
    assert len(read_jsonl(journal.path).operations()) == 1
