"""The lab: N hosts on this machine, each with an SSH server, made in about a second.

With `vm` they are virtual machines with a kernel and a clock of their own, made in about a minute.

    with lab.claim() as instance:
        hosts = lab.up(nodes=5, instance=instance).hosts
        ...
        lab.down(instance)

Rules of this file:
- A lab belongs to one process at a time: whoever changes or uses it holds its lock, and a tool
  that is still making something holds it too, even after its parent was killed.
- `up` twice is no error: a healthy lab of the same size is used as it is, anything else is taken
  down and made anew.
- `down` goes by names, not by notes: it removes exactly what a lab of that instance makes, also
  after a crash half way and when the state folder is lost, and leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.hosts import lab_groups, lab_host, lab_network, lab_vm, vm_image
from harness.hosts.host import HostAddress
from harness.hosts.lab_host import HostPaths
from harness.hosts.vm_image import Image

STATE_FOLDER = Path("/var/lib/splitbrain/lab")
LOCK_FOLDER = Path("/run/splitbrain")

_READY_TIMEOUT_S = 15.0
_HEALTH_TIMEOUT_S = 1.0
# An emulated machine takes some ten seconds, on a busy one many more.
_VM_READY_TIMEOUT_S = 300.0
_VM_HEALTH_TIMEOUT_S = 10.0
# Between two looks whether the machine is still there at all.
_VM_PATIENCE_S = 5.0
# A killed process' tools hold the lock for a moment longer than it lived.
_LOCK_TIMEOUT_S = 3.0
_STATE_VERSION = 3

# The locks that this process holds: instance -> file descriptor.
_claimed: dict[int, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A lab that is up. A host's `address` is the IPv4 one; if there is IPv6, it has that besides.

    `vm`: its hosts are virtual machines.
    """

    instance: int
    hosts: tuple[HostAddress, ...]
    controller_address: str
    vm: bool = False

    @property
    def ipv6(self) -> bool:
        """Whether its hosts have IPv6 addresses."""
        return any(host.other_addresses for host in self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """What there is of a lab. `state` is ``up``, ``down``, or ``broken`` (some of it is there).

    `problems` says what is not as it should be, one sentence each.
    """

    instance: int
    state: str
    hosts: tuple[HostAddress, ...]
    problems: tuple[str, ...]
    vm: bool = False

    def is_up_with(self, nodes: int, *, vm: bool) -> bool:
        """Whether it is up, of that size and kind."""
        return self.state == "up" and len(self.hosts) == nodes and self.vm == vm


@contextmanager
def claim(instance: int | None = None) -> Iterator[int]:
    """Hold a lab for this process alone; `None` takes the first one that nobody holds.

    Raises `HarnessError` if that lab is in use, naming the process that uses it.
    """
    _require_root()
    if instance is None:
        taken = _claim_first()
    else:
        _check_instance(instance)
        _claimed[instance] = _lock(instance, timeout_s=_LOCK_TIMEOUT_S)
        taken = instance
    try:
        yield taken
    finally:
        _unlock(taken)


def up(*, nodes: int = 5, instance: int = 0, vm: bool = False) -> Lab:
    """Bring a lab up, or use the one that is; about a second for five hosts.

    With `vm` its hosts are virtual machines: minutes for the first time, when their image is made.
    """
    if not 1 <= nodes <= lab_network.NODES_MAX:
        raise UsageError(f"a lab has 1 to {lab_network.NODES_MAX} hosts, not {nodes}")
    with _held(instance) as lock_fd:
        present = status(instance)
        if present.is_up_with(nodes, vm=vm):
            return _lab(instance, nodes, vm=vm, ipv6=_has_ipv6(instance))
        image = _image() if vm else None
        if present.state != "down":
            _take_down(instance, lock_fd)
        try:
            return _make(nodes, instance, lock_fd, image)
        except BaseException:
            _take_down(instance, lock_fd)
            raise


def down(instance: int = 0) -> None:
    """Remove whatever there is of a lab. Nothing to remove is no error."""
    with _held(instance) as lock_fd:
        _take_down(instance, lock_fd)


def status(instance: int = 0) -> LabStatus:
    """Look at a lab without changing it."""
    _check_instance(instance)
    _require_root()
    recorded = _recorded(instance)
    namespaces = lab_network.existing_namespaces(instance)
    traces = bool(namespaces) or lab_network.has_barrier(instance) or _folder(instance).exists()
    if not traces:
        return LabStatus(instance=instance, state="down", hosts=(), problems=())
    if recorded is None:
        problem = f"lab {instance} was never finished, or its notes are lost"
        return LabStatus(instance=instance, state="broken", hosts=(), problems=(problem,))
    nodes, vm = recorded
    hosts = _lab(instance, nodes, vm=vm, ipv6=_has_ipv6(instance)).hosts
    timeout_s = _VM_HEALTH_TIMEOUT_S if vm else _HEALTH_TIMEOUT_S
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        answers = pool.map(lambda host: lab_host.answers(host.address, timeout_s=timeout_s), hosts)
        problems = tuple(
            f"{host.name}: {answer}" for host, answer in zip(hosts, answers, strict=True) if answer
        )
    state = "broken" if problems else "up"
    return LabStatus(instance=instance, state=state, hosts=hosts, problems=problems, vm=vm)


def host_files(instance: int, name: str) -> HostPaths:
    """Return where a host's files are on this machine."""
    return HostPaths(directory=_folder(instance) / "hosts" / name)


def _image() -> Image:
    """Return the image of the virtual machines, once this machine can run such."""
    missing = lab_vm.why_not()
    if missing is not None:
        raise HarnessError(f"this machine cannot have virtual ones: {missing[0]}; {missing[1]}")
    return vm_image.ready()


def _make(nodes: int, instance: int, lock_fd: int, image: Image | None) -> Lab:
    names = lab_network.host_names(nodes)
    sshd, penalties = lab_host.find_sshd(), lab_host.penalties_line()
    lab_network.refuse_foreign_routes(instance)
    folder = _folder(instance)
    folder.mkdir(mode=0o755, parents=True)
    vm = image is not None
    lab = _lab(instance, nodes, vm=vm, ipv6=not vm and not lab_network.why_no_ipv6())
    with ThreadPoolExecutor(max_workers=8) as pool:
        network = pool.submit(lab_network.make, instance, names, ipv6=lab.ipv6, lock_fd=lock_fd)
        client_key = lab_host.make_key(folder / "key", comment="splitbrain-lab", lock_fd=lock_fd)

        def identity(host: HostAddress) -> str:
            public = lab_host.write_identity(
                host_files(instance, host.name),
                addresses=host.addresses,
                authorized_key=client_key,
                penalties=penalties,
                lock_fd=lock_fd,
            )
            return "".join(f"{address} {public}\n" for address in host.addresses)

        known_hosts = "".join(pool.map(identity, lab.hosts))
        network.result()
    _write(folder / "known_hosts", known_hosts)

    def start(name: str) -> subprocess.Popen[bytes]:
        paths = host_files(instance, name)
        if image is not None:
            return lab_vm.start(image, paths, instance=instance, name=name, lock_fd=lock_fd)
        return lab_host.start(
            paths, instance=instance, name=name, ipv6=lab.ipv6, sshd=sshd, lock_fd=lock_fd
        )

    launchers = [start(name) for name in names]
    lab_host.wait_launched(launchers, timeout_s=_READY_TIMEOUT_S)
    await_answers(lab, lab.hosts)
    _write(folder / "lab.json", json.dumps(_notes(lab), indent=1) + "\n")
    return lab


def await_answers(lab: Lab, hosts: Sequence[HostAddress]) -> None:
    """Wait until every host's sshd answers at the address in use; raises what one said instead."""
    ready_s = _VM_READY_TIMEOUT_S if lab.vm else _READY_TIMEOUT_S
    deadline_ns = time.monotonic_ns() + int(ready_s * 1e9)
    for host in hosts:
        problem = _wait_for(lab, host, deadline_ns)
        if problem is not None:
            log = host.key_path.parent / "hosts" / host.name / "lab.log"
            said = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
            raise HarnessError(
                f"lab host {host.name} did not come up: {problem}; it said: {' / '.join(said)}"
            )


def _wait_for(lab: Lab, host: HostAddress, deadline_ns: int) -> str | None:
    """Wait until a host answers; return what is wrong if it does not in time."""
    while True:
        remaining_s = max(0.1, (deadline_ns - time.monotonic_ns()) / 1e9)
        patience_s = min(remaining_s, _VM_PATIENCE_S) if lab.vm else remaining_s
        problem = lab_host.answers(host.address, timeout_s=patience_s)
        if problem is None or time.monotonic_ns() >= deadline_ns:
            return problem
        if lab.vm and not lab_vm.runs(lab.instance, host.name):
            return "the machine ended"


def _take_down(instance: int, lock_fd: int) -> None:
    folder = _folder(instance)
    lab_host.kill_all(instance, folder)
    lab_network.unmake(instance, lock_fd=lock_fd)
    # A process may have been on its way into a namespace while the first round looked.
    lab_host.kill_all(instance, folder)
    lab_groups.remove(instance)
    if folder.exists():
        shutil.rmtree(folder)
    for parent in (STATE_FOLDER, STATE_FOLDER.parent):
        try:
            parent.rmdir()
        except OSError:
            return  # not empty: something else of ours lives there


def _lab(instance: int, nodes: int, *, vm: bool, ipv6: bool) -> Lab:
    folder = _folder(instance)
    hosts = tuple(
        HostAddress(
            name=name,
            address=lab_network.address(instance, name),
            port=lab_host.SSH_PORT,
            user="root",
            key_path=folder / "key",
            known_hosts_path=folder / "known_hosts",
            other_addresses=(lab_network.address6(instance, name),) if ipv6 else (),
            own_clock=vm,
        )
        for name in lab_network.host_names(nodes)
    )
    controller = lab_network.controller_address(instance)
    return Lab(instance=instance, hosts=hosts, controller_address=controller, vm=vm)


def _notes(lab: Lab) -> dict[str, object]:
    return {
        "version": _STATE_VERSION,
        "instance": lab.instance,
        "vm": lab.vm,
        "hosts": [{"name": host.name, "addresses": host.addresses} for host in lab.hosts],
        "ipv6": lab.ipv6,
        "controller": lab.controller_address,
        "link": lab_network.controller_link(lab.instance),
        "namespaces": lab_network.existing_namespaces(lab.instance),
    }


def _recorded(instance: int) -> tuple[int, bool] | None:
    """Return size and kind of a finished lab by its notes, or None if there are none to trust."""
    try:
        notes = _read_notes(instance)
        names = [str(host["name"]) for host in notes["hosts"]]
        trusted = notes["version"] == _STATE_VERSION
        vm = bool(notes["vm"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    expected = lab_network.host_names(len(names))
    return (len(names), vm) if trusted and names == expected else None


def _has_ipv6(instance: int) -> bool:
    """Return whether a finished lab was made with IPv6."""
    return bool(_read_notes(instance)["ipv6"])


def _read_notes(instance: int) -> dict[str, Any]:
    text = (_folder(instance) / "lab.json").read_text(encoding="utf-8")
    notes: dict[str, Any] = json.loads(text)
    return notes


def _folder(instance: int) -> Path:
    return STATE_FOLDER / str(instance)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _check_instance(instance: int) -> None:
    if not 0 <= instance <= lab_network.INSTANCE_MAX:
        raise UsageError(f"a lab's instance is 0 to {lab_network.INSTANCE_MAX}, not {instance}")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise HarnessError("the lab needs root for its namespaces: run the same command with sudo")


@contextmanager
def _held(instance: int) -> Iterator[int]:
    """Hold the lab's lock: the one this process has claimed, or one for the moment."""
    if instance in _claimed:
        yield _claimed[instance]
        return
    with claim(instance):
        yield _claimed[instance]


def _claim_first() -> int:
    reasons: list[str] = []
    for instance in range(lab_network.INSTANCE_MAX + 1):
        if instance in _claimed:
            continue
        foreign = lab_network.foreign_route(instance)
        if foreign is not None:
            reasons.append(f"{instance}: route {foreign}")
            continue
        try:
            _claimed[instance] = _lock(instance, timeout_s=0.0)
        except HarnessError as error:
            reasons.append(str(error))
            continue
        return instance
    raise HarnessError(f"every lab is in use; the first: {reasons[0]}")


def _lock_path(instance: int) -> Path:
    return LOCK_FOLDER / f"lab-{instance}.lock"


def _lock(instance: int, *, timeout_s: float) -> int:
    """Return a file descriptor that holds the instance's lock."""
    if instance in _claimed:
        raise HarnessError(f"lab {instance} is already claimed by this process")
    LOCK_FOLDER.mkdir(mode=0o755, exist_ok=True)
    path = _lock_path(instance)
    deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            if time.monotonic_ns() >= deadline_ns:
                raise HarnessError(
                    f"lab {instance} is in use by process {holder}; wait for it, or choose another "
                    "with --lab"
                ) from None
            time.sleep(0.05)
            continue
        # The last holder removes the file: a lock on a removed file is no lock.
        try:
            same = os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            same = False
        if same:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)


def _unlock(instance: int) -> None:
    descriptor = _claimed.pop(instance)
    _lock_path(instance).unlink(missing_ok=True)
    os.close(descriptor)
