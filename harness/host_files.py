"""What a run keeps of its hosts' files: without secrets, and its logs looked through.

Rules of this file:
- A file comes into the run's folder without its secrets or not at all: what was fetched lies in
  a folder of its own until then.
- One line in memory at a time, whatever the size of a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from harness.log_scan import TEXT_MAX, Pattern, Scan, scan
from harness.redact import HEAD_BYTES, LINE_BYTES_MAX, Redactor, is_text


def keep_without_secrets(source: Path, target: Path, secrets: Iterable[bytes]) -> None:
    """Copy a file without the secrets in it; one that is no text is copied as it is."""
    with source.open("rb") as fetched, target.open("wb") as kept:
        text = is_text(fetched.read(HEAD_BYTES))
        fetched.seek(0)
        if not text:
            while piece := fetched.read(LINE_BYTES_MAX):
                kept.write(piece)
            return
        kept.writelines(Redactor(secrets).lines(_lines(fetched)))


def scan_logs(hosts: Path, patterns: Sequence[Pattern]) -> list[Scan]:
    """Look through every host's logs in a run's folder. Raises `OSError`."""
    scans = []
    for path in sorted(hosts.glob("*/*.log")):
        node = path.parent.name
        with path.open("rb") as file:
            lines = (line[: 4 * TEXT_MAX].decode("utf-8", "replace") for line in _lines(file))
            where = path.relative_to(hosts.parent).as_posix()
            scans.append(scan(lines, patterns, node=node, file=where))
    return scans


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Read lines; of one that is too long only the beginning, one byte more than is allowed."""
    while line := file.readline(LINE_BYTES_MAX + 1):
        yield line
        while len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES_MAX + 1)
