"""Transactions that read lists and append to them; together they must be strictly serializable.

Lists are the strongest test: a read shows all the writes before it, and their order. What
transactions do is in `workloads.transactions`.
"""

from __future__ import annotations

from .checks import Transactional
from .generator import Generator
from .transactions import change_and_read_all, reads_of, transactions
from .workload import Probe, Setting, Workload


def load(setting: Setting) -> Generator:
    """Return transactions of one to four reads and appends."""
    return transactions(setting, "append-transactions", ("r", "append"))


def final(setting: Setting) -> Generator:
    """Change the first keys once more, then read every key through every node."""
    return change_and_read_all(setting, "append")


WORKLOAD = Workload(
    name="append-transactions",
    summary="transactions that read lists and append to them, over several keys",
    data="transactions",
    functions=("txn",),
    load=load,
    final=final,
    checks=(Transactional("list-append"),),
    probe=Probe(f="txn", value=reads_of(["probe"])),
    change=Probe(f="txn", value=[["append", "probe", 1]]),
)
