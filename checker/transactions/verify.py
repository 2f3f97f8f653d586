"""The verifier of anomalies: small, slow and independent, to be read by those who doubt.

Rules of this file:
- Believes nothing but the history: every edge of a cycle, and every other anomaly, is derived again
  from what transactions wrote and read. Shares no code with the search, but the vocabulary
  (`checker.transactions.anomaly`: the records themselves, and what a cycle is called).
- What may be relied on: a value is written to a key by one transaction (looked up); an `ok`
  transaction took part, a failed one did not, an `info` one did if an `ok` one saw something of it.
- Lists: the final list of a key begins with every list that was read of it and holds every append
  that took part. So, if a read holds e but not f, and f took part, f came later than e.
- Registers: a version comes before another for the reason that is given (`_follows`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from checker.columns import Columns
from checker.history import EventType, History, Operation
from checker.transactions.anomaly import Anomaly, Edge, cycle_name
from checker.values import canonical

_READ = "r"


class AnomalyError(ValueError):
    """An anomaly that the history does not show; says which claim fails."""


@dataclass(frozen=True, slots=True)
class _Txn:
    """A transaction: micro-operations as (is a write, key, value), all values as canonical texts."""

    operation: Operation
    micros: list[tuple[bool, str, Any]]
    is_ok: bool

    def written(self, key: str) -> list[str]:
        return [value for is_write, k, value in self.micros if is_write and k == key]

    def reads(self, key: str) -> list[Any]:
        """What it read of a key, if it is known."""
        return [v for w, k, v in self.micros if not w and k == key] if self.is_ok else []

    def first_read(self, key: str) -> list[Any]:
        """What it read of a key before it wrote there: none or one value."""
        on_key = [(w, v) for w, k, v in self.micros if k == key]
        return [on_key[0][1]] if self.is_ok and on_key and not on_key[0][0] else []


def verify_anomaly(history: History | Columns, anomaly: Anomaly) -> None:
    """Return if the history shows the anomaly; raise `AnomalyError` if it does not."""
    if isinstance(history, Columns):
        return _Verifier([history.operation(row) for row in range(len(history))]).verify(anomaly)
    return _Verifier(history.operations()).verify(anomaly)


def _need(condition: object, what: str) -> None:
    if not condition:
        raise AnomalyError(what)


class _Verifier:
    def __init__(self, operations: list[Operation]) -> None:
        micros = [micro for op in operations for micro in (op.output or op.input)]
        held = [value for f, _key, value in micros if f == _READ]
        is_register = any(not isinstance(value, list | tuple | None) for value in held)
        self.is_list = not is_register and all(f != "w" for f, _key, _value in micros)
        self.txns = {op.invocation.index: _txn(op, self.is_list) for op in operations}
        self.seen: set[tuple[str, str]] = set()
        for txn in self.txns.values():
            for is_write, key, value in txn.micros if txn.is_ok else ():
                if not is_write:
                    shown = value if isinstance(value, tuple) else (value,)
                    self.seen |= {(key, each) for each in shown}

    def verify(self, anomaly: Anomaly) -> None:
        for index in anomaly.transactions:
            _need(index in self.txns, f"no transaction is invoked by event {index}")
        if anomaly.edges:
            self._cycle(anomaly)
            return
        key = canonical(anomaly.key)
        check: Any = getattr(self, "_" + anomaly.name.replace("-", "_").lower(), None)
        _need(check is not None, f"no anomaly is called {anomaly.name!r}")
        check(anomaly, [self.txns[index] for index in anomaly.transactions], key)

    def _cycle(self, anomaly: Anomaly) -> None:
        edges = anomaly.edges
        for edge, after in zip(edges, (*edges[1:], edges[0]), strict=True):
            _need(edge.target == after.source, f"{edge}: the next edge begins elsewhere")
            self._edge(edge)
        _need(len({edge.source for edge in edges}) == len(edges), "it passes a transaction twice")
        _need(cycle_name([edge.kind for edge in edges]) == anomaly.name, "that is not its name")

    def _edge(self, edge: Edge) -> None:
        a, b = self.txns[edge.source], self.txns[edge.target]
        _need(a is not b, f"{edge}: a transaction before itself")
        if edge.kind in ("process", "realtime"):
            _need(self._in_order(edge.kind, a, b), f"{edge}: they did not run in that order")
            return
        key, value = canonical(edge.key), canonical(edge.value)
        both = self._took_part(a) and self._took_part(b)
        _need(both, f"{edge}: one of them took no part")
        if edge.kind == "wr":
            self._only(a, key, value)
            seen = self._saw(b, key, value) if self.is_list else b.first_read(key) == [value]
            _need(seen, f"{edge}: the value was not seen")
            return
        later = canonical(edge.next_value)
        self._only(b, key, later)
        if edge.kind == "ww":
            self._only(a, key, value)
        if not self.is_list:
            if edge.kind == "rw":
                _need(a.first_read(key) == [value], f"{edge}: the value was not read first")
            _need(self._follows(edge.because, key, value, later), f"{edge}: no such order")
        elif edge.kind == "rw":
            _need(any(later not in read for read in a.reads(key)), f"{edge}: no such read")
        else:
            _need(self._shown(key, value, later, both=False), f"{edge}: no read shows that order")

    def _in_order(self, how: str, a: _Txn, b: _Txn) -> bool:
        first, second = a.operation, b.operation
        if how in ("process", "sequential"):
            same = first.invocation.process == second.invocation.process
            return same and first.start < second.start
        return first.end is not None and first.end < second.start

    def _shown(self, key: str, early: str, late: str, *, both: bool) -> bool:
        """Whether a read holds the one before the other, or (unless both) the one without it."""
        lists = [read for txn in self.txns.values() for read in txn.reads(key) if early in read]
        return any(
            read.index(early) < read.index(late) if late in read else not both for read in lists
        )

    def _took_part(self, txn: _Txn) -> bool:
        if txn.operation.type is EventType.INFO:
            return any(w and (key, value) in self.seen for w, key, value in txn.micros)
        return txn.is_ok

    def _writers(self, key: str, value: str) -> list[_Txn]:
        found = [txn for txn in self.txns.values() if value in txn.written(key)]
        return [t for t in found if t.operation.type is not EventType.FAIL] or found

    def _only(self, txn: _Txn, key: str, value: str) -> None:
        _need(self._writers(key, value) == [txn], f"{value} is not (only) its write to {key}")

    def _follows(self, because: tuple[Any, ...], key: str, early: str, late: str) -> bool:
        """Whether the reason given puts one version before another."""
        if because == ("initial",):
            return early == "null" != late
        if because == ("wfr",):
            writers = self._writers(key, late)
            return len(writers) == 1 and writers[0].first_read(key) == [early] and (
                writers[0].written(key)[-1] == late)  # fmt: skip
        how, first, second = because
        p, q = self.txns[first], self.txns[second]
        last = (p.written(key) or p.first_read(key) or [""])[-1]
        begin = (q.first_read(key) or q.written(key)[-1:] or [""])[0]
        both = self._took_part(p) and self._took_part(q) and self._in_order(how, p, q)
        return both and (last, begin) == (early, late)

    def _g1a(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        self._read_of(anomaly, txns, key)
        _need(txns[0].operation.type is EventType.FAIL, "the writer did not fail")

    def _g1b(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        value = self._read_of(anomaly, txns, key)
        _need(txns[0].written(key)[-1] != value, "the writer left it at that")
        ends = [r[-1:] if isinstance(r, tuple) else (r,) for r in txns[1].reads(key)]
        _need((value,) in ends, "the read does not end with that value")

    def _read_of(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> str:
        writer, reader = txns
        value = canonical(anomaly.values[0])
        self._only(writer, key, value)
        _need(writer is not reader and self._saw(reader, key, value), "the value was not read")
        return value

    def _saw(self, txn: _Txn, key: str, value: str) -> bool:
        return any(value in read if self.is_list else value == read for read in txn.reads(key))

    def _garbage_read(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        value = canonical(anomaly.values[0])
        _need(self._saw(txns[0], key, value), "the value was not read")
        _need(value != "null" and not self._writers(key, value), "somebody wrote it")

    def _internal(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        known: tuple[str, ...] | None = None  # what the key holds ends with these
        whole, is_odd = False, False
        for is_write, value in [(w, v) for w, k, v in txns[0].micros if k == key]:
            if is_write:
                known = (*(known or ()), value) if self.is_list else (value,)
                continue
            said = value if self.is_list else (value,)
            tail = said if whole or known is None else said[-len(known) :]
            is_odd |= known is not None and tail != known
            known, whole = said, True
        _need(txns[0].is_ok and is_odd, "all its reads agree")

    def _future_read(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        value = canonical(anomaly.values[0])
        self._only(txns[0], key, value)
        micros = [(w, v) for w, k, v in txns[0].micros if k == key]
        early = [v for w, v in micros[: micros.index((True, value))] if not w]
        shown = any(value in v if self.is_list else value == v for v in early)
        _need(txns[0].is_ok and shown, "no read of the value before it is written")

    def _duplicate_elements(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        value = canonical(anomaly.values[0])
        _need(len(self._writers(key, value)) < 2, "it was written twice")
        _need(any(read.count(value) > 1 for read in txns[0].reads(key)), "no read holds it twice")

    def _incompatible_order(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        a, b = (tuple(map(canonical, value)) for value in anomaly.values)
        _need(a in txns[0].reads(key) and b in txns[1].reads(key), "no such reads")
        _need(a != b[: len(a)] and b != a[: len(b)], "one is a prefix of the other")

    def _dirty_update(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        early, late = map(canonical, anomaly.values)
        self._only(txns[0], key, early)
        self._only(txns[1], key, late)
        _need(txns[0].operation.type is EventType.FAIL and txns[1].is_ok, "not failed and ok")
        _need(self._shown(key, early, late, both=True), "no read shows it")

    def _lost_update(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        value = anomaly.values[0]
        wanted = tuple(map(canonical, value or ())) if self.is_list else canonical(value)
        _need(len(set(anomaly.transactions)) > 1, "one transaction only")
        for txn in txns:
            _need(txn.first_read(key) == [wanted] and txn.written(key), "not read and then written")

    def _cyclic_versions(self, anomaly: Anomaly, txns: list[_Txn], key: str) -> None:
        values = [canonical(value) for value in anomaly.values]
        for early, late, why in zip(values, [*values[1:], values[0]], anomaly.because, strict=True):
            _need(self._follows(why, key, early, late), f"{early} is not before {late}")


def _txn(operation: Operation, is_list: bool) -> _Txn:  # noqa: FBT001
    is_ok = operation.type is EventType.OK
    micros = []
    for f, key, value in operation.output if is_ok else operation.input:
        said: Any = (
            tuple(map(canonical, value or ())) if is_list and f == _READ else canonical(value)
        )
        micros.append((f != _READ, canonical(key), said))
    return _Txn(operation, micros, is_ok)
