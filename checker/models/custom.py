"""A model of your own from one function.

Rules of this file:
- The function is ``step(state, f, value, answer)``: `value` is what was asked, `answer` what was
  answered, `UNKNOWN` where the operation crashed. It returns the state after it, or `None` if
  this cannot happen in this state.
- An operation that failed did not happen; a crashed one may have, or may not.
- Values are plain Python that cannot be changed: lists are tuples, objects are `Frozen` mappings.
  So are states: what `step` returns is frozen in the same way, sets too. States that Python calls
  equal are one state, so ``1`` and ``True`` are, where JSON and all other models tell them apart.
- An action is (f, text of the value, text of the answer or `None`), so equal actions are the same.
- What a function does wrong is found out and said: `ModelError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from checker.history import EventType, Operation
from checker.meaning import Meaning
from checker.models.model import Action, Merge, ModelError, State
from checker.values import canonical

Rule = Callable[[Any, str, Any, Any], Any]


class Unknown:
    """The type of `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Frozen(Mapping[Any, Any]):
    """An object (dict) that cannot be changed and can be a state: ``{**frozen, "x": 1}`` is next."""

    pairs: tuple[tuple[Any, Any], ...]

    def __getitem__(self, name: Any) -> Any:
        for known, value in self.pairs:
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[Any]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return repr(dict(self.pairs))


def frozen(value: Any) -> Any:
    """Return the value with lists as tuples, dicts as `Frozen` mappings, sets as frozensets."""
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    if isinstance(value, Mapping):
        pairs = ((name, frozen(item)) for name, item in value.items())
        return Frozen(tuple(sorted(pairs, key=lambda pair: (type(pair[0]).__name__, pair[0]))))
    return frozenset(map(frozen, value)) if isinstance(value, Set) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """What one function says an object is. Built by `model_from`."""

    name: str
    initial: State
    rule: Rule
    keyed: bool = True
    pure: frozenset[str] = frozenset()

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return function, value and answer; crashed operations that observe say nothing."""
        if operation.type is EventType.FAIL:
            return None
        asked = canonical(operation.input)
        if operation.type is EventType.OK:
            return (operation.f, asked, canonical(operation.output))
        return None if operation.f in self.pure else (operation.f, asked, None)

    def step(self, state: State, action: Action) -> State | None:
        """Ask the function, and look at what it says."""
        f, asked, answered = action
        value, answer = _plain(str(asked)), UNKNOWN if answered is None else _plain(str(answered))
        call = f"{self.name}: step({state!r:.60}, {f!r}, {value!r:.60}, {answer!r:.60})"
        try:
            after: Hashable = frozen(self.rule(state, str(f), value, answer))
            known = {state, after}  # asks for its hash
        except Exception as error:
            raise ModelError(f"{call} raised {type(error).__name__}: {error}") from error
        if after is None:
            return None
        if isinstance(after, bool) and not isinstance(self.initial, bool):
            raise ModelError(f"{call} returned {after}: it must return the next state, or None")
        if f in self.pure and len(known) > 1:
            raise ModelError(f"{call} returned {after!r:.60}, but {f!r} is said to be pure")
        return after

    def is_pure(self, action: Action) -> bool:
        """Whether the function was said to observe only; `step` makes sure of it."""
        return action[0] in self.pure

    def needs(self, action: Action) -> State | None:
        """Nobody knows."""
        return None

    def gives(self, action: Action) -> State | None:
        """Nobody knows."""
        return None

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Nobody knows which states are alike."""
        return lambda state: state

    def describe(self, action: Action) -> str:
        """Return function, value and answer."""
        f, asked, answered = action
        said = str(f) if asked == "null" else f"{f} {asked}"
        return said if answered in (None, "null", asked) else f"{said} answered {answered}"

    def describe_state(self, state: State) -> str:
        """Return the state as Python writes it."""
        return repr(state)

    def refusal(self, state: State, action: Action) -> str:
        """Return that the function refuses; why, only its author knows."""
        return f"would need another state: step refuses {self.describe(action)} in {state!r:.200}"


def model_from(
    name: str,
    step: Rule,
    initial: Any,
    *,
    keyed: bool = True,
    pure: Collection[str] = (),
) -> Custom:
    """Build a model from ``step(state, f, value, answer)`` and the state it starts in.

    `keyed`: whether operations on different keys are on independent objects. `pure`: the names
    of functions that only observe; where such an operation crashed it is left out.
    Raises `ModelError` for what cannot be a model.
    """
    if not callable(step):
        raise ModelError(f"model {name!r}: step is {step!r:.60}, expected a function")
    if isinstance(pure, str):
        raise ModelError(f"model {name!r}: pure is {pure!r}, expected a list of function names")
    return Custom(
        name=name,
        initial=state_from(name, initial),
        rule=step,
        keyed=keyed,
        pure=frozenset(pure),
    )


def state_from(name: str, initial: Any) -> Hashable:
    """Return an initial state, frozen; raises `ModelError` if it cannot be one."""
    if initial is None:
        raise ModelError(f"model {name!r} starts as None, which step returns for 'not allowed'")
    state: Hashable = frozen(initial)
    try:
        return next(iter({state}))  # asks for its hash
    except TypeError as error:
        raise ModelError(f"model {name!r} starts as {initial!r:.60}: {error}") from None


@lru_cache(maxsize=1 << 16)
def _plain(text: str) -> Any:
    return frozen(json.loads(text))
