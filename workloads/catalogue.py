"""The workloads that there are, by name.

A workload is loaded when it is first asked for: most runs need one of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from workloads.workload import Workload

# name -> module
WORKLOADS: Final[dict[str, str]] = {
    "register": "workloads.register",
    "key-value": "workloads.key_value",
    "list-append": "workloads.list_append",
    "set": "workloads.sets",
    "counter": "workloads.counter",
    "queue": "workloads.queue",
    "lock": "workloads.lock",
    "fenced-lock": "workloads.fenced_lock",
    "unique-ids": "workloads.unique_ids",
    "bank": "workloads.bank",
    "append-transactions": "workloads.append_transactions",
    "register-transactions": "workloads.register_transactions",
    "long-fork": "workloads.long_fork",
    "write-skew": "workloads.write_skew",
    "sessions": "workloads.sessions",
}


def workload_named(name: str) -> Workload:
    """Return the workload of this name. Raises `KeyError` for one that is not in the table."""
    found = import_module(WORKLOADS[name]).WORKLOAD
    assert isinstance(found, Workload), f"{name} is {found}"
    assert found.name == name, f"{name} calls itself {found.name}"
    return found
