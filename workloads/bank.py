"""A bank: money moves between accounts, and there is always the same amount of it.

Rules of this file:
- The first operations open all accounts in one transaction, until one of them is acknowledged or
  the accounts are seen: later ones find an account that exists, and are refused.
- A transfer is two transactions of one thread: the first reads two accounts, the second compares
  them with what was seen and writes both. It never takes more than there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from checker.history import Event, EventType

from .checks import Finds
from .checks.totals import wrong_balances
from .generator import (
    PENDING,
    Context,
    Generator,
    Invocation,
    Nothing,
    OnUpdate,
    PerThread,
    Step,
    chain,
    each_thread,
    flip_flop,
    on_update,
    op,
    repeat,
)
from .randomness import Stream
from .transactions import Micro, reads_of, saw_something
from .workload import Probe, Setting, Workload

_ACCOUNTS_MIN: Final = 4
_FIRST_BALANCE: Final = 10
_ALL_ONE_IN: Final = 3  # of the reads, how many are of all accounts


@dataclass(frozen=True, slots=True)
class Teller:
    """What one thread does, for ever: read two accounts and move money, or read them all.

    `seen` are two accounts and their balances, of a transfer that was begun.
    """

    stream: Stream
    accounts: tuple[str, ...]
    seen: tuple[Micro, ...] = ()
    position: int = 0

    def next(self, context: Context) -> Step:
        """Return the second half of the transfer, or else a read."""
        if not context.free:
            return PENDING
        stream, draw = context.stream(self.stream), self.position * 3
        if self.seen:
            steps = transfer(self.seen, stream, draw)
        elif stream.below(draw, _ALL_ONE_IN) == 0:
            steps = reads_of(self.accounts)
        else:
            giver = stream.below(draw + 1, len(self.accounts))
            other = giver + 1 + stream.below(draw + 2, len(self.accounts) - 1)
            steps = reads_of([self.accounts[one % len(self.accounts)] for one in (giver, other)])
        invocation = Invocation(f="txn", value=steps, thread=context.free[0], at_ns=context.time_ns)
        return invocation, replace(self, seen=(), position=self.position + 1)

    def update(self, event: Event, context: Context) -> Generator:
        """Go on with a transfer when its first half has seen money."""
        del context
        if event.type is not EventType.OK or len(event.value) != 2:
            return self
        balances = [seen for _, _, seen in event.value]
        able = all(isinstance(one, int) and one >= 0 for one in balances) and sum(balances) > 0
        return replace(self, seen=tuple(event.value) if able else ())


def opening(accounts: tuple[str, ...]) -> list[Micro]:
    """Return the steps that open the accounts if there are none."""
    absent: list[Micro] = [["compare", account, None] for account in accounts]
    return [*absent, *(["w", account, _FIRST_BALANCE] for account in accounts)]


def transfer(seen: tuple[Micro, ...], stream: Stream, draw: int) -> list[Micro]:
    """Return the steps that move money from the first account, or from the other if it has none."""
    (_, giver, has), (_, taker, had) = seen if seen[0][2] > 0 else seen[::-1]
    amount = 1 + stream.below(draw, has)
    return [
        ["compare", giver, has],
        ["compare", taker, had],
        ["w", giver, has - amount],
        ["w", taker, had + amount],
    ]


def accounts_of(setting: Setting) -> tuple[str, ...]:
    """Return the names of the accounts."""
    return tuple(f"a{number}" for number in range(max(_ACCOUNTS_MIN, setting.keys)))


def load(setting: Setting) -> Generator:
    """Open the accounts, then put a teller on every thread."""
    accounts = accounts_of(setting)
    attempts = flip_flop(
        repeat(op("txn", opening(accounts))), repeat(op("txn", reads_of(accounts)))
    )
    return chain(
        on_update(_until_open, attempts),
        each_thread(Teller(Stream(setting.seed, "bank"), accounts)),
    )


def _until_open(this: OnUpdate, event: Event, context: Context) -> Generator:
    """End when the accounts are known to be open: by an answer about them, not by a refusal."""
    del context
    if event.type is not EventType.OK:
        return this
    opened = any(f == "w" for f, _, _ in event.value) or saw_something(event.value)
    return Nothing() if opened else this


def final(setting: Setting) -> Generator:
    """Read all accounts through every node."""
    steps: Any = reads_of(accounts_of(setting))
    return PerThread(
        {one: (Invocation(f="txn", value=steps, thread=one),) for one in range(setting.nodes)}
    )


WORKLOAD = Workload(
    name="bank",
    summary="transactions move money between accounts, others read all of them",
    data="transactions",
    functions=("txn",),
    load=load,
    final=final,
    checks=(Finds("totals", wrong_balances),),
    probe=Probe(f="txn", value=reads_of(["probe"])),
    change=Probe(f="txn", value=[["w", "probe", 1]]),
)
