"""The search for a linearization: Wing and Gong's algorithm with Lowe's memoisation.

Rules of this file:
- Written to be read. It is the reference that faster searches are compared with.
- Wing & Gong, "Testing and verifying concurrent objects", JPDC 17 (1993), section 4: walk down a
  doubly linked list of calls and returns; a call whose step is allowed is linearized and *lifted*
  out of the list; at the return of a call that is still there nothing further may go first, so
  go back. Lowe, "Testing for linearizability", CCPE 29(4) (2017) e3928, section 3: never enter a
  configuration (set of linearized calls, state) twice.
- The list holds obligatory calls only; when it is empty the search is over. Optional (crashed)
  calls are kept beside it, because they have no return and may be left out.
- Each departure from the plain algorithm is sound, is marked with a letter and argued for:
  (a) pure calls first, (b) like crashed calls in order, (c) fewer crashed calls are better,
  (d) reigns, (e) merged states. Tests compare with a search that has none of these.
- No recursion, no clock: the budget is an argument, asked every `STEPS_BETWEEN_LOOKS` steps.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from checker.budget import Budget, Spent
from checker.calls import Call, Calls, without_idle
from checker.models.model import Action, Model, State
from checker.reigns import Contradiction, contradiction, reigns
from checker.verdict import Verdict

STEPS_BETWEEN_LOOKS = 256

# Bytes of one remembered configuration without its bits and its state: a dictionary's slot, the
# key's tuple and numbers, the list of crashed sets. Measured on CPython 3.11, rounded up.
_CONFIGURATION_BYTES = 420
# Bytes of one level of the stack, with its candidates and list entries.
_LEVEL_BYTES = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A point that the search reached: which calls in which order, and the state after them."""

    state: State
    path: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found out.

    `linearization` is there if valid. `reached` is the position of the furthest return that some
    order came up to: everything that returned before it could be ordered. `stale` is what made the
    search needless. `ends` are the configurations in which everything was ordered, where the search
    was asked for them.
    """

    verdict: Verdict
    spent: Spent | None = None
    linearization: tuple[Call, ...] | None = None
    reached: int | None = None
    stale: Contradiction | None = None
    steps: int = 0
    kept_bytes: int = 0
    ends: tuple[Configuration, ...] = ()


@dataclass(slots=True, eq=False)
class _Entry:
    """One event in the linked list: a call, or the return that `match` points to."""

    call: Call | None
    bit: int = 0
    match: _Entry | None = None
    previous: _Entry | None = None
    next: _Entry | None = None


# A child of a configuration: the entry to lift (or `None`), the optional call's number, the state.
_Candidate = tuple[_Entry | None, int, State]


@dataclass(slots=True)
class _Level:
    """One level of the stack: how it was entered, and what is left to try from it."""

    entry: _Entry | None
    optional: int
    state: State
    done: int
    used: int
    candidates: list[_Candidate] = field(default_factory=list)


def search(
    calls: Calls,
    model: Model,
    budget: Budget,
    *,
    witness: Action | None = None,
    ends_wanted: int = 0,
    steps_max: float = math.inf,
) -> Found:
    """Look for a linearization of the calls on one object.

    With `ends_wanted` the search does not stop at the first one but collects that many
    configurations in which all obligatory calls were ordered; `witness` is an action that the
    reductions must take care not to confuse. After `steps_max` steps it gives up: `unknown`, with
    nothing spent.
    """
    sought = _Search(calls, model, budget, witness=witness, ends_wanted=ends_wanted)
    return sought.run(steps_max)


class _Search:
    def __init__(
        self,
        calls: Calls,
        model: Model,
        budget: Budget,
        *,
        witness: Action | None,
        ends_wanted: int,
    ) -> None:
        calls = without_idle(calls, model, witness=witness)
        self.model = model
        self.budget = budget
        self.ends_wanted = ends_wanted
        self.obligatory = [call for call in calls if not call.optional]
        self.optional = [call for call in calls if call.optional]
        actions = {call.action for call in calls} | ({witness} if witness else set())
        # (e) States that no action here can tell apart are one state: `Model.merged`.
        self.merge = model.merged(actions)
        self.reigns = reigns(self.obligatory, self.optional, model, self.merge)
        self.pure = {action for action in actions if model.is_pure(action)}
        # (b) Optional calls that do the same, each class in order of invocation.
        self.classes: dict[tuple[Action, ...] | tuple[State, State], list[int]] = {}
        for number, call in enumerate(self.optional):
            self.classes.setdefault(self._effect(call.action), []).append(number)
        self.head = self._linked_list()
        self.path: list[Call] = []
        self.seen: dict[tuple[int, int, State], list[int]] = {}
        self.kept_bytes = _LEVEL_BYTES * len(calls)
        self.reached: int | None = None
        self.ends: list[Configuration] = []

    def run(self, steps_max: float) -> Found:
        """Search depth first; each pass of the loop looks at one candidate or goes back."""
        initial = self.merge(self.model.initial)
        known = (self.obligatory, self.optional, self.model, self.merge)
        stale = None if self.reigns is None else contradiction(*known)
        if stale is not None:
            self.reached = stale.call.end
            return replace(self._found(Verdict.INVALID, steps=0), stale=stale)
        stack = [_Level(entry=None, optional=-1, state=initial, done=0, used=0)]
        if self._arrive(stack[-1]):
            return self._found(Verdict.VALID, steps=0)
        steps = 0
        while stack:
            steps += 1
            if steps % STEPS_BETWEEN_LOOKS == 0:
                spent = self.budget.spent(self.kept_bytes)
                if spent is not None or steps > steps_max:
                    return self._found(Verdict.UNKNOWN, steps=steps, spent=spent)
            level = stack[-1]
            if not level.candidates:
                stack.pop()
                self._leave(level)
                continue
            child = self._enter(level, level.candidates.pop())
            if child is None:
                continue
            stack.append(child)
            if self._arrive(child):
                return self._found(Verdict.VALID, steps=steps)
        return self._found(Verdict.VALID if self.ends else Verdict.INVALID, steps=steps)

    def _found(self, verdict: Verdict, *, steps: int, spent: Spent | None = None) -> Found:
        valid = verdict is Verdict.VALID and not self.ends_wanted
        return Found(
            verdict=verdict,
            spent=spent,
            linearization=tuple(self.path) if valid else None,
            reached=self.reached,
            steps=steps,
            kept_bytes=self.kept_bytes,
            ends=tuple(self.ends),
        )

    def _enter(self, level: _Level, candidate: _Candidate) -> _Level | None:
        """Linearize a candidate, unless the configuration that follows is known or hopeless."""
        entry, optional, state = candidate
        done, used = level.done, level.used
        if entry is not None:
            done |= 1 << entry.bit
        else:
            used |= 1 << optional
        # (d) A state that is left for good while somebody still waits for it.
        if (
            state != level.state
            and self.reigns is not None
            and self.reigns.is_missed(level.state, done=done, used=used)
        ):
            return None
        if entry is not None:
            _lift(entry)
        if self._is_known(state, done=done, used=used):
            if entry is not None:
                _unlift(entry)
            return None
        call = self.optional[optional] if entry is None else entry.call
        assert call is not None
        self.path.append(call)
        return _Level(entry=entry, optional=optional, state=state, done=done, used=used)

    def _leave(self, level: _Level) -> None:
        """Undo `_enter`."""
        if level.entry is not None:
            _unlift(level.entry)
        if self.path:
            self.path.pop()

    def _is_known(self, state: State, *, done: int, used: int) -> bool:
        """Whether this configuration, or one that can do all it can, was entered before.

        (c) Of two configurations alike but for the optional calls spent, the one that spent a
        subset can do all the other can. Calls are numbered in order of invocation, so all before
        the first one left in the list are done: the number of that one and the bits from there
        on say the same as the whole set, in fewer bytes.
        """
        first = self.head.next
        low = first.bit if first is not None else len(self.obligatory)
        bits = done >> low
        key = (low, bits, state)
        spent_before = self.seen.get(key)
        if spent_before is None:
            self.seen[key] = [used]
            self.kept_bytes += _CONFIGURATION_BYTES + sys.getsizeof(state)
            self.kept_bytes += (bits.bit_length() + used.bit_length()) // 7
            return False
        if any(before & used == before for before in spent_before):
            return True
        spent_before.append(used)
        self.kept_bytes += 48 + used.bit_length() // 7
        return False

    def _arrive(self, level: _Level) -> bool:
        """Fill in what to try from here; `True` if the search is over."""
        barrier = self._barrier()
        if barrier is None:
            if not self.ends_wanted:
                return True
            self.ends.append(Configuration(state=level.state, path=tuple(self.path)))
            if len(self.ends) >= self.ends_wanted:
                return True
        elif self.reached is None or barrier > self.reached:
            self.reached = barrier
        candidates = list(self._obligatory_candidates(level.state))
        if candidates and candidates[-1][0] is not None and self._is_pure(candidates[-1][0]):
            # (a) A pure call that is allowed now may go now: take any order that completes this
            # one and move the call to its front; no state changes. This is NOT so for a write
            # that happens to leave the state as it is: it may be wanted later.
            level.candidates = [candidates[-1]]
            return False
        # Of the obligatory calls the one that must return first is tried first (it is popped
        # from the end), the optional ones last.
        candidates.sort(key=_deadline, reverse=True)
        level.candidates = [*self._optional_candidates(level, barrier), *candidates]
        return False

    def _barrier(self) -> int | None:
        """The position of the first return in the list: nothing invoked after it may go now."""
        entry = self.head.next
        while entry is not None:
            if entry.call is None:
                assert entry.match is not None
                assert entry.match.call is not None
                return entry.match.call.end
            entry = entry.next
        return None

    def _obligatory_candidates(self, state: State) -> Iterator[_Candidate]:
        """The calls before the first return whose step is allowed; stops at a pure one."""
        entry = self.head.next
        while entry is not None and entry.call is not None:
            after = self.model.step(state, entry.call.action)
            if after is not None:
                yield entry, -1, self.merge(after)
                if self._is_pure(entry):
                    return
            entry = entry.next

    def _optional_candidates(self, level: _Level, barrier: int | None) -> Iterator[_Candidate]:
        """The first unspent call of each class, if it was invoked and changes something.

        (b) Optional calls have no deadline, so of those that do the same the one invoked first
        can stand in for any other: exchange them in the order. One that changes nothing can be
        left out.
        """
        for numbers in self.classes.values():
            number = next((n for n in numbers if not level.used >> n & 1), None)
            if number is None or (barrier is not None and self.optional[number].start > barrier):
                continue
            after = self.model.step(level.state, self.optional[number].action)
            if after is not None and self.merge(after) != level.state:
                yield None, number, self.merge(after)

    def _effect(self, action: Action) -> tuple[Action, ...] | tuple[State, State]:
        """What an action does, up to merged states: where it is allowed and where it leads."""
        after = self.model.gives(action)
        return (action,) if after is None else (self.model.needs(action), self.merge(after))

    def _is_pure(self, entry: _Entry) -> bool:
        return entry.call is not None and entry.call.action in self.pure

    def _linked_list(self) -> _Entry:
        """Build the list of calls and returns, in order of position, behind a sentinel."""
        events: list[tuple[int, _Entry]] = []
        for bit, call in enumerate(self.obligatory):
            assert call.end is not None
            entry = _Entry(call=call, bit=bit)
            entry.match = _Entry(call=None, bit=bit, match=entry)
            events += [(call.start, entry), (call.end, entry.match)]
        events.sort(key=lambda event: event[0])
        head = last = _Entry(call=None)
        for _, entry in events:
            last.next, entry.previous = entry, last
            last = entry
        return head


def _deadline(candidate: _Candidate) -> int:
    entry = candidate[0]
    assert entry is not None
    assert entry.call is not None
    return entry.call.end or 0


def _lift(entry: _Entry) -> None:
    """Take a call and its return out of the list; they keep their own links."""
    for out in (entry, entry.match):
        assert out is not None
        assert out.previous is not None
        out.previous.next = out.next
        if out.next is not None:
            out.next.previous = out.previous


def _unlift(entry: _Entry) -> None:
    """Put a lifted call and its return back: the exact reverse of `_lift`."""
    for back in (entry.match, entry):
        assert back is not None
        assert back.previous is not None
        back.previous.next = back
        if back.next is not None:
            back.next.previous = back
