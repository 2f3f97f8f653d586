"""Log lines and when they were written, in the time of the run.

Rules of this file:
- A line's own stamp is the host's wall clock. Where the run measured that clock's offset, it is
  taken off again, so that lines of hosts with skewed clocks stand at the right moment.
- A line that begins with a count of milliseconds is stamped by the host's monotonic clock, which
  no fault moves; `hosts/<node>/clock.json` says where that clock stood.
- Lines are in the order of their file: of several possible moments the first that is not before
  the line above is taken. A line without a stamp (a traceback) belongs to the line above it.
- Nothing is interpreted beyond the stamp; excerpts are bounded in lines and in their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pandas as pd

from .load import Log, Run
from .words import clean

TAIL_LINES: Final = 40
AROUND_NS: Final = 500_000_000
AROUND_LINES_MAX: Final = 16
# Of one log in all: with five hosts and forty faults the excerpts would outweigh the run.
AROUND_TOTAL_MAX: Final = 240
LINE_MAX: Final = 400
# Offsets below this are noise of measuring, and correcting by them would only shuffle lines.
_OFFSET_MS_MIN: Final = 20.0

_STAMP: Final = re.compile(
    r"^\W{0,2}(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?"
)


_COUNT: Final = re.compile(r"^(\d{1,15}) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; `time_ns` is since the run's start, `None` where nothing tells."""

    host: str
    name: str
    number: int
    time_ns: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The lines of one log around a moment at which the nemesis acted."""

    title: str
    lines: tuple[Line, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """What a report shows of one log."""

    host: str
    name: str
    total: int
    cut: bool
    tail: tuple[Line, ...]
    around: tuple[Around, ...]


@dataclass(frozen=True, slots=True)
class LogBook:
    """All logs of a run, with the moments of their lines."""

    logs: tuple[tuple[Log, tuple[Line, ...]], ...]

    def between(self, start_ns: int, end_ns: int, *, limit: int) -> tuple[list[Line], int]:
        """Return the lines of all logs within a time, by time, and how many more there are.

        When there are too many, every host gets an equal share: those nearest to the end.
        """
        found = [
            [
                line
                for line in lines
                if line.time_ns is not None and start_ns <= line.time_ns <= end_ns
            ]
            for _log, lines in self.logs
        ]
        found = [lines for lines in found if lines]
        share = max(1, limit // max(1, len(found)))
        chosen = [line for lines in found for line in lines[-share:]]
        chosen.sort(key=lambda line: (line.time_ns or 0, line.host, line.number))
        return chosen, sum(map(len, found)) - len(chosen)

    def excerpts(self, faults: pd.DataFrame) -> list[Excerpt]:
        """Return each log's end, and its lines around each moment of the nemesis."""
        moments = list(_moments(faults))
        return [
            Excerpt(
                host=log.host,
                name=log.name,
                total=len(lines),
                cut=log.cut,
                tail=lines[-TAIL_LINES:],
                around=tuple(_around(lines, moments)),
            )
            for log, lines in self.logs
        ]


def read_logs(run: Run) -> LogBook:
    """Find the moment of every line of every log."""
    started = _started(run)
    offsets = _Offsets(run.metrics)
    return LogBook(tuple((log, tuple(_timed(log, started, offsets))) for log in run.logs))


def _timed(log: Log, started: datetime | None, offsets: _Offsets) -> Iterator[Line]:
    moment_ns: int | None = None
    for number, text in enumerate(log.lines, start=1):
        count = None if log.monotonic_zero_ns is None else _COUNT.match(text)
        if count is not None and log.monotonic_zero_ns is not None:
            moment_ns = int(count[1]) * 1_000_000 + log.monotonic_zero_ns
        wall_ns = None if started is None else _wall_ns(text, started)
        if wall_ns is not None:
            moment_ns = offsets.corrected(log.host, wall_ns, after_ns=moment_ns)
        yield Line(
            host=log.host,
            name=log.name,
            number=number,
            time_ns=moment_ns,
            text=clean(text, limit=LINE_MAX),
        )


def _wall_ns(text: str, started: datetime) -> int | None:
    match = _STAMP.match(text)
    if match is None:
        return None
    day, second, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z") else zone
    try:
        wall = datetime.fromisoformat(f"{day}T{second}{zone}")
    except ValueError:
        return None
    since = wall - started
    whole_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return whole_us * 1000 + int((fraction or "0").ljust(9, "0"))


def _started(run: Run) -> datetime | None:
    try:
        started = datetime.fromisoformat(str(run.outcome.get("started_at")))
    except ValueError:
        return None
    return started if started.tzinfo else started.replace(tzinfo=UTC)


class _Offsets:
    """What each host's wall clock was ahead of the controller's, over the run."""

    def __init__(self, status: pd.DataFrame) -> None:
        self._of: dict[str, list[tuple[int, int]]] = {}
        known = status.dropna(subset=["clock_offset_ms"])
        for node, samples in known.groupby("node"):
            if samples["clock_offset_ms"].abs().max() < _OFFSET_MS_MIN:
                continue
            pairs: list[tuple[int, int]] = []
            for time_ns, offset_ms in zip(
                samples["time_ns"], samples["clock_offset_ms"], strict=True
            ):
                offset_ns = int(offset_ms * 1e6) if abs(offset_ms) >= _OFFSET_MS_MIN else 0
                # Only changes matter: the offset holds from half-way between two samples.
                if not pairs or abs(pairs[-1][1] - offset_ns) > _OFFSET_MS_MIN * 1e6:
                    pairs.append((int(time_ns), offset_ns))
            self._of[str(node)] = pairs

    def corrected(self, host: str, wall_ns: int, *, after_ns: int | None) -> int:
        """Return the moment of the run at which this host's clock showed `wall_ns`."""
        pairs = self._of.get(host)
        if not pairs:
            return wall_ns
        slack_ns = 500_000_000
        fitting = []
        for place, (from_ns, offset_ns) in enumerate(pairs):
            until_ns = pairs[place + 1][0] if place + 1 < len(pairs) else 2**62
            moment_ns = wall_ns - offset_ns
            begins_ns = -(2**62) if place == 0 else from_ns - slack_ns
            if begins_ns <= moment_ns <= until_ns + slack_ns:
                fitting.append(moment_ns)
        later = [one for one in fitting if after_ns is None or one >= after_ns - slack_ns]
        return min(later or fitting or [wall_ns])


def _moments(faults: pd.DataFrame) -> Iterator[tuple[int, str]]:
    for fault in faults.to_dict("records"):
        if fault["evidence"] == "planned":
            continue
        label = f"{fault['name']} ({fault['kind']} #{fault['id']})"
        yield int(fault["start_ns"]), f"{label} starts"
        if not pd.isna(fault["stop_ns"]):
            yield int(fault["stop_ns"]), f"{label} stops"


def _around(lines: tuple[Line, ...], moments: list[tuple[int, str]]) -> Iterator[Around]:
    room = AROUND_TOTAL_MAX
    for moment_ns, what in sorted(moments):
        near = [
            line
            for line in lines
            if line.time_ns is not None and abs(line.time_ns - moment_ns) <= AROUND_NS
        ]
        if near and room > 0:
            title = f"{moment_ns / 1e9:.1f} s: {clean(what, limit=80)}"
            shown = tuple(near[: min(AROUND_LINES_MAX, room)])
            room -= len(shown)
            yield Around(title=title, lines=shown, more=len(near) - len(shown))


def as_rows(lines: list[Line]) -> list[dict[str, Any]]:
    """Lines for a template: host, moment, text."""
    return [
        {
            "host": clean(line.host, limit=40),
            "moment": "" if line.time_ns is None else f"{line.time_ns / 1e9:.3f}",
            "text": line.text,
        }
        for line in lines
    ]
