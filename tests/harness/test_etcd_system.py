"""etcd as a system: what is refused for it, and what a real cluster of it on this machine does."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from checker.history import EventType
from harness.cli import main
from harness.client import Completion
from harness.errors import HarnessError
from harness.nemesis.faults import Certainty, Crew
from harness.nemesis.kinds import Clock
from harness.nemesis.plan import Fault
from harness.observer import Observer
from harness.remote.agent_client import Agent
from harness.remote.evidence import ClockState
from harness.spec import FAULTS, READS, SYSTEMS
from harness.systems import KINDS
from harness.systems.etcd import EtcdSystem, status_of, version_of
from harness.systems.etcd_client import EtcdClient
from harness.systems.system import Status
from workloads.data import DATA
from workloads.generator import Invocation

NODES = ("n1", "n2", "n3")

needs_etcd = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="etcd is not installed: apt-get install etcd-server"
)


# --- what is refused -------------------------------------------------------------------------


def test_every_system_says_what_it_knows() -> None:
    assert set(KINDS) == set(SYSTEMS)
    for name, kind in KINDS.items():
        assert kind.name == name
        assert set(kind.cannot) <= set(FAULTS)
        assert set(kind.reads) <= set(READS)
        assert kind.offers <= set(DATA)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--reads", "lease"], "reads is 'lease', but for etcd it must be one of: linear, stale"),
        (["--nemesis", "kill,clock"], "nemesis has 'clock', but etcd cannot have it: it does not"),
        (["--nemesis", "member"], "nemesis has 'member', but etcd cannot have it"),
        (["--nemesis", "transfer"], "possible are: partition, kill, pause"),
        (["--nemesis", "snapshot"], "nemesis has 'snapshot'"),
        (["--mutant", "no-wal-fsync"], "mutant is 'no-wal-fsync', but etcd has none"),
    ],
)
def test_what_etcd_cannot_do_is_refused_before_anything_is_made(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert main(["test", "--system", "etcd", "--store", str(store), *options]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not store.exists()


def test_a_machine_without_etcd_is_told_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["test", "--system", "etcd", "--store", str(tmp_path / "store")]) == 4
    assert "sudo apt-get install -y etcd-server" in capsys.readouterr().err


def test_a_program_that_is_not_etcd_is_told_apart() -> None:
    with pytest.raises(HarnessError, match="is it etcd"):
        version_of(Path("/bin/echo"))


# --- status, and a clock that nobody can see --------------------------------------------------


def said(**fields: Any) -> dict[str, Any]:
    return {"header": {"member_id": "7"}, "raftTerm": "3", "raftIndex": "20", **fields}


def test_a_status_says_who_leads_by_name() -> None:
    ids = {"7": "n1", "8": "n2"}
    leads = status_of(said(leader="7", raftAppliedIndex="19"), ids)
    assert (leads.role, leads.leader, leads.term) == ("leader", "n1", 3)
    assert (leads.commit_index, leads.applied_index) == (20, 19)
    follows = status_of(said(leader="8"), ids)
    assert (follows.role, follows.leader) == ("follower", "n2")
    assert status_of(said(leader="9"), ids).leader is None
    seeks = status_of(said(errors=["etcdserver: no leader"]), ids)
    assert (seeks.role, seeks.leader) == ("candidate", None)


STATUS = status_of(said(leader="7"), {"7": "n1"})


class Unseen:
    """A system that answers, but does not say what its clock shows."""

    def status(self, node: str, timeout_s: float) -> Status:
        del node, timeout_s
        return STATUS


@dataclass
class WillingAgent:
    """Believes that it moved the clock."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        del name
        return lambda **asked: ClockState(
            offset_ms=0, rate=asked.get("rate", 1.0), strobing=False, flips=0
        )


class OneAgent:
    def on(self, nodes: Sequence[str], act: Callable[[str, Agent], Any]) -> dict[str, Any]:
        return {node: act(node, cast("Agent", WillingAgent())) for node in nodes}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("bump", {"offset_ms": 500}),
        ("strobe", {"offset_ms": 500, "period_ms": 1, "duration_ms": 10}),
        ("rate", {"rate": 2.0}),
    ],
)
def test_a_clock_fault_that_nobody_can_see_is_indeterminate(
    name: str, parameters: dict[str, Any]
) -> None:
    kind = Clock(cast("Crew", OneAgent()), cast("Any", Unseen()))
    fault = Fault(
        id=0, kind="clock", name=name, start_ns=0, stop_ns=9, targets=("n1",), fallback=NODES,
        parameters=parameters,
    )  # fmt: skip
    for reports in (kind.start(fault, ["n1"]), kind.stop(fault, ["n1"])):
        assert reports["n1"].certainty is Certainty.INDETERMINATE


def test_samples_of_a_clock_that_is_not_shown_are_null(tmp_path: Path) -> None:
    path = tmp_path / "status.jsonl"
    observer = Observer(system=cast("Any", Unseen()), nodes=["n1"], path=path, clock=lambda: 5)
    observer.start()
    deadline = time.monotonic() + 5
    while not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    observer.close()
    sample = json.loads(path.read_text().splitlines()[0])
    assert (sample["role"], sample["clock_offset_ms"]) == ("leader", None)
    assert sample["clock_error_ms"] is None


# --- a real cluster --------------------------------------------------------------------------


class RealCluster:
    """Three members on loopback addresses of their own, started as hosts start them."""

    def __init__(self, folder: Path) -> None:
        program = Path(shutil.which("etcd") or "")
        net = f"127.{64 + os.getpid() % 60}.{os.getpid() // 60 % 250}"
        self.system = EtcdSystem(
            addresses={node: f"{net}.{number}" for number, node in enumerate(NODES, start=1)},
            program=program,
            version=version_of(program),
            operation_timeout_s=5,
        )
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for node in NODES:
            (folder / node).mkdir()
            for name, path in self.system.files().items():
                (folder / node / name).symlink_to(path)
            self.start(node)

    def start(self, node: str) -> None:
        home = self.folder / node
        with (home / "log").open("ab") as log:
            self.processes[node] = subprocess.Popen(
                self.system.command(node, str(home)), stdout=log, stderr=log, env={}
            )

    def kill(self, node: str) -> None:
        self.processes[node].send_signal(signal.SIGCONT)
        self.processes[node].kill()
        self.processes[node].wait(10)

    def client(self, node: str, data: str, **options: Any) -> EtcdClient:
        return cast("EtcdClient", self.system.client(node, data, **options))

    def perform(
        self, node: str, data: str, f: str, value: Any = None, **options: Any
    ) -> Completion:
        key = options.pop("key", data)
        client = self.client(node, data, **options)
        try:
            return client.invoke(Invocation(f=f, key=key, value=value, thread=0))
        finally:
            client.close()

    def await_all(self) -> None:
        deadline = time.monotonic() + 30
        for node in NODES:
            while self.perform(node, "register", "read").type is not EventType.OK:
                assert time.monotonic() < deadline, (self.folder / node / "log").read_text()[-2000:]

    def leader(self) -> str:
        """Ask twice: a name is known once its owner was asked."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            seen = [self.system.status(node, 1) for node in NODES]
            leaders = {status.leader for status in seen if status is not None}
            if len(leaders) == 1 and None not in leaders:
                (leader,) = leaders
                assert leader is not None
                return leader
        raise AssertionError("they do not agree on a leader")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    cluster = RealCluster(tmp_path_factory.mktemp("etcd"))
    try:
        cluster.await_all()
        yield cluster
    finally:
        for node in NODES:
            cluster.kill(node)


def ok(value: Any) -> Completion:
    return Completion(EventType.OK, value)


@needs_etcd
def test_a_real_register(real: RealCluster) -> None:
    assert real.perform("n1", "register", "read", key="r") == ok(None)
    assert real.perform("n1", "register", "cas", [None, 1], key="r") == ok([None, 1])
    refused = real.perform("n2", "register", "cas", [None, 2], key="r")
    assert refused == Completion(EventType.FAIL, [None, 2], "compare-failed")
    assert real.perform("n2", "register", "cas", [1, "é"], key="r") == ok([1, "é"])
    assert real.perform("n3", "register", "read", key="r") == ok("é")
    assert real.perform("n3", "register", "write", 5, key="r") == ok(5)
    assert real.perform("n1", "register", "read", key="r") == ok(5)


@needs_etcd
def test_a_real_set_counter_and_queue(real: RealCluster) -> None:
    assert real.perform("n1", "set", "read") == ok(None)
    for node, value in zip(NODES, (1, 2, 1), strict=True):
        assert real.perform(node, "set", "add", value) == ok(value)
    assert real.perform("n1", "set", "read") == ok([1, 2])
    assert real.perform("n2", "set", "remove", 1) == ok(1)
    assert real.perform("n3", "set", "read") == ok([2])
    assert real.perform("n1", "counter", "add", 3) == ok(3)
    assert real.perform("n2", "counter", "add", -5) == ok(-5)
    assert real.perform("n3", "counter", "read") == ok(-2)
    assert real.perform("n1", "queue", "dequeue") == ok(None)
    assert real.perform("n1", "queue", "enqueue", "a") == ok("a")
    assert real.perform("n2", "queue", "enqueue", "b") == ok("b")
    assert real.perform("n3", "queue", "length") == ok(2)
    assert real.perform("n3", "queue", "dequeue") == ok("a")


@needs_etcd
def test_appends_that_meet_are_each_in_the_list_once(real: RealCluster) -> None:
    acknowledged: list[int] = []
    failed: list[Completion] = []

    def append(thread: int) -> None:
        client = real.client(NODES[thread % 3], "list")
        for number in range(15):
            value = thread * 100 + number
            done = client.invoke(Invocation(f="append", key="l", value=value, thread=thread))
            if done.type is EventType.OK:
                acknowledged.append(value)
            else:
                failed.append(done)
        client.close()

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    seen = real.perform("n2", "list", "read", key="l")
    assert seen.type is EventType.OK
    assert len(acknowledged) > 30
    assert {one.type for one in failed} <= {EventType.FAIL}, "nothing was wrong with the cluster"
    assert sorted(seen.value) == sorted(acknowledged)
    for number in range(4):
        mine = [value for value in seen.value if value // 100 == number]
        assert mine == sorted(mine)


@needs_etcd
def test_a_real_status_names_the_leader(real: RealCluster) -> None:
    leader = real.leader()
    roles = {}
    for node in NODES:
        status = real.system.status(node, 2)
        assert status is not None
        assert status.clock_offset_ns is None
        assert status.raw["version"] == real.system.version
        assert status.commit_index >= status.applied_index > 0
        roles[node] = status.role
    assert [node for node, role in roles.items() if role == "leader"] == [leader]


@needs_etcd
def test_a_member_without_a_quorum_refuses_for_certain_and_serves_stale_reads(
    real: RealCluster,
) -> None:
    assert real.perform("n1", "register", "write", 8, key="q") == ok(8)
    leader = real.leader()
    follower, gone = [node for node in NODES if node != leader]
    stale = replace(real.system, reads="stale")
    try:
        # Not yet noticed: what is sent now may happen later.
        for node in (leader, gone):
            real.processes[node].send_signal(signal.SIGSTOP)
        value = 9
        said = real.perform(follower, "register", "write", value, key="q", timeout_s=0.5)
        assert said == Completion(EventType.INFO, value, "timeout")
        deadline = time.monotonic() + 10
        while said.error != "etcdserver: no leader":
            assert time.monotonic() < deadline, said
            value += 1
            said = real.perform(follower, "register", "write", value, key="q", timeout_s=0.5)
        assert said == Completion(EventType.FAIL, value, "etcdserver: no leader")
        status = real.system.status(follower, 2)
        assert status is not None
        assert status.role == "candidate"
        read = real.perform(follower, "register", "read", key="q", timeout_s=0.5)
        assert read == Completion(EventType.FAIL, None, "etcdserver: no leader")
        client = stale.client(follower, "register")
        assert client.invoke(Invocation(f="read", key="q", thread=0)) == ok(8)
        client.close()
    finally:
        for node in (leader, gone):
            real.processes[node].send_signal(signal.SIGCONT)
    real.await_all()
    # What was in doubt may have happened; what was refused has not.
    assert real.perform(gone, "register", "read", key="q").value in range(8, value)


@needs_etcd
def test_what_was_acknowledged_is_there_after_a_kill(real: RealCluster) -> None:
    assert real.perform("n1", "register", "write", 11, key="d") == ok(11)
    for node in NODES:
        real.kill(node)
    dead = real.perform("n1", "register", "write", 12, key="d")
    assert dead == Completion(EventType.FAIL, 12, "not-connected")
    for node in NODES:
        real.start(node)
    real.await_all()
    assert real.perform("n2", "register", "read", key="d") == ok(11)
