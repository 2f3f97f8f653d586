"""The verifier of certificates: small, slow and independent, to be read by those who doubt.

Rules of this file:
- Believes nothing in a certificate but what it can see in the history; what does not prove its
  verdict is a `CertificateError` that says where. Shares no code with any search.
- Trusts the pairing of events (`History.operations`), the model's `action` and `step` and, where a
  certificate leaves operations out, what the model says of its own actions.
- `valid` is proved by an order (`_check_order`). `invalid` by a *core*: some operations, each with
  at least the freedom it had (`_core`); those left out could not have helped (`_jumps`);
  yet the core has no order (`_exhaust`). Each check carries the argument why an order of the whole
  history would be one of the core. The format: docs/certificates.md.
- A configuration is a state and the set of the open core calls that have taken effect. More than
  `CONFIGURATIONS_MAX` of them is an error, never an acceptance. No recursion. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from checker.history import History, Operation
from checker.meaning import FailedCas, Meaning, NilRead
from checker.models import DEFAULT, model_named
from checker.models.model import Action, Coarse, Elementwise, Model, State
from checker.verdict import Verdict

CONFIGURATIONS_MAX = 2_000_000
_EMPTY: Sequence[State] = ((), frozenset(), frozenset({()}))  # as a list, a set, a bag
_Said = dict[int, tuple[Operation, Action]]  # who did or said something, by invocation's index
_NOT_THERE = "says nothing, is of another key or comes twice"


class CertificateError(ValueError):
    """A certificate that does not prove what it says. The message names the place and the reason."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What is proved, of which model: `operations` that have an order, or (invalid) have none."""

    verdict: Verdict
    keys: tuple[str | None, ...]
    operations: int
    configurations: int  # all that were looked at, none where an order was shown
    model: Model
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class _Call:
    """One core call: takes effect between start and end, or any time after it without an end."""

    index: int
    action: Action
    start: int
    end: int | None
    required: bool


def verify(history: History, certificate: object, model: Model | None = None) -> Verified:
    """Return what the certificate (decoded JSON) proves about the history.

    A model that is given stands for the one named. Raises `CertificateError`, and `HistoryError` if
    the history's events do not pair up.
    """
    fields = _is(certificate, "the certificate", dict)
    if _field(fields, "certificate", "", int) != 1:
        raise CertificateError("certificate: only version 1 is known")
    model, meaning = _assumptions(fields, model)
    objects = _objects(history, model, meaning)
    if (verdict := fields.get("verdict")) == Verdict.VALID:
        placed = _check_valid(fields, objects, model)
        return Verified(Verdict.VALID, tuple(objects), placed, 0, model, meaning)
    if verdict != Verdict.INVALID:
        raise CertificateError("verdict: expected valid or invalid, others need no proof")
    key = _key(refutation := _field(fields, "refutation", "", dict), objects, "refutation")
    counts = _check_invalid(refutation, objects[key], model)
    return Verified(Verdict.INVALID, (key,), *counts, model, meaning)


def _assumptions(fields: dict[str, Any], model: Model | None) -> tuple[Model, Meaning]:
    """Return the model and the meaning of outcomes: what the certificate is about."""
    name = _field(fields, "model", "", str)
    if model is not None and model.name != name:
        raise CertificateError(f"model: is {name!r:.60}, but {model.name} is to be verified")
    given = _field(fields, "meaning", "", dict)
    try:
        failed_cas = FailedCas(given.get("failed_cas", "missing"))
        nil_read = NilRead(given.get("nil_read", "missing"))
        model = model or model_named(name, fields.get("initial", DEFAULT))
        return model, Meaning(failed_cas=failed_cas, nil_read=nil_read)
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"model or meaning: {error!s:.300}") from None


def _objects(history: History, model: Model, meaning: Meaning) -> dict[str | None, _Said]:
    """Divide the history into independent objects: by key (linearizability is local), or not."""
    objects: dict[str | None, _Said] = {}
    for operation in history.operations():
        said = objects.setdefault(operation.key if model.keyed else None, {})
        index = operation.invocation.index
        try:
            action = model.action(operation, meaning)
        except ValueError as error:
            raise CertificateError(f"model: does not fit the history: {error}") from None
        if action is not None:
            if index in said:  # one of the two could hide behind the other
                raise CertificateError(f"the history has two invocations with the index {index}")
            said[index] = operation, action
    return objects


def _check_valid(fields: dict[str, Any], objects: dict[str | None, _Said], model: Model) -> int:
    """Check that every object of the history has an order; return how many operations they hold."""
    placed, missing = 0, dict(objects)
    for place, item in enumerate(_field(fields, "linearizations", "", list)):
        where = f"linearizations[{place}]"
        given = _is(item, where, dict)
        key = _key(given, missing, where)
        order = _field(given, "order", where, list)
        _check_order(order, missing.pop(key), model, where)
        placed += len(order)
    if missing or not objects:  # who looked at nothing has shown nothing
        raise CertificateError(f"linearizations: no order for the keys {list(missing)!r:.100}")
    return placed


def _check_order(order: list[Any], said: _Said, model: Model, where: str) -> None:
    """Check that the order respects real time, that each step is allowed, that nobody is missing."""
    left = dict(said)
    state, latest_start = model.initial, -1
    for place, item in enumerate(order):
        at = f"{where}.order[{place}]"
        index = _is(item, at, int)
        if index not in left:
            raise CertificateError(f"{at}: {index} {_NOT_THERE}")
        operation, action = left.pop(index)
        if operation.end is not None and operation.end < latest_start:
            raise CertificateError(f"{at}: {index} ended before one that it follows was invoked")
        latest_start = max(latest_start, operation.start)
        after = model.step(state, action)
        if after is None:
            raise CertificateError(f"{at}: {index} {model.refusal(state, action)}")
        state = after
    for index, (operation, _) in left.items():
        if operation.end is not None:  # what crashed may never have taken effect
            raise CertificateError(f"{where}: {index} completed but is missing from the order")


def _check_invalid(given: dict[str, Any], said: _Said, model: Model) -> tuple[int, int]:
    """Check a refutation; return the number of core calls and of configurations looked at."""
    since: int | None = _field(given, "from", "refutation", int, NoneType)
    elements: list[Any] | None = _field(given, "elements", "refutation", list, NoneType)
    if since is not None and (elements is not None or not isinstance(model, Coarse)):
        raise CertificateError(f"refutation.from: not with `elements`, nor for {model.name}")
    said = said if elements is None else _projected(elements, said, model)
    core, left = _core(_field(given, "calls", "refutation", list), said, since)
    kept = frozenset(call.action for call in core)
    allowed: list[Any] = _field(given, "jumps", "refutation", list, NoneType) or []
    jumps = _jumps(core, left, model, since, kept, allowed)
    # What a forgotten past led to is like one state of the universe.
    starts = model.universe(kept) if since is not None and isinstance(model, Coarse) else ()
    frontier, looked = _exhaust(core, model, starts or [model.initial], jumps)
    if given.get("frontier") not in (None, frontier):  # proves nothing, but has to be right
        raise CertificateError(f"refutation.frontier: found {frontier!r:.300}")
    return len(core), looked


def _projected(elements: list[Any], said: _Said, model: Model) -> _Said:
    """Reduce each action to what it does to some elements: what is legal stays legal.

    Nothing is promised about the projection of a state, so the object has to begin empty.
    """
    some = frozenset(_is(element, "refutation.elements", str) for element in elements)
    if not isinstance(model, Elementwise) or model.initial not in _EMPTY:
        raise CertificateError("refutation.elements: only for a collection that begins empty")
    return {
        index: (operation, projected)
        for index, (operation, action) in said.items()
        if (projected := model.project(action, some)) is not None
    }


def _core(calls: list[Any], said: _Said, since: int | None) -> tuple[list[_Call], _Said]:
    """Return the core and what it leaves out. Check that each call may do all that its operation may.

    An order of the history is made of instants, one strictly inside of every operation that took
    effect. A wider interval holds the same instant, and who need not take effect still may.
    """
    core: list[_Call] = []
    left = dict(said)
    for place, item in enumerate(calls):
        at = f"refutation.calls[{place}]"
        index: int = _field(listed := _is(item, at, dict), "index", at, int)
        start: int = _field(listed, "start", at, int)
        end: int | None = _field(listed, "end", at, int, NoneType)
        required: bool = _field(listed, "required", at, bool)
        if index not in left:
            raise CertificateError(f"{at}: {index} {_NOT_THERE}")
        operation, action = left.pop(index)
        cut_short = end is not None and (operation.end is None or end < operation.end)
        if start > operation.start or cut_short:
            raise CertificateError(f"{at}: {index} may take effect outside of {start} to {end}")
        if required and (operation.end is None or (since is not None and operation.start < since)):
            raise CertificateError(f"{at}: {index} may not take effect, it cannot be required")
        core.append(_Call(index, action, start, end, required))
    return core, left


def _jumps(
    core: list[_Call], left: _Said, model: Model, since: int | None, kept: frozenset[Action],
    allowed: list[Any],
) -> set[State]:  # fmt: skip
    """Check that the operations left out could not help; return where the state may jump instead.

    May be struck from an order: those that change no state; those invoked after the core's last
    return, no later instant is looked at; those ended before `from`, as that state is not known. One
    that always leads to a state to jump to, or where the core sees *elsewhere*, becomes that jump.
    """
    last = max((c.end for c in core if c.required and c.end is not None), default=-1)
    jumps: set[State] = set()
    for index, (operation, action) in left.items():
        late = operation.start > last
        forgotten = since is not None and operation.end is not None and operation.end < since
        if model.is_pure(action) or late or forgotten:
            continue
        if (state := model.gives(action)) is not None and state in allowed:
            jumps.add(state)
        elif isinstance(model, Coarse) and model.leads_elsewhere(action, kept):
            jumps.add(model.universe(kept)[-1])
        else:
            raise CertificateError(f"refutation.calls: {index} is left out, but may matter")
    return jumps


def _exhaust(
    calls: list[_Call], model: Model, starts: Sequence[State], jumps: set[State]
) -> tuple[list[dict[str, int]], int]:
    """Try all orders of the core until none is left; `CertificateError` if one is.

    Walks the ends of all calls: what takes effect between two was invoked before the later one and is
    not past its own. Past the end of a required call it has taken effect; the bit of a call that is
    past is used again. Returns how many were left after each required call, and all looked at.
    """
    found: set[tuple[State, int]] = {(state, 0) for state in starts}
    later = sorted(calls, key=lambda call: call.start, reverse=True)
    ends = sorted((c.end, c.index, c.required) for c in calls if c.end is not None)
    # Bit and action of each open call, and the bit of one that goes first: of calls that never end
    # and do the same, the first invoked may take the place of any other.
    is_open: dict[int, tuple[int, Action, int]] = {}
    alike: dict[Action | None, int] = {}
    frontier: list[dict[str, int]] = []
    unused, looked = list[int](), 0
    for end, index, required in ends:
        while later and later[-1].start < end:
            call = later.pop()
            bit = unused.pop() if unused else 1 << len(is_open)
            kind = call.action if call.end is None and not call.required else None
            is_open[call.index] = bit, call.action, alike.get(kind, 0) if kind else 0
            alike[kind] = bit
        to_do = list(found)  # add all that open calls, or the wildcard, lead to
        while to_do:
            if looked + len(found) > CONFIGURATIONS_MAX:
                raise CertificateError(f"too large to verify: {looked + len(found)} configurations")
            state, done = to_do.pop()
            reached: list[tuple[State | None, int]] = [(jump, done) for jump in jumps]
            for bit, action, first in is_open.values():
                if not done & bit and done & first == first:
                    reached.append((model.step(state, action), done | bit))
            to_do += (fresh := {(s, d) for s, d in reached if s is not None} - found)
            found |= fresh
        looked += len(found)
        unused.append(bit := is_open.pop(index)[0])
        found = {(state, done & ~bit) for state, done in found if done & bit or not required}
        if required:
            frontier.append({"return_of": index, "configurations": len(found)})
        if not found:
            return frontier, looked
    raise CertificateError(f"refutation: the calls have an order, {len(found)} configurations left")


def _key(fields: dict[str, Any], objects: dict[str | None, _Said], where: str) -> str | None:
    key: str | None = _field(fields, "key", where, str, NoneType)
    if key not in objects:
        raise CertificateError(f"{where}.key: no operations of {key!r:.60}, or an order already")
    return key


def _field(fields: dict[str, Any], name: str, where: str, *kinds: type) -> Any:
    return _is(fields.get(name), f"{where}.{name}".lstrip("."), *kinds)


def _is(value: Any, where: str, *kinds: type) -> Any:
    """Return the value if it is of one of these very kinds: a certificate may be any JSON."""
    if type(value) not in kinds or (isinstance(value, int) and abs(value) >> 63):
        raise CertificateError(f"{where}: expected {kinds[0].__name__}, not {type(value).__name__}")
    return value
