"""What clients ask for: a draw of operations, every written value another one.

Rules of this file: pure; the stream of chance and the number of the operation are given. Keys are
named for what they hold, so that an answer can be judged by its key.
"""

from dataclasses import dataclass
from random import Random

from node.operations import Operation, Step

_KINDS = (
    ("append", 24),
    ("read_list", 16),
    ("write", 10),
    ("read_register", 12),
    ("cas", 3),
    ("delete", 3),
    ("write_ttl", 6),
    ("read_ttl", 3),
    ("increment", 2),
    ("unique_id", 4),
    ("txn", 7),
    ("set_add", 2),
    ("set_remove", 2),
    ("set_members", 1),
    ("enqueue", 3),
    ("dequeue", 3),
    ("lock_acquire", 3),
    ("lock_release", 2),
)
_WHEEL = tuple(kind for kind, weight in _KINDS for _ in range(weight))
_MODES = ("linear",) * 5 + ("lease",) * 3 + ("stale",)


@dataclass(frozen=True, slots=True)
class Work:
    """How much, and how."""

    clients: int
    window: int
    pause_ns: int
    keys: int
    session_ttl_ms: int

    def operation(self, chance: Random, number: int) -> Operation:
        """The next one. `number` makes its value unique."""
        kind = _WHEEL[chance.randrange(len(_WHEEL))]
        key = str(chance.randrange(self.keys))
        value = str(number)
        mode = _MODES[chance.randrange(len(_MODES))]
        if kind == "append":
            return Operation("append", f"list{key}", value)
        if kind == "read_list":
            return Operation("read", f"list{key}", mode=mode)
        if kind == "write":
            return Operation("write", f"register{key}", value)
        if kind == "read_register":
            return Operation("read", f"register{key}", mode=mode)
        if kind == "cas":
            expected = str(chance.randrange(max(0, number - 20), number + 1))
            return Operation("cas", f"register{key}", value, expected)
        if kind == "delete":
            return Operation("delete", f"register{key}")
        if kind == "write_ttl":
            return Operation("write", f"ttl{key}", value, ttl_ms=chance.randrange(1, 400))
        if kind == "read_ttl":
            return Operation("read", f"ttl{key}", mode=mode)
        if kind == "increment":
            return Operation("increment", "counter", by=number + 1)
        if kind == "txn":
            return _transaction(chance, self.keys, value)
        if kind.startswith("set"):
            member = str(chance.randrange(8))
            return Operation(kind, "set", "null" if kind == "set_members" else member)
        if kind == "enqueue":
            return Operation("enqueue", "queue", value)
        if kind.startswith("lock"):
            ttl_ms = chance.randrange(1, 300) if kind == "lock_acquire" else 0
            return Operation(kind, "lock", f'"c{chance.randrange(3)}"', ttl_ms=ttl_ms)
        return Operation(kind, {"unique_id": "ids", "dequeue": "queue"}.get(kind, kind))


def _transaction(chance: Random, keys: int, value: str) -> Operation:
    first, second = str(chance.randrange(keys)), str(chance.randrange(keys))
    steps = [Step("append", f"list{first}", value), Step("read", f"list{first}")]
    if chance.random() < 0.5:
        steps.append(Step("write", f"register{second}", value))
    if chance.random() < 0.2:
        steps.insert(0, Step("compare", f"register{second}", "null"))
    return Operation("txn", ops=tuple(steps))
