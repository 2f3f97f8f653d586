"""What was acknowledged before, during and after each fault, and how soon after it. Pure.

Rules of this file:
- A run has shown something about a fault only if clients got through before it, after it, and while
  it lasted if a majority of the nodes was untouched by all that was in force then.
- That is demanded only where it was possible: some time after the last disturbance, through nodes
  that nothing was wrong with, and if enough was asked of them then. A short fault, or one among
  many, demands nothing: a run must not be called empty for what no system could have done.
- An operation belongs to a time when it was invoked and acknowledged within it.
- The time to recover is from the end of a fault to the next acknowledged change (or to anything
  acknowledged, where clients change nothing): of the cluster, and through a node that was struck.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from checker.history import EventType, Operation
from harness.nemesis.quorum import has_majority
from workloads.data import changes

_NS_PER_S: Final = 1_000_000_000
# A leader may have to be missed, and another elected, before anything can be asked for: twice the
# longest election timeout of the systems here. A node that was down takes about as long to come.
_SETTLE_NS: Final = 2 * _NS_PER_S
_COMING_BACK_NS: Final = 2 * _NS_PER_S
# Less than this, or fewer operations than these, and silence says nothing.
_STRETCH_NS_MIN: Final = _NS_PER_S // 2
_ASKED_MIN: Final = 10

# A span of time in the run, in nanoseconds.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A fault as far as it matters here; `harmed` may be nobody.

    Applying it went on from `start_ns` to `begun_ns`, undoing it from `ending_ns` to `stop_ns`.
    `left` are nodes that came back later than that: each with the time, `None` for never.
    """

    fault: int
    what: str
    installed: bool
    harmed: tuple[str, ...]
    start_ns: int
    begun_ns: int
    ending_ns: int
    stop_ns: int
    left: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """How many operations were acknowledged around a fault, and how soon after it: a change of
    anything, and one through a node that had been harmed. `None` where there was none."""

    before: int
    during: int
    after: int
    cluster_ns: int | None
    struck_ns: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of a fault's entry in `outcome.json`."""
        return {
            "acknowledged": {"before": self.before, "during": self.during, "after": self.after},
            "recovered_ms": {"cluster": _ms(self.cluster_ns), "struck": _ms(self.struck_ns)},
        }


class Story:
    """The operations and strikes of one run's load, which ended at `load_ns`."""

    def __init__(
        self,
        operations: Sequence[Operation],
        strikes: Sequence[Strike],
        *,
        nodes: Sequence[str],
        load_ns: int,
    ) -> None:
        self._strikes = [strike for strike in strikes if strike.start_ns < load_ns]
        self._nodes = nodes
        self._load_ns = load_ns
        under_load = [one for one in operations if _invoked(one) <= load_ns]
        self._asked = sorted((_invoked(one), one.invocation.node or "") for one in under_load)
        good = [one for one in under_load if one.type is EventType.OK]
        self._good = sorted((_invoked(one), _completed(one)) for one in good)
        self._answered = sorted(answered for _, answered in self._good)
        changing = [one for one in good if changes(one.f, one.input)]
        # When a change was answered, by node.
        self._changed: dict[str, list[int]] = {}
        for one in sorted(changing or good, key=_completed):
            self._changed.setdefault(one.invocation.node or "", []).append(_completed(one))
        self._pieces = self._cut_up()
        self._calm = self._calm_spans()

    def measure(self) -> dict[int, Acknowledged]:
        """Return what was acknowledged around each fault of the load."""
        return {strike.fault: self._around(strike) for strike in self._strikes}

    def missing(self, *, always: bool) -> list[str]:
        """Say around which faults nothing was acknowledged although it was possible.

        `always`: a quorum was kept, so something has to be acknowledged during every fault that
        lasted long enough for an election, whatever else happened.
        """
        told = []
        for strike in self._strikes:
            if not strike.installed:
                continue
            seen = self._around(strike)
            spans: dict[str, tuple[int, Span]] = {
                "before": (seen.before, (0, strike.start_ns)),
                "during": (seen.during, self._in_force(strike)),
                "after": (seen.after, (strike.stop_ns, self._load_ns)),
            }
            for when, (count, span) in spans.items():
                kept = always and when == "during" and span[1] - span[0] >= _SETTLE_NS
                if count == 0 and (kept or self._was_possible(span)):
                    told.append(
                        f"nothing was acknowledged {when} the fault {strike.what}, from "
                        f"{span[0] / _NS_PER_S:.1f} to {span[1] / _NS_PER_S:.1f} s, although a "
                        "majority of the nodes was untouched: one operation is needed there"
                    )
        return told

    def _in_force(self, strike: Strike) -> Span:
        return strike.begun_ns, min(strike.ending_ns, self._load_ns)

    def _around(self, strike: Strike) -> Acknowledged:
        begin_ns, end_ns = self._in_force(strike)
        first = bisect_left(self._good, (begin_ns, 0))
        last = bisect_left(self._good, (end_ns, 0))
        over = strike.stop_ns <= self._load_ns
        return Acknowledged(
            before=bisect_left(self._answered, strike.start_ns),
            during=sum(answered <= end_ns for _, answered in self._good[first:last]),
            after=len(self._good) - bisect_left(self._good, (strike.stop_ns, 0)),
            cluster_ns=self._next_change(strike.stop_ns, self._changed) if over else None,
            struck_ns=self._next_change(strike.stop_ns, strike.harmed) if over else None,
        )

    def _next_change(self, since_ns: int, nodes: Collection[str]) -> int | None:
        """Return how long after a time the next change through one of these nodes was answered."""
        answers = [self._changed[node] for node in nodes if node in self._changed]
        places = [(times, bisect_left(times, since_ns)) for times in answers]
        found = [times[place] - since_ns for times, place in places if place < len(times)]
        return min(found, default=None)

    def _cut_up(self) -> list[tuple[Span, frozenset[str]]]:
        """Cut the load into pieces in which the same nodes are harmed."""
        spans: list[tuple[int, int, str]] = []
        for strike in self._strikes:
            left = dict(strike.left)
            for node in {*strike.harmed, *left}:
                until_ns = left.get(node, strike.stop_ns)
                end_ns = self._load_ns if until_ns is None else until_ns + _COMING_BACK_NS
                spans.append((strike.start_ns, min(end_ns, self._load_ns), node))
        edges = {0, self._load_ns, *(edge for begin, end, _ in spans for edge in (begin, end))}
        # In one sweep over begins and ends: a long run has thousands of faults.
        turns = sorted(
            [(begin, 1, node) for begin, _, node in spans]
            + [(end, -1, node) for _, end, node in spans]
        )
        harm = dict.fromkeys((node for *_, node in spans), 0)
        pieces: list[tuple[Span, frozenset[str]]] = []
        turn = 0
        for begin_ns, end_ns in pairwise(sorted(edges)):
            while turn < len(turns) and turns[turn][0] <= begin_ns:
                _, change, node = turns[turn]
                harm[node] += change
                turn += 1
            pieces.append(
                ((begin_ns, end_ns), frozenset(node for node, count in harm.items() if count > 0))
            )
        return pieces

    def _calm_spans(self) -> list[Span]:
        """Return the spans in which nothing new happened and a majority was untouched, each from
        when that has lasted long enough for an election."""
        noise = [(strike.start_ns, strike.begun_ns) for strike in self._strikes]
        noise += [(one.ending_ns, one.stop_ns) for one in self._strikes if not one.harmed]
        noise += [span for span, harmed in self._pieces if not has_majority(self._nodes, harmed)]
        calm: list[Span] = []
        since_ns = 0
        for begin_ns, end_ns in [*sorted(noise), (self._load_ns, self._load_ns)]:
            if since_ns + _SETTLE_NS < begin_ns:
                calm.append((since_ns + _SETTLE_NS, begin_ns))
            since_ns = max(since_ns, end_ns)
        return calm

    def _was_possible(self, span: Span) -> bool:
        """Whether anybody could expect an answer within a span."""
        for calm in self._calm:
            begin_ns, end_ns = max(calm[0], span[0]), min(calm[1], span[1])
            if end_ns - begin_ns >= _STRETCH_NS_MIN and self._was_asked(begin_ns, end_ns):
                return True
        return False

    def _was_asked(self, begin_ns: int, end_ns: int) -> bool:
        """Whether enough was asked of untouched nodes in a span."""
        asked = 0
        for (piece_begin_ns, piece_end_ns), harmed in self._pieces:
            low = bisect_left(self._asked, max(begin_ns, piece_begin_ns), key=_first)
            high = bisect_left(self._asked, min(end_ns, piece_end_ns), key=_first)
            asked += sum(node not in harmed for _, node in self._asked[low:high])
            if asked >= _ASKED_MIN:
                return True
        return False


def _first(pair: tuple[int, object]) -> int:
    return pair[0]


def _invoked(operation: Operation) -> int:
    return operation.invocation.time or 0


def _completed(operation: Operation) -> int:
    return 0 if operation.completion is None else operation.completion.time or 0


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1e6, 3)
