"""What each operation does to the keys.

Rules of this file:
- A function of the keys, the operation, the index of its log entry and the time of the log; nothing
  else. Every node that applies the entry gets the same result.
- An operation that fails has changed nothing.
- An operation on a key that holds another kind of thing answers `wrong-type`. A missing key holds
  nothing, and that is the empty list, set and queue, the counter 0, the free lock, and null.
"""

from collections.abc import Callable

from node.answers import Result
from node.json_text import HELD_BYTES_MAX, NULL, joined
from node.keyspace import FOREVER, Keyspace
from node.operations import COUNTER_MAX, Operation
from node.values import (
    Lock,
    Members,
    Value,
    as_counter,
    as_list,
    as_queue,
    holder,
    plain,
)

TRUE, FALSE = Result("", "true"), Result("", "false")
DONE = Result("", NULL)
WRONG_TYPE = Result("wrong-type", NULL)
TOO_LARGE = Result("too-large", NULL)


def _read(keys: Keyspace, operation: Operation) -> Result:
    value = plain(keys.get(operation.key))
    return WRONG_TYPE if value is None else Result("", value)


def _set_members(keys: Keyspace, operation: Operation) -> Result:
    """Sorted by their texts."""
    members = keys.get(operation.key)
    if members is None:
        return Result("", "[]")
    if not isinstance(members, Members):
        return WRONG_TYPE
    return Result("", joined(sorted(members.texts)))


def _queue_length(keys: Keyspace, operation: Operation) -> Result:
    queue = as_queue(keys.get(operation.key))
    return WRONG_TYPE if queue is None else Result("", str(queue.length))


def _lock_holder(keys: Keyspace, operation: Operation) -> Result:
    lock = keys.get(operation.key)
    if lock is None:
        return DONE
    return Result("", holder(lock)) if isinstance(lock, Lock) else WRONG_TYPE


def _write(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    key, value, ttl_ms = operation.key, operation.value, operation.ttl_ms
    if type(old := keys.get(key)) is not str and plain(old) is None:
        return WRONG_TYPE
    keys.put(key, _kept(value), now_ms + ttl_ms if ttl_ms else FOREVER)
    return Result("", value)


def _kept(text: str) -> str | None:
    """What a key holds that was given this value."""
    return None if text == NULL else text


def _cas(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    met = plain(keys.get(operation.key))
    if met is None:
        return WRONG_TYPE
    if met != operation.expected:
        return Result("precondition-failed", met)
    keys.put(operation.key, _kept(operation.value), FOREVER)
    return Result("", operation.value)


def _delete(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    if keys.get(operation.key) is None:
        return FALSE
    keys.put(operation.key, None)
    return TRUE


def _append(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    key, value = operation.key, operation.value
    line = as_list(key, keys.get(key))
    if line is None:
        return WRONG_TYPE
    if line.size + len(value) >= HELD_BYTES_MAX:
        return TOO_LARGE
    line = line.pushed(key, value)
    keys.put(key, line)
    return Result("", str(line.length))


def _increment(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    return _count(keys, operation.key, operation.by)


def _unique_id(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    return _count(keys, operation.key, 1)


def _count(keys: Keyspace, key: str, by: int) -> Result:
    number = as_counter(keys.get(key))
    if number is None:
        return WRONG_TYPE
    if not -COUNTER_MAX <= number + by <= COUNTER_MAX:
        return Result("out-of-range", NULL)
    text = str(number + by)
    keys.put(key, text)
    return Result("", text)


def _set_add(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    key, value = operation.key, operation.value
    members = keys.get(key)
    if members is not None and not isinstance(members, Members):
        return WRONG_TYPE
    if members is not None:
        if value in members.texts:
            return FALSE
        if members.size + len(value) >= HELD_BYTES_MAX:
            return TOO_LARGE
    keys.change_set(key, members, value, add=True)
    return TRUE


def _set_remove(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    key, value = operation.key, operation.value
    members = keys.get(key)
    if members is not None and not isinstance(members, Members):
        return WRONG_TYPE
    if members is None or value not in members.texts:
        return FALSE
    keys.change_set(key, members, value, add=False)
    return TRUE


def _enqueue(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    key, value = operation.key, operation.value
    queue = as_queue(keys.get(key))
    if queue is None:
        return WRONG_TYPE
    if queue.size + len(value) >= HELD_BYTES_MAX:
        return TOO_LARGE
    queue = queue.pushed(key, value)
    keys.put(key, queue)
    return Result("", str(queue.length))


def _dequeue(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    queue = as_queue(keys.get(operation.key))
    if queue is None:
        return WRONG_TYPE
    if queue.length == 0:
        return Result("empty", NULL)
    value, rest = queue.taken(operation.key)
    keys.put(operation.key, rest)
    return Result("", value)


def _lock_acquire(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    """The fencing token is the index of the entry: it grows with every holder, at every key."""
    lock = keys.get(operation.key)
    if isinstance(lock, Lock):
        return Result("held", lock.owner)
    if lock is not None:
        return WRONG_TYPE
    deadline_ms = now_ms + operation.ttl_ms if operation.ttl_ms else FOREVER
    keys.put(operation.key, Lock(operation.value, index), deadline_ms)
    return Result("", str(index))


def _lock_release(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    lock = keys.get(operation.key)
    if lock is not None and not isinstance(lock, Lock):
        return WRONG_TYPE
    if lock is None or lock.owner != operation.value:
        return Result("not-held", NULL)
    keys.put(operation.key, None)
    return TRUE


def _txn(keys: Keyspace, operation: Operation, index: int, now_ms: int) -> Result:
    """Each step as the operation of its name, then all of them or none."""
    undo: list[tuple[str, Value | None, int]] = []
    results: list[str] = []
    size = 0
    for op, key, value in operation.ops:
        failure, text = "", NULL
        if op in ("read", "compare"):
            met = plain(keys.get(key))
            if met is None:
                failure = "wrong-type"
            elif op == "read":
                text = met
            elif met != value:
                failure, text = "precondition-failed", met
        else:
            undo.append((key, keys.get(key), keys.deadline_ms(key)))
            # None of these changes a set in place, so that what was there can be put back.
            failure, _ = EXECUTE[op](keys, Operation(op, key, value), index, now_ms)
        size += len(text) + 1
        if not failure and size >= HELD_BYTES_MAX:
            failure, text = TOO_LARGE
        if failure:
            for undone, old, deadline_ms in reversed(undo):
                keys.put(undone, old, deadline_ms)
            return Result(failure, text)
        results.append(text)
    return Result("", joined(results))


READ: dict[str, Callable[[Keyspace, Operation], Result]] = {
    "read": _read,
    "set_members": _set_members,
    "queue_length": _queue_length,
    "lock_holder": _lock_holder,
    "txn": lambda keys, operation: _txn(keys, operation, 0, 0),
}
"""What may be answered without an entry; a transaction only if all its steps read."""

EXECUTE: dict[str, Callable[[Keyspace, Operation, int, int], Result]] = {
    "write": _write,
    "cas": _cas,
    "delete": _delete,
    "append": _append,
    "increment": _increment,
    "unique_id": _unique_id,
    "set_add": _set_add,
    "set_remove": _set_remove,
    "enqueue": _enqueue,
    "dequeue": _dequeue,
    "lock_acquire": _lock_acquire,
    "lock_release": _lock_release,
    "txn": _txn,
}
