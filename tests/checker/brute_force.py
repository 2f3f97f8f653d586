"""The dumb twin: try every order of every subset. Right by inspection, fit for tiny histories."""

from __future__ import annotations

from typing import Any

from checker.calls import Call, Calls
from checker.history import EventType, Operation
from checker.models import Model


def has_order(calls: Calls, model: Model) -> bool:
    """Whether the calls have a linearization: all orders, no memory, nothing left out."""

    def extend(state: Any, left: list[Call]) -> bool:
        if all(call.optional for call in left):
            return True
        for call in left:
            if any(other.end is not None and other.end < call.start for other in left):
                continue
            after = model.step(state, call.action)
            if after is not None and extend(after, [other for other in left if other != call]):
                return True
        return False

    return extend(model.initial, list(calls))


def register_has_order(
    operations: list[Operation], *, initial: Any, failed_cas: str, nil_read: str
) -> bool:
    """The same for a cas-register, with an interpreter of operations that shares no code.

    Values are integers or `None`.
    """

    def effect(operation: Operation, value: Any) -> tuple[bool, Any]:
        """Return whether the operation can take effect on this value, and the value after it."""
        if operation.f == "write":
            return operation.type is not EventType.FAIL, operation.input
        if operation.f == "cas":
            expected, new = operation.input
            if operation.type is EventType.FAIL:
                return value != expected, value
            return value == expected, new
        if operation.output is None and nil_read == "unknown":
            return True, value
        return operation.output == value, value

    def counts(operation: Operation) -> bool:
        if operation.type is EventType.FAIL:
            return operation.f == "cas" and failed_cas == "differs"
        return not (operation.f == "read" and operation.type is EventType.INFO)

    def extend(value: Any, left: list[Operation]) -> bool:
        if all(operation.type is EventType.INFO for operation in left):
            return True
        for operation in left:
            if any(o.end is not None and o.end < operation.start for o in left):
                continue
            allowed, after = effect(operation, value)
            if allowed and extend(after, [o for o in left if o is not operation]):
                return True
        return False

    return extend(initial, [operation for operation in operations if counts(operation)])
