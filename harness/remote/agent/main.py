"""Speaks with the harness: one JSON request a line in, one JSON answer a line out.

    {"id": 1, "do": "cut", "from": ["198.18.0.2"]}   ->   {"id": 1, "ok": true, ...evidence}
                                                      or   {"id": 1, "ok": false, "error": "..."}

Rules of this file:
- A line that makes no sense gets an error for an answer; nothing that is asked ends the agent but
  `bye`, the end of its input, SIGTERM, or its lease running out. All four heal first.
- Nothing may hold up a renewal: it is handled as it is read, the rest in a few threads behind,
  what concerns the system one after the other.
- One agent a host: it holds a lock, and so does its watchdog until it has cleaned up.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import echo, watchdog
from .clock import Clock, ClockError, clean_shared_memory, find_library
from .damage import Damage, DamageError
from .disk import Disk
from .effect import EffectError, read_effect
from .files import boot_id, json_text, process_stat
from .group import Group, GroupError
from .healing import clock_path, heal_host, machine_clock_note, notes_folder
from .kernel_clock import KernelClock
from .machine_clock import MachineClock, why_never_set
from .network import Cut, NetworkError, canonical_address, why_nft_does_not_work
from .process import ProcessError, System
from .shaping import Shaping
from .squeeze import Squeeze
from .throttle import Throttle, ThrottleError
from .traffic_control import ToolError
from .volume import Volume, VolumeError

PROTOCOL = 1
LEASE_S_MIN, LEASE_S_MAX = 1.0, 600.0
REQUEST_BYTES_MAX = 1 << 20
WORKERS, PENDING_MAX = 4, 64
# A predecessor whose harness was killed needs its lease and a moment to heal.
_LOCK_TIMEOUT_S = 30.0

Request = dict[str, Any]
Answer = dict[str, Any]
Handler = Callable[[Request], Answer]
_NO_PACKETS: Answer = {"dropped": {}, "lapses": 0}


class RequestError(Exception):
    """A request that makes no sense; the text says why."""


_EXPECTED = (
    RequestError,
    NetworkError,
    ClockError,
    ProcessError,
    VolumeError,
    ThrottleError,
    EffectError,
    ToolError,
    GroupError,
    DamageError,
)


class Agent:
    """Everything the agent does; `handle` is thread-safe."""

    def __init__(
        self,
        home: Path,
        *,
        lease_s: float,
        pipe: int,
        protected: list[str],
        controller_boot: str | None = None,
    ) -> None:
        """`pipe` leads to the watchdog; `protected` are addresses that are never cut.

        `controller_boot` is given where the machine's own clock may be set: `why_never_set`.
        """
        self._home, self._pipe = home, pipe
        # Guards system and clock; what is done to the network has locks of its own, so that renewing
        # it never waits.
        self._lock = threading.RLock()
        self._system = System(notes_folder(home))
        self._clock = _clock_of(home, controller_boot)
        notes = notes_folder(home)
        self._disk = Disk(Volume(home, notes), Throttle(notes, name=_own_address()), self._system)
        group = Group(notes)
        self._system.prepare_process = group.join
        self._squeeze = Squeeze(group, notes, self._system)
        self._damage = Damage(self._system)
        self._clock_problem = "the system was not started with a movable clock"
        self._protected = [canonical_address(address) for address in protected]
        self._cut = Cut(protected=protected)
        self._shaping = Shaping(notes, protected=protected)
        self._nft_problem = why_nft_does_not_work()
        self._lease_s, self._lease_ends_ns = lease_s, 0
        self.renew(lease_s)
        self._at_once: dict[str, Handler] = {
            "hello": self._hello,
            "renew": lambda request: self.renew(_number(request, "lease_s")),
            "wall_clock": lambda _: _clocks(),
            "cut": self._do_cut,
            "heal_network": lambda _: self._cut.heal() if not self._nft_problem else _NO_PACKETS,
            "network_evidence": lambda _: self._cut.evidence(),
            "shape": self._shape,
            "unshape": lambda _: self._shaping.undo(),
            "shaping_evidence": lambda _: self._shaping.evidence(),
            "echo": _echo,
            "checksum_errors": lambda _: {"errors": echo.checksum_errors()},
        }
        self._in_turn: dict[str, Handler] = {
            "start": self._start,
            "kill": lambda _: self._ended(self._system.kill()),
            "stop": self._stop,
            "pause": lambda _: self._system.pause(),
            "resume": lambda _: self._system.resume(),
            "process": lambda _: self._system.report(),
            "clock_bump": self._clock_bump,
            "clock_strobe": self._clock_strobe,
            "clock_rate": self._clock_rate,
            "clock_reset": lambda _: self._clock.reset(),
            "clock_state": lambda _: self._clock.state(),
            "make_volume": lambda request: self._disk.make(Path(_string(request, "root"))),
            "write_canaries": self._if_volume(self._disk.write_canaries),
            "cut_power": self._if_volume(lambda: self._ended(self._disk.cut_power())),
            "fill_disk": self._if_volume(self._disk.fill),
            "slow_disk": self._if_volume(self._disk.slow),
            "fail_disk": self._if_volume(self._disk.fail),
            "undo_disk": self._if_volume(self._disk.undo),
            "make_group": lambda _: self._squeeze.make(_own_address()),
            "squeeze_cpu": lambda request: self._squeeze.cpu(_number(request, "percent")),
            "cpu_squeezed": lambda _: self._squeeze.cpu_seen(),
            "squeeze_memory": lambda request: self._squeeze.memory(_number(request, "spare_kb")),
            "memory_squeezed": lambda _: self._squeeze.memory_seen(),
            "limit_descriptors": lambda request: self._squeeze.descriptors(
                _number(request, "keep_percent")
            ),
            "undo_squeeze": lambda _: self._squeeze.undo(),
            "damage": self._do_damage,
            "end_damage": lambda _: self._damage.end(),
            "heal": lambda _: self.heal(leave_running=True),
        }

    def handle(self, line: bytes) -> Answer:
        """Answer one request. Whatever goes wrong is the answer."""
        number: Any = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise RequestError("a request is a JSON object")
            number, name = request.get("id"), str(request.get("do"))
            if name in self._at_once:
                return {"id": number, "ok": True, **self._at_once[name](request)}
            if name not in self._in_turn:
                raise RequestError(f"cannot do {name!r}")
            with self._lock:
                return {"id": number, "ok": True, **self._in_turn[name](request)}
        except _EXPECTED as error:
            return {"id": number, "ok": False, "error": str(error)}
        except Exception as error:  # noqa: BLE001  (a mistake of ours must not end the agent)
            said = f"{type(error).__name__}: {error}"
            return {"id": number, "ok": False, "error": said}

    def renew(self, lease_s: float) -> Answer:
        """Prolong the lease, here and at the watchdog."""
        if not LEASE_S_MIN <= lease_s <= LEASE_S_MAX:
            raise RequestError(f"a lease is {LEASE_S_MIN} to {LEASE_S_MAX} s")
        self._lease_s = lease_s
        self._lease_ends_ns = time.monotonic_ns() + int(lease_s * 1e9)
        with contextlib.suppress(OSError):  # a watchdog that was killed; cuts still expire
            os.write(self._pipe, f"{lease_s}\n".encode())
        return {"lease_s": lease_s}

    def heal(self, *, leave_running: bool) -> Answer:
        """Undo all faults; what was dropped until then is the last evidence there is."""
        dropped: dict[str, int] = {}
        with contextlib.suppress(NetworkError):
            dropped = self._cut.heal()["dropped"]
        with contextlib.suppress(
            NetworkError, ToolError
        ):  # it is tried once more, and then reported
            self._shaping.undo()
        with self._lock:
            self._clock.reset()
            if leave_running:
                with contextlib.suppress(Exception):  # it is tried once more, and then reported
                    self._disk.undo()
                with contextlib.suppress(Exception):
                    self._squeeze.undo()
            return {**heal_host(self._home, leave_running=leave_running), "dropped": dropped}

    def keep_time(self, ended: threading.Event) -> None:
        """Renew cuts while the lease runs; set `ended` when it has run out."""
        while not ended.wait(min(1.0, self._lease_s / 4)):
            if time.monotonic_ns() > self._lease_ends_ns:
                ended.set()
                return
            for fault in (self._cut, self._shaping):
                # Whatever it is: it shows as a lapse, and the lease must be watched all the same.
                with contextlib.suppress(Exception):
                    fault.renew(self._lease_s)

    def _hello(self, _: Request) -> Answer:
        return {
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "root": os.geteuid() == 0,
            "nft_problem": self._nft_problem,
            "tc": shutil.which("tc") is not None,
            "faketime": self._clock.library,
            "protected": self._protected,
        }

    def _do_cut(self, request: Request) -> Answer:
        sources = _strings(request, "from")
        if self._nft_problem:
            return {"skipped": self._nft_problem}
        self._cut.install(sources, timeout_s=self._lease_s)
        return {**self._cut.evidence(), "cut": sources}

    def _shape(self, request: Request) -> Answer:
        peers, effect = _strings(request, "to"), read_effect(request.get("effect"))
        if self._nft_problem:
            return {"skipped": self._nft_problem}
        return self._shaping.install(peers, effect, timeout_s=self._lease_s)

    def _start(self, request: Request) -> Answer:
        argv, env = _strings(request, "argv"), request.get("env", {})
        if not argv or not isinstance(env, dict):
            raise RequestError("'argv' must not be empty, and 'env' must map names to strings")
        log = request.get("log") or str(self._home / "system.log")
        wanted = bool(request.get("clock"))
        if wanted and self._system.leader() is None:
            self._clock.prepare_start()
            env = {**env, **self._clock.environment()}
        answer = self._system.start(argv, env=env, cwd=request.get("cwd"), log=log)
        if not answer["already"]:
            self._clock_problem = (
                self._clock.why_fixed(answer["pid"])
                if wanted
                else "the system was not started with a movable clock"
            )
        return {**answer, "clock_problem": self._clock_problem}

    def _stop(self, request: Request) -> Answer:
        return self._ended(self._system.stop(timeout_s=_number(request, "timeout_s", 5.0)))

    def _ended(self, answer: Answer) -> Answer:
        if answer["gone"] and answer["pid"] is not None:
            clean_shared_memory(answer["pid"])
        return answer

    def _if_volume(self, act: Callable[[], Answer]) -> Handler:
        return lambda _: {"skipped": self._disk.problem} if self._disk.problem else act()

    def _do_damage(self, request: Request) -> Answer:
        return self._damage.do(
            _string(request, "how"),
            Path(_string(request, "root")),
            logs=_strings(request, "logs"),
            states=_strings(request, "states"),
            draw=int(_number(request, "draw")),
        )

    def _clock_bump(self, request: Request) -> Answer:
        if self._clock_problem:
            return {"skipped": self._clock_problem}
        state = self._clock.bump(_number(request, "offset_ms"))
        return {**state, **self._clock.probe()}

    def _clock_strobe(self, request: Request) -> Answer:
        if self._clock_problem:
            return {"skipped": self._clock_problem}
        return self._clock.strobe(
            offset_ms=_number(request, "offset_ms"),
            period_ms=_number(request, "period_ms"),
            duration_ms=_number(request, "duration_ms"),
        )

    def _clock_rate(self, request: Request) -> Answer:
        if self._clock_problem:
            return {"skipped": self._clock_problem}
        return self._clock.run_at(_number(request, "rate"))


def _clock_of(home: Path, controller_boot: str | None) -> Clock | MachineClock:
    """Return the clock to move: what libfaketime shows the system, or the machine's own."""
    if controller_boot is None:
        return Clock(clock_path(home), find_library())
    own, root = boot_id(), os.geteuid() == 0
    refusal = why_never_set(controller_boot=controller_boot, own_boot=own, root=root)
    return MachineClock(machine_clock_note(home), KernelClock(), boot=own, refusal=refusal)


def _echo(request: Request) -> Answer:
    count, size = int(_number(request, "count")), int(_number(request, "size"))
    return echo.look(_strings(request, "to"), count=count, size=size)


def _own_address() -> str:
    """Return the address at which the harness reached this host: no two hosts of a machine share it."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    return (words[2] if len(words) > 2 else platform.node()).replace(":", "-")


def _clocks() -> Answer:
    return {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}


def _number(request: Request, name: str, default: float | None = None) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RequestError(f"{name!r} must be a number")
    return float(value)


def _string(request: Request, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{name!r} must be a string")
    return value


def _strings(request: Request, name: str) -> list[str]:
    value = request.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(f"{name!r} must be a list of strings")
    return value


def take_lock(home: Path) -> int:
    """Return a descriptor that holds this host's lock; wait for a predecessor to clean up."""
    notes_folder(home).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(notes_folder(home) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_ns = time.monotonic_ns() + int(_LOCK_TIMEOUT_S * 1e9)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic_ns() > deadline_ns:
                raise SystemExit(
                    "another harness uses this host: its agent holds {}".format(
                        notes_folder(home) / "lock"
                    )
                ) from None
            time.sleep(0.05)


class Conversation:
    """Reads requests and writes answers until the harness is gone or says `bye`."""

    def __init__(self, agent: Agent, ended: threading.Event) -> None:
        self._agent, self._ended = agent, ended
        self._output = threading.Lock()
        self._pending = threading.Semaphore(PENDING_MAX)
        self._workers = ThreadPoolExecutor(WORKERS)
        self.farewell: Request | None = None

    def serve(self) -> None:
        """Answer until the input ends; then set `ended`."""
        try:
            while not self._ended.is_set():
                line = sys.stdin.buffer.readline(REQUEST_BYTES_MAX)
                if not line:
                    return
                if self._is_farewell(line):
                    return
                if line.strip():
                    self._take(line)
        finally:
            self._ended.set()

    def say(self, answer: Answer) -> None:
        """Write one answer; nobody there to read it is no error."""
        with self._output, contextlib.suppress(OSError, ValueError):
            sys.stdout.write(json_text(answer))
            sys.stdout.flush()

    def _take(self, line: bytes) -> None:
        if b'"renew"' in line:
            self.say(self._agent.handle(line))
        elif self._pending.acquire(timeout=1):
            self._workers.submit(self._answer, line)
        else:
            self.say({"id": None, "ok": False, "error": "too many requests at once"})

    def _answer(self, line: bytes) -> None:
        try:
            self.say(self._agent.handle(line))
        finally:
            self._pending.release()

    def _is_farewell(self, line: bytes) -> bool:
        if b'"bye"' not in line:
            return False
        with contextlib.suppress(ValueError):
            request = json.loads(line)
            if isinstance(request, dict) and request.get("do") == "bye":
                self.farewell = request
                return True
        return False


def run_agent(
    home: Path, *, lease_s: float, leave_running: bool, controller_boot: str | None
) -> int:
    """Serve until it is over, then heal. Exit status 1 says that something could not be undone."""
    lock_fd = take_lock(home)
    heal_host(home, leave_running=leave_running)
    pipe = watchdog.spawn(home, lock_fd=lock_fd, lease_s=lease_s, leave_running=leave_running)
    client = os.environ.get("SSH_CONNECTION", "").split()[:1]
    agent = Agent(
        home, lease_s=lease_s, pipe=pipe, protected=client, controller_boot=controller_boot
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    conversation = Conversation(agent, ended)
    threading.Thread(target=conversation.serve, daemon=True).start()
    threading.Thread(target=agent.keep_time, args=(ended,), daemon=True).start()
    ended.wait()
    answer = agent.heal(leave_running=leave_running)
    if answer["healed"]:
        with contextlib.suppress(OSError):
            os.write(pipe, b"done\n")
    if conversation.farewell is not None:
        conversation.say({"id": conversation.farewell.get("id"), "ok": True, **answer})
    # Threads may still wait for input or in a request; there is nothing left for them to do.
    os._exit(0 if answer["healed"] else 1)


def main() -> int:
    """Run the agent or its watchdog."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--lease-s", type=float, default=10.0)
    parser.add_argument("--leave-running", action="store_true")
    parser.add_argument("--controller-boot")
    parser.add_argument("--watchdog", type=int, default=-1)
    parser.add_argument("--agent-pid", type=int, default=-1)
    options = parser.parse_args()
    common = {"lease_s": options.lease_s, "leave_running": options.leave_running}
    if options.watchdog < 0:
        return run_agent(options.home, controller_boot=options.controller_boot, **common)
    agent = process_stat(options.agent_pid)
    if agent is not None and watchdog.daemonize():
        watchdog.watch(options.watchdog, options.home, agent=agent, **common)
    return 0 if agent is not None else 1
