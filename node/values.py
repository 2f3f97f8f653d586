"""What a key can hold, and the digest of each.

Rules of this file:
- Text, lines (lists and queues) and locks are never changed: an operation makes a new one in
  constant time, so that an image of the state can share them. Sets are changed in place, and copied
  first by whoever holds an older one (`Members.epoch`).
- The digest of a collection is a sum of one digest for each element: adding or removing one costs
  one digest, however many there are.
"""

from hashlib import blake2b
from typing import NamedTuple

from node.json_text import NULL, elements, joined

DIGEST_BYTES = 16
DIGEST_MASK = (1 << (8 * DIGEST_BYTES)) - 1
COMPACT_FROM = 64
"""Elements that have left a queue stay in memory until they are this many, and half of it."""


def digest(tag: str, key: str, text: str) -> int:
    """128 bits of one fact. They find mistakes; nobody is kept from looking for a collision."""
    # Keys may hold lone surrogates, which JSON can say and UTF-8 cannot.
    told = f"{tag}{len(key)}:{key}{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(told, digest_size=DIGEST_BYTES).digest(), "big")


class Lock(NamedTuple):
    """Who holds it (JSON text of a string), and the fencing token: the index of the log entry."""

    owner: str
    token: int


class Line(NamedTuple):
    """A list that is appended to, or a queue: the elements `items[start:stop]`.

    `items` is shared by all lines that came from one another: who appends sees what is before its
    own `stop` and nothing else. `left` counts the elements that have left the queue, so that each
    has a number that does not change while it waits; `size` is that of the text, without brackets.
    """

    kind: str
    items: list[str]
    start: int
    stop: int
    left: int
    size: int
    digest: int

    @property
    def length(self) -> int:
        """How many elements there are."""
        return self.stop - self.start

    def pushed(self, key: str, text: str) -> "Line":
        """With one more element at the end."""
        kind, items, start, stop, left, size, total = self
        if len(items) > stop:
            # A transaction that was called off appended these: no other line reaches so far.
            del items[stop:]
        items.append(text)
        number = left + stop - start
        total = (total + digest(kind, key, f"{number}:{text}")) & DIGEST_MASK
        return Line(kind, items, start, stop + 1, left, size + len(text) + 1, total)

    def taken(self, key: str) -> tuple[str, "Line | None"]:
        """The first element, and the line without it; None when nothing is left."""
        kind, items, start, stop, left, size, total = self
        text = items[start]
        start += 1
        if start == stop:
            return text, None
        if start >= COMPACT_FROM and 2 * start >= stop:
            items = items[start:stop]
            start, stop = 0, stop - start
        total = (total - digest(kind, key, f"{left}:{text}")) & DIGEST_MASK
        return text, Line(kind, items, start, stop, left + 1, size - len(text) - 1, total)

    def texts(self) -> list[str]:
        """The elements, in order."""
        return self.items[self.start : self.stop]


def new_line(kind: str, key: str, texts: list[str], left: int = 0) -> Line:
    """A line of these elements, of which `left` others have left before."""
    line = Line(kind, [], 0, 0, left, 0, 0)
    for text in texts:
        line = line.pushed(key, text)
    return line


LIST, QUEUE, SET, LOCK = "list", "queue", "set", "lock"


class Members:
    """A set of values, as JSON text. `epoch` is the image of the state since which it is ours."""

    __slots__ = ("digest", "epoch", "size", "texts")

    def __init__(self, epoch: int) -> None:
        self.texts: set[str] = set()
        self.size = 0
        self.digest = 0
        self.epoch = epoch

    def copied(self, epoch: int) -> "Members":
        """An equal one that may be changed."""
        copy = Members(epoch)
        copy.texts = self.texts.copy()
        copy.size = self.size
        copy.digest = self.digest
        return copy

    def add(self, key: str, text: str) -> None:
        """Put in what is not there."""
        self.texts.add(text)
        self.size += len(text) + 1
        self.digest = (self.digest + digest(SET, key, text)) & DIGEST_MASK

    def discard(self, key: str, text: str) -> None:
        """Take out what is there."""
        self.texts.remove(text)
        self.size -= len(text) + 1
        self.digest = (self.digest - digest(SET, key, text)) & DIGEST_MASK


Value = str | Line | Members | Lock
"""Text is JSON and never `null`: that is what a missing key reads as."""


def content(key: str, value: Value) -> int:
    """The digest of a key's value, without its time to live."""
    if type(value) is str:
        return digest("text", key, value)
    if isinstance(value, Lock):
        return digest(LOCK, key, f"{value.token}:{value.owner}")
    assert not isinstance(value, str)
    return value.digest


def plain(value: Value | None) -> str | None:
    """The text that a read of such a key gives; None for what is not read so."""
    if value is None:
        return NULL
    if type(value) is str:
        return value
    if isinstance(value, Line) and value.kind == LIST:
        return joined(value.texts())
    return None


def as_list(key: str, value: Value | None) -> Line | None:
    """The list that a key holds, to append to; None if it holds anything else.

    A list that was written as a value is taken apart once, at its first append.
    """
    if value is None:
        return Line(LIST, [], 0, 0, 0, 0, 0)
    if isinstance(value, Line):
        return value if value.kind == LIST else None
    if isinstance(value, str):
        texts = elements(value)
        return None if texts is None else new_line(LIST, key, texts)
    return None


def as_queue(value: Value | None) -> Line | None:
    """The queue that a key holds; None if it holds anything else."""
    if value is None:
        return Line(QUEUE, [], 0, 0, 0, 0, 0)
    return value if isinstance(value, Line) and value.kind == QUEUE else None


def as_counter(value: Value | None) -> int | None:
    """The integer that a key holds; None if it holds anything else."""
    if value is None:
        return 0
    # The longest 64-bit integer has 20 characters; what int() reads beyond JSON does not get here.
    if type(value) is str and len(value) <= 20 and value.lstrip("-").isdigit():
        return int(value)
    return None


def holder(lock: Lock) -> str:
    """What lock_holder tells, as canonical JSON text."""
    return f'{{"owner":{lock.owner},"token":{lock.token}}}'
