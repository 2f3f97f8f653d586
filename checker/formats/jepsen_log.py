"""Operations in a Jepsen log: ``INFO  jepsen.util - 4 :invoke :cas [1 2]``.

Rules of this file:
- A log is mixed by nature: lines of other loggers (``LEVEL  namespace - text``) are no events. A
  line of `jepsen.util` that is no event, and a line of no logger, is an error.
- The order is that of the lines; there are no times.
- ``:timed-out`` and the like in place of a value is an error code.
"""

from __future__ import annotations

import re
from pathlib import Path

from checker.formats.edn import Keyword, read_edn
from checker.formats.jepsen_edn import read_text
from checker.history import NEMESIS, Event, EventType, History, HistoryError

_LOGGED = re.compile(
    r"(?:\S+\s+)*?(?:TRACE|DEBUG|INFO|WARN|ERROR)\s+(?P<logger>\S+)\s+-\s?(?P<rest>.*)"
)
_EVENT = re.compile(
    r"(?P<process>\d{1,18}|:nemesis)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>\S+)\s+(?P<value>.+)"
)
_EXPECTED = "expected 'INFO  jepsen.util - PROCESS :invoke|:ok|:fail|:info :f VALUE'"


def read_jepsen_log(path: Path) -> History:
    """Read the file; raise `HistoryError` naming file and line, `OSError` if it cannot be read."""
    events: list[Event] = []
    try:
        text = read_text(path)
    except HistoryError as error:
        raise HistoryError(f"{path}: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        logged = _LOGGED.fullmatch(line.rstrip())
        if logged is None:
            raise HistoryError(f"{path}:{number}: {_EXPECTED}, got {line[:60]!r}")
        if logged["logger"] != "jepsen.util":
            continue
        try:
            events.append(_event(logged["rest"], index=len(events)))
        except HistoryError as error:
            raise HistoryError(f"{path}:{number}: {error}") from None
    return History(tuple(events), source=str(path), format="jepsen-log")


def _event(text: str, *, index: int) -> Event:
    match = _EVENT.fullmatch(text)
    if match is None:
        raise HistoryError(f"{_EXPECTED}, got {text[:60]!r}")
    values = [value for _, value in read_edn(match["value"])]
    if len(values) != 1:
        raise HistoryError(f"expected one value, got {match['value'][:60]!r}")
    code = values[0] if isinstance(values[0], Keyword) else None
    process = match["process"]
    return Event(
        index=index,
        process=NEMESIS if process == ":nemesis" else int(process),
        type=EventType(match["type"]),
        f=match["f"],
        value=values[0] if code is None else None,
        error=code,
    )
