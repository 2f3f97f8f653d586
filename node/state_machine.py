"""The key-value store that the log drives.

Rules of this file:
- `apply` is a pure function of the state and the entry: no clock, no chance, no node name. Two
  nodes that have applied the same entries hold the same state and show the same hash.
- A malformed entry changes nothing, on every node alike.
"""

from hashlib import blake2b

from node.core.messages import Entry, Malformed
from node.operations import operation_from_text

NULL = "null"
_HASH_BYTES = 16
_HASH_MODULUS = 1 << (8 * _HASH_BYTES)


class StateMachine:
    """Keys and their values as canonical JSON text."""

    __slots__ = ("_hash", "_values", "applied_index", "applied_term")

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._hash = 0
        self.applied_index = 0
        self.applied_term = 0

    def get(self, key: str) -> str:
        """The value of a key; a missing one has the value null."""
        return self._values.get(key, NULL)

    def apply(self, entry: Entry) -> tuple[str, str]:
        """Carry out the next entry: an error code (or empty) and a value."""
        assert entry.index == self.applied_index + 1
        self.applied_index = entry.index
        self.applied_term = entry.term
        if entry.data == "":
            return "", NULL
        try:
            operation = operation_from_text(entry.data)
        except Malformed:
            return "bad-request", NULL
        if operation.op == "read":
            return "", self.get(operation.key)
        if operation.op == "cas" and (met := self.get(operation.key)) != operation.expected:
            return "precondition-failed", met
        self._set(operation.key, operation.value)
        return "", operation.value

    def _set(self, key: str, value: str) -> None:
        old = self._values.get(key)
        if old is not None:
            self._hash -= _digest(key, old)
        self._values[key] = value
        self._hash = (self._hash + _digest(key, value)) % _HASH_MODULUS

    def state_hash(self) -> str:
        """A digest of all keys and values: the sum of one digest for each pair.

        A sum does not depend on the order of the keys and costs one addition a write. It finds
        mistakes; it is not made to resist somebody who looks for a collision.
        """
        return f"{self._hash % _HASH_MODULUS:0{2 * _HASH_BYTES}x}"


def _digest(key: str, value: str) -> int:
    # Keys may hold lone surrogates, which JSON can say and UTF-8 cannot.
    text = f"{len(key)}:{key}{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=_HASH_BYTES).digest(), "big")
