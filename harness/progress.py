"""What a person sees while a run goes on: phase, operations by outcome, faults in force.

Rules of this file:
- A terminal gets a few lines that are redrawn; anything else gets nothing until the end.
- Everything goes to standard error: standard output belongs to results.
- Showing must never hold up the run: counters are plain integers, drawn by a thread of its own.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from checker.history import Event

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

log = logging.getLogger("harness")

_REDRAWS_PER_S: Final = 8


class Progress:
    """Counts what happens and, on a terminal, shows it. Use as a context manager."""

    def __init__(self, *, shown: bool | None = None) -> None:
        """`shown` overrules whether standard error is a terminal."""
        self.shown = sys.stderr.isatty() if shown is None else shown
        self.phases: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.faults: dict[int, str] = {}
        self._phase = ""
        self._began = time.monotonic()
        self._live: Live | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show a phase while it lasts and note how long it took.

        Its beginning is logged: of a run that was killed the log says how far it came.
        """
        log.info("phase: %s", name)
        began = time.monotonic()
        self._phase, self._began = name, began
        try:
            yield
        finally:
            self.phases.append({"name": name, "seconds": round(time.monotonic() - began, 3)})

    def see(self, event: Event) -> None:
        """Count a client's event."""
        self.counts[event.type.value] += 1

    def fault_began(self, fault_id: int, text: str) -> None:
        """Show a fault as being in force."""
        self.faults[fault_id] = text

    def fault_ended(self, fault_id: int) -> None:
        """Show it no longer."""
        self.faults.pop(fault_id, None)

    def __enter__(self) -> Progress:
        if self.shown:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                get_renderable=self._draw,
                console=Console(stderr=True),
                refresh_per_second=_REDRAWS_PER_S,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        seconds = time.monotonic() - self._began
        counts = dict(self.counts)
        grid.add_row(Text("phase", "dim"), Text(f"{self._phase}  {seconds:.0f} s"))
        if counts:
            tally = "  ".join(f"{counts.get(kind, 0)} {kind}" for kind in ("ok", "fail", "info"))
            grid.add_row(Text("operations", "dim"), Text(tally))
        faults = ", ".join(list(self.faults.values())) or "none"
        grid.add_row(Text("faults", "dim"), Text(faults))
        return grid
