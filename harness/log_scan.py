"""What a system's own log gives away: panics, data races, failed assertions, memory that ran out.

Rules of this file:
- Pure: lines in, hits out. A pattern is tied to how such a line begins or is built, so that a log
  that merely speaks of a panic is no hit; a false alarm here accuses a correct store.
- A pattern says whom a hit accuses: the system, or its surroundings (no memory on the host).
- Some things a system may well say when it was given no room, no memory, no descriptor: those
  are `excusable`. A data race or what a sanitizer finds is never.
- Bounded: of each log the first few hits of each pattern are kept, with the rest counted, and long
  lines are cut.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

HITS_MAX: Final = 5
TEXT_MAX: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One kind of line. `regex` is searched in every line; the first pattern that fits counts."""

    name: str
    regex: str
    accuses_system: bool = True
    excusable: bool = True


# What runtimes and libraries write, whatever the system. Memory first: runtimes panic over it.
STANDARD: Final[Sequence[Pattern]] = (
    Pattern(
        name="out of memory",
        regex=(
            r"^fatal error: runtime: (?:out of memory|cannot allocate memory)"
            r"|^MemoryError\b|std::bad_alloc|java\.lang\.OutOfMemoryError"
            r"|\boom-kill:|^Out of memory: Killed process"
            r"|^memory allocation of \d+ bytes failed"
        ),
        accuses_system=False,
    ),
    Pattern(
        name="data race",
        regex=r"^WARNING: DATA RACE|\bThreadSanitizer: ",
        excusable=False,
    ),
    Pattern(
        name="sanitizer",
        regex=(
            r"\b(?:Address|Leak|Memory|UndefinedBehavior)Sanitizer: "
            r"|^\S+:\d+:\d+: runtime error: "
        ),
        excusable=False,
    ),
    Pattern(
        name="assertion",
        regex=r"\bAssertion [`'\"].*['\"] failed|^AssertionError\b|\bassertion failed: ",
    ),
    Pattern(
        name="panic",
        regex=(
            r"^panic: |^fatal error: |\"level\":\"d?panic\"|^thread '.*' panicked at"
            r"|^Exception in thread \"|^SIG(?:SEGV|BUS|ABRT|ILL|FPE): |^\[signal SIG"
            r"|\bSegmentation fault\b"
        ),
    ),
    Pattern(name="traceback", regex=r"^Traceback \(most recent call last\):"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A line that says that something went wrong inside. `line` counts from 1."""

    node: str
    file: str
    line: int
    text: str
    pattern: Pattern

    @property
    def detail(self) -> str:
        """One sentence for people: where, what, and what was written."""
        return f"{self.pattern.name} at {self.file}:{self.line}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        """Return the hit as part of `outcome.json`."""
        return {
            "node": self.node,
            "file": self.file,
            "line": self.line,
            "pattern": self.pattern.name,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Scan:
    """What a log held: how many lines, the first hits, and how many there were in all."""

    lines: int
    hits: tuple[Hit, ...]
    total: int


def scan(lines: Iterable[str], patterns: Sequence[Pattern], *, node: str, file: str) -> Scan:
    """Look at every line of a log. Of a traceback also the line that ends it is told."""
    compiled = [(pattern, re.compile(pattern.regex)) for pattern in patterns]
    hits: list[Hit] = []
    seen: Counter[str] = Counter()
    number = 0
    traceback: Hit | None = None
    for number, line in enumerate(lines, start=1):
        text = line.rstrip()[:TEXT_MAX]
        if traceback is not None:
            if not text or text[0].isspace():
                continue
            text = f"{traceback.text} ... {text}"[:TEXT_MAX]
            found = _found(text.rpartition(" ... ")[2], compiled) or traceback.pattern
            hit, traceback = replace(traceback, text=text, pattern=found), None
        else:
            pattern = _found(text, compiled)
            if pattern is None:
                continue
            hit = Hit(node=node, file=file, line=number, text=text, pattern=pattern)
            if pattern.name == "traceback":
                traceback = hit  # counted when its end is known
                continue
        seen[hit.pattern.name] += 1
        if seen[hit.pattern.name] <= HITS_MAX:
            hits.append(hit)
    if traceback is not None:  # cut off by a kill
        seen[traceback.pattern.name] += 1
        hits.append(traceback)
    return Scan(number, tuple(hits), seen.total())


def _found(text: str, compiled: Sequence[tuple[Pattern, re.Pattern[str]]]) -> Pattern | None:
    return next((pattern for pattern, regex in compiled if regex.search(text)), None)
