"""Operations and faults, packed for the page's timeline.

Rules of this file:
- Columns, not objects: names once, repeated texts once, times as differences. 10 000 operations
  are to stay within a few hundred kilobytes.
- A lane is a client thread: a process that retires after `info` is followed by
  ``process + concurrency``, so both are drawn in the lane ``process % concurrency``.
- There is a bound on what is drawn. Beyond it acknowledged operations are thinned out evenly, all
  others stay, and `dropped` says how many are missing.
- Times are whole microseconds: a pixel is never less than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from .load import Run, natural
from .words import argument, clean, shown

OPERATIONS_MAX: Final = 240_000
# One character for one code; none of them means anything in JSON or HTML.
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"


def operations(run: Run, *, keep: Iterable[int] = ()) -> dict[str, Any]:
    """Pack the operations. `keep` are indexes that must stay when operations are thinned out."""
    frame = _thinned(run.operations, frozenset(keep))
    frame = frame.sort_values("start_ns", kind="stable")
    start_us = [int(one) // 1000 for one in frame["start_ns"]]
    same = [a == b for a, b in zip(frame["value"], frame["output"], strict=True)]
    words = _Words()
    values = [
        words.code(argument(str(f), value))
        for f, value in zip(frame["f"], frame["value"], strict=True)
    ]
    outputs = [
        -1 if equal else words.code(shown(output))
        for output, equal in zip(frame["output"], same, strict=True)
    ]
    return {
        "count": len(frame),
        "dropped": len(run.operations) - len(frame),
        "lanes": run.concurrency,
        "index": _differences([int(one) for one in frame["index"]]),
        "process": [int(one) for one in frame["process"]],
        "start_us": _differences(start_us),
        "took_us": [
            -1 if pd.isna(end) else int(end) // 1000 - start
            for end, start in zip(frame["completed_ns"], start_us, strict=True)
        ],
        "f": _coded(frame["f"]),
        "type": _coded(frame["type"]),
        "key": _coded(frame["key"]),
        "node": _coded(frame["node"]),
        "error": _coded(frame["error"]),
        "words": words.listed,
        "value": values,
        "output": outputs,
    }


def _thinned(frame: pd.DataFrame, keep: frozenset[int]) -> pd.DataFrame:
    if len(frame) <= OPERATIONS_MAX:
        return frame
    wanted = (frame["type"] != "ok") | frame["index"].isin(keep)
    rest = frame[~wanted]
    room = max(1, OPERATIONS_MAX - int(wanted.sum()))
    stride = -(-len(rest) // room)
    return pd.concat([frame[wanted].iloc[: 2 * OPERATIONS_MAX], rest.iloc[::stride]])


class _Words:
    """A table of texts, each once."""

    def __init__(self) -> None:
        self.listed: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        if text not in self._codes:
            self._codes[text] = len(self.listed)
            self.listed.append(text)
        return self._codes[text]


def _coded(column: pd.Series[Any]) -> dict[str, Any]:
    """A column of few different texts: the texts, and a code for each row."""
    raw = [None if pd.isna(one) else str(one) for one in column.to_list()]
    cleaned = {one: None if one is None else clean(one, limit=80) for one in set(raw)}
    names: list[str | None] = sorted(
        {text for text in cleaned.values() if text is not None}, key=natural
    )
    names += [None] if None in cleaned else []
    code = {name: number for number, name in enumerate(names)}
    texts = [cleaned[one] for one in raw]
    codes: Sequence[int] | str = [code[text] for text in texts]
    if len(names) <= len(_ALPHABET):
        codes = "".join(_ALPHABET[code[text]] for text in texts)
    return {"names": names, "codes": codes}


def _differences(values: list[int]) -> list[int]:
    return [value - before for value, before in zip(values, [0, *values], strict=False)]


def bands(run: Run) -> list[dict[str, Any]]:
    """The faults that may have been in force, for the bands behind every plot."""
    drawn = []
    end_ns = run.duration_ns
    for fault in run.faults.to_dict("records"):
        if fault["evidence"] == "planned":
            continue
        stop_ns = end_ns if pd.isna(fault["stop_ns"]) else int(fault["stop_ns"])
        drawn.append(
            {
                "id": int(fault["id"]),
                "kind": clean(fault["kind"], limit=40),
                "name": clean(fault["name"], limit=40),
                "targets": clean(", ".join(fault["targets"]), limit=120),
                "evidence": clean(fault["evidence"], limit=20),
                "start_us": int(fault["start_ns"]) // 1000,
                "stop_us": stop_ns // 1000,
            }
        )
    return drawn
