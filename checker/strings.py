"""Strings that are read, overwritten and appended to, from columns to kernels.

Rules of this file:
- Says of each operation what `models.key_value.KeyValue.action` says; whatever is unusual is left
  to the model.
- A string that begins none that was read is like any other such string (`KeyValue.merged`), so the
  states are the strings that were read, and what these may have been made of: found backwards, by
  taking appended values off their ends. Every other append leads where nobody looks.
- Each key has states and classes of its own.
- A kernel does it (`checker.kernels.texts`), the plain twin only where there is very much text.
- Pure.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from checker.columns import FAIL, INFO, OK, Columns, Ints, Longs
from checker.flat import FlatCalls
from checker.kernels.flatten import group
from checker.kernels.layout import READ, TABLE, WRITE
from checker.kernels.texts import FOUND, NO_ROOM, string_states
from checker.meaning import Meaning, NilRead
from checker.models.key_value import KeyValue
from checker.models.model import Model

# Characters of states, in all: beyond that the states are found as they are needed.
_CHARACTERS_MAX = 20_000_000
# States and transitions, in all: likewise. One takes 100 bytes.
_ROOM_MAX = 2_000_000

SILENT = -1
_DOES = {
    "get": {OK: READ, FAIL: SILENT, INFO: SILENT},
    "put": {OK: WRITE, FAIL: SILENT, INFO: WRITE},
    "append": {OK: TABLE, FAIL: SILENT, INFO: TABLE},
}


def string_calls(columns: Columns, model: Model, meaning: Meaning) -> FlatCalls | None:
    """Return the calls of all keys; `None` if these are no strings, or something is unusual."""
    initial = initial_string(model)
    if initial is None:
        return None
    does = meaning_of(columns.functions)
    if does is None:
        return None
    given = _characters(columns, initial)
    if given is None:
        return plain_string_calls(columns, model, meaning)
    lengths, characters = given
    keys = len(columns.keys)
    room = len(columns) + keys + 64
    while True:
        code, classes, states, edges, edge_stops, calls = string_states(
            _numbers(does), columns.function, columns.type, columns.key, columns.input,
            columns.output, columns.start, columns.end, lengths, characters, keys,
            meaning.nil_read is NilRead.UNKNOWN, room, _CHARACTERS_MAX,
        )  # fmt: skip
        if code != NO_ROOM or room > _ROOM_MAX:
            break
        room *= 4
    if code != FOUND:
        return None
    kind, needs, gives, start, end, row, stops = calls
    return FlatCalls(
        kind=kind,
        needs=needs,
        gives=gives,
        start=start,
        end=end,
        row=row,
        stops=stops,
        initial=np.arange(keys, dtype=np.int64),
        values=states,
        edges=edges,
        edge_stops=edge_stops,
        classes=max(1, classes),
    )


@lru_cache(maxsize=64)
def _numbers(does: tuple[int, ...]) -> Ints:
    return np.array(does, np.int32)


def _characters(columns: Columns, initial: str) -> tuple[Longs, Ints] | None:
    """Return each value's length, -1 for what is no string, and all characters; `None`: too many."""
    texts = ["", *columns.values.decoded[1:], initial]
    others: list[int] = [0]
    try:
        every = "\0".join(texts)
    except TypeError:  # some are no strings
        others += [at for at, value in enumerate(texts) if type(value) is not str]
        for at in others:
            texts[at] = ""
        every = "\0".join(texts)
    if len(every) > _CHARACTERS_MAX + len(texts):
        return None
    lengths = np.array(list(map(len, texts)), np.int64)
    lengths[others] = -1
    return lengths, np.frombuffer(every.encode("utf-32-le", "surrogatepass") + bytes(4), np.int32)


def plain_string_calls(columns: Columns, model: Model, meaning: Meaning) -> FlatCalls | None:
    """Return what `string_calls` returns, found out in a plain way."""
    initial = initial_string(model)
    does = meaning_of(columns.functions)
    if initial is None or does is None:
        return None
    said = texts(columns, does, meaning)
    if said is None:
        return None
    keys = len(columns.keys)
    known: list[dict[str, int]] = [{initial: at} for at in range(keys)]
    appended: list[dict[str, int]] = [{} for _ in range(keys)]
    got: list[list[str]] = [[] for _ in range(keys)]
    states, classes = keys, 0
    rows: list[int] = []
    kinds: list[int] = []
    values: list[int] = []  # the state that is needed or given, or the class of an append
    for row, kind, key, text in said:
        if kind == TABLE:
            if not text:
                return None
            value = appended[key].setdefault(text, classes)
            classes += value == classes
        else:
            value = known[key].setdefault(text, states)
            states += value == states
            if kind == READ:
                got[key].append(text)
        rows.append(row)
        kinds.append(kind)
        values.append(value)
    edges: list[tuple[int, int, int]] = []
    edge_stops: list[int] = []
    characters = 0
    for at in range(keys):
        if appended[at] and got[at]:
            states, taken = _find_edges(known[at], appended[at], got[at], states, edges)
            characters += taken
            if characters > _CHARACTERS_MAX:
                return None
        edge_stops.append(len(edges))
    row_array = np.array(rows, np.int64)
    kind_array, value_array = np.array([kinds, values], np.int32)
    kind_, needs, gives, start, end, row_, stops = group(
        row_array, kind_array, value_array, columns.key, columns.type, columns.start, columns.end,
        keys,
    )  # fmt: skip
    return FlatCalls(
        kind=kind_,
        needs=needs,
        gives=gives,
        start=start,
        end=end,
        row=row_,
        stops=stops,
        initial=np.arange(keys, dtype=np.int64),
        values=states,
        edges=np.array(edges, np.int32).reshape(-1, 3),
        edge_stops=np.array(edge_stops, np.int64),
        classes=max(1, classes),
    )


def initial_string(model: Model) -> str | None:
    """Return what every key is at first; `None` if objects are no strings."""
    return model.initial if type(model) is KeyValue and isinstance(model.initial, str) else None


@lru_cache(maxsize=64)
def meaning_of(functions: tuple[str, ...]) -> tuple[int, ...] | None:
    """Return what each (function, type) does, at ``function * 3 + type``; `None` if one is odd."""
    if not set(functions) <= set(_DOES):
        return None
    return tuple(_DOES[name][kind] for name in functions for kind in (OK, FAIL, INFO))


def texts(
    columns: Columns, does: tuple[int, ...], meaning: Meaning
) -> list[tuple[int, int, int, str]] | None:
    """Return (row, kind, key, what was read or given) of all that says something.

    `None` if what was given is no string, or a read says what is none.
    """
    decoded = columns.values.decoded
    found: list[tuple[int, int, int, str]] = []
    for row, (what, key, asked, answered) in enumerate(zip(
        (columns.function * 3 + columns.type).tolist(), columns.key.tolist(),
        columns.input.tolist(), columns.output.tolist(), strict=True,
    )):  # fmt: skip
        kind = does[what]
        if kind == SILENT:
            continue
        text = decoded[answered if kind == READ else asked]
        if type(text) is not str:
            if text is not None or kind != READ:
                return None
            if meaning.nil_read is NilRead.UNKNOWN:
                continue
            text = ""
        found.append((row, kind, key, text))
    return found


def _find_edges(
    known: dict[str, int],
    appended: dict[str, int],
    got: list[str],
    states: int,
    edges: list[tuple[int, int, int]],
) -> tuple[int, int]:
    """Find what the strings that were read may have been made of; number the new ones.

    Return how many states there are now, and how many characters the new ones have.
    """
    ends = sorted(set(map(len, appended)))
    waiting = list(dict.fromkeys(got))
    seen = set(waiting)
    characters = 0
    while waiting and characters <= _CHARACTERS_MAX:
        text = waiting.pop()
        for length in ends:
            cls = appended.get(text[-length:])
            if cls is None or length > len(text):
                continue
            before = text[:-length]
            number = known.setdefault(before, states)
            states += number == states
            edges.append((number, cls, known[text]))
            if before not in seen:
                seen.add(before)
                waiting.append(before)
                characters += len(before)
    return states, characters
