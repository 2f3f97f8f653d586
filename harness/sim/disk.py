"""A directory that loses, at a crash, what was not fsynced, in every way that a disk may.

Rules of this file:
- Every write, cut, fsync, rename, creation and removal has a number; a crash can be ordered at any
  boundary between two of them. Reads have none.
- File data and names are durable separately. Of what was not fsynced a crash keeps what its policy
  says, drawn from the random that is given: the same seed gives the same disk.
- A directory that has crashed is dead, and so are its open files; `after_crash` gives what the next
  start finds.
"""

from collections.abc import Callable
from random import Random

from node.storage.files import Directory

SECTOR = 512
POLICIES = ("nothing", "all", "prefix", "torn", "names", "anything", "process")
"""What a crash keeps of what was not fsynced.

nothing, all: none of it, or everything. prefix: what was done up to some moment. torn: of each file
some of its sectors, and all names. names: some of the changes of names, and all data. anything: some
sectors and some names. process: everything, and it stays unsynced: the process was killed, and the
power may still fail.
"""

Change = Callable[[bytearray], None]


class PowerLoss(Exception):
    """The machine stops here."""


class Inode:
    """A file without a name."""

    __slots__ = ("content", "durable", "pending")

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.durable = bytearray(content)
        self.pending: list[tuple[int, Change]] = []

    def change(self, number: int, change: Change) -> None:
        change(self.content)
        self.pending.append((number, change))

    def sync(self) -> None:
        for _, change in self.pending:
            change(self.durable)
        self.pending.clear()

    def versions(self) -> list[bytes]:
        """What the file was, from its durable content to the present one."""
        image = bytearray(self.durable)
        found = [bytes(image)]
        for _, change in self.pending:
            change(image)
            found.append(bytes(image))
        return found

    def up_to(self, number: int) -> bytes:
        """What the file was after that operation."""
        image = bytearray(self.durable)
        for at, change in self.pending:
            if at <= number:
                change(image)
        return bytes(image)

    def torn(self, chance: Random) -> bytes:
        """Any size that the file had, each sector as it was at any moment, or never written."""
        versions = self.versions()
        size = len(chance.choice(versions))
        image = bytearray(size)
        for start in range(0, size, SECTOR):
            sector = chance.choice(versions)[start : min(start + SECTOR, size)]
            image[start : start + len(sector)] = sector
        return bytes(image)


class SimFile:
    """An `AppendFile`, or a `ReadFile`, of the simulated directory."""

    def __init__(self, directory: "SimDirectory", inode: Inode) -> None:
        self._directory = directory
        self._inode = inode

    def read(self) -> bytes:
        self._directory.alive()
        return bytes(self._inode.content)

    def size(self) -> int:
        return len(self._inode.content)

    def read_at(self, offset: int, length: int) -> bytes:
        self._directory.alive()
        return bytes(self._inode.content[offset : offset + length])

    def append(self, data: bytes) -> None:
        number = self._directory.boundary()
        self._inode.change(number, lambda image: image.extend(data))

    def truncate(self, size: int) -> None:
        def cut(image: bytearray) -> None:
            del image[size:]

        self._inode.change(self._directory.boundary(), cut)

    def sync(self) -> None:
        self._directory.boundary()
        self._inode.sync()

    def close(self) -> None:
        pass


class SimDirectory(Directory):
    """A `Directory` in memory."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {name: Inode(content) for name, content in (files or {}).items()}
        self._durable_files = dict(self.files)
        self._pending: list[tuple[int, dict[str, Inode | None]]] = []
        self.operations = 0
        self.crash_at: int | None = None
        """Stop before the operation of this number is carried out."""
        self.fail_at: int | None = None
        """Let the operation of this number, and every one behind it, fail with `OSError`."""
        self._dead = False

    # What a node does.

    def names(self) -> list[str]:
        self.alive()
        return sorted(self.files)

    def open_append(self, name: str) -> SimFile:
        self.alive()
        if name not in self.files:
            self._rename({name: Inode()})
        return SimFile(self, self.files[name])

    def open_read(self, name: str) -> SimFile:
        self.alive()
        if name not in self.files:
            raise FileNotFoundError(name)
        return SimFile(self, self.files[name])

    def read(self, name: str) -> bytes:
        return self.open_read(name).read()

    def rename(self, old: str, new: str) -> None:
        self._rename({old: None, new: self.files[old]})

    def remove(self, name: str) -> None:
        if name not in self.files:
            raise FileNotFoundError(name)
        self._rename({name: None})

    def sync(self) -> None:
        self.boundary()
        for _, change in self._pending:
            _change_names(self._durable_files, change)
        self._pending.clear()

    # What happens to it.

    def alive(self) -> None:
        assert not self._dead, "the directory of a machine that has stopped"

    def boundary(self) -> int:
        """Between two operations: the number of the one that comes, if it may."""
        self.alive()
        if self.operations == self.crash_at:
            self._dead = True
            raise PowerLoss
        if self.fail_at is not None and self.operations >= self.fail_at:
            raise OSError(5, "the simulated disk refuses")
        self.operations += 1
        return self.operations

    def _rename(self, change: dict[str, Inode | None]) -> None:
        number = self.boundary()
        _change_names(self.files, change)
        self._pending.append((number, change))

    def after_crash(self, policy: str, chance: Random) -> "SimDirectory":
        """The directory that the next start finds."""
        self._dead = True
        if policy == "process":
            return self._survived()
        pending, moment = self._pending, self.operations
        if policy == "nothing":
            pending = []
        elif policy == "prefix":
            moment = chance.randrange(self.operations + 1)
            pending = [(number, change) for number, change in pending if number <= moment]
        elif policy in ("names", "anything"):
            pending = [change for change in pending if chance.random() < 0.5]
        files = dict(self._durable_files)
        for _, change in pending:
            _change_names(files, change)

        def content(inode: Inode) -> bytes:
            if policy == "nothing":
                return bytes(inode.durable)
            if policy in ("torn", "anything"):
                return inode.torn(chance)
            return inode.up_to(moment)

        return SimDirectory({name: content(inode) for name, inode in sorted(files.items())})

    def _survived(self) -> "SimDirectory":
        """The same disk, page cache and all, under another process."""
        copy = SimDirectory()
        copy.files = self.files
        copy._durable_files = self._durable_files
        copy._pending = self._pending
        copy.operations = self.operations
        return copy

    def contents(self) -> dict[str, bytes]:
        """All files as they are now."""
        return {name: bytes(inode.content) for name, inode in self.files.items()}


def _change_names(files: dict[str, Inode], change: dict[str, Inode | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            files.pop(name, None)
        else:
            files[name] = inode
