"""Where a check stood when its budget was spent, so that a later one goes on from there.

Rules of this file:
- One file of arrays (numpy's npz, read without pickle: it cannot run anything). Verdicts of decided
  objects with their orders, and the state of one search after the other for those still open.
- Only for the same history, model and meaning of outcomes: a digest of these is in the file, and
  one that differs is a `CheckpointError`, never a guess. Of a model of somebody's own it knows the
  name and the start only.
- Orders from a checkpoint are replayed like any other. Written aside and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from checker.budget import Spent
from checker.columns import Columns
from checker.meaning import Meaning
from checker.models.model import Model
from checker.parts import Found, Part
from checker.verdict import Verdict

VERSION = 1
_VERDICTS = (Verdict.VALID, Verdict.INVALID, Verdict.UNKNOWN)


class CheckpointError(ValueError):
    """A file that is no checkpoint of this check. The message names the file and the reason."""


def save(path: Path, parts: list[Part], columns: Columns, model: Model, meaning: Meaning) -> None:
    """Write a checkpoint; `OSError` if that is not possible."""
    arrays: dict[str, Any] = {
        "version": np.array(VERSION),
        "digest": np.array(digest(columns, model, meaning)),
    }
    for at, part in enumerate(parts):
        found = part.found
        if found is None:
            continue
        numbers = [
            _VERDICTS.index(found.verdict),
            -1 if found.until is None else found.until,
            -1 if found.between is None else found.between,
            found.steps,
        ]
        arrays[f"{at}/found"] = np.array(numbers, np.int64)
        arrays[f"{at}/algorithm"] = np.array(found.algorithm)
        arrays[f"{at}/hint"] = np.array(found.hint, np.int64)
        if found.elements is not None:
            arrays[f"{at}/elements"] = np.array(sorted(found.elements), np.str_)
        arrays[f"{at}/cycle"] = np.array(json.dumps(found.cycle))
        if found.order is not None:
            arrays[f"{at}/order"] = found.order
        if part.race is not None:
            for name, array in part.race.saved().items():
                arrays[f"{at}/race/{name}"] = array
    arrays["names"] = np.array(json.dumps(sorted([*arrays, "names"])))
    aside = path.with_name(path.name + ".new")
    with aside.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def resume(path: Path, parts: list[Part], columns: Columns, model: Model, meaning: Meaning) -> None:
    """Fill in what an earlier check found; raises `CheckpointError`, `OSError`."""
    with path.open("rb") as file:
        try:
            with _archive(file) as arrays:
                _check_and_fill(path, arrays, parts, digest(columns, model, meaning))
        except (CheckpointError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (whatever a damaged archive makes of its readers)
            raise CheckpointError(f"{path}: not a checkpoint ({error})") from None


def _check_and_fill(path: Path, arrays: Any, parts: list[Part], wanted: str) -> None:
    if int(arrays["version"]) != VERSION:
        raise CheckpointError(f"{path}: made by another version; remove it to start anew")
    if str(arrays["digest"]) != wanted:
        raise CheckpointError(
            f"{path}: of another history, model or meaning of outcomes; "
            "name another file, or remove it to start anew"
        )
    if sorted(arrays.files) != json.loads(str(arrays["names"])):
        raise CheckpointError(f"{path}: not a checkpoint (parts of it are missing)")
    for at, part in enumerate(parts):
        _fill_in(part, at, arrays)


def _archive(file: BinaryIO) -> Any:
    """Open an archive of arrays that runs nothing; a single array is none."""
    arrays = np.load(file, allow_pickle=False)
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise CheckpointError(f"{file.name}: not a checkpoint (a single array)")
    return arrays


def _fill_in(part: Part, at: int, arrays: Any) -> None:
    if f"{at}/found" not in arrays:
        return
    verdict, until, between, steps = arrays[f"{at}/found"].tolist()
    elements = f"{at}/elements"
    unknown = _VERDICTS[verdict] is Verdict.UNKNOWN
    part.found = Found(
        verdict=_VERDICTS[verdict],
        algorithm=str(arrays[f"{at}/algorithm"]),
        order=arrays.get(f"{at}/order"),
        until=None if until < 0 else until,
        between=None if between < 0 else between,
        hint=tuple(arrays[f"{at}/hint"].tolist()),
        cycle=tuple((a, b, why) for a, b, why in json.loads(str(arrays[f"{at}/cycle"]))),
        elements=frozenset(arrays[elements].tolist()) if elements in arrays else None,
        spent=Spent.TIME if unknown else None,
        steps=steps,
    )
    prefix = f"{at}/race/"
    saved = {name[len(prefix) :]: arrays[name] for name in arrays.files if name.startswith(prefix)}
    part.saved = saved or None


def digest(columns: Columns, model: Model, meaning: Meaning) -> str:
    """Return a digest of all that a verdict depends on."""
    said = hashlib.sha256(repr((model.name, model.initial, meaning)).encode())
    said.update(repr((columns.functions, columns.keys)).encode("utf-8", "backslashreplace"))
    for array in (columns.type, columns.function, columns.key, columns.input, columns.output,
                  columns.start, columns.end):  # fmt: skip
        said.update(np.ascontiguousarray(array).tobytes())
    said.update(repr(columns.values.decoded).encode("utf-8", "backslashreplace"))
    return said.hexdigest()
