"""The small drawing of a counterexample: lanes, intervals, faults, laid out for SVG.

Rules of this file:
- One lane a process. Horizontal places are percentages, so it fits any width and its text keeps
  its size; vertical ones are pixels. Labels that would collide get rows of their own.
- The order of all starts and ends is exact, distances are not: what counts is who overlaps whom,
  and beside an operation of seconds one of milliseconds would vanish. Gaps grow with the
  logarithm of their time.
- Pure: values in, places out. It knows nothing of why an operation is where it is.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import pandas as pd

from .words import clean

FAULTS_MAX: Final = 6
# Of the drawing's width, and of what a label takes (a guess at the narrowest width we draw at).
_CHARACTER_PERCENT: Final = 1.15
_MARGIN_PERCENT: Final = 5.0
_TICK_PERCENT_MIN: Final = 13.0
_ROW_PX: Final = 40
_FAULT_PX: Final = 20
_UNIT_NS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """One operation of the story. `role` is `stuck`, `placed`, `open` or `other`."""

    index: int
    process: str
    node: str
    call: str
    type: str
    role: str
    start_ns: int | None
    end_ns: int | None
    why_not: str | None

    @property
    def sentence(self) -> str:
        """What happened, as one sentence without the reason."""
        said = {
            "ok": "acknowledged",
            "fail": "refused: it did not happen",
            "info": "never answered for certain: it may have happened then, later, or not at all",
        }.get(self.type, self.type)
        if self.start_ns is not None and self.end_ns is not None and self.type != "info":
            said += f" after {(self.end_ns - self.start_ns) / 1e6:.1f} ms"
        return said


Place = Callable[[float], float]


def draw(tellers: Sequence[Teller], faults: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay out operations and the faults in force; some operation must have a start."""
    drawn = [one for one in tellers if one.start_ns is not None]
    times = sorted({t for one in drawn for t in (one.start_ns, one.end_ns) if t is not None})
    place = _scale(times)
    strips = [
        {"x": place(fault["start_ns"]), "y": number * _FAULT_PX, "until": until}
        | {"name": clean(fault["name"], limit=40), "targets": _targets(fault)}
        for number, fault in enumerate(faults[:FAULTS_MAX])
        for until in [100.0 if pd.isna(fault["stop_ns"]) else place(fault["stop_ns"])]
    ]
    top_px = first_px = len(strips) * _FAULT_PX + 8
    lanes: list[dict[str, Any]] = []
    for process in dict.fromkeys(one.process for one in drawn):
        own = [one for one in drawn if one.process == process]
        marks = _lane(own, place, top_px)
        height_px = _ROW_PX * (1 + max(mark["row"] for mark in marks)) + 6
        nodes = ", ".join(dict.fromkeys(one.node for one in own))
        lanes.append({"process": process, "nodes": clean(nodes, limit=13), "marks": marks})
        lanes[-1] |= {"top_px": top_px, "height_px": height_px}
        top_px += height_px
    return {
        "lanes": lanes,
        "strips": strips,
        "first_px": first_px,
        "bottom_px": top_px,
        "height_px": top_px + 24,
        "ticks": _ticks(times, place),
    }


def _targets(fault: Mapping[str, Any]) -> str:
    return clean(", ".join(fault["targets"]), limit=60) or "nobody"


def _scale(times: Sequence[int]) -> Place:
    """Place each of these times so that every gap between two of them can be seen."""
    gaps = [0.6 + math.log10(1 + (b - a) / _UNIT_NS) for a, b in pairwise(times)]
    room = (100 - 2 * _MARGIN_PERCENT) / (sum(gaps) or 1.0)
    places = [_MARGIN_PERCENT]
    for gap in gaps:
        places.append(places[-1] + gap * room)

    def place(time_ns: float) -> float:
        if time_ns < times[0]:
            return 0.0
        if time_ns > times[-1]:
            return 100.0
        right = bisect_left(times, time_ns)
        if times[right] == time_ns:
            return round(places[right], 3)
        share = (time_ns - times[right - 1]) / (times[right] - times[right - 1])
        return round(places[right - 1] + share * (places[right] - places[right - 1]), 3)

    return place


def _ticks(times: Sequence[int], place: Place) -> list[dict[str, Any]]:
    """Label as many of the times themselves as have room; positions between them mean little."""
    ticks: list[dict[str, Any]] = []
    for time_ns in times:
        x = place(time_ns)
        if not ticks or x - ticks[-1]["x"] >= _TICK_PERCENT_MIN:
            ticks.append({"x": x, "text": f"{time_ns / 1e9:.4f}"})
    return ticks


def _lane(tellers: Sequence[Teller], place: Place, top_px: int) -> list[dict[str, Any]]:
    taken: list[float] = []
    marks = []
    for one in tellers:
        x = place(one.start_ns or 0)
        open_end = one.end_ns is None or one.type == "info"
        until = 100.0 if open_end or one.end_ns is None else place(one.end_ns)
        width = _CHARACTER_PERCENT * (len(one.call) + 3)
        fits = x + width <= 100 or until < width
        begins = x if fits else max(0.0, until - width)
        row = next((n for n, free in enumerate(taken) if free <= min(x, begins)), len(taken))
        taken[row : row + 1] = [max(until, begins + width)]
        marks.append(
            {"x": x, "until": until, "width": max(0.0, round(until - x, 3)), "row": row}
            | {"y": top_px + row * _ROW_PX, "open": open_end, "teller": one}
            | {"anchor": "start" if fits else "end", "label_x": x if fits else until}
        )
    return marks
