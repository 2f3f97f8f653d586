"""Messages of other nodes that this one does not want to hear: a fault for tests, by class of message.

Rules of this file:
- Pure: who asks says what time it is.
- A rule ends by itself. Whoever made it may be dead by then, and no node stays deaf for that.
- Every message of the peer protocol belongs to exactly one class.
- What was dropped is counted from the start of the process on, also across rules: whoever wants to
  know what one rule did compares.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.core.messages import Json

CLASSES: Mapping[str, tuple[str, ...]] = {
    "votes": (
        "pre_vote_request", "pre_vote_reply", "vote_request", "vote_reply", "timeout_now",
    ),
    "appends": ("append_request", "append_reply"),
    "heartbeats": ("heartbeat", "heartbeat_reply"),
    "reads": ("read_index_request", "read_index_reply"),
    "snapshots": ("snapshot_chunk", "snapshot_reply"),
    "forwards": ("forward", "forward_reply"),
}  # fmt: skip
"""What is lost together. Who hands leadership over asks for an election: that is among the votes."""

FOR_MS_MAX = 60_000
"""The longest that a rule lasts without being asked for again."""

_CLASS_OF: Mapping[str, str] = {kind: name for name, kinds in CLASSES.items() for kind in kinds}


@dataclass(frozen=True, slots=True)
class Rule:
    """Drop messages of these classes, of these nodes (of all, if none is named), until then."""

    classes: frozenset[str]
    peers: frozenset[str]
    until_ns: int

    def drops(self, source: str, name: str | None, now_ns: int) -> bool:
        """Whether it drops a message of this class from `source`."""
        whose = not self.peers or source in self.peers
        return name in self.classes and whose and now_ns < self.until_ns


class PeerFilter:
    """The one rule in force, if there is any, and what all of them dropped."""

    def __init__(self) -> None:
        self._rule: Rule | None = None
        self._dropped: dict[str, dict[str, int]] = {}

    def drop(self, classes: Iterable[str], peers: Iterable[str], until_ns: int) -> None:
        """Drop these from now on, and nothing else any more. No class: drop nothing."""
        rule = Rule(frozenset(classes), frozenset(peers), until_ns)
        self._rule = rule if rule.classes else None

    def admits(self, source: str, kind: Json, now_ns: int) -> bool:
        """Whether a message of the type `kind` is heard. One that is not is counted."""
        rule = self._rule
        if rule is None:
            return True
        name = _CLASS_OF.get(kind) if isinstance(kind, str) else None
        if name is None or not rule.drops(source, name, now_ns):
            return True
        of_class = self._dropped.setdefault(name, {})
        of_class[source] = of_class.get(source, 0) + 1
        return False

    def dropped(self) -> dict[str, dict[str, int]]:
        """How many messages were dropped, by class and source."""
        return {name: dict(sources) for name, sources in self._dropped.items()}

    def total(self, name: str) -> int:
        """How many of one class were."""
        return sum(self._dropped.get(name, {}).values())
