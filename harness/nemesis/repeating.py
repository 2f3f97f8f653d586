"""Something that is done again and again while a fault lasts: links that flap, nodes that crash.

Rules of this file:
- One thread, one turn every period, until `stop`; the first turn comes a period after the start.
- What goes wrong in a turn ends it and is told by `stop`: no fault goes on unwatched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from harness.errors import HarnessError, HostError

# A turn is a command or two on some hosts; each of them has its own, shorter bound.
_STOP_TIMEOUT_S: Final = 40.0


class Repeating:
    """Calls `turn(0, over)`, `turn(1, over)`, ... every `period_s` seconds from its making on.

    `over` is set when the fault is to end: a turn looks at it before it strikes.
    """

    def __init__(self, turn: Callable[[int, threading.Event], None], *, period_s: float) -> None:
        self._turn = turn
        self._period_s = period_s
        self._stopped = threading.Event()
        self._turns = 0
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._go, name="nemesis-repeating", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let no other turn begin."""
        self._stopped.set()

    def stop(self) -> tuple[int, str | None]:
        """End it; return how many turns were made, and what went wrong if anything did.

        Raises `HarnessError` if a turn does not end: then nobody knows what it still does.
        """
        self.end()
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise HarnessError(f"a repeated fault did not end within {_STOP_TIMEOUT_S:g} s")
        return self._turns, self._problem

    def _go(self) -> None:
        try:
            while not self._stopped.wait(self._period_s):
                self._turn(self._turns, self._stopped)
                self._turns += 1
        except HostError as error:
            self._problem = str(error)
        except Exception as error:  # noqa: BLE001  (nobody else would tell)
            self._problem = f"{type(error).__name__}: {error}"
