"""Containers as hosts: made for one run by the docker command, gone with it.

    with docker.hosts(nodes=5, base=None, disks=False) as hosts:
        ...

Rules of this file:
- The harness holds every container's standard input. However the harness ends, that input ends with
  it, and so does the container: a killed harness leaves nothing but an unused network and a folder
  with a key to nothing, which the next run sweeps up.
- A container says its host key on its standard output, so nobody has to be trusted at first sight.
  The key that opens it is made for the run and lives in a temporary folder.
- Every command is bounded. What a container said when it did not come up is part of the error.
- Nothing is removed that does not bear our label.
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.hosts import commands, docker_words, lab_host, lab_network
from harness.hosts.host import HostAddress
from harness.remote.agent.files import boot_id, process_stat

IMAGE_FOLDER: Final = Path(__file__).parent / "docker_image"

_ASK_TIMEOUT_S: Final = 20.0
_BUILD_TIMEOUT_S: Final = 600.0  # it may have to fetch a base and install packages
_READY_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 20.0
_FOLDER_PREFIX: Final = "splitbrain-docker-"
_OWNER_FILE: Final = "owner"
# Where the daemon is, if not in the usual place, and how to speak to it.
_PASSED_ON: Final = (
    "HOME",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
)


def check() -> str:
    """Return the daemon's version. Raises `HarnessError` with what to do if there is none."""
    try:
        done = _docker(["version", "--format", "{{.Server.Version}}"], check=False)
    except HarnessError as error:
        if "is not installed" in str(error):
            raise HarnessError(
                "hosts are to be containers, but docker is not installed: "
                "sudo apt-get install -y docker.io"
            ) from None
        raise
    if done.exit_status != 0:
        raise HarnessError(docker_words.explain(done.stderr or done.stdout))
    return done.stdout.strip()


@contextmanager
def hosts(*, nodes: int, base: str | None, disks: bool) -> Iterator[tuple[HostAddress, ...]]:
    """Yield running hosts, n1 and so on; with `disks` they may mount volumes to be broken.

    Raises `HarnessError` if they cannot be had.
    """
    check()
    image = _image(base)
    run = secrets.token_hex(4)
    with ExitStack() as stack:
        sweep()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX)))
        (folder / _OWNER_FILE).write_text(_owner(), encoding="ascii")
        key = _make_key(folder / "key")
        stack.callback(_remove_network, run)
        _docker(docker_words.network_words(run))
        crew = stack.enter_context(_Containers(run, folder))
        for host in lab_network.host_names(nodes):
            crew.start(host, image=image, authorized_key=key, disks=disks)
        yield crew.ready()


def sweep() -> None:
    """Remove the networks and folders of runs that are over and could not do it themselves."""
    _docker(docker_words.sweep_words())
    for file in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*/{_OWNER_FILE}"):
        with suppress(OSError):
            if file.lstat().st_uid == os.getuid() and not _lives(file.read_text(encoding="ascii")):
                shutil.rmtree(file.parent)


def down() -> tuple[list[str], list[str]]:
    """Remove what runs left that are over; return the containers removed, and those in use."""
    check()
    found = docker_words.parse_listing(_docker(docker_words.list_words()).stdout)
    used = {one.run for one in found if _lives(one.owner)}
    left = [one.name for one in found if one.run not in used]
    if left:
        _docker(docker_words.remove_words(left), timeout_s=_END_TIMEOUT_S * 3)
    for run in sorted({one.run for one in found} - used):
        _remove_network(run)
    sweep()
    return left, [one.name for one in found if one.run in used]


def image_files() -> dict[str, bytes]:
    """Return what the image is made of, by name."""
    return {path.name: path.read_bytes() for path in sorted(IMAGE_FOLDER.iterdir())}


class _Containers:
    """The containers of one run; leaving the context ends them all."""

    def __init__(self, run: str, folder: Path) -> None:
        self._run, self._folder = run, folder
        self._clients: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> _Containers:
        return self

    def __exit__(self, *_: object) -> None:
        """Close every input and remove what does not end at once."""
        for client in self._clients.values():
            assert client.stdin is not None
            with suppress(OSError):
                client.stdin.close()
        names = [docker_words.container_name(self._run, host) for host in self._clients]
        if names:
            with suppress(HarnessError):  # gone already, or going
                _docker(docker_words.remove_words(names), timeout_s=_END_TIMEOUT_S * 3)
        for client in self._clients.values():
            try:
                client.wait(timeout=_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                client.kill()
                client.wait()
            assert client.stdout is not None
            client.stdout.close()

    def start(self, host: str, *, image: str, authorized_key: str, disks: bool) -> None:
        """Start a container; `ready` waits for it."""
        words = docker_words.run_words(
            run=self._run,
            owner=_owner(),
            host=host,
            image=image,
            authorized_key=authorized_key,
            disks=disks,
        )
        with self._log(host).open("wb") as log:
            self._clients[host] = subprocess.Popen(
                ["docker", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_environment(),
                start_new_session=True,
            )

    def ready(self) -> tuple[HostAddress, ...]:
        """Wait until every host has said its key and answers; return how to reach them."""
        deadline_ns = time.monotonic_ns() + int(_READY_TIMEOUT_S * 1e9)
        keys = {host: self._host_key(host, deadline_ns) for host in self._clients}
        names = {host: docker_words.container_name(self._run, host) for host in keys}
        network = docker_words.network_name(self._run)
        text = _docker(["inspect", *names.values()]).stdout
        addresses = docker_words.parse_addresses(text, network=network)
        known_hosts = self._folder / "known_hosts"
        lines = [f"{addresses[names[host]]} {key}\n" for host, key in keys.items()]
        known_hosts.write_text("".join(lines), encoding="ascii")
        for host, name in names.items():
            remaining_s = max(0.1, (deadline_ns - time.monotonic_ns()) / 1e9)
            problem = lab_host.answers(addresses[name], timeout_s=remaining_s)
            if problem is not None:
                raise self._error(
                    host, f"{problem}; the Docker daemon must run on this very machine, as root"
                )
        return tuple(
            HostAddress(
                name=host,
                address=addresses[name],
                key_path=self._folder / "key",
                known_hosts_path=known_hosts,
            )
            for host, name in names.items()
        )

    def _host_key(self, host: str, deadline_ns: int) -> str:
        client = self._clients[host]
        assert client.stdout is not None
        remaining_s = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
        if not select.select([client.stdout], [], [], remaining_s)[0]:
            raise self._error(host, f"it said nothing within {_READY_TIMEOUT_S:g} s")
        try:
            return docker_words.parse_host_key(client.stdout.readline())
        except ValueError as error:
            with suppress(subprocess.TimeoutExpired):
                client.wait(timeout=1)  # so that its last words are in the log
            raise self._error(host, str(error)) from None

    def _log(self, host: str) -> Path:
        return self._folder / f"{host}.log"

    def _error(self, host: str, what: str) -> HarnessError:
        said = self._log(host).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f"; docker or the container said: {' / '.join(said[-3:])}" if said else ""
        return HarnessError(f"the container of {host} did not come up: {what}{last}")


def _image(wanted: str | None) -> str:
    """Return the image of our hosts, built if there is none of exactly these files and this base."""
    base = wanted or docker_words.LOCAL_BASE
    identity = _identity(base)
    if identity is None and wanted is None:
        base = docker_words.PUBLIC_BASE
        identity = _identity(base)
    tag = docker_words.image_tag(image_files(), identity or base)
    if _identity(tag) is not None:
        return tag
    words = docker_words.build_words(tag, base=base, folder=str(IMAGE_FOLDER))
    done = _docker(words, check=False, timeout_s=_BUILD_TIMEOUT_S)
    if done.exit_status != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        advice = ""
        if identity is None:
            advice = (
                f"; the image {base} is not here and could not be fetched: docker pull {base}, or "
                "make a base of this machine's packages: sudo tools/docker-base.sh"
            )
        raise HarnessError(f"the image of the hosts could not be built on {base}: {said}{advice}")
    return tag


def _identity(image: str) -> str | None:
    """Return the id of an image that is here, or None."""
    done = _docker(["image", "inspect", "--format", "{{.Id}}", image], check=False)
    return done.stdout.strip() if done.exit_status == 0 else None


def _make_key(path: Path) -> str:
    """Make the run's key and return its public half."""
    commands.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "splitbrain", "-f", str(path)]
    )
    return docker_words.parse_host_key(path.with_suffix(".pub").read_text(encoding="ascii"))


def _remove_network(run: str) -> None:
    with suppress(HarnessError):  # gone already; or a container is still going, and it is swept up
        _docker(["network", "rm", docker_words.network_name(run)])


def _owner() -> str:
    """Return what identifies this process: which boot, which PID namespace, which process."""
    stat = process_stat(os.getpid())
    assert stat is not None
    return f"{boot_id()}/{os.readlink('/proc/self/ns/pid')}/{stat.pid}/{stat.start_ticks}"


def _lives(owner: str) -> bool:
    """Whether the process that wrote this down still lives; of another namespace's nobody knows."""
    boot, space, pid, start_ticks = (*owner.split("/"), "", "", "", "")[:4]
    if boot != boot_id() or not pid.isdigit():
        return False
    if space != os.readlink("/proc/self/ns/pid"):
        return True
    stat = process_stat(int(pid))
    return stat is not None and str(stat.start_ticks) == start_ticks


def _docker(
    words: Sequence[str], *, check: bool = True, timeout_s: float = _ASK_TIMEOUT_S
) -> commands.Done:
    command = ["docker", *words]
    return commands.run(command, check=check, timeout_s=timeout_s, environment=_environment())


def _environment() -> dict[str, str]:
    """Return what the docker command sees: where its daemon is, and nothing else of the user's."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**commands.ENVIRONMENT, **kept}
