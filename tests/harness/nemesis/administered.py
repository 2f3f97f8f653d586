"""A cluster that is one value, and hosts that write down what was done to them: for tests of whoever
gives it orders."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.nemesis.roster import Roster
from harness.systems.administrated import Ending, Members, Reply
from harness.systems.operator import Operator

NODES = ("n1", "n2", "n3", "n4", "n5")
REFUSED = Reply(ending=Ending.REFUSED, code="no-leader")
DOUBT = Reply(ending=Ending.UNKNOWN, code="timeout")


def members(
    *voters: str, index: int = 1, committed: bool = True, **more: tuple[str, ...]
) -> Members:
    return Members(
        voters=voters,
        outgoing=more.get("outgoing", ()),
        learners=more.get("learners", ()),
        index=index,
        committed=committed,
    )


@dataclass
class FakeSystem:
    """Carries out what it is told at once, unless `answer` says otherwise."""

    now: Members = field(default_factory=lambda: members(*NODES))
    leader: str = "n1"
    answer: Callable[[str], Reply | None] = lambda asked: None
    asked: list[str] = field(default_factory=list)
    exits_without_data: frozenset[int] = frozenset({6})
    silent: bool = False
    promotes: bool = True

    def prepare_to_join(self, node: str, home: str) -> list[list[str]]:
        return [["init", node, home]]

    def members(self, node: str, timeout_s: float) -> Members | None:
        return None if self.silent else self.now

    def add_member(self, via: str, node: str, timeout_s: float) -> Reply:
        def add() -> None:
            if self.promotes:
                self._become(voters=(*self.now.voters, node))
            else:
                self._become(learners=(*self.now.learners, node))

        return self._obey(f"add {node}", via, add)

    def remove_member(self, via: str, node: str, timeout_s: float) -> Reply:
        def remove() -> None:
            voters = tuple(one for one in self.now.voters if one != node)
            learners = tuple(one for one in self.now.learners if one != node)
            self._become(voters=voters, learners=learners)

        return self._obey(f"remove {node}", via, remove)

    def transfer(self, via: str, to: str, timeout_s: float) -> Reply:
        def lead() -> None:
            self.leader = to

        return self._obey(f"transfer {to}", via, lead)

    def snapshot(self, via: str, timeout_s: float) -> Reply:
        return Reply(ending=Ending.DONE, index=self.now.index)

    def _become(self, **changes: tuple[str, ...]) -> None:
        self.now = replace(self.now, index=self.now.index + 2, **changes)  # type: ignore[arg-type]

    def _obey(self, what: str, via: str, act: Callable[[], None]) -> Reply:
        self.asked.append(f"{what} via {via}")
        said = self.answer(what)
        if said is not None and said.ending is Ending.REFUSED:
            return said
        if said is None and via != self.leader:
            return Reply(ending=Ending.REFUSED, code="not-leader", leader=self.leader)
        act()
        return said or Reply(ending=Ending.DONE, index=self.now.index)


@dataclass
class FakeHosts:
    nodes: tuple[str, ...] = NODES
    done: list[str] = field(default_factory=list)

    def start_anew(self, node: str) -> str:
        self.done.append(f"anew {node}")
        return "runs as 7"


class Stage:
    def __init__(self) -> None:
        self.system = FakeSystem()
        self.hosts = FakeHosts()
        self.stopped = threading.Event()
        self.operator = Operator(
            self.system, NODES, leader=lambda: self.system.leader, stopped=self.stopped
        )
        self.roster = Roster(self.hosts, self.operator)

    def soon(self, seconds: float = 5) -> float:
        return self.operator.deadline(seconds)
