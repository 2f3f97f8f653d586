"""The system under test as processes: started in a session of its own, killed, paused, watched.

Rules of this file:
- A signal goes to a process only if PID and start time are those that were written down.
- "Paused", "running" and "gone" are what /proc says of every thread, never what a signal promised.
- Every exit is recorded with whether it was asked for; the number of records is bounded.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import (
    ProcessStat,
    all_processes,
    boot_id,
    json_text,
    process_stat,
    read_json,
    thread_states,
    write_atomically,
)

STATE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S_MAX = 60.0
_POLL_S = 0.002
_EXITS_MAX = 1000
_STOPPED_STATES = frozenset("Tt")
_DEAD_STATES = frozenset("ZXx")
_GATE = 'read -r go && exec "$@" </dev/null'
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ProcessError(Exception):
    """A request about the system that cannot be fulfilled; the text says why."""


class System:
    """The system under test on this host. Not thread-safe but for its reaper: the caller locks."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the notes that outlive this agent."""
        self._notes_path, self._exit_path = folder / "system.json", folder / "exit.json"
        self._reaper: threading.Thread | None = None
        self._exits: list[dict[str, Any]] = []
        self._exits_total = 0
        self._asked_by: str | None = None
        # Why it may end by itself at the moment, such as a full disk.
        self.excuse: str | None = None
        # What is done to each process before it becomes the system, such as joining a group.
        self.prepare_process: Callable[[int], None] = lambda pid: None

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None, log: str
    ) -> dict[str, Any]:
        """Start the system unless it runs.

        The child waits at a gate until its PID is written down, and leaves if we die before that:
        there is never a process that nobody knows of.
        """
        running = self.leader()
        if running is not None:
            return {"pid": running.pid, "already": True}
        if self.members():
            raise ProcessError("processes of an earlier start are still alive: kill them first")
        environment = {"PATH": _PATH, "HOME": "/", "LC_ALL": "C.UTF-8", **env}
        if shutil.which(argv[0], path=environment["PATH"]) is None:
            raise ProcessError(f"there is no command {argv[0]!r} on this host")
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab", buffering=0) as output:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "sh", *argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
                start_new_session=True,
                close_fds=True,
            )
        assert child.stdin is not None
        with child.stdin as gate:
            stat = process_stat(child.pid)  # a child that nobody has waited for is always there
            assert stat is not None
            notes = {"pid": child.pid, "start_ticks": stat.start_ticks, "boot_id": boot_id()}
            write_atomically(self._notes_path, json_text(notes))
            self.prepare_process(child.pid)
            gate.write(b"go\n")
        self._asked_by = None
        self._reaper = threading.Thread(target=self._reap, args=(child,), daemon=True)
        self._reaper.start()
        return {"pid": child.pid, "already": False}

    def kill(self) -> dict[str, Any]:
        """SIGKILL everything of the system; evidence is that none of it is left in /proc."""
        return self._end("kill", signal.SIGKILL)

    def stop(self, *, timeout_s: float) -> dict[str, Any]:
        """SIGTERM, and SIGKILL to what is left after `timeout_s`."""
        self._signal_all(signal.SIGCONT)
        self._asked_by = "stop"
        self._signal_all(signal.SIGTERM)
        gone = wait_until(lambda: not self.members(), min(timeout_s, STOP_TIMEOUT_S_MAX))
        evidence = self._end("stop", signal.SIGKILL)
        return {**evidence, "killed": not gone}

    def pause(self) -> dict[str, Any]:
        """SIGSTOP; evidence is that every thread is in state T."""
        if not self.members():
            raise ProcessError("the system is not running, so it cannot be paused")
        self._signal_all(signal.SIGSTOP)
        paused = wait_until(lambda: self._all_threads(_STOPPED_STATES), STATE_TIMEOUT_S)
        return {"paused": paused, "threads": self._threads()}

    def resume(self) -> dict[str, Any]:
        """SIGCONT; evidence is that no thread is in state T. Not paused, or gone, is no error."""
        self._signal_all(signal.SIGCONT)
        resumed = wait_until(
            lambda: not any(state in _STOPPED_STATES for state in self._states()), STATE_TIMEOUT_S
        )
        return {"resumed": resumed, "threads": self._threads()}

    def report(self) -> dict[str, Any]:
        """Return what there is of the system now, and how it ended before."""
        leader = self.leader()
        states = self._states()
        return {
            "running": leader is not None,
            "pid": None if leader is None else leader.pid,
            "state": None if leader is None else leader.state,
            "paused": bool(states) and all(state in _STOPPED_STATES for state in states),
            "exits": list(self._exits),
            "exits_total": self._exits_total,
        }

    def members(self) -> list[ProcessStat]:
        """Return the living processes of the system's session, if it is still ours."""
        notes = read_json(self._notes_path)
        if notes is None or notes.get("boot_id") != boot_id():
            return []
        pid, start_ticks = int(notes["pid"]), int(notes["start_ticks"])
        leader = process_stat(pid)
        if leader is not None and leader.start_ticks != start_ticks:
            return []  # the number is somebody else's now
        return [
            process
            for process in all_processes()
            if process.session == pid
            and process.start_ticks >= start_ticks
            and process.state not in _DEAD_STATES
        ]

    def leader(self) -> ProcessStat | None:
        """Return the process that was started, while it lives."""
        notes = read_json(self._notes_path)
        pid = None if notes is None else notes["pid"]
        return next((process for process in self.members() if process.pid == pid), None)

    def noted_pid(self) -> int | None:
        """Return the PID of the last start, dead or alive."""
        notes = read_json(self._notes_path)
        return None if notes is None else int(notes["pid"])

    def forget(self) -> None:
        """Drop the notes; everything is gone."""
        with contextlib.suppress(FileNotFoundError):
            self._notes_path.unlink()

    def _end(self, why: str, number: int) -> dict[str, Any]:
        alive = self.members()
        if alive:
            self._asked_by = why
        deadline_ns = time.monotonic_ns() + int(STATE_TIMEOUT_S * 1e9)
        # Again and again: one that was about to fork when it was hit may leave a child.
        while self.members() and time.monotonic_ns() < deadline_ns:
            self._signal_all(number)
            time.sleep(_POLL_S)
        if self._reaper is not None:
            self._reaper.join(timeout=STATE_TIMEOUT_S)
        gone = not self.members()
        return {"gone": gone, "was_running": bool(alive), "pid": self.noted_pid()}

    def _signal_all(self, number: int) -> None:
        for process in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _states(self) -> list[str]:
        """Return the states of all living threads."""
        states: list[str] = []
        for process in self.members():
            states += thread_states(process.pid).values()
        return [state for state in states if state not in _DEAD_STATES]

    def _all_threads(self, wanted: frozenset[str]) -> bool:
        states = self._states()
        return bool(states) and all(state in wanted for state in states)

    def _threads(self) -> str:
        return "".join(sorted(self._states()))

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        """Wait for the system to end, and write down how."""
        status = child.wait()
        record = {
            "pid": child.pid,
            "status": status if status >= 0 else None,
            "signal": _signal_name(-status) if status < 0 else None,
            "asked_by": whose_doing(status, self._asked_by, self.excuse),
            "at_wall_ns": time.time_ns(),
        }
        self._exits_total += 1
        self._exits = kept([*self._exits, record], _EXITS_MAX)
        with contextlib.suppress(OSError):  # a full disk: the record is still in memory
            write_atomically(self._exit_path, json_text(record))


def whose_doing(status: int, asked_by: str | None, excuse: str | None) -> str | None:
    """Return what an end is put down to. Whoever was to be killed and ended by itself was quicker:
    it had another reason, which may excuse it."""
    if asked_by == "kill" and status >= 0 and excuse is not None:
        return excuse
    return asked_by or excuse


def kept(exits: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return so many ends: the last one, then those that nobody asked for, then the latest others."""
    over = len(exits) - most
    asked = [place for place, one in enumerate(exits[:-1]) if one["asked_by"] is not None]
    dropped = set(asked[: max(0, over)])
    return [one for place, one in enumerate(exits) if place not in dropped][-most:]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Look until something is so; False if it is not in time."""
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    while not condition():
        if time.monotonic_ns() > deadline_ns:
            return False
        time.sleep(_POLL_S)
    return True
