"""Each node's monotonic clock, and the process that a pause stops.

Rules of this file:
- A clock never goes back and survives restarts of its process. It may be faster or slower than
  true time, by parts in a million.
- A process that is stopped (SIGSTOP) loses nothing: its timers are late, and what arrived waits in
  its sockets. When it goes on, the sockets are read in any order.
- A callback belongs to one life of the process; in the next one it does not happen.
"""

from collections.abc import Callable
from functools import partial
from random import Random

from harness.sim.world import Callback, World

_MILLION = 1_000_000


class Clock:
    """A monotonic clock in virtual time."""

    __slots__ = ("_at_ns", "_base_ns", "_rate_ppm", "_world")

    def __init__(self, world: World, offset_ns: int, rate_ppm: int) -> None:
        self._world = world
        self._base_ns = offset_ns
        self._at_ns = world.now_ns
        self._rate_ppm = rate_ppm

    def now_ns(self) -> int:
        """What it shows."""
        passed_ns = self._world.now_ns - self._at_ns
        return self._base_ns + passed_ns + passed_ns * self._rate_ppm // _MILLION

    def set_rate(self, rate_ppm: int) -> None:
        """Go on at another rate."""
        self._base_ns, self._at_ns = self.now_ns(), self._world.now_ns
        self._rate_ppm = rate_ppm

    def world_ns(self, duration_ns: int) -> int:
        """How long a duration of this clock really is."""
        return duration_ns * _MILLION // (_MILLION + self._rate_ppm)


class Process:
    """Runs the callbacks of a node's present life."""

    def __init__(self, world: World, run: Callable[[Callback], object], chance: Random) -> None:
        """`run` carries out a callback and deals with what it raises."""
        self.life = 0
        self.up = False
        self.paused = False
        self._world = world
        self._carry_out = run
        self._chance = chance
        self._held: list[Callback] = []
        self._sockets: dict[str, list[Callback]] = {}

    def begin(self) -> None:
        """A new life."""
        self.life += 1
        self.up = True
        self.paused = False

    def end(self) -> None:
        """Nothing of this life happens any more."""
        self.life += 1
        self.up = False
        self.paused = False
        self._held.clear()
        self._sockets.clear()

    def later(self, delay_ns: int, callback: Callback) -> None:
        """A timer, or the end of something that this process began."""
        self._world.after(delay_ns, partial(self._run, self.life, callback))

    def arrive(self, socket: str, callback: Callback) -> None:
        """Something came through a socket."""
        if self.paused:
            self._sockets.setdefault(socket, []).append(callback)
        elif self.up:
            self._carry_out(callback)

    def pause(self) -> None:
        """Stop it."""
        self.paused = True

    def resume(self) -> None:
        """Let it go on: timers first or last, sockets in any order, each in its own."""
        self.paused = False
        held, self._held = self._held, []
        sockets, self._sockets = self._sockets, {}
        turns = [name for name, waiting in sockets.items() for _ in waiting]
        self._chance.shuffle(turns)
        callbacks = [sockets[name].pop(0) for name in turns]
        timers_first = self._chance.random() < 0.5
        life = self.life
        for callback in [*held, *callbacks] if timers_first else [*callbacks, *held]:
            if life == self.life:
                self._carry_out(callback)

    def _run(self, life: int, callback: Callback) -> None:
        if life != self.life:
            return
        if self.paused:
            self._held.append(callback)
        else:
            self._carry_out(callback)
