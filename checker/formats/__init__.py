"""Reading a history whatever wrote it.

Rules of this file:
- `READERS` is the one list of formats. ``auto`` decides by the first bytes of the content and
  never by trying one reader after another: the error must come from the reader that was meant.
- What outcomes mean in each format is in `checker.meaning`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from checker.formats.jepsen_edn import read_jepsen_edn
from checker.formats.jepsen_log import read_jepsen_log
from checker.history import History, HistoryError, read_jsonl

READERS: dict[str, Callable[[Path], History]] = {
    "jsonl": read_jsonl,
    "edn": read_jepsen_edn,
    "jepsen-log": read_jepsen_log,
}
_BY_SUFFIX = {".jsonl": "jsonl", ".json": "jsonl", ".edn": "edn", ".log": "jepsen-log"}
_LOOK_BYTES = 4096


def load(path: Path | str, format: str = "auto") -> History:  # noqa: A002
    """Read a history file. `format` is one of `READERS`, or ``auto``.

    Raises `HistoryError` for what is no such history, `OSError` if it cannot be read.
    """
    path = Path(path)
    chosen = detect(path) if format == "auto" else format
    reader = READERS.get(chosen)
    if reader is None:
        raise HistoryError(f"{path}: no format is called {format!r}; there are auto, "
                           f"{', '.join(READERS)}")  # fmt: skip
    return reader(path)


def detect(path: Path) -> str:
    """Return the format of a file: by its suffix, else by how its content begins."""
    by_suffix = _BY_SUFFIX.get(path.suffix)
    if by_suffix is not None:
        return by_suffix
    with path.open("rb") as file:
        start = file.read(_LOOK_BYTES).lstrip()
    if not start or start.startswith(b'{"'):
        return "jsonl"
    if start[:1] in (b"[", b"(", b"{", b";") or start.startswith((b"#{", b"#jepsen")):
        return "edn"
    if b"jepsen.util - " in start:
        return "jepsen-log"
    raise HistoryError(f"{path}:1: cannot tell the format; choose one of {', '.join(READERS)}")
