"""What clients were told, held against what they asked: nothing here looks into a node.

Rules of this file:
- Every value that is written is written once, so what is read says who wrote it.
- An operation counts as done when its answer reached the client, and from then on everybody who
  asks must see it.
- Each check is cheap, and sees less than a checker of histories would: it is for a run of thousands
  of seeds.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.sim.violation import Violation
from node.operations import Answer, Operation


@dataclass(slots=True)
class Floor:
    """What was known to be done when an attempt left."""

    index: int
    appended: dict[str, int]
    written: dict[str, int]


@dataclass
class Answers:
    """All that clients know together."""

    index: int = 0
    appended: dict[str, list[str]] = field(default_factory=dict)
    longest: dict[str, list[str]] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    index_of: dict[tuple[str, str], int] = field(default_factory=dict)
    unique: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def floor(self) -> Floor:
        """To be kept with each attempt."""
        return Floor(
            self.index,
            {key: len(values) for key, values in self.appended.items()},
            dict(self.written),
        )

    def succeeded(self, call: int, operation: Operation, answer: Answer, *, once: bool) -> None:
        """A mutation was acknowledged, for the first time. `once`: it was sent only once.

        Otherwise the index may be that of a repetition, which did nothing.
        """
        self.index = max(self.index, answer.index)
        op, key = operation.op, operation.key
        if op == "append":
            self.appended.setdefault(key, []).append(operation.value)
        elif op in ("write", "cas"):
            self._wrote(key, operation.value, answer.index if once else 0)
        elif op == "delete":
            self._wrote(key, "null", answer.index if once else 0)
        elif op in ("unique_id", "lock_acquire", "dequeue", "open_session"):
            self._once(call, op, key, answer.value)
        elif op == "txn":
            for step in operation.ops:
                if step.op == "append":
                    self.appended.setdefault(step.key, []).append(step.value)
                elif step.op == "write":
                    self._wrote(step.key, step.value, answer.index if once else 0)

    def refused(self, answer: Answer) -> None:
        """An entry was applied and did nothing: that too was seen."""
        self.index = max(self.index, answer.index)

    def read(self, operation: Operation, answer: Answer, floor: Floor) -> None:
        """A read of mode linear or lease was answered."""
        self.index = max(self.index, answer.index)
        if operation.op != "read":
            return
        key, value = operation.key, answer.value
        if key.startswith("list"):
            self.list_read(key, value, floor)
        elif key.startswith("register"):
            at = self.index_of.get((key, value))
            known = floor.written.get(key, 0)
            if at is not None and at < known:
                text = f"{key} was read as {value}, written at {at}, though {known} was done before"
                raise Violation("client", "stale-read", text)

    def list_read(self, key: str, value: str, floor: Floor) -> None:
        """A list must hold all that was acknowledged before, once, in one order for all."""
        values = [] if value == "null" else [str(one) for one in json.loads(value)]
        if len(set(values)) != len(values):
            raise Violation("client", "twice", f"{key} holds something twice: {value}")
        known = self.appended.get(key, [])[: floor.appended.get(key, 0)]
        missing = [one for one in known if one not in values]
        if missing:
            text = f"{key} lacks {missing}, acknowledged before it was read: {value}"
            raise Violation("client", "lost", text)
        longest = self.longest.get(key, [])
        shorter = min(len(longest), len(values))
        if longest[:shorter] != values[:shorter]:
            text = f"{key} was read as {longest} and as {values}"
            raise Violation("client", "order", text)
        if len(values) > len(longest):
            self.longest[key] = values

    def never(self, values: Iterable[tuple[str, str]]) -> None:
        """What was said to have failed for certain was never read."""
        for key, value in values:
            if value in self.longest.get(key, []):
                text = f"appending {value} to {key} had failed, and it is there"
                raise Violation("client", "failed-yet-there", text)

    def _wrote(self, key: str, value: str, index: int) -> None:
        if value != "null" and index:
            self.index_of[key, value] = index
        self.written[key] = max(self.written.get(key, 0), index)

    def _once(self, call: int, op: str, key: str, value: str) -> None:
        before = self.unique.setdefault((op, key, value), call)
        if before != call:
            text = f"{op} of {key!r} gave {value} to operations {before} and {call}"
            raise Violation("client", "not-unique", text)
