"""What is demanded of every node in the end, and what is not the system's fault."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from checker.history import EventType
from checker.verdict import Verdict
from harness import service as serving
from harness.client import Completion
from harness.experiment import Convergence, Findings, Recovery
from harness.interrupts import Interrupts
from harness.judge import judge
from harness.observer import Observer
from harness.progress import Progress
from harness.service import Service
from harness.spec import Spec
from harness.stalls import Stalls
from harness.systems.system import Status, System
from workloads.catalogue import workload_named
from workloads.generator import Invocation
from workloads.workload import Probe

LOOK, CHANGE = Probe(f="read", key="k0"), Probe(f="write", value=0, key="probe")
NODES = ("n1", "n2")


@dataclass
class FakeSystem:
    """Serves what it is not told to refuse, the first `refusals` times that a node is asked."""

    refused: Mapping[str, str] = field(default_factory=dict)
    refusals: int = 1_000_000
    roles: Mapping[str, str | None] = field(default_factory=lambda: {"n1": "leader"})
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)

    def client(self, node: str, data: str, **_: Any) -> "FakeClient":
        assert data == "register"
        return FakeClient(node, self)

    def status(self, node: str, timeout_s: float) -> Status | None:
        del timeout_s
        role = self.roles.get(node, "follower")
        if role is None:
            return None
        return Status(
            role=role, term=4, leader=None, commit_index=1, applied_index=1,
            clock_offset_ns=None, clock_error_ns=None, raw={},
        )  # fmt: skip


@dataclass
class FakeClient:
    """A client of one node of a fake system."""

    node: str
    system: FakeSystem

    def invoke(self, invocation: Invocation) -> Completion:
        self.system.asked.append((self.node, invocation.f, invocation.key))
        self.system.count[self.node] += 1
        refused = self.system.refused.get(self.node) == invocation.f
        if refused and self.system.count[self.node] <= self.system.refusals:
            return Completion(EventType.INFO, None, "timeout")
        return Completion(EventType.OK, invocation.value)

    def close(self) -> None:
        pass


def service(system: FakeSystem) -> Service:
    return Service(cast("System", system), NODES, "register", lambda: False)


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_every_node_has_to_serve_a_change_and_a_look() -> None:
    system = FakeSystem()
    assert service(system).everywhere(LOOK, CHANGE, soon()) == ""
    assert sorted(system.asked) == [
        ("n1", "read", "k0"),
        ("n1", "write", "probe.n1.0"),
        ("n2", "read", "k0"),
        ("n2", "write", "probe.n2.0"),
    ]


@pytest.mark.parametrize("f", ["read", "write"])
def test_a_node_that_does_not_serve_one_of_them_is_named_with_what_it_said(f: str) -> None:
    said = service(FakeSystem({"n2": f})).everywhere(LOOK, CHANGE, soon(0.2))
    assert said == f"n2 serves no {f} (timeout; follower in term 4)"


def test_a_change_in_doubt_is_tried_on_another_key() -> None:
    """It may happen at any later time: it must not meet the next try."""
    system = FakeSystem({"n1": "write"}, refusals=2)
    assert service(system).everywhere(LOOK, CHANGE, soon()) == ""
    written = [key for node, f, key in system.asked if (node, f) == ("n1", "write")]
    assert written == ["probe.n1.0", "probe.n1.1", "probe.n1.2"]


def test_a_workload_without_a_change_demands_a_look_alone() -> None:
    system = FakeSystem({"n1": "write"})
    assert service(system).everywhere(LOOK, None, soon(0.2)) == ""


@pytest.mark.parametrize("times", [2, 1_000_000])
def test_a_client_that_raises_has_not_been_served(times: int) -> None:
    """People write clients, and many of them raise when nobody answers."""

    class Raises(FakeClient):
        def invoke(self, invocation: Invocation) -> Completion:
            completion = super().invoke(invocation)
            if self.node == "n2" and self.system.count["n2"] <= times:
                raise ConnectionResetError("gone")
            return completion

    class Stubborn(FakeSystem):
        def client(self, node: str, data: str, **_: Any) -> FakeClient:
            return Raises(node, self)

    said = service(Stubborn()).everywhere(LOOK, CHANGE, soon(1))
    assert said == ("" if times == 2 else "n2 serves no write (client-error: "
                    "ConnectionResetError: gone; follower in term 4)")  # fmt: skip


def test_a_client_that_cannot_be_opened_is_opened_again() -> None:
    class Closed(FakeSystem):
        def client(self, node: str, data: str, **_: Any) -> FakeClient:
            self.count[node] += 1
            if self.count[node] == 1:
                raise ConnectionRefusedError("not up yet")
            return FakeClient(node, self)

    assert service(Closed()).everywhere(LOOK, CHANGE, soon()) == ""


def test_a_client_that_never_returns_does_not_hold_up_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "_GRACE_S", 0.2)
    over = threading.Event()

    class Hangs(FakeClient):
        def invoke(self, invocation: Invocation) -> Completion:
            if self.node == "n2":
                over.wait(30)
            return super().invoke(invocation)

    class Deaf(FakeSystem):
        def client(self, node: str, data: str, **_: Any) -> FakeClient:
            return Hangs(node, self)

    try:
        said = service(Deaf()).everywhere(LOOK, CHANGE, soon(0.2))
    finally:
        over.set()
    assert said == "n2 was asked, and its client does not return"


def test_a_client_that_is_never_closed_was_served_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "_GRACE_S", 0.2)
    over = threading.Event()

    class Clings(FakeClient):
        def close(self) -> None:
            over.wait(30)

    class Deaf(FakeSystem):
        def client(self, node: str, data: str, **_: Any) -> FakeClient:
            return Clings(node, self)

    try:
        assert service(Deaf()).everywhere(LOOK, CHANGE, soon(1)) == ""
    finally:
        over.set()


def test_what_is_wrong_with_who_asks_is_raised() -> None:
    class Broken(FakeSystem):
        def status(self, node: str, timeout_s: float) -> Status | None:
            raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        service(Broken({"n2": "read"})).everywhere(LOOK, CHANGE, soon(0.2))


def test_somebody_has_to_lead() -> None:
    assert service(FakeSystem()).await_leader(soon(0)) == ("n1", "")
    nobody = FakeSystem(roles={"n1": "candidate", "n2": None})
    leader, said = service(nobody).await_leader(soon(0.1))
    assert (leader, said) == (None, "nobody leads (n1 is candidate, n2 says nothing)")


STALLED = Stalls(total_s=9.0, longest_s=3.0)
LATE = Recovery(recovered=False, seconds=20.2, deadline_s=20, detail="n2 serves no write")


def liveness(tmp_path: Path, findings: Findings) -> tuple[Verdict, str]:
    workload, progress = workload_named("register"), Progress(shown=False)
    _, checks = judge(Spec(), workload, tmp_path, findings, progress, Interrupts(lambda: None))
    [found] = [one for one in checks if one.name == "liveness"]
    return found.verdict, found.reason or ""


def test_a_deadline_missed_while_the_harness_stood_still_is_nobodys_fault(tmp_path: Path) -> None:
    assert liveness(tmp_path, Findings(recovery=LATE))[0] is Verdict.INVALID
    verdict, reason = liveness(tmp_path, Findings(recovery=replace(LATE, stalls=STALLED)))
    assert verdict is Verdict.UNKNOWN
    assert "n2 serves no write" in reason
    assert "stood still for 9.0 of these 20.2 s, for 3.0 s at a time" in reason
    assert reason.endswith("with a longer --recovery-timeout"), "what to do"


def test_stalls_are_no_reason_to_doubt_a_recovery_that_came_in_time(tmp_path: Path) -> None:
    good = Recovery(recovered=True, seconds=12.0, deadline_s=20, detail="", stalls=STALLED)
    assert liveness(tmp_path, Findings(recovery=good)) == (Verdict.VALID, "")


def test_the_same_holds_for_nodes_that_do_not_converge(tmp_path: Path) -> None:
    good = Recovery(recovered=True, seconds=0.2, deadline_s=20, detail="")
    for stalls, verdict in ((Stalls(), Verdict.INVALID), (STALLED, Verdict.UNKNOWN)):
        late = Convergence(
            converged=False, seconds=20.1, deadline_s=20, detail="n1 is at 3", stalls=stalls
        )
        assert liveness(tmp_path, Findings(recovery=good, convergence=late))[0] is verdict


def test_a_node_is_silent_if_it_did_not_answer_although_it_can(tmp_path: Path) -> None:
    system = FakeSystem(roles={"n1": "leader", "n2": None})
    observer = Observer(
        system=cast("System", system), nodes=NODES, path=tmp_path / "status.jsonl", clock=lambda: 0
    )
    for node in NODES:
        observer.look(node)
    assert observer.silent() == frozenset(), "n2 never said anything: it may be unable to"
    system.roles = {"n1": None}
    observer.look("n1")
    assert observer.silent() == {"n1"}
    observer.close()
