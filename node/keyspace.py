"""The keys: what each holds, until when, and the digest of it all.

Rules of this file:
- Every change of a key goes through `put` or `change_set`, which keep the digest.
- A key that holds nothing (null, an empty set, an empty queue) is not kept: it is the same as a
  missing one, in every answer and in the digest.
- `frozen` gives what an image needs and costs one copy of a dictionary; what is shared with it is
  never changed afterwards.
"""

from collections.abc import Mapping
from typing import NamedTuple

from node.deadlines import Deadlines
from node.values import DIGEST_MASK, Members, Value, content, digest

FOREVER = 0
"""The deadline of a key that has none."""


class FrozenKeys(NamedTuple):
    """All keys at one moment."""

    values: Mapping[str, Value]
    deadlines: Mapping[str, int]


class Keyspace:
    """Keys and their values."""

    __slots__ = ("_deadlines", "_epoch", "_sum", "_values")

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._deadlines: Deadlines[str] = Deadlines()
        self._sum = 0
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """What a key holds; None when it is missing."""
        return self._values.get(key)

    def deadline_ms(self, key: str) -> int:
        """When the key vanishes, or `FOREVER`."""
        return self._deadlines.by_name.get(key, FOREVER)

    def put(self, key: str, value: Value | None, deadline_ms: int | None = None) -> None:
        """Let a key hold a value, or nothing; without a deadline it keeps the one that it has."""
        old = self._values.get(key)
        total = self._sum
        if old is not None:
            total -= content(key, old)
        if value is None:
            if old is not None:
                del self._values[key]
            deadline_ms = FOREVER
        else:
            self._values[key] = value
            total += content(key, value)
        self._sum = total & DIGEST_MASK
        if deadline_ms is not None and (deadline_ms or key in self._deadlines.by_name):
            self._set_deadline(key, deadline_ms)

    def _set_deadline(self, key: str, deadline_ms: int) -> None:
        total = self._sum
        old_ms = self._deadlines.by_name.get(key)
        if old_ms is not None:
            total -= digest("due", key, str(old_ms))
        if deadline_ms:
            self._deadlines.set(key, deadline_ms)
            total += digest("due", key, str(deadline_ms))
        else:
            self._deadlines.drop(key)
        self._sum = total & DIGEST_MASK

    def change_set(self, key: str, members: Members | None, text: str, *, add: bool) -> None:
        """Add to the set of this key what it lacks, or remove what it has; None if it is missing."""
        if members is None:
            members = self._values[key] = Members(self._epoch)
        elif members.epoch != self._epoch:  # an image shares it
            members = self._values[key] = members.copied(self._epoch)
        before = members.digest
        if add:
            members.add(key, text)
        else:
            members.discard(key, text)
        self._sum = (self._sum - before + members.digest) & DIGEST_MASK
        if not members.texts:
            self.put(key, None)

    def expire(self, now_ms: int) -> None:
        """Forget the keys whose time has come."""
        for due_ms, key in self._deadlines.pop_due(now_ms):
            self._sum = (self._sum - digest("due", key, str(due_ms))) & DIGEST_MASK
            self.put(key, None)

    def next_expiry_ms(self) -> int | None:
        """When the first key vanishes."""
        return self._deadlines.earliest()

    def digest(self) -> int:
        """The sum of one digest for each value and each deadline: no order, one step a write."""
        return self._sum

    def frozen(self) -> FrozenKeys:
        """All keys, as they are now, for good."""
        self._epoch += 1
        return FrozenKeys(self._values.copy(), self._deadlines.by_name.copy())
