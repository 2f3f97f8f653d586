"""Outlives the agent to clean up after it, and does nothing else.

Rules of this file:
- It is started before anything is installed, in a session of its own, and holds the reading end
  of a pipe whose only writing end is the agent's. End of file means that the agent is no more.
- It also goes by a deadline of its own, prolonged by what the agent writes into the pipe: an agent
  that hangs is as good as dead, and is killed so that it cannot wake up in the middle of things.
- It inherits the agent's lock and lets go of it by ending.
- Having healed, it ends. After an agent that healed by itself there is nothing left to do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from .files import ProcessStat, process_stat
from .healing import heal_host

# An agent that is alive renews long before; beyond this it hangs, whatever its lease says.
GRACE_S = 5.0
# An emulated machine that is busy needs long for a new process.
_SPAWN_TIMEOUT_S = 30


def spawn(home: Path, *, lock_fd: int, lease_s: float, leave_running: bool) -> int:
    """Start a watchdog, twice removed, and return the writing end of its pipe."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-I", sys.argv[0], "--watchdog", str(read_end)]
    command += ["--home", str(home), "--lease-s", str(lease_s), "--agent-pid", str(os.getpid())]
    if leave_running:
        command.append("--leave-running")
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(read_end, lock_fd),
            timeout=_SPAWN_TIMEOUT_S,
            check=True,
        )
    finally:
        os.close(read_end)
    return write_end


def daemonize() -> bool:
    """Leave caller and session; return True in the process that goes on."""
    os.setsid()
    if os.fork() > 0:
        return False
    os.chdir("/")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    return True


def watch(
    read_end: int, home: Path, *, agent: ProcessStat, lease_s: float, leave_running: bool
) -> None:
    """Wait for the agent's end, then heal what it left."""
    deadline_ns, orders = _prolonged(lease_s), b""
    while True:
        remaining_s = (deadline_ns - time.monotonic_ns()) / 1e9
        ready = remaining_s > 0 and select.select([read_end], [], [], remaining_s)[0]
        if not ready:
            _kill(agent)
            break
        data = os.read(read_end, 4096)
        if not data:
            break
        deadline_ns, orders = _obey(orders + data, deadline_ns)
        if deadline_ns == 0:
            return
    heal_host(home, leave_running=leave_running)


def _kill(agent: ProcessStat) -> None:
    now = process_stat(agent.pid)
    if now is not None and now.start_ticks == agent.start_ticks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(agent.pid, signal.SIGKILL)


def _prolonged(lease_s: float) -> int:
    return time.monotonic_ns() + int((lease_s + GRACE_S) * 1e9)


def _obey(orders: bytes, deadline_ns: int) -> tuple[int, bytes]:
    """Follow whole lines: a number is a new lease, "done" means go home (deadline 0)."""
    *lines, rest = orders.split(b"\n")
    for line in lines:
        if line == b"done":
            return 0, b""
        deadline_ns = _prolonged(float(line))
    return deadline_ns, rest
