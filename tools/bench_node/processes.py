"""The processes of a benchmark: started in groups of their own, and every one of them stopped.

Rules of this file:
- Whatever is started is stopped at the end, on failure, on Ctrl-C and on SIGTERM; the kernel kills
  the rest if this process itself is killed.
- A stop is SIGTERM to the group, a bounded wait, SIGKILL.
- CPU is user and system time of a process and of its children that have ended.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOP_S_MAX = 5.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """What was to be measured could not be; the text says why."""


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """Everything that one run has started."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        atexit.register(self.stop_all)

    def start(
        self,
        command: Sequence[str],
        *,
        log: Path | None = None,
        piped: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command; what it says goes to `log`. `piped`: its input and output are ours."""
        pipe = subprocess.PIPE if piped else subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            error = stack.enter_context(log.open("ab")) if log is not None else None
            output = pipe if piped else (error or subprocess.DEVNULL)
            process = subprocess.Popen(
                list(command),
                stdin=pipe,
                stdout=output,
                stderr=error,
                cwd=ROOT,
                env={**clean_environment(), **(environment or {})},
                bufsize=0,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # this program has one thread
            )
        self._running.append(process)
        return process

    def stop(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Stop some of them; at the return they have ended."""
        for process in processes:
            _signal(process, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait(STOP_S_MAX)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            if process in self._running:
                self._running.remove(process)

    def kill(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Without a chance to say good-bye."""
        for process in processes:
            _signal(process, signal.SIGKILL)
        self.stop(processes)

    def stop_all(self) -> None:
        """Stop all that still run."""
        self.stop(list(self._running))


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end this program as Ctrl-C does: with everything stopped.

    A shell starts its background jobs with Ctrl-C ignored; here it is obeyed.
    """

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


def clean_environment() -> dict[str, str]:
    """Ours, without what would silently configure a server."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("ETCD", "PYTHON"))
    }


def run(command: Sequence[str], *, limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; raises `Failed` with the last line that it said."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, cwd=ROOT, timeout=limit_s,
            env=clean_environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} did not end within {limit_s:g} s") from None
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror or error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        words = " ".join([Path(command[0]).name, *command[1:3]])
        raise Failed(f"{words} ended with {done.returncode}: {said[-1]}")
    return done


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / _TICKS


def rss_mb(pid: int) -> float:
    """Memory that a process has in use; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
