"""Ctrl-C and SIGTERM: when a run hears them.

Rules of this file:
- A signal comes anywhere: between a line of the history and its number, between taking a lock and
  knowing that it is held. So nothing is raised there. It is noted, who works is asked to stop, and
  `KeyboardInterrupt` comes at the next `heed`, between two phases, where nothing is half done.
- Only between `allow` and `defer` is it raised at once, and once: for work that touches nothing.
- Only the main thread may change handlers: elsewhere this does nothing, and whoever called us owns
  the signals.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any


class Interrupts:
    """Hears the signals while it is entered. `note` is called for each of them."""

    def __init__(self, note: Callable[[], object]) -> None:
        self._note = note
        self._stop: Callable[[], object] | None = None
        self._heard = False
        self._raises = False
        self._before: dict[signal.Signals, Any] = {}

    def tell(self, stop: Callable[[], object]) -> None:
        """Call this when a signal comes: it must be safe at any moment, and only ask to stop."""
        self._stop = stop

    def heed(self) -> None:
        """Raise `KeyboardInterrupt` if a signal came."""
        if self._heard:
            raise KeyboardInterrupt

    def allow(self) -> None:
        """Raise at once from here on, if another signal comes."""
        self._raises = True

    def defer(self) -> None:
        """Only note signals from here on: what was begun is being put away."""
        self._raises, self._stop = False, None

    def __enter__(self) -> Interrupts:
        with suppress(ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._heard = True
        self._note()
        if self._stop is not None:
            self._stop()
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt
