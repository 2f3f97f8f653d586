"""The kinds of data that workloads speak of, and the words they use: a table.

Rules of this file:
- A system offers some kinds; its client of a kind takes these operations and no others, and gives
  these answers. A workload names one kind, so it runs on every system that offers it.
- `ok` answers are as the last column says. `fail` means that the operation certainly had no effect,
  anything that is not certain is `info`; the value of both is that of the invocation.
- Where nothing is said of the answer it repeats what was asked.
"""

from __future__ import annotations

from typing import Any, Final

# kind -> function -> (what is asked, what an `ok` answers)
DATA: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "register": {
        "read": ("nothing", "the value, null if there is none"),
        "write": ("a value", ""),
        "cas": ("[from, to]; `fail` if the value is not `from`", ""),
    },
    "key-value": {
        "get": ("nothing", "the string, null if there is none"),
        "put": ('a string, or {"value": string, "ttl_ms": time to live}', ""),
        "append": ("a string; a missing key is an empty string", ""),
        "delete": ("nothing", ""),
        "cas": ("[from, to], strings; `fail` if the value is not `from`", ""),
    },
    "list": {
        "append": ("a value", ""),
        "read": ("nothing", "the list, null if there is none"),
    },
    "set": {
        "add": ("a value", ""),
        "remove": ("a value; also if it is not there", ""),
        "read": ("nothing", "a list in any order, null if there is none"),
    },
    "counter": {
        "add": ("a whole number", ""),
        "read": ("nothing", "the number, null if there is none"),
    },
    "queue": {
        "enqueue": ("a value", ""),
        "dequeue": ("nothing", "the oldest value, null if the queue is empty"),
        "length": ("nothing", "how many values are in it"),
    },
    "lock": {
        "acquire": (
            '{"owner": text, "ttl_ms": time to live or left out}; `fail` if it is held',
            '{"owner": text, "token": fencing token, or left out where there are none}',
        ),
        "release": ('{"owner": text}; `fail` if this owner does not hold it', ""),
        "holder": ("nothing", '{"owner": text, ...}, null if it is free'),
    },
    "ids": {
        "generate": ("nothing", "a value that no other `generate` answers, ever"),
    },
    "transactions": {
        "txn": (
            'a list of steps ["r", key, null], ["w", key, value], ["append", key, value], '
            '["compare", key, value]: all or none; `fail` if a compare meets another value',
            "the steps, with what the reads saw in place of their null (null for a missing key)",
        ),
    },
}

# Functions that only look. A transaction looks if all of its steps do.
LOOKS: Final = frozenset({"read", "get", "length", "holder", "r", "compare"})

# Keys are strings everywhere; in transactions they stand in the steps, elsewhere beside the value.
# Values are JSON: whole numbers and strings unless the table says otherwise.


def describe(kind: str) -> str:
    """Return the words of a kind of data as lines of text."""
    lines = []
    for f, (asked, answered) in DATA[kind].items():
        tail = f"; answers {answered}" if answered else ""
        lines.append(f"{f}: {asked}{tail}")
    return "\n".join(lines)


def changes(f: str, value: Any) -> bool:
    """Whether an operation may change something; one that is not in the table is taken to."""
    if f == "txn" and isinstance(value, list):
        return any(step[0] not in LOOKS for step in value)
    return f not in LOOKS


def objects_of(f: str, key: str | None, value: Any) -> dict[str, bool]:
    """Return the objects that an operation is about, each with whether it may change there.

    Where there are no keys the function names the one object that there is.
    """
    if f == "txn" and isinstance(value, list):
        about: dict[str, bool] = {}
        for step in value:
            about[str(step[1])] = about.get(str(step[1]), False) or step[0] not in LOOKS
        return about
    return {f if key is None else key: changes(f, value)}
