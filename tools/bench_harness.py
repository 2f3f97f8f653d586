"""The table of ``make bench-harness``: operations a second of the interpreter, and rates kept.

Rules of this file:
- The client is in memory and answers at once: what is measured is the harness. Every event goes
  through the journal as in a run: each invocation is written before it is sent, and every stamp of
  a completion is taken in its client's thread.
- The plain loop performs the same operations one after the other, in one thread, without a
  generator, a queue or a second thread, and writes the same lines through the same journal; its
  ratio says what scheduling costs. Both alternate in the same process; the best of each counts,
  because others may be at work on the machine. The column `by CPU` divides by the processor's time
  instead of the wall's, and so does not depend on them.
- Every history is read back and its operations are counted, outside of the time.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from checker.history import Event, EventType, read_jsonl  # noqa: E402
from harness.client import Client, Completion  # noqa: E402
from harness.interpreter import Interpreter  # noqa: E402
from harness.journal import Journal  # noqa: E402
from harness.rates import Rates  # noqa: E402
from workloads.generator import (  # noqa: E402
    Context,
    Generator,
    Invocation,
    calls,
    limit,
    mix,
    op,
    repeat,
    reserve,
    stagger,
    time_limit,
)
from workloads.randomness import Stream  # noqa: E402
from workloads.register import RegisterOperations  # noqa: E402

TARGET_PER_S = 18_000
KEYS = tuple(f"k{number}" for number in range(8))
TIMEOUT_NS = 5_000_000_000


class MemoryClient:
    """Registers in a dictionary; one operation at a time, by the interpreter lock's grace."""

    def __init__(self, store: dict[str | None, object], thread: int) -> None:
        self.node = f"n{thread % 5 + 1}"
        self._store = store

    def invoke(self, invocation: Invocation) -> Completion:
        """Read, write or compare and set."""
        key, value = invocation.key, invocation.value
        if invocation.f == "read":
            return Completion(EventType.OK, self._store.get(key))
        if invocation.f == "cas":
            if self._store.get(key) != value[0]:
                return Completion(EventType.FAIL, value, "precondition-failed")
            self._store[key] = value[1]
        else:
            self._store[key] = value
        return Completion(EventType.OK, value)

    def close(self) -> None:
        """Nothing to let go of."""


def main() -> int:
    """Measure what was asked for and print it; exit 1 if the register row is below the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=30_000)
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each, of which the best counts"
    )
    parser.add_argument("--threads", type=int, nargs="*", default=[10, 30])
    parser.add_argument("--rate-seconds", type=float, default=5.0)
    options = parser.parse_args()
    best = 0.0
    heads = ("threads", "operations/s", "by CPU", "plain loop/s", "ratio")
    print(f"{'generator':<28}" + "".join(f"{head:>14}" for head in heads))
    for name, make in GENERATORS.items():
        for threads in options.threads:
            scheduled, by_cpu, plain = measure(make, options.operations, threads, options.rounds)
            print(
                f"{name:<28}{threads:>14}{scheduled:>14,.0f}{by_cpu:>14,.0f}{plain:>14,.0f}"
                f"{scheduled / plain:>14.2f}"
            )
            best = max(best, scheduled) if name == "register" else best
    for rate in (200.0, 2000.0):
        print(show_rate(rate, options.rate_seconds))
    verdict = "reached" if best >= TARGET_PER_S else "MISSED"
    print(
        f"target: {TARGET_PER_S:,} operations/s with the register workload: {verdict} ({best:,.0f})"
    )
    return 0 if best >= TARGET_PER_S else 1


def _register(count: int) -> Generator:
    return limit(count, RegisterOperations(Stream(1, "register"), KEYS))


def _one(count: int) -> Generator:
    return limit(count, repeat(op("write", 3, "k0")))


def _composed(count: int) -> Generator:
    writes = calls(_write)
    source = mix(repeat(op("read", None, "k0")), writes, weights=(3, 1))
    return limit(count, stagger(1e6, source))


def _write(_context: Context, number: int) -> Generator:
    return op("write", number, "k0")


def _reserved(count: int) -> Generator:
    return limit(
        count, reserve((2, repeat(op("write", 1, "k0"))), default=repeat(op("read", None, "k0")))
    )


GENERATORS: dict[str, Callable[[int], Generator]] = {
    "register": _register,
    "one operation, repeated": _one,
    "stagger over mix over calls": _composed,
    "reserve": _reserved,
}


def measure(
    make: Callable[[int], Generator], count: int, threads: int, rounds: int
) -> tuple[float, float, float]:
    """Return operations a second: interpreter, by processor time, plain loop; the best of each."""
    scheduled = by_cpu = plain = 0.0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "history.jsonl"
            cpu = time.process_time()
            seconds, _ = run(make(count), threads, path)
            by_cpu = max(by_cpu, count / (time.process_time() - cpu))
            scheduled = max(scheduled, count / seconds)
            invocations = check(path, count)
            seconds = run_plainly(invocations, threads, Path(folder) / "plain.jsonl")
            plain = max(plain, count / seconds)
    return scheduled, by_cpu, plain


def run(generator: Generator, threads: int, path: Path) -> tuple[float, Rates]:
    """Run a generator through the interpreter; return the seconds and its rates."""
    journal, store = Journal(path), dict[str | None, object]()
    began_ns = time.monotonic_ns()

    def open_client(thread: int) -> Client:
        return MemoryClient(store, thread)

    interpreter = Interpreter(
        journal=journal,
        open_client=open_client,
        concurrency=threads,
        operation_timeout_ns=TIMEOUT_NS,
        clock=lambda: time.monotonic_ns() - began_ns,
    )
    gc.collect()
    began = time.perf_counter()
    rates = interpreter.run(generator)
    seconds = time.perf_counter() - began
    interpreter.close()
    journal.close()
    return seconds, rates


def run_plainly(invocations: list[Event], threads: int, path: Path) -> float:
    """Perform and write the same operations one after the other; return the seconds."""
    journal, store = Journal(path), dict[str | None, object]()
    clients = [MemoryClient(store, thread) for thread in range(threads)]
    began_ns = time.monotonic_ns()
    gc.collect()
    began = time.perf_counter()
    for event in invocations:
        client = clients[int(event.process) % threads]
        invocation = Invocation(f=event.f, value=event.value, key=event.key, thread=0)
        _record(journal, began_ns, event, client, EventType.INVOKE, event.value, None)
        done = client.invoke(invocation)
        _record(journal, began_ns, event, client, done.type, done.value, done.error)
    seconds = time.perf_counter() - began
    journal.close()
    return seconds


def _record(
    journal: Journal,
    began_ns: int,
    event: Event,
    client: MemoryClient,
    kind: EventType,
    value: object,
    error: str | None,
) -> None:
    journal.record(
        time_ns=time.monotonic_ns() - began_ns,
        process=event.process,
        type=kind,
        f=event.f,
        key=event.key,
        value=value,
        node=client.node,
        error=error,
    )


def check(path: Path, count: int) -> list[Event]:
    """Return the invocations of a history, every one of which must have been completed."""
    operations = read_jsonl(path).operations()
    if len(operations) != count or any(one.completion is None for one in operations):
        raise SystemExit(f"{path}: not {count} completed operations")
    return [one.invocation for one in operations]


def show_rate(rate: float, seconds: float) -> str:
    """Return a line that says whether a rate was kept, through the interpreter, in real time."""
    with tempfile.TemporaryDirectory() as folder:
        source = RegisterOperations(Stream(1, "register"), KEYS)
        generator = time_limit(seconds, stagger(rate, source))
        _, rates = run(generator, 10, Path(folder) / "history.jsonl")
    return (
        f"asked {rate:,.0f}/s for {seconds:g} s: offered {rates.offered_per_s:,.1f}/s, achieved "
        f"{rates.achieved_per_s:,.1f}/s, at most {rates.late_ns_max / 1e6:.1f} ms late"
    )


if __name__ == "__main__":
    raise SystemExit(main())
