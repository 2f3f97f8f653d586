"""The history format: what is read back, what is dropped, what is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.history import (
    NEMESIS,
    Event,
    EventType,
    History,
    HistoryError,
    event_from_record,
    in_order,
    read_jsonl,
)

INVOKE = '{"index":0,"time":5,"process":0,"type":"invoke","f":"write","key":"k0","value":1}\n'
OK = '{"index":1,"time":9,"process":0,"type":"ok","f":"write","key":"k0","value":1}\n'


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "history.jsonl"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    index=st.integers(min_value=0),
    time=st.none() | st.integers(min_value=0),
    process=st.integers(min_value=0) | st.just(NEMESIS),
    kind=st.sampled_from(EventType),
    key=st.none() | st.text(min_size=1),
    value=values,
    error=st.none() | st.text(),
)
def test_an_event_survives_its_line(
    index: int,
    time: int | None,
    process: int | str,
    kind: EventType,
    key: str | None,
    value: object,
    error: str | None,
) -> None:
    event = Event(
        index=index, time=time, process=process, type=kind, f="f", key=key, value=value, error=error
    )
    line = event.to_json()
    assert "\n" not in line
    assert event_from_record(json.loads(line), default_index=-1) == event


@pytest.mark.parametrize("cut", range(1, len(OK)))
def test_a_torn_last_line_is_dropped_at_every_byte(tmp_path: Path, cut: int) -> None:
    history = read_jsonl(written(tmp_path, INVOKE + OK[:cut]))
    if cut == len(OK) - 1:  # only the newline is missing: the event is whole
        assert len(history.events) == 2
        assert history.torn_tail is None
    else:
        assert [event.index for event in history.events] == [0]
        assert history.torn_tail == OK[:cut]
    assert history.operations()[0].end == (1 if cut == len(OK) - 1 else None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nonsense\n", "not JSON"),
        ("[]\n", "expected an object"),
        ('{"process":0,"type":"done","f":"read"}\n', "type is 'done'"),
        ('{"process":"p","type":"ok","f":"read"}\n', "process is 'p'"),
        ('{"process":true,"type":"ok","f":"read"}\n', "process is True"),
        ('{"process":0,"type":"ok"}\n', "f is None"),
        ('{"process":0,"type":"ok","f":"read","time":"now"}\n', "time is 'now'"),
    ],
)
def test_garbage_is_named_by_file_and_line(tmp_path: Path, line: str, expected: str) -> None:
    path = written(tmp_path, INVOKE + line + OK)
    with pytest.raises(HistoryError, match=expected) as caught:
        read_jsonl(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_garbage_in_the_last_whole_line_is_not_a_torn_tail(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=":2: not JSON"):
        read_jsonl(written(tmp_path, INVOKE + '{"torn":\n'))


def test_times_decide_the_order_and_equal_times_overlap() -> None:
    def event(index: int, time: int, process: int, kind: EventType) -> Event:
        return Event(index=index, time=time, process=process, type=kind, f="read")

    events = in_order(
        [
            event(0, 10, 1, EventType.INVOKE),
            event(1, 20, 1, EventType.OK),
            event(2, 20, 2, EventType.INVOKE),
            event(3, 5, 3, EventType.INVOKE),
        ]
    )
    assert [item.index for item in events] == [3, 0, 2, 1]
    first, second = sorted(History(events).operations(), key=lambda op: op.invocation.index)[:2]
    assert first.end is not None
    assert second.start < first.end


def test_a_process_may_go_on_at_the_same_clock_tick() -> None:
    events = [
        Event(index=0, time=1, process=0, type=EventType.INVOKE, f="read"),
        Event(index=1, time=2, process=0, type=EventType.OK, f="read", value=1),
        Event(index=2, time=2, process=0, type=EventType.INVOKE, f="read"),
        Event(index=3, time=3, process=0, type=EventType.OK, f="read", value=2),
    ]
    operations = History(in_order(events)).operations()
    assert [operation.output for operation in operations] == [1, 2]


def test_either_all_events_have_a_time_or_none() -> None:
    timed = Event(index=0, time=1, process=0, type=EventType.INVOKE, f="read")
    untimed = Event(index=1, process=0, type=EventType.OK, f="read")
    with pytest.raises(HistoryError, match="event 1 has no time"):
        in_order([timed, untimed])
    assert in_order([untimed]) == (untimed,)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("invoke", "invoke"), "invokes again"),
        (("ok",), "it never invoked"),
        (("invoke", "info", "invoke"), "goes on after an indeterminate"),
    ],
)
def test_processes_are_sequential(kinds: tuple[str, ...], expected: str) -> None:
    events = tuple(
        Event(index=index, time=index, process=4, type=EventType(kind), f="read")
        for index, kind in enumerate(kinds)
    )
    with pytest.raises(HistoryError, match=expected):
        History(events).operations()


def test_nothing_completes_before_it_was_invoked() -> None:
    events = in_order(
        [
            Event(index=0, time=10, process=0, type=EventType.INVOKE, f="read"),
            Event(index=1, time=5, process=0, type=EventType.OK, f="read"),
        ]
    )
    with pytest.raises(HistoryError, match="completes before it was invoked"):
        History(events).operations()


def test_what_never_completed_is_indeterminate_and_the_nemesis_is_no_client() -> None:
    events = (
        Event(index=0, time=0, process=NEMESIS, type=EventType.INVOKE, f="kill"),
        Event(index=1, time=1, process=0, type=EventType.INVOKE, f="write", value=3),
        Event(index=2, time=2, process=NEMESIS, type=EventType.INFO, f="kill"),
    )
    (operation,) = History(events).operations()
    assert operation.type is EventType.INFO
    assert operation.end is None
    assert operation.input == 3
    assert operation.output is None
    assert [event.index for event in History(events).nemesis_events] == [0, 2]
