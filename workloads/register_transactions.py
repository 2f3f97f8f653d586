"""Transactions that read and write registers; together they must be strictly serializable.

For systems that have no lists. What transactions do is in `workloads.transactions`.
"""

from __future__ import annotations

from .checks import Transactional
from .generator import Generator
from .transactions import change_and_read_all, reads_of, transactions
from .workload import Probe, Setting, Workload


def load(setting: Setting) -> Generator:
    """Return transactions of one to four reads and writes."""
    return transactions(setting, "register-transactions", ("r", "w", "rw"))


def final(setting: Setting) -> Generator:
    """Change the first keys once more, then read every key through every node."""
    return change_and_read_all(setting, "w")


WORKLOAD = Workload(
    name="register-transactions",
    summary="transactions that read and write single values, over several keys",
    data="transactions",
    functions=("txn",),
    load=load,
    final=final,
    checks=(Transactional("rw-register"),),
    probe=Probe(f="txn", value=reads_of(["probe"])),
    change=Probe(f="txn", value=[["w", "probe", 1]]),
)
