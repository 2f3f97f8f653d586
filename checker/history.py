"""The vocabulary: events, operations, and the history file that holds them.

Rules of this file:
- One event a line, JSON (see `Event`). An invocation is written before its request leaves, a
  completion after its answer arrived: a file cut short anywhere holds every request that may
  have had an effect.
- A torn last line (no newline, the beginning of an object) is what a killed writer leaves and is dropped, once,
  and reported in `History.torn_tail`. Anything else that cannot be read is an error that names
  file and line: nothing is ever skipped silently.
- The order that counts is `time`; at equal times invocations come first, so the two operations
  overlap. Histories without times are ordered by line.
- `fail` certainly did not happen, `info` may have happened, now or at any later time. An
  operation still open at the end of a history is `info`.
- No clock, no randomness; the only effect is reading a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from checker.values import canonical

NEMESIS = "nemesis"


class EventType(StrEnum):
    """What an event says about its operation."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class HistoryError(ValueError):
    """Input that is not a history. The message names file, line and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a history.

    `time` is in nanoseconds since the run's start, `None` in imported histories that have none.
    `process` is a logical thread of control: an integer for clients, ``"nemesis"`` for faults.
    `value` is any JSON value; its meaning belongs to `f` (``cas``: ``[from, to]``).
    `node` is the node the request was sent to; `error` the error code of a failed completion.
    """

    index: int
    process: int | str
    type: EventType
    f: str
    value: Any = None
    key: str | None = None
    time: int | None = None
    node: str | None = None
    error: str | None = None

    def to_json(self) -> str:
        """Return this event as one line of JSON without the newline; absent fields are left out."""
        record: dict[str, Any] = {"index": self.index}
        if self.time is not None:
            record["time"] = self.time
        record["process"] = self.process
        record["type"] = self.type.value
        record["f"] = self.f
        if self.key is not None:
            record["key"] = self.key
        record["value"] = self.value
        if self.node is not None:
            record["node"] = self.node
        if self.error is not None:
            record["error"] = self.error
        return json.dumps(record, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An invocation and what became of it.

    `start` and `end` are positions in the history's order (not times): A happened before B exactly
    when ``A.end < B.start``. `end` is `None` for an operation that may take effect at any later
    time (`info`). `output` is the completion's value, `input` the invocation's.
    """

    invocation: Event
    completion: Event | None
    start: int
    end: int | None

    @property
    def type(self) -> EventType:
        """`ok`, `fail` or `info`; an operation that never completed is `info`."""
        return EventType.INFO if self.completion is None else self.completion.type

    @property
    def f(self) -> str:
        """The function: read, write, cas, ..."""
        return self.invocation.f

    @property
    def key(self) -> str | None:
        """The key of the object, `None` where a history has one object only."""
        return self.invocation.key

    @property
    def input(self) -> Any:
        """What the client asked for."""
        return self.invocation.value

    @property
    def output(self) -> Any:
        """What the client was told; `None` without a completion."""
        return None if self.completion is None else self.completion.value


@dataclass(frozen=True, slots=True)
class History:
    """Events in their order. Immutable; `operations` pairs them up.

    `format` is the format it was read from: what outcomes mean differs between them.
    """

    events: tuple[Event, ...]
    source: str = "<memory>"
    torn_tail: str | None = field(default=None, compare=False)
    format: str = field(default="jsonl", compare=False)

    @property
    def client_events(self) -> Iterator[Event]:
        """The events of clients, without those of the nemesis."""
        return (event for event in self.events if event.process != NEMESIS)

    @property
    def nemesis_events(self) -> Iterator[Event]:
        """The events of the nemesis only."""
        return (event for event in self.events if event.process == NEMESIS)

    def operations(self) -> list[Operation]:
        """Pair each client's invocations with their completions, in order of invocation.

        Pairs are made in the order of writing (`index`), positions come from the order of `time`:
        where a clock was too coarse to tell a completion from the same process's next invocation,
        the two operations overlap, which takes a constraint away and never adds one.

        Raises `HistoryError` when a process invokes twice without completing, completes what it
        did not invoke, or goes on after an `info` (its number is retired).
        """
        open_at: dict[int | str, tuple[int, Event]] = {}
        retired: set[int | str] = set()
        paired: list[Operation] = []
        as_written = sorted(enumerate(self.client_events), key=lambda pair: pair[1].index)
        for position, event in as_written:
            process = event.process
            if event.type is EventType.INVOKE:
                if process in open_at:
                    raise self._misuse(event, "invokes again before its last operation completed")
                if process in retired:
                    raise self._misuse(event, "goes on after an indeterminate (info) operation")
                open_at[process] = (position, event)
                continue
            if process not in open_at:
                raise self._misuse(event, f"completes ({event.type}) an operation it never invoked")
            start, invocation = open_at.pop(process)
            if position < start:
                raise self._misuse(event, f"completes before it was invoked (time {event.time})")
            if invocation.f != event.f:
                raise self._misuse(event, f"completes {event.f!r} but invoked {invocation.f!r}")
            indeterminate = event.type is EventType.INFO
            if indeterminate:
                retired.add(process)
            end = None if indeterminate else position
            paired.append(Operation(invocation=invocation, completion=event, start=start, end=end))
        paired.extend(
            Operation(invocation=invocation, completion=None, start=start, end=None)
            for start, invocation in open_at.values()
        )
        paired.sort(key=lambda operation: operation.start)
        return paired

    def _misuse(self, event: Event, what: str) -> HistoryError:
        return HistoryError(f"{self.source}: event {event.index}: process {event.process} {what}")


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sort events by time, invocations first among equals, else as they were written.

    Events without a time keep their order: then no event of the history may have one.
    Raises `HistoryError` if only some of them have a time.
    """
    listed = list(events)
    timed = [event for event in listed if event.time is not None]
    if not timed:
        return tuple(listed)
    if len(timed) != len(listed):
        untimed = next(event for event in listed if event.time is None)
        raise HistoryError(f"event {untimed.index} has no time, but others have: all or none")
    listed.sort(key=lambda event: (event.time, event.type is not EventType.INVOKE))
    return tuple(listed)


def read_jsonl(path: Path) -> History:
    """Read our own history format; memory is proportional to the file.

    Raises `HistoryError` for anything but a torn last line, `OSError` if it cannot be read.
    """
    events: list[Event] = []
    torn_tail: str | None = None
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            complete = raw.endswith(b"\n")
            if not raw.strip():
                continue
            try:
                record = json.loads(raw)
            except (ValueError, RecursionError) as error:
                if not complete and raw.lstrip().startswith(b"{"):
                    torn_tail = raw.decode(errors="replace")
                    break
                raise HistoryError(f"{path}:{number}: not JSON ({error})") from None
            try:
                events.append(event_from_record(record, default_index=len(events)))
            except HistoryError as error:
                raise HistoryError(f"{path}:{number}: {error}") from None
    try:
        return History(in_order(events), source=str(path), torn_tail=torn_tail)
    except HistoryError as error:
        raise HistoryError(f"{path}: {error}") from None


_TYPES: dict[str, EventType] = {kind.value: kind for kind in EventType}


def event_from_record(record: object, *, default_index: int) -> Event:
    """Build an `Event` from a decoded JSON object; `HistoryError` says what is wrong with it."""
    if not isinstance(record, Mapping):
        raise HistoryError(f'expected an object like {{"process":0,...}}, got {record!r:.80}')
    named = record.get("type")
    kind = _TYPES.get(named) if isinstance(named, str) else None
    if kind is None:
        raise HistoryError(f"type is {named!r:.80}, expected one of {', '.join(EventType)}")
    process = record.get("process")
    if isinstance(process, bool) or not (isinstance(process, int) or process == NEMESIS):
        raise HistoryError(f"process is {process!r:.80}, expected an integer or {NEMESIS!r}")
    f = record.get("f")
    if not isinstance(f, str):
        raise HistoryError(f"f is {f!r:.80}, expected a string such as 'read'")
    return Event(
        index=_integer(record, "index", default_index),
        time=None if record.get("time") is None else _integer(record, "time", 0),
        process=process,
        type=kind,
        f=f,
        key=_text(record, "key"),
        value=record.get("value"),
        node=_text(record, "node"),
        error=_text(record, "error"),
    )


def _integer(record: Mapping[str, Any], name: str, default: int) -> int:
    value = record.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise HistoryError(f"{name} is {value!r:.80}, expected an integer")
    return value


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    try:
        return value if value is None or isinstance(value, str) else canonical(value)
    except ValueError as error:
        raise HistoryError(f"{name} is not usable: {error}") from None
