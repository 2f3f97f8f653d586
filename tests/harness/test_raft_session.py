"""Sessions and repetition: what is sent under which sequence, and what the tries come to."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from checker.history import EventType
from harness.client import Completion
from harness.systems.raft import RaftSystem
from harness.systems.raft_client import RaftClient
from harness.systems.raft_errors import ERRORS, REPEATED, SESSION_LOST
from harness.systems.raft_session import Session, SharedSession
from workloads.generator import Invocation

READ = Invocation(f="read", key="k0", thread=0)
WRITE = Invocation(f="write", key="k0", value=4, thread=0)
CAS = Invocation(f="cas", key="k0", value=[4, 5], thread=0)
DEQUEUE = Invocation(f="dequeue", key="q", thread=0)

# What a server says to a request; `None` hangs up without a word.
Said = dict[str, Any] | None
Script = Callable[[dict[str, Any]], Said]


def ok(value: Any) -> Said:
    return {"ok": True, "value": value, "index": 1, "term": 1, "node": "n1"}


def error(code: str, *, definite: bool | None = None) -> Said:
    definite = ERRORS[code] if definite is None else definite
    return {"ok": False, "error": {"code": code, "definite": definite, "message": "m"}}


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that have given up are nothing to speak of."""


class Node:
    """Opens sessions 100, 101, ...; says to everything else what its script says."""

    def __init__(self) -> None:
        self.script: Script = lambda body: ok(body.get("value"))
        self.opens: Said = {}
        self.opened = 0
        self.requests: list[dict[str, Any]] = []
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # an answer is one segment: nothing waits for an acknowledgement

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                said = node._answer(body)
                if said is None:
                    self.close_connection = True
                    return
                raw = json.dumps(said).encode()
                self.send_response(200 if said["ok"] else 503)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _answer(self, body: dict[str, Any]) -> Said:
        if body["op"] == "open_session":
            self.opened += 1
            return ok(99 + self.opened) if self.opens == {} else self.opens
        self.requests.append(body)
        return self.script(body)

    def says(self, *answers: Said) -> None:
        """Say these one after the other, and the last for ever."""
        left = list(answers)
        self.script = lambda _: left.pop(0) if len(left) > 1 else left[0]

    @property
    def sessions(self) -> list[tuple[int, int, int]]:
        """Id, sequence and acknowledgement of each request."""
        return [tuple(body["session"].values()) for body in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Node]:
    made = Node()
    yield made
    made.close()


def client(
    *nodes: Node,
    shared: SharedSession | None = None,
    retries: int = 2,
    timeout_s: float = 5.0,
    data: str = "register",
) -> RaftClient:
    return RaftClient(
        node="n1",
        urls=[node.url for node in nodes],
        data=data,
        timeout_s=timeout_s,
        retries=retries,
        sessions=shared or SharedSession(),
    )


def ask(invocation: Invocation, *nodes: Node, **options: Any) -> Completion:
    asking = client(*nodes, **options)
    try:
        return asking.invoke(invocation)
    finally:
        asking.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.systems.raft_client._BACK_OFF_S", 0.01)


def test_a_repetition_has_the_sequence_of_the_first_try_and_goes_to_the_next_node(
    node: Node, other: Node
) -> None:
    node.says(error("outcome-unknown"))
    other.says(ok(4))
    assert ask(WRITE, node, other) == Completion(EventType.OK, 4)
    assert node.sessions == [(100, 1, 0)]
    assert other.sessions == [(100, 1, 0)]
    assert (node.opened, other.opened) == (1, 0)


def test_after_the_last_node_comes_the_first(node: Node, other: Node) -> None:
    node.says(error("no-leader"), ok(4))
    other.says(error("no-leader"))
    assert ask(WRITE, node, other) == Completion(EventType.OK, 4)
    assert node.sessions == [(100, 1, 0)] * 2


def test_acknowledgement_moves_on_with_what_is_finished(node: Node) -> None:
    asking = client(node)
    node.says(ok(4), error("precondition-failed"), error("outcome-unknown"))
    asking.invoke(WRITE)
    asking.invoke(CAS)
    asking.invoke(WRITE)
    node.says(ok(4))
    asking.invoke(WRITE)
    asking.close()
    doubted = [(100, 3, 2)] * 3
    assert node.sessions == [(100, 1, 0), (100, 2, 1), *doubted, (100, 4, 3)]


@pytest.mark.parametrize("code", sorted({*ERRORS} - {"not-connected", "timeout", "no-session"}))
def test_what_is_repeated_and_what_a_lone_refusal_means(node: Node, code: str) -> None:
    node.says(error(code))
    expected = EventType.FAIL if ERRORS[code] else EventType.INFO
    assert ask(WRITE, node) == Completion(expected, 4, code)
    assert len(node.requests) == (3 if code in REPEATED else 1)


@pytest.mark.parametrize("doubt", ["hang up", "garbled", "outcome-unknown", "not promised"])
@pytest.mark.parametrize("refusal", ["precondition-failed", "no-leader", "session-full"])
def test_after_a_doubt_a_refusal_is_doubt(node: Node, doubt: str, refusal: str) -> None:
    doubts = {
        "hang up": None,
        "garbled": ok(77),
        "outcome-unknown": error("outcome-unknown"),
        "not promised": error("no-leader", definite=False),
    }
    node.says(doubts[doubt], error(refusal))
    assert ask(CAS, node) == Completion(EventType.INFO, [4, 5], refusal)
    assert {sequence for _, sequence, _ in node.sessions} == {1}


def test_a_doubt_between_refusals_is_doubt(node: Node) -> None:
    node.says(error("no-leader"), None, error("precondition-failed"))
    assert ask(CAS, node) == Completion(EventType.INFO, [4, 5], "precondition-failed")


def test_refusals_without_a_doubt_are_certain(node: Node) -> None:
    node.says(error("no-leader"), error("not-committed"), error("precondition-failed"))
    assert ask(CAS, node) == Completion(EventType.FAIL, [4, 5], "precondition-failed")


def test_a_repetition_acknowledges_what_was_finished_meanwhile(node: Node) -> None:
    shared, seen = SharedSession(), threading.Event()

    def script(body: dict[str, Any]) -> Said:
        if body["session"]["seq"] == 1:
            seen.set()
            assert second_done.wait(10)
            return ok(4)
        if not second_tried.is_set():
            second_tried.set()
            assert seen.wait(10)
            second_done.set()
            first.result(10)
            return None
        return ok(4)

    second_done, second_tried = threading.Event(), threading.Event()
    node.script = script
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, WRITE, node, shared=shared, timeout_s=30.0)
        assert seen.wait(10)
        assert ask(WRITE, node, shared=shared, timeout_s=30.0) == Completion(EventType.OK, 4)
    assert node.sessions == [(100, 1, 0), (100, 2, 0), (100, 2, 1)]


def test_after_a_doubt_an_answer_counts(node: Node) -> None:
    node.says(None, error("no-leader"), ok(5))
    assert ask(CAS, node) == Completion(EventType.OK, [4, 5])


def test_an_empty_queue_is_an_answer_also_after_a_doubt(node: Node) -> None:
    node.says(error("empty"))
    assert ask(DEQUEUE, node, data="queue") == Completion(EventType.OK, None)
    node.says(None, error("empty"))
    assert ask(DEQUEUE, node, data="queue") == Completion(EventType.OK, None)
    node.says(error("empty", definite=False))
    assert ask(DEQUEUE, node, data="queue") == Completion(EventType.INFO, None, "empty")


def test_reads_are_repeated_without_a_session(node: Node) -> None:
    node.says(error("not-leader"), None, ok(7))
    assert ask(READ, node) == Completion(EventType.OK, 7)
    assert node.requests == [{"op": "read", "key": "k0"}] * 3
    assert node.opened == 0


def test_without_retries_there_is_one_try_and_no_session(node: Node) -> None:
    node.says(error("no-leader"))
    asking = RaftClient(node="n1", urls=[node.url], data="register", timeout_s=5)
    assert asking.invoke(WRITE) == Completion(EventType.FAIL, 4, "no-leader")
    asking.close()
    assert node.requests == [{"op": "write", "key": "k0", "value": 4}]
    assert node.opened == 0


@pytest.mark.parametrize(
    "opens", [error("no-leader"), error("outcome-unknown"), None, ok(True), ok(0), ok("7")]
)
def test_without_a_session_nothing_is_sent(node: Node, opens: Said) -> None:
    node.opens = opens
    shared = SharedSession()
    assert ask(WRITE, node, shared=shared) == Completion(EventType.FAIL, 4, "no-session")
    assert (node.requests, node.opened) == ([], 1)
    node.opens = {}
    assert ask(WRITE, node, shared=shared) == Completion(EventType.OK, 4)


@pytest.mark.parametrize("code", sorted(SESSION_LOST))
def test_a_lost_session_is_given_up_and_the_next_operation_opens_another(
    node: Node, code: str
) -> None:
    shared = SharedSession()
    node.says(error(code))
    assert ask(WRITE, node, shared=shared).error == code
    node.says(ok(4))
    assert ask(WRITE, node, shared=shared) == Completion(EventType.OK, 4)
    assert node.sessions == [(100, 1, 0), (101, 1, 0)]


def test_a_session_outlives_the_client_that_opened_it(node: Node) -> None:
    shared = SharedSession()
    ask(WRITE, node, shared=shared)
    ask(WRITE, node, shared=shared)
    assert node.sessions == [(100, 1, 0), (100, 2, 1)]
    assert node.opened == 1


def test_clients_share_a_session_and_what_one_has_under_way_is_not_acknowledged(
    node: Node,
) -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(body: dict[str, Any]) -> Said:
        if body["session"]["seq"] <= 2:
            both.wait()  # the first two are under way at the same time
        return ok(4)

    node.script = meet
    shared = SharedSession()
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: ask(WRITE, node, shared=shared), range(2)))
    assert ended == [Completion(EventType.OK, 4)] * 2
    assert sorted(node.sessions) == [(100, 1, 0), (100, 2, 0)]
    ask(WRITE, node, shared=shared)
    assert node.sessions[2] == (100, 3, 2)
    assert node.opened == 1


def test_a_client_that_comes_too_late_to_open_waits_for_the_one_that_does() -> None:
    shared, asked = SharedSession(), threading.Event()
    release = threading.Event()

    def slowly(timeout_s: float) -> int:
        asked.set()
        assert release.wait(10)
        return 7

    def never(timeout_s: float) -> int:
        raise AssertionError("a second session was asked for")

    until_s = time.monotonic() + 20
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shared.current, slowly, until_s)
        assert asked.wait(10)
        assert shared.current(never, time.monotonic() + 0.05) is None, "waits until its time is up"
        second = pool.submit(shared.current, never, until_s)
        release.set()
        assert first.result(10) is second.result(10) is not None


def test_giving_up_an_old_session_keeps_the_new_one() -> None:
    shared = SharedSession()
    numbers = iter((1, 2))
    until_s = time.monotonic() + 20
    old = shared.current(lambda _: next(numbers), until_s)
    assert old is not None
    shared.give_up(old)
    new = shared.current(lambda _: next(numbers), until_s)
    assert new is not None
    shared.give_up(old)
    assert shared.current(lambda _: None, until_s) is new


def test_what_is_acknowledged_ends_before_the_first_unfinished_sequence() -> None:
    session = Session(7)
    with session.sequence() as first:
        with session.sequence() as second:
            assert session.field(second) == {"id": 7, "seq": 2, "ack": 0}
        with session.sequence() as third:
            assert session.field(third) == {"id": 7, "seq": 3, "ack": 0}
            assert session.field(first) == {"id": 7, "seq": 1, "ack": 0}
    with pytest.raises(RuntimeError), session.sequence():
        raise RuntimeError
    with session.sequence() as last:
        assert session.field(last) == {"id": 7, "seq": 5, "ack": 4}


def test_all_tries_together_have_one_deadline(node: Node) -> None:
    silence, shared = threading.Event(), SharedSession()
    ask(WRITE, node, shared=shared)
    node.requests.clear()

    def silent(_: dict[str, Any]) -> Said:
        silence.wait(20)
        return None

    node.script = silent
    began_s = time.monotonic()
    ended = ask(WRITE, node, shared=shared, timeout_s=0.9)
    assert ended == Completion(EventType.INFO, 4, "timeout")
    took_s = time.monotonic() - began_s
    silence.set()
    assert 0.5 < took_s < 2
    assert len(node.requests) == 3


def test_many_retries_are_bounded_by_time(node: Node) -> None:
    shared = SharedSession()
    ask(WRITE, node, shared=shared)
    node.requests.clear()
    node.says(error("no-leader"))
    began_s = time.monotonic()
    ended = ask(WRITE, node, shared=shared, retries=100, timeout_s=0.6)
    assert time.monotonic() - began_s < 2
    assert ended.error in ("no-leader", "timeout")
    assert 3 <= len(node.requests) < 101


def test_a_dead_node_of_ones_own_does_not_end_an_operation(node: Node, other: Node) -> None:
    shared = SharedSession()
    ask(WRITE, node, other, shared=shared)
    node.close()
    assert ask(WRITE, node, other, shared=shared) == Completion(EventType.OK, 4)
    assert other.sessions == [(100, 2, 1)]


def test_clients_of_a_dead_node_do_not_take_the_load_of_the_living(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.close()
    pauses: list[float] = []
    monkeypatch.setattr("harness.systems.raft_client.time.sleep", pauses.append)
    plain = RaftClient(node="n1", urls=[node.url], data="register", timeout_s=5)
    assert plain.invoke(WRITE) == Completion(EventType.FAIL, 4, "not-connected")
    plain.close()
    assert len(pauses) == 1
    assert ask(WRITE, node).error == "no-session"
    assert len(pauses) == 2
    assert ask(READ, node) == Completion(EventType.FAIL, None, "not-connected")
    assert len(pauses) == 5
    assert all(pause > 0 for pause in pauses)


def system(**options: Any) -> RaftSystem:
    addresses = {"n1": "127.0.0.1", "n2": "127.0.0.2", "n3": "127.0.0.3"}
    return RaftSystem(
        addresses=addresses, archive=Path("x"), version="1", operation_timeout_s=5, **options
    )


def test_a_node_has_one_session_for_its_repeating_clients() -> None:
    raft = system()
    first, second, other = (raft.client(node, "register", retries=2) for node in ("n2", "n2", "n3"))
    plain = raft.client("n2", "register")
    for made in (first, second, other, plain):
        assert isinstance(made, RaftClient)
        made.close()
    assert isinstance(first, RaftClient)
    assert isinstance(second, RaftClient)
    assert isinstance(other, RaftClient)
    assert isinstance(plain, RaftClient)
    assert first._sessions is second._sessions is not None
    assert first._sessions is not other._sessions
    assert plain._sessions is None
    assert first.node == "n2"
    assert [url.split("/")[2] for url in first._urls] == [
        "127.0.0.2:7001",
        "127.0.0.3:7001",
        "127.0.0.1:7001",
    ]


def test_nodes_that_are_read_by_lease_are_started_so() -> None:
    assert "--leases" in system(reads="lease").command("n1", "home")
    assert "--leases" not in system(reads="stale").command("n1", "home")
