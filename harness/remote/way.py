"""The ways to a host's SSH server: straight, or by a command that connects; and becoming root there.

Rules of this file:
- A way is as good as its bound: connecting ends within the time given.
- What does not work is a `HostError` that names the host and what to do.
- Root is taken by `sudo -n`, which never asks for a password, and for every command anew.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import paramiko

from harness.errors import HostError
from harness.hosts.host import HostAddress

# After this long without an acknowledgement the kernel gives the connection up.
_SILENCE_MS: Final = 15_000
_END_TIMEOUT_S: Final = 5.0
# Where systems keep it: sshd's own is out of reach for who wants to be root in it.
_SFTP_SERVERS: Final = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/sftp-server",
)


def connect_straight(host: HostAddress, timeout_s: float) -> socket.socket:
    """Return a TCP connection to a host's SSH server."""
    where = f"{host.ssh_name}:{host.port}"
    advice = "is the host up, and is this its address? (for the lab: splitbrain lab status)"
    try:
        connection = socket.create_connection((host.ssh_name, host.port), timeout=timeout_s)
    except ConnectionRefusedError:
        raise HostError(
            f"host {host.name}: {where} refused the connection; is sshd running there?"
        ) from None
    except TimeoutError:
        raise HostError(
            f"host {host.name}: no answer from {where} within {timeout_s:g} s; {advice}"
        ) from None
    except OSError as error:
        raise HostError(
            f"host {host.name}: cannot reach {where}: {error.strerror or error}; {advice}"
        ) from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MS)
    return connection


@contextmanager
def connected_by_command(host: HostAddress) -> Iterator[socket.socket]:
    """Yield the connection that a command makes of its standard streams; the command ends with it."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {host.proxy_command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us to hear
            )
        try:
            yield ours
        finally:
            ours.close()
            command.terminate()
            try:
                command.wait(timeout=_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                command.kill()
                command.wait()


def connect_onwards(
    jump: paramiko.Transport, host: HostAddress, timeout_s: float
) -> paramiko.Channel:
    """Let a jump host that we are connected to connect to a host's SSH server."""
    where = (host.ssh_name, host.port)
    try:
        return jump.open_channel("direct-tcpip", where, ("127.0.0.1", 0), timeout=timeout_s)
    except (paramiko.SSHException, OSError, EOFError) as error:
        assert host.jump is not None
        through = host.jump.name
        advice = f"can {through} reach it?"
        if "prohibited" in str(error):
            advice = f"in sshd_config of {through}: AllowTcpForwarding yes"
        raise HostError(
            f"host {host.name}: no way from {through} to {where[0]}:{where[1]}: "
            f"{str(error) or type(error).__name__}; {advice}"
        ) from None


def as_root(line: str) -> str:
    """Return the command line that runs this one as root.

    sudo clears the environment; the agent must know where the connection comes from, or it could
    cut it off.
    """
    return f'sudo -n -- env SSH_CONNECTION="$SSH_CONNECTION" sh -c {shlex.quote(line)}'


def sftp_as_root() -> str:
    """Return the command line that serves files as root."""
    tries = "; ".join(f"[ ! -x {path} ] || exec {path}" for path in _SFTP_SERVERS)
    return as_root(f"{tries}; echo there is no sftp-server >&2; exit 127")
