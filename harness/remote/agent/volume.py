"""A small file system of the system's own, whose power can be cut: an ext4 image, mounted by loop.

Rules of this file:
- It is mounted over one empty folder below the agent's home, and only when somebody asks for it.
- `mount` makes the loop device and lets the kernel free it with the last user (autoclear): there is
  no loop device of ours without a mount of ours, and so unmounting is all there is to undo.
- A mount is ours when it is where our notes say and backed by our image: any other is left alone.
- At a power loss nothing is copied. A copy of a live image is no moment of it: the journal may move
  on meanwhile, and then what had been made durable is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .files import json_text, read_json, write_atomically

# Sparse: it takes as much of the host's disk as is written. Some systems allocate 64 MB logs ahead.
IMAGE_BYTES = 512 << 20
_TOOLS = ("mkfs.ext4", "mount", "umount")
_TOOL_TIMEOUT_S = 20
_BUSY_TIMEOUT_S = 5.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# No reserved blocks: the system is root here, and for root a full disk must be full as well.
_MKFS = (
    "mkfs.ext4",
    "-q",
    "-F",
    "-m",
    "0",
    "-E",
    "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
)
# Nothing becomes durable but by fsync: not by time, nor by renaming or truncating.
_OPTIONS = "loop,noauto_da_alloc,commit=600,noinit_itable"
# EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: what the journal has not committed is lost.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
_LOOP_MAJOR = "7"


class VolumeError(Exception):
    """The volume cannot be had, or cannot be used as asked; the text says why."""


class Volume:
    """The volume of this host. Not thread-safe: the caller locks."""

    def __init__(self, home: Path, folder: Path) -> None:
        """`home` holds image and mount point, `folder` the notes that outlive this agent."""
        self._home = Path(os.path.realpath(home))
        self._image = self._home / "volume.img"
        self._notes_path = folder / "volume.json"

    @property
    def root(self) -> Path | None:
        """Return the folder it is mounted on, or is to be."""
        notes = read_json(self._notes_path)
        return None if notes is None else Path(notes["root"])

    def make(self, root: Path) -> None:
        """Make a fresh volume and mount it on a folder, which must be empty."""
        root = Path(os.path.realpath(root))
        if self._home not in root.parents:
            raise VolumeError(f"{root} is not below {self._home}")
        missing = [tool for tool in _TOOLS if shutil.which(tool, path=_PATH) is None]
        if missing:
            raise VolumeError(f"{missing[0]} is not there: apt-get install e2fsprogs mount")
        if os.geteuid() != 0:
            raise VolumeError("mounting needs root")
        self.remove()
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise VolumeError(f"{root} is not empty: what is in it would be hidden")
        self._note(root, cut=False)
        try:
            descriptor = os.open(self._image, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.ftruncate(descriptor, IMAGE_BYTES)
            finally:
                os.close(descriptor)
            _run([*_MKFS, str(self._image)])
            self._mount(root)
        except (OSError, VolumeError) as error:
            with contextlib.suppress(VolumeError):
                self.remove()
            raise VolumeError(f"no volume could be mounted: {error}") from None

    def device(self) -> str | None:
        """Return the device that is mounted, such as ``7:0``, or None if none of ours is."""
        root = self.root
        if root is None:
            return None
        point = str(root).replace(" ", "\\040")
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        for line in reversed(mounts.splitlines()):
            words = line.split()
            if words[4] == point and words[2].split(":")[0] == _LOOP_MAJOR:
                return words[2] if _backing(words[2]) == str(self._image) else None
        return None

    def cut_power(self) -> None:
        """Lose what is not durable, then mount again: the journal replays.

        Nothing may have a file open there.
        """
        self.fail()
        self.restore()

    def fail(self) -> None:
        """Lose what is not durable, and refuse (EIO) whatever anybody does there, until `restore`."""
        root = self._mounted()
        self._note(root, cut=True)
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        except OSError as error:
            raise VolumeError(f"its power could not be cut: {error}") from None
        finally:
            os.close(descriptor)

    @property
    def failed(self) -> bool:
        """Whether it was struck and not restored since."""
        notes = read_json(self._notes_path)
        return notes is not None and bool(notes["cut"])

    def restore(self) -> None:
        """Let it be mounted and alive, also after a power loss that ended half way."""
        notes = read_json(self._notes_path)
        if notes is None:
            return
        root = Path(notes["root"])
        if notes["cut"]:
            self._unmount()
        if self.device() is None:
            self._mount(root)
        self._note(root, cut=False)

    def remove(self) -> None:
        """Unmount it and take the image away. None there is no error."""
        self._unmount()
        with contextlib.suppress(FileNotFoundError):
            self._image.unlink()
        with contextlib.suppress(FileNotFoundError):
            self._notes_path.unlink()

    def _mounted(self) -> Path:
        root = self.root
        if root is None or self.device() is None:
            raise VolumeError("there is no volume")
        return root

    def _note(self, root: Path, *, cut: bool) -> None:
        write_atomically(self._notes_path, json_text({"root": str(root), "cut": cut}))

    def _mount(self, root: Path) -> None:
        _run(["mount", "-t", "ext4", "-o", _OPTIONS, str(self._image), str(root)])

    def _unmount(self) -> None:
        """Unmount; somebody who looks at a file there is given a moment."""
        deadline_ns = time.monotonic_ns() + int(_BUSY_TIMEOUT_S * 1e9)
        while self.device() is not None:
            try:
                _run(["umount", str(self.root)])
            except VolumeError:
                if time.monotonic_ns() > deadline_ns:
                    raise
                time.sleep(0.05)


def _backing(device: str) -> str:
    """Return the image behind a loop device, by the path that it had when it was attached."""
    path = Path("/sys/dev/block", device, "loop", "backing_file")
    try:
        text = path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return ""
    # Whoever deletes the image under a mounted volume leaves us the unmounting all the same.
    suffix = " (deleted)"
    return text[: -len(suffix)] if text.endswith(suffix) else text


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": _PATH, "LC_ALL": "C"},
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VolumeError(f"{command[0]} did not end within {_TOOL_TIMEOUT_S} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise VolumeError(f"{command[0]}: {said[0]}")
