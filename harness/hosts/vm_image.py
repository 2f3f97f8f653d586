"""What virtual machines boot: a Debian kernel, its first files, and a disk with a small Debian.

Made once by debootstrap (some minutes, and Debian's servers have to be reachable), then kept in
the user's cache.

Rules of this file:
- Nothing of a particular lab is in an image: keys and addresses come with each machine.
- The name of an image has a digest of all that decides what is in it. An image is complete or not
  there: it is made beside its place and moved there in one step.
- One process makes an image at a time; whoever comes second finds it made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.hosts import commands, cpio

_SUITE: Final = "bookworm"
_PACKAGES: Final = (
    "linux-image-cloud-amd64",
    "busybox-static",
    "kmod",
    "openssh-server",
    "python3",
    "nftables",
    "iproute2",
    "procps",
    "e2fsprogs",
    "libfaketime",
)
# What the kernel needs before it can read its disk and speak: Debian builds these as modules.
_FIRST_MODULES: Final = ("virtio_pci", "virtio_blk", "virtio_net")
# Of the disk; what is not written takes no room.
_DISK_MB: Final = 4096
_DEBOOTSTRAP_TIMEOUT_S: Final = 1800.0
_DISK_TIMEOUT_S: Final = 300.0
_POLL_S: Final = 0.2

# The first program, before there is a disk. What a machine is called and who may log in is in
# /identity, which comes in an archive of its own; `start` there goes on.
_INIT: Final = """\
#!/bin/busybox sh
set -e
busybox=/bin/busybox
$busybox mkdir -p /dev /disk
$busybox mount -t devtmpfs dev /dev
while read -r module; do $busybox insmod "/modules/$module"; done < /modules/order
for try in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; $busybox sleep 0.2; done
$busybox mount -t ext4 -o noatime /dev/vda /disk
$busybox mount -t tmpfs -o mode=755,size=16m run /disk/run
$busybox cp -r /identity /disk/run/lab
$busybox umount /dev
exec $busybox switch_root /disk /bin/sh /run/lab/start
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def first_files(self) -> Path:
        """The archive of what the kernel has before it has its disk."""
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        """The disk, as it was made; machines write to layers of their own above it."""
        return self.folder / "disk.ext4"


def place() -> Path:
    """Return the folder of the image that this version of the program asks for."""
    decides = repr((_SUITE, _PACKAGES, _FIRST_MODULES, _DISK_MB, _INIT))
    digest = hashlib.sha256(decides.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "splitbrain" / f"vm-{digest}"


def is_made() -> bool:
    """Whether the image is there already."""
    return place().is_dir()


def why_not() -> tuple[str, str] | None:
    """Return why no image can be had on this machine and what to do; None if nothing is missing."""
    if is_made():
        return None
    if platform.machine() != "x86_64":
        return f"images are for x86_64, not {platform.machine()}", "use another machine"
    for command, package in (("debootstrap", "debootstrap"), ("mkfs.ext4", "e2fsprogs")):
        if shutil.which(command, path=commands.ENVIRONMENT["PATH"]) is None:
            return f"{command} is not installed", f"sudo apt-get install -y {package}"
    return None


def ready() -> Image:
    """Return the image; make it first if it is not there. Raises `HarnessError`."""
    target = place()
    if is_made():
        return Image(target)
    missing = why_not()
    if missing is not None:
        raise HarnessError(f"cannot make the virtual machines' image: {missing[0]}; {missing[1]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.with_suffix(".lock")) as lock_fd:
        if not is_made():
            _make(target, lock_fd)
    return Image(target)


def modules_in_order(dependencies: str, wanted: Sequence[str]) -> list[str]:
    """Return the files of modules so that each comes after those it needs.

    `dependencies` is the text of a kernel's modules.dep: of each file those it needs, the last of
    them first. A module that is not listed is part of the kernel.
    """
    needs: dict[str, list[str]] = {}
    for line in dependencies.splitlines():
        file, _, others = line.partition(":")
        needs[file] = others.split()
    ordered: list[str] = []
    for name in wanted:
        for file in needs:
            if file.rpartition("/")[2].partition(".ko")[0] == name:
                ordered += [*reversed(needs[file]), file]
    return list(dict.fromkeys(ordered))


def _make(target: Path, lock_fd: int) -> None:
    """Make the image beside its place, then move it there. Takes minutes."""
    for left in target.parent.glob("making-*"):
        shutil.rmtree(left)  # by somebody who was killed: we hold the lock
    with tempfile.TemporaryDirectory(prefix="making-", dir=target.parent) as scratch:
        root, made = Path(scratch, "root"), Path(scratch, "made")
        made.mkdir()
        _install(root, lock_fd)
        kernel = sorted((root / "boot").glob("vmlinuz-*"))[-1]
        shutil.copyfile(kernel, made / "vmlinuz")
        (made / "initrd").write_bytes(_first_files(root, kernel.name.removeprefix("vmlinuz-")))
        for folder in ("boot", "var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(root / folder)
        (root / "etc/resolv.conf").write_text("", encoding="ascii")
        disk = str(made / "disk.ext4")
        commands.run(
            ["mkfs.ext4", "-q", "-F", "-m", "0", "-d", str(root), disk, f"{_DISK_MB}M"],
            keep_open=(lock_fd,),
            timeout_s=_DISK_TIMEOUT_S,
        )
        made.rename(target)


def _install(root: Path, lock_fd: int) -> None:
    """Put a small Debian with our packages into a folder.

    What is mounted and started for that ends with the command, however it ends.
    """
    command = [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        _SUITE,
        str(root),
    ]
    try:
        commands.run(command, keep_open=(lock_fd,), timeout_s=_DEBOOTSTRAP_TIMEOUT_S)
    except HarnessError as error:
        raise HarnessError(
            f"cannot make the virtual machines' image: {error}; it needs root and Debian's servers "
            "(deb.debian.org)"
        ) from None


def _first_files(root: Path, release: str) -> bytes:
    """Return the archive that the kernel unpacks at boot: busybox, a few modules, our program."""
    modules = root / "lib/modules" / release
    dependencies = (modules / "modules.dep").read_text(encoding="utf-8")
    ordered = modules_in_order(dependencies, _FIRST_MODULES)
    names = [file.rpartition("/")[2] for file in ordered]
    files = {
        f"modules/{name}": ((modules / file).read_bytes(), 0o644)
        for name, file in zip(names, ordered, strict=True)
    }
    files["modules/order"] = ("".join(f"{name}\n" for name in names).encode(), 0o644)
    files["bin/busybox"] = ((root / "bin/busybox").read_bytes(), 0o755)
    files["init"] = (_INIT.encode(), 0o755)
    return cpio.archive(files)


@contextmanager
def _alone(lock: Path) -> Iterator[int]:
    """Hold a lock, which tools that still make something hold too; wait for whoever has it."""
    deadline_ns = time.monotonic_ns() + int(_DEBOOTSTRAP_TIMEOUT_S * 1e9)
    with lock.open("w", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic_ns() > deadline_ns:
                    raise HarnessError(
                        f"somebody else is making the virtual machines' image and does not end; "
                        f"find out who holds {lock}: fuser {lock}"
                    ) from None
                time.sleep(_POLL_S)
        yield file.fileno()
