"""One host of the lab: its files, its first process, and whether its sshd answers.

Rules of this file:
- Keys are made fresh for each lab, with mode 0600; a host's sshd accepts the lab's key only and
  listens on the host's addresses in the lab only.
- Processes are found by what cannot be lost: the network namespace they are in, and the lab's
  folder on the command line of a first process that is only starting.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.hosts import commands, lab_init, lab_network

SSH_PORT = 22
# The program that is a host's first process where the host is a virtual machine.
QEMU = "qemu-system-x86_64"
_POLL_S = 0.01

_SSHD_CONFIG = """\
Port {port}
{listen}HostKey /run/lab/host_key
AuthorizedKeysFile /run/lab/authorized_keys
PidFile /run/lab-sshd.pid
UsePAM no
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes yes
UseDNS no
AllowTcpForwarding no
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
PermitUserRC no
PrintMotd no
PrintLastLog no
LogLevel INFO
LoginGraceTime 20
MaxSessions 64
MaxStartups 100:30:200
ClientAliveInterval 3
ClientAliveCountMax 3
{penalties}SetEnv PATH={path}
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPaths:
    """Where a host's files are, seen from the controller."""

    directory: Path

    @property
    def identity(self) -> Path:
        """The folder the host sees, read by its sshd, as /run/lab."""
        return self.directory / "identity"

    @property
    def srv(self) -> Path:
        """The folder that the host sees as /srv."""
        return self.directory / "srv"

    @property
    def log(self) -> Path:
        """What the host's first process and its sshd said."""
        return self.directory / "lab.log"


def make_key(path: Path, *, comment: str, lock_fd: int) -> str:
    """Make an ed25519 key without a passphrase and return its public half, without the comment."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    commands.run(command, keep_open=(lock_fd,))
    path.chmod(0o600)
    kind, blob = path.with_suffix(".pub").read_text(encoding="ascii").split()[:2]
    return f"{kind} {blob}"


def write_identity(
    paths: HostPaths,
    *,
    addresses: Sequence[str],
    authorized_key: str,
    penalties: str,
    lock_fd: int,
) -> str:
    """Write what a host's sshd needs, and return the host's public key."""
    for folder in (paths.directory, paths.identity, paths.srv):
        folder.mkdir(mode=0o755, parents=True)
    public = make_key(paths.identity / "host_key", comment="splitbrain-host", lock_fd=lock_fd)
    authorized = paths.identity / "authorized_keys"
    authorized.write_text(f"restrict,pty {authorized_key}\n", encoding="ascii")
    authorized.chmod(0o600)
    listen = "".join(f"ListenAddress {address}\n" for address in addresses)
    config = _SSHD_CONFIG.format(
        port=SSH_PORT, listen=listen, path=_path_on_hosts(), penalties=penalties
    )
    (paths.identity / "sshd_config").write_text(config, encoding="utf-8")
    return public


def start(
    paths: HostPaths, *, instance: int, name: str, ipv6: bool, sshd: str, lock_fd: int
) -> subprocess.Popen[bytes]:
    """Start a host's first process; the process returned ends as soon as that one exists."""
    command = [
        *(sys.executable, "-I", lab_init.__file__),
        *("--name", name),
        *("--namespace", str(lab_network.namespace_path(instance, name))),
        *("--directory", str(paths.directory)),
        *("--address", lab_network.address(instance, name)),
        *("--address6", lab_network.address6(instance, name) if ipv6 else ""),
        *("--sshd", sshd),
        *("--lock-fd", str(lock_fd)),
    ]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=commands.ENVIRONMENT,
        pass_fds=(lock_fd,),
    )


def find_sshd() -> str:
    """Return the absolute path of sshd: it insists on being started by one."""
    found = shutil.which("sshd", path=commands.ENVIRONMENT["PATH"])
    if found is None:
        raise HarnessError(
            "sshd is not installed; the lab needs it: sudo apt-get install -y openssh-server "
            "(`make setup` does it without starting a service)"
        )
    return found


def penalties_line() -> str:
    """Return the line that keeps a newer sshd from shutting out whoever only asks if it is up."""
    done = commands.run(["ssh", "-V"])
    match = re.match(r"OpenSSH_(\d+)\.(\d+)", done.stderr)
    newer = match is not None and (int(match[1]), int(match[2])) >= (9, 8)
    return "PerSourcePenalties no\n" if newer else ""


def answers(address: str, *, timeout_s: float, port: int = SSH_PORT) -> str | None:
    """Return None if an SSH server greets us there in time, else what was seen instead."""
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    seen = "nothing was tried"
    while True:
        remaining_s = (deadline_ns - time.monotonic_ns()) / 1e9
        if remaining_s <= 0:
            return seen
        try:
            with socket.create_connection((address, port), timeout=remaining_s) as connection:
                greeting = connection.recv(4)
        except TimeoutError:
            return f"no answer from {address}:{port} within {timeout_s:g} s"
        except OSError as error:
            seen = f"{address}:{port}: {error.strerror or error}"
        else:
            if greeting == b"SSH-":
                return None
            seen = f"{address}:{port} answered, but it is no SSH server"
        time.sleep(_POLL_S)


def processes(instance: int, lab_directory: Path) -> set[int]:
    """Return the processes of a lab: all in its network namespaces, and those only starting."""
    found: set[int] = set()
    for name in lab_network.existing_namespaces(instance):
        done = commands.run(["ip", "netns", "pids", name], check=False)
        found.update(int(pid) for pid in done.stdout.split())
    marker = f"{lab_directory}/".encode()
    programs = {os.fsencode(lab_init.__file__), QEMU.encode()}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if programs & set(words) and any(word.startswith(marker) for word in words):
            found.add(int(folder.name))
    return found - {os.getpid()}


def kill_all(instance: int, lab_directory: Path, *, timeout_s: float = 10.0) -> None:
    """SIGKILL every process of a lab and wait until none is left."""
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    while pids := processes(instance, lab_directory):
        if time.monotonic_ns() > deadline_ns:
            raise HarnessError(f"lab {instance}: processes {sorted(pids)} do not end, even killed")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it went with its host's first process
        time.sleep(_POLL_S)


def wait_launched(launchers: Sequence[subprocess.Popen[bytes]], *, timeout_s: float) -> None:
    """Wait until every launcher is over; raise with what the first failed one said."""
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    problems: list[str] = []
    for launcher in launchers:
        try:
            remaining_s = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
            _, said = launcher.communicate(timeout=remaining_s)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.communicate()
            problems.append(f"did not end within {timeout_s:g} s")
            continue
        if launcher.returncode != 0:
            problems.append(said.decode(errors="replace").strip() or "ended early; see lab.log")
    if problems:
        raise HarnessError(f"a lab host could not be started: {problems[0]}")


def _path_on_hosts() -> str:
    """Return the PATH of commands on the hosts: the system's, then where our own Python is."""
    own = Path(sys.executable).resolve().parent
    return f"{commands.ENVIRONMENT['PATH']}:{own}"
