"""Transactions that read lists and append to them; together they must be strictly serializable.

Lists are the strongest test: a read shows all the writes before it, and their order. What
transactions do is in `workloads.transactions`.
"""

from __future__ import annotations

from .checks import Transactional
from .generator import Generator
from .transactions import read_all, reads_of, transactions
from .workload import Probe, Setting, Workload


def load(setting: Setting) -> Generator:
    """Return transactions of one to four reads and appends."""
    return transactions(setting, "append-transactions", ("r", "append"))


WORKLOAD = Workload(
    name="append-transactions",
    summary="transactions that read lists and append to them, over several keys",
    data="transactions",
    functions=("txn",),
    load=load,
    final=read_all,
    checks=(Transactional("list-append"),),
    probe=Probe(f="txn", value=reads_of(["probe"])),
)
