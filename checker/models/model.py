"""What a model is: the sequential object that a history is compared with.

Rules of this file:
- A model is a frozen value: a name, an initial state, and pure functions. States and actions are
  hashable, `None` is never a state: `step` returns it for "not allowed".
- An **action** is what is left of an operation once its outcome has been given its meaning: a
  tuple such as ``("read", "5")``. Two operations with equal actions are interchangeable but for
  their times, and (state, action) pairs are all a search ever asks about.
- `needs`, `gives`, `is_pure` and `merged` say things about actions that allow a search to look at
  less. Answering "don't know" (`None`, `False`, the identity) is always right, only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from checker.history import Operation
from checker.meaning import Meaning

State = Hashable
Action = tuple[Hashable, ...]
Merge = Callable[[State], State]


class ModelError(ValueError):
    """An operation or an initial value that the model does not understand; says what it expects."""


@runtime_checkable
class Model(Protocol):
    """The sequential specification of one object."""

    @property
    def name(self) -> str:
        """The name people choose it by."""

    @property
    def initial(self) -> State:
        """The state before the first operation."""

    @property
    def keyed(self) -> bool:
        """Whether operations on different keys are on independent objects.

        If so each key is checked alone: linearizability is local (Herlihy & Wing 1990, section
        3.3; Horn & Kroening 2015, section 4, who call such a split P-compositional).
        """

    def action(self, operation: Operation, meaning: Meaning) -> Action | None:
        """Return what the operation did, `None` if it did nothing or says nothing.

        Of an `info` operation: what it did if it took effect. Raises `ModelError`.
        """

    def step(self, state: State, action: Action) -> State | None:
        """Return the state after the action, `None` if it is not allowed in this state."""

    def is_pure(self, action: Action) -> bool:
        """Whether the action leaves every state in which it is allowed as it is."""

    def needs(self, action: Action) -> State | None:
        """Return the only state in which the action is allowed, `None` if there are others."""

    def gives(self, action: Action) -> State | None:
        """Return the state the action leads to, `None` if that varies.

        Only for an action that `needs` one state or is allowed in all: then (needs, gives) is all
        there is to know about it.
        """

    def merged(self, actions: Iterable[Action]) -> Merge:
        """Return a function that maps states which these actions cannot tell apart to one.

        States s and t may be merged if every sequence of these actions is allowed from s exactly
        if it is allowed from t.
        """

    def describe(self, action: Action) -> str:
        """Return the action in words, as the object of a sentence: ``read 5``."""

    def describe_state(self, state: State) -> str:
        """Return the state as people write it."""

    def refusal(self, state: State, action: Action) -> str:
        """Return why the action is not allowed in the state: ``would need ..., but ...``."""


@runtime_checkable
class Startable(Protocol):
    """A model that `model_named` builds: it knows what from."""

    def starts_as(self) -> Any:
        """Return the JSON value from which `model_named` builds it again."""


@runtime_checkable
class Coarse(Protocol):
    """A model in which all states that some actions do not look at are one: *elsewhere*.

    What this says is trusted when an `invalid` is verified, so each answer carries its argument
    and a test against brute force.

    Why it may be trusted. Call two states alike if the same sequences of the kept actions are
    allowed from both. Take a linearization of a history and strike the operations whose actions
    lead elsewhere. Walk along it with a second state that stays like the true one: a kept action
    is allowed in both and leads both to states that are alike; at a struck one the true state
    becomes like elsewhere, so move the second one there. So what is left can be ordered if moves
    to elsewhere are free. And since every state is like one of the universe, starting in each of
    those covers every past.
    """

    def universe(self, actions: Collection[Action]) -> Sequence[State]:
        """Return states such that every state is, to these actions, like one of them.

        The last one is *elsewhere*: a state that no step of these actions but those that lead
        to a state they look at ever leaves, and that allows whatever any unlooked-at state allows.
        """

    def leads_elsewhere(self, action: Action, actions: Collection[Action]) -> bool:
        """Whether the action, wherever it is allowed, leads where these actions see *elsewhere*."""


@runtime_checkable
class Excluding(Protocol):
    """A model with actions that are allowed in every state but one."""

    def excludes(self, action: Action) -> State | None:
        """Return the only state in which a pure action is not allowed, `None` if that is not so."""


@runtime_checkable
class Elementwise(Protocol):
    """A model of a collection: striking everything about some elements leaves a legal history.

    If a sequence of actions is legal, so is the sequence of their projections onto any set of
    elements. So a projection that cannot be ordered proves that the whole cannot.

    One kind of action is excepted: that of a crashed operation which took out nobody knows what
    (``("dequeue-unknown",)``). Its projection is itself, and where it took out an element that is
    not projected onto, it has to be left out of the projected sequence. It may be: only crashed
    operations have such an action, and those are never required.
    """

    def elements(self, action: Action) -> frozenset[str]:
        """Return the elements (canonical texts) that the action puts in, takes out or reports."""

    def project(self, action: Action, elements: frozenset[str]) -> Action | None:
        """Return what the action does and says about these elements alone, `None` if nothing."""


def expect(condition: Any, what: str, operation: Operation) -> None:
    """Raise `ModelError` unless the condition holds."""
    if not condition:
        event = operation.invocation
        raise ModelError(f"event {event.index}: {event.f} {event.value!r:.60}: expected {what}")
