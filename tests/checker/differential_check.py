"""The front door against the twins of the models: every answer, and everything it rests on.

Rules of this file:
- A `valid` is an order that is played again, twice: by `checker.replay` and by the verifier. An
  `invalid` is a certificate that the verifier accepts after a trip through JSON.
- With the kernels and without: as if this process had not loaded them, and could not.
- A disagreement prints the history as a file that ``splitbrain check`` reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from random import Random
from typing import Any

from container_histories import some_calls
from differential import DIFFERS, Disagreement, rooms, set_to
from random_calls import history_of, register_calls
from random_events import MEANINGS, REQUESTS, model_of, printed, random_history, twin_says

from checker import decide as compiled
from checker import exhaust, first_look, linearizable, portfolio, prove, shrink
from checker.calls import calls_of
from checker.certificate import of_valid
from checker.columns import columns_of
from checker.containers import APPLICABLE
from checker.history import History
from checker.linearizable import check
from checker.meaning import Meaning
from checker.models import Model
from checker.replay import replay
from checker.verdict import CheckResult, Verdict, merge
from checker.verify import verify

KEYS = ((None,), (None,), (None,), ("a", "b"), ("a", None, "b"))


@contextmanager
def without_kernels() -> Iterator[None]:
    """Check as a process does that has not loaded the kernels, and shrinks without them."""
    with (
        set_to(linearizable, "are_kernels_loaded", lambda: False),
        set_to(prove, "_refuter", lambda: exhaust.is_refuted),
    ):
        yield


@contextmanager
def hurried_kernels(stream: Random) -> Iterator[None]:
    """Now and then decide nothing at first sight, in short turns and with little room."""
    with ExitStack() as some:
        if stream.random() < 0.5:
            some.enter_context(set_to(first_look, "STEPS_A_CALL", -(10**6)))
            some.enter_context(set_to(portfolio, "_SLICE_MAX", stream.choice((1, 10, 50_000))))
            some.enter_context(set_to(shrink, "_WINDOW_AT_FIRST", stream.choice((1, 2, 16))))
            some.enter_context(rooms(stream.choice((16, 256))))
        if stream.random() < 0.5:
            some.enter_context(set_to(compiled, "Race", HurriedRace))
        yield


class HurriedRace(portfolio.Race):
    """A race whose turns are so short that nobody answers in the first."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        for runner in self.runners:
            runner.turn, runner.growth = 2, 1.5


def agreed(history: History, result: CheckResult, model: Model, meaning: Meaning) -> str:
    """Compare a result with the twin, key by key, and check what it rests on."""
    try:
        expected = twin_says(history, model.name, meaning)
        found = {key.key: key.verdict for key in result.keys}
        right = {key: Verdict.VALID if has else Verdict.INVALID for key, has in expected.items()}
        assert found == right, f"the twin says {right}"
        assert result.verdict is merge(right.values())
        rests_on_proof(history, result, model, meaning)
    except (AssertionError, ValueError) as error:
        raise Disagreement(
            f"{model.name} from {model.initial!r}, {meaning}: {result.verdict} by "
            f"{result.algorithm}: {type(error).__name__}: {error}\n{printed(history.events)}"
        ) from error
    return f"{result.verdict}, window" if "window" in result.algorithm else str(result.verdict)


def rests_on_proof(history: History, result: CheckResult, model: Model, meaning: Meaning) -> None:
    """Raise unless every order can be played and a contradiction is certified and told."""
    operations = history.operations()
    if result.verdict is Verdict.UNKNOWN:
        assert not operations, "without a budget only a history without operations is unknown"
        assert (result.certificate, result.reason) == (None, "no operations")
        return
    for one in result.keys:
        if one.verdict is Verdict.VALID:
            mine = [
                (o.invocation.index, o) for o in operations if not model.keyed or o.key == one.key
            ]
            calls = {call.index: call for call in calls_of(mine, model, meaning)}
            assert one.linearization is not None
            replay([calls[index] for index in one.linearization], tuple(calls.values()), model)
    if result.verdict is Verdict.VALID:
        told = of_valid(model, meaning, result.keys)
        assert verify(history, json.loads(json.dumps(told))).verdict is Verdict.VALID
        assert result.certificate is None
        assert result.counterexample is None
        return
    assert result.certificate is not None, "there is no certificate"
    proved = verify(history, json.loads(json.dumps(result.certificate)))
    assert proved.verdict is Verdict.INVALID
    assert result.counterexample is not None
    assert "explanation failed" not in result.counterexample["summary"], result.counterexample
    bad = [one.key for one in result.keys if one.verdict is Verdict.INVALID]
    assert proved.keys == (bad[0],)


def front_door(stream: Random, *, name: str, kernels: bool) -> str:
    """`check` of one model."""
    model, meaning = model_of(name), stream.choice(MEANINGS)
    keys = stream.choice(KEYS)
    if name == "cas-register" and stream.random() < 0.5:
        past, meaning = history_of(register_calls(stream)), DIFFERS
    elif name in APPLICABLE and stream.random() < 0.4:
        past = history_of(some_calls(stream, model, 9))
    else:
        past = random_history(stream, name, operations_max=12 if len(keys) > 1 else 9, keys=keys)
    is_file = stream.random() < 0.5
    with hurried_kernels(stream) if kernels else without_kernels():
        result = check(columns_of(past) if is_file else past, model, meaning=meaning)
    return agreed(past, result, model, meaning)


FRONT_DOORS: dict[str, Callable[[Random], str]] = {
    f"check {name}{'' if kernels else ', plainly'}": partial(front_door, name=name, kernels=kernels)
    for name in REQUESTS
    for kernels in (True, False)
}
