"""Runs the machine's own tools (ip, ssh-keygen, ...) on behalf of the lab.

Rules of this file:
- Every command has a timeout; a tool that hangs is killed and named.
- A tool that fails becomes a `HarnessError` with the command and the last thing it said.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError

_TIMEOUT_S = 20.0
# What a tool sees: nothing of the user's environment may change what it does or prints.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    exit_status: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str],
    *,
    stdin: str = "",
    keep_open: Sequence[int] = (),
    check: bool = True,
    timeout_s: float = _TIMEOUT_S,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> Done:
    """Run a command to its end and return what it said.

    `keep_open` are file descriptors that it inherits: a lock passed here stays held until the
    command is over, even if this process is killed meanwhile.
    """
    try:
        done = subprocess.run(
            list(command),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            pass_fds=tuple(keep_open),
            env=environment,
            # Ctrl-C is for us to hear: a tool that dies of it leaves things half made.
            start_new_session=True,
        )
    except FileNotFoundError:
        raise HarnessError(
            f"the command '{command[0]}' is not installed; `splitbrain doctor` says how to get it"
        ) from None
    except subprocess.TimeoutExpired:
        raise HarnessError(
            f"`{shlex.join(command)}` did not end within {timeout_s:g} s and was killed"
        ) from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise HarnessError(f"`{shlex.join(command)}` failed: {said}")
    return Done(done.returncode, done.stdout, done.stderr)
