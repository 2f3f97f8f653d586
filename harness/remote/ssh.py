"""One SSH connection to a host: commands, files, and a channel for the agent.

Rules of this file:
- Host keys are checked against the given file, always; one key is offered, and nothing is taken
  from the user's agent or home folder.
- Every wait has a bound, and so has everything that a host may send.
- Whatever goes wrong is a `HostError` that names the host, what was tried and what to do.
- A connection may be shared by threads; files are transferred one at a time.
"""

from __future__ import annotations

import contextlib
import logging
import posixpath
import secrets
import shlex
import socket
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import paramiko
from paramiko.pkey import UnknownKeyType

from harness.errors import HostError
from harness.hosts.host import HostAddress
from harness.remote.way import (
    as_root,
    connect_onwards,
    connect_straight,
    connected_by_command,
    sftp_as_root,
)

CONNECT_TIMEOUT_S: Final = 10.0
_KEEPALIVE_S: Final = 5
_TRANSFER_TIMEOUT_S: Final = 60.0
_OUTPUT_BYTES_MAX: Final = 1 << 20
_CHUNK_BYTES: Final = 32_768
_POLL_S_MIN: Final = 0.001
_POLL_S_MAX: Final = 0.02

# paramiko reports every broken connection with a traceback; we report it as a HostError.
_LOG_CHANNEL: Final = "harness.remote.paramiko"
_log = logging.getLogger(_LOG_CHANNEL)
_log.addHandler(logging.NullHandler())
_log.propagate = False
_log.setLevel(logging.CRITICAL + 1)

_Connection = socket.socket | paramiko.Channel


@dataclass(frozen=True, slots=True)
class Result:
    """How a command on a host ended. A command killed by a signal has exit status -1."""

    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Download:
    """What was fetched: `skipped_bytes` of a longer file's beginning were left there."""

    size_bytes: int
    skipped_bytes: int


class _UnknownHostKey(paramiko.SSHException):
    """The host showed a key that nobody has vouched for."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        raise _UnknownHostKey(key.fingerprint)


class Remote:
    """A host that we are connected to. Use `Remote.connect`, and `close` when done."""

    def __init__(
        self, host: HostAddress, client: paramiko.SSHClient, way: contextlib.ExitStack
    ) -> None:
        """Take over a connection that is up, and `way`: what is to be closed after it."""
        self.host = host
        self._client = client
        self._way = way
        self._sftp: paramiko.SFTPClient | None = None
        self._transfers = threading.Lock()

    @classmethod
    def connect(cls, host: HostAddress, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Remote:
        """Connect and log in. Raises `HostError` with what to do about it."""
        for what, path in (("key", host.key_path), ("known_hosts", host.known_hosts_path)):
            if not path.is_file():
                raise HostError(
                    f"host {host.name}: its {what} file {path} does not exist; "
                    "for the lab: splitbrain lab up"
                )
        with contextlib.ExitStack() as way:
            connection = _connection_to(host, way, timeout_s)
            way.callback(connection.close)
            client = paramiko.SSHClient()
            way.callback(client.close)
            _log_in(client, host, connection, timeout_s)
            remote = cls(host, client, way)
            if host.sudo:
                remote._require_sudo(timeout_s)
            remote._way = way.pop_all()
            return remote

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float = 30.0,
        stdin: bytes = b"",
        output_bytes_max: int = _OUTPUT_BYTES_MAX,
    ) -> Result:
        """Run a command to its end. A string goes to the host's shell, a sequence is quoted.

        Raises `HostError` when it takes longer or says more than allowed; the channel is closed
        then, but the command may run on for a while.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        channel = self.open_channel(line, timeout_s=timeout_s)
        with contextlib.closing(channel):
            output = _Output(output_bytes_max)
            poll_s, pending = _POLL_S_MIN, memoryview(stdin)
            if not pending:
                channel.shutdown_write()
            while not (output.read(channel) and channel.exit_status_ready()):
                if time.monotonic_ns() > deadline_ns:
                    raise self._error(f"`{line}` did not end within {timeout_s:g} s")
                if output.overflow:
                    raise self._error(f"`{line}` said more than {output_bytes_max} bytes")
                if pending and channel.send_ready():
                    pending = pending[self._send(channel, pending[:_CHUNK_BYTES], line) :]
                    if not pending:
                        channel.shutdown_write()
                elif output.idle:
                    time.sleep(poll_s)
                    poll_s = min(poll_s * 2, _POLL_S_MAX)
            status = channel.recv_exit_status()
            # exit_status_ready() is also true when the channel broke down without any status.
            if status == -1 and not self.connected:
                raise self._error(f"the connection broke while `{line}` ran")
            return Result(status, output.text(0), output.text(1))

    def check(self, command: str | Sequence[str], *, timeout_s: float = 30.0) -> str:
        """Run a command that must succeed, and return what it said on standard output."""
        result = self.run(command, timeout_s=timeout_s)
        if result.exit_status != 0:
            line = command if isinstance(command, str) else shlex.join(command)
            said = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()[-1]
            raise self._error(f"`{line}` failed with status {result.exit_status}: {said}")
        return result.stdout

    def open_channel(
        self, command: str, *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> paramiko.Channel:
        """Start a command and return its channel; the caller closes it."""
        transport = self.transport
        try:
            channel = transport.open_session(timeout=timeout_s)
            channel.settimeout(timeout_s)
            channel.exec_command(as_root(command) if self.host.sudo else command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._error(f"could not start `{command}`: {_said(error)}") from None
        return channel

    def upload(
        self,
        content: bytes | Path,
        remote_path: str,
        *,
        mode: int = 0o644,
        timeout_s: float = _TRANSFER_TIMEOUT_S,
    ) -> None:
        """Put a file on the host, whole or not at all; folders on the way are made."""
        data = content if isinstance(content, bytes) else content.read_bytes()
        folder, name = posixpath.split(remote_path)
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}.new"
        with self._files(timeout_s, f"upload {remote_path}") as files:
            try:
                _make_folders(files, folder)
                with files.open(temporary, "wb") as file:
                    file.set_pipelined(pipelined=True)
                    file.write(data)
                files.chmod(temporary, mode)
                if files.stat(temporary).st_size != len(data):
                    raise OSError("the file arrived cut short")
                files.posix_rename(temporary, remote_path)
            except OSError as error:
                failure = self._upload_error(remote_path, folder, error)
                with contextlib.suppress(OSError, paramiko.SSHException, EOFError):
                    files.remove(temporary)
                raise failure from None

    def download(
        self,
        remote_path: str,
        local_path: Path,
        *,
        bytes_max: int,
        timeout_s: float = _TRANSFER_TIMEOUT_S,
    ) -> Download:
        """Fetch a file; of one longer than `bytes_max`, its end (where logs are interesting)."""
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        with (
            self._files(timeout_s, f"download {remote_path}") as files,
            files.open(remote_path, "rb") as source,
            local_path.open("wb") as target,
        ):
            length = source.stat().st_size or 0
            skipped = max(0, length - bytes_max)
            source.seek(skipped)
            size = 0
            while size < bytes_max:
                chunk = source.read(min(_CHUNK_BYTES, bytes_max - size))
                if not chunk:
                    break
                size += target.write(chunk)
                if time.monotonic_ns() > deadline_ns:
                    raise self._error(f"download {remote_path}: not done within {timeout_s:g} s")
        return Download(size, skipped)

    @property
    def connected(self) -> bool:
        """Whether the connection still stands, as far as we have noticed."""
        transport = self._client.get_transport()
        return transport is not None and transport.is_active()

    def close(self) -> None:
        """End the connection and its thread. May be called twice."""
        transport = self._client.get_transport()
        if self._sftp is not None:
            with contextlib.suppress(Exception):  # the connection may be broken already
                self._sftp.close()
            self._sftp = None
        self._client.close()
        if transport is not None:
            transport.join(timeout=CONNECT_TIMEOUT_S)
        self._way.close()

    @property
    def transport(self) -> paramiko.Transport:
        """What other connections can be made through. Raises `HostError` if it is closed."""
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise self._error("the SSH connection is closed; is the host still up?")
        return transport

    def _require_sudo(self, timeout_s: float) -> None:
        done = self.run("true", timeout_s=timeout_s)
        if done.exit_status != 0:
            user = self.host.user
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise self._error(
                f"user {user} cannot become root with `sudo -n` ({said}); as root there: "
                f"echo '{user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/splitbrain"
            )

    def _send(self, channel: paramiko.Channel, data: memoryview, line: str) -> int:
        try:
            return channel.send(bytes(data))
        except OSError as error:
            raise self._error(f"`{line}` does not take its input: {_said(error)}") from None

    @contextlib.contextmanager
    def _files(self, timeout_s: float, what: str) -> Iterator[paramiko.SFTPClient]:
        """Lend the one SFTP session, opened when first needed."""
        with self._transfers:
            try:
                if self._sftp is None:
                    transport = self._client.get_transport()
                    if transport is None:
                        raise EOFError
                    session = transport.open_session(timeout=timeout_s)
                    session.settimeout(timeout_s)
                    if self.host.sudo:
                        session.exec_command(sftp_as_root())
                    else:
                        session.invoke_subsystem("sftp")
                    self._sftp = paramiko.SFTPClient(session)
                channel = self._sftp.get_channel()
                assert channel is not None
                channel.settimeout(timeout_s)
                yield self._sftp
            except TimeoutError:
                self._sftp = None  # its answers would come for questions long forgotten
                raise self._error(f"{what}: no answer within {timeout_s:g} s") from None
            except FileNotFoundError:
                raise self._error(f"{what}: no such file on the host") from None
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise self._error(f"{what}: {_said(error)}") from None

    def _upload_error(self, remote_path: str, folder: str, error: OSError) -> HostError:
        """SFTP calls a full disk just "Failure": look, so that people need not."""
        reason = _said(error)
        with contextlib.suppress(HostError):
            free = self.run(["df", "-P", "-k", folder], timeout_s=5).stdout.split()
            if len(free) > 10 and free[-3].isdigit() and int(free[-3]) < 64:
                reason = f"the disk is full ({free[-1]} has {free[-3]} kB left); make room there"
        if isinstance(error, PermissionError):
            reason += (
                f": user {self.host.user} may not write there; in the inventory, set sudo = true, or "
                "home to a folder of that user's"
            )
        return self._error(f"upload {remote_path}: {reason}")

    def _error(self, what: str) -> HostError:
        return HostError(f"host {self.host.name} ({self.host.address}): {what}")


class _Output:
    """Collects both streams of a channel up to a bound."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._streams = (bytearray(), bytearray())
        self.idle = True

    def read(self, channel: paramiko.Channel) -> bool:
        """Take what is there; return whether the host has said all it will ever say."""
        # Asked first: what arrives before the end of file is then certainly read below.
        ended = bool(channel.eof_received or channel.closed)
        self.idle = True
        while channel.recv_ready() and not self.overflow:
            self._streams[0].extend(channel.recv(_CHUNK_BYTES))
            self.idle = False
        while channel.recv_stderr_ready() and not self.overflow:
            self._streams[1].extend(channel.recv_stderr(_CHUNK_BYTES))
            self.idle = False
        return ended and not self.overflow

    @property
    def overflow(self) -> bool:
        return max(map(len, self._streams)) > self._bytes_max

    def text(self, stream: int) -> str:
        return self._streams[stream].decode("utf-8", "replace")


def _connection_to(host: HostAddress, way: contextlib.ExitStack, timeout_s: float) -> _Connection:
    """Open the way to a host's SSH server; what was opened on the way goes into `way`."""
    if host.jump is not None:
        jump = way.enter_context(Remote.connect(host.jump, timeout_s=timeout_s))
        return connect_onwards(jump.transport, host, timeout_s)
    if host.proxy_command:
        return way.enter_context(connected_by_command(host))
    return connect_straight(host, timeout_s)


def _log_in(
    client: paramiko.SSHClient, host: HostAddress, connection: _Connection, timeout_s: float
) -> None:
    key = _load_key(host)
    name = f"host {host.name} ({host.ssh_name})"
    known = host.known_hosts_path
    client.set_log_channel(_LOG_CHANNEL)
    client.set_missing_host_key_policy(_Refuse())
    try:
        client.load_host_keys(str(known))
        client.connect(
            host.ssh_name,
            port=host.port,
            username=host.user,
            pkey=key,
            sock=connection,
            timeout=timeout_s,
            banner_timeout=timeout_s,
            auth_timeout=timeout_s,
            channel_timeout=timeout_s,
            allow_agent=False,
            look_for_keys=False,
        )
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_S)
    except paramiko.BadHostKeyException:
        raise HostError(
            f"{name}: its host key is not the one in {known}; if the host was made anew, put its "
            "new key there, otherwise somebody else answers in its place"
        ) from None
    except _UnknownHostKey as error:
        raise HostError(
            f"{name}: its host key ({error}) is not in {known}; check it on the host, then "
            f"add it: ssh-keyscan -p {host.port} {host.ssh_name} >> {known}"
        ) from None
    except paramiko.AuthenticationException:
        raise HostError(
            f"{name}: the key {host.key_path} is not accepted for user {host.user}; add its public "
            "half to that user's authorized_keys there"
        ) from None
    except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
        way = f" (by its ProxyCommand `{host.proxy_command}`)" if host.proxy_command else ""
        raise HostError(
            f"{name}: no SSH session on port {host.port}{way}: {_said(error)}; is it an SSH server?"
        ) from None


def _load_key(host: HostAddress) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(host.key_path)
    except (paramiko.PasswordRequiredException, TypeError):  # the latter from its own parser
        reason = "it has a passphrase; use a key without one"
    except (paramiko.SSHException, UnknownKeyType, OSError, ValueError) as error:
        reason = f"it is no private key that can be used ({_said(error)})"
    raise HostError(f"host {host.name}: its key {host.key_path}: {reason}")


def _make_folders(files: paramiko.SFTPClient, folder: str) -> None:
    if _is_folder(files, folder):
        return
    parent = posixpath.dirname(folder)
    if parent != folder:
        _make_folders(files, parent)
    try:
        files.mkdir(folder, 0o755)
    except OSError:
        if not _is_folder(files, folder):  # else somebody else made it just now
            raise


def _is_folder(files: paramiko.SFTPClient, path: str) -> bool:
    try:
        return stat.S_ISDIR(files.stat(path).st_mode or 0)
    except FileNotFoundError:
        return False


def _said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__
