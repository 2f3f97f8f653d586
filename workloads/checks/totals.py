"""Money is neither made nor lost: what a transaction reads of the accounts adds up.

Rules of this file:
- The accounts, and what they hold together, are what the opening says: the transaction that
  compares each with null and writes its first balance.
- Accounts are opened all at once: who sees one sees all. Who sees none came before that, or reads
  old data; that is not the business of this check.
- Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checker.history import EventType, Operation
from workloads.checks.finding import Finding


def wrong_balances(operations: Sequence[Operation]) -> Finding | None:
    """Find a read of accounts that cannot be: below zero, only some of them, or a wrong total."""
    opening = next((one for one in operations if _opens(one)), None)
    opened = _balances(opening.input, "w") if opening else {}
    for operation in operations:
        if operation.type is not EventType.OK:
            continue
        balances = _balances(operation.output, "r")
        if all(balance is None for balance in balances.values()):
            continue
        for account, balance in balances.items():
            wrong = _wrong(balance)
            if wrong:
                return Finding(summary=f"account {account} {wrong}", operations=(operation,))
        total, expected = sum(balances.values()), sum(opened.values())
        if opening and set(balances) == set(opened) and total != expected:
            return Finding(
                summary=f"all accounts together hold {total}, but were opened with {expected}",
                operations=(opening, operation),
            )
    return None


def _wrong(balance: Any) -> str:
    """Return what is wrong with the balance of an account, seen together with an open one."""
    if balance is None:
        return "is not there, but another one is: they were opened at once"
    if isinstance(balance, bool) or not isinstance(balance, int):
        return f"holds {balance!r:.80}, which is no amount"
    return f"holds {balance}" if balance < 0 else ""


def _opens(operation: Operation) -> bool:
    """Whether it opens the accounts, or tries to."""
    steps = operation.input or ()
    return any(f == "compare" and value is None for f, _, value in steps)


def _balances(steps: Sequence[Sequence[Any]], f: str) -> Mapping[str, Any]:
    """Return what the steps of this function say of accounts."""
    return {key: value for step, key, value in steps or () if step == f}
