"""Three real processes: the promises of PROTOCOL.md, seen through sockets, signals and files."""

import http.client
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_cluster import LocalCluster, until

from node.operations import FAILURES
from node.transport import encode_frame


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Shared by the tests that break nothing."""
    with LocalCluster(tmp_path_factory.mktemp("cluster")) as started:
        started.leader()
        yield started


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path) as started:
        started.leader()
        yield started


def follower_of(cluster: LocalCluster, leader: str) -> str:
    return next(name for name in cluster.names if name != leader)


# Operations.


def test_what_one_node_wrote_every_node_reads(cluster: LocalCluster) -> None:
    for number, writer in enumerate(cluster.names):
        value = {"n": [number, None, True, 1.5, "\u20ac</script>"]}
        answer = cluster.write(writer, "shared", value)
        assert answer["ok"] is True
        assert answer["value"] == value
        assert answer["node"] == cluster.leader()
        assert (type(answer["index"]), type(answer["term"])) == (int, int)
        for reader in cluster.names:
            assert cluster.read(reader, "shared") == value


def test_cas_swaps_or_says_what_it_met(cluster: LocalCluster) -> None:
    name = follower_of(cluster, cluster.leader())
    assert cluster.read(name, "cas") is None
    status, answer = cluster.call(name, op="cas", key="cas", **{"from": None, "to": 1})
    assert (status, answer["value"]) == (200, 1)
    for wrong in (True, 1.0, 2):
        status, answer = cluster.call(name, op="cas", key="cas", **{"from": wrong, "to": 3})
        error = answer["error"]
        assert status == 412
        assert (error["code"], error["definite"], error["value"]) == (
            "precondition-failed",
            True,
            1,
        )
        assert error["leader"] == cluster.leader()
    assert cluster.call(name, op="cas", key="cas", **{"from": 1, "to": 2})[0] == 200


def test_status_has_what_the_protocol_says(cluster: LocalCluster) -> None:
    leader = cluster.leader()
    for name in cluster.names:
        status = cluster.status(name)
        assert status["name"] == name
        assert status["role"] == ("leader" if name == leader else "follower")
        assert status["pid"] == cluster.processes[name].pid
        assert status["first_index"] == 1
        assert status["applied_index"] <= status["commit_index"] <= status["last_index"]
        assert abs(status["clock"]["wall_ns"] - time.time_ns()) < 5e9
        assert abs(status["clock"]["monotonic_ns"] - time.monotonic_ns()) < 5e9
        assert set(status) >= {"term", "leader", "voted_for", "uptime_ms", "version", "state_hash"}


def test_same_applied_index_same_hash(cluster: LocalCluster) -> None:
    for number in range(20):
        cluster.write(cluster.names[number % 3], f"key{number % 5}", number)

    def agreed() -> bool:
        seen = [cluster.status(name) for name in cluster.names]
        return len({s["applied_index"] for s in seen}) == 1 == len({s["state_hash"] for s in seen})

    until(agreed, "agreement")


# HTTP.


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/kv", b"", 400, "bad-request"),
        ("POST", "/v1/kv", b"\x00\xff" * 40, 400, "bad-request"),
        ("POST", "/v1/kv", b"[" * 100_000, 400, "bad-request"),
        ("POST", "/v1/kv", b'{"op":"read"}', 400, "bad-request"),
        ("POST", "/v1/kv", b" " * (128 * 1024 + 1), 413, "too-large"),
        ("GET", "/v1/kv", b"", 404, "not-found"),
        ("POST", "/status", b"", 404, "not-found"),
        ("DELETE", "/v1/other", b"", 404, "not-found"),
    ],
)
def test_wrong_requests_get_the_right_code(
    cluster: LocalCluster, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    seen, answer = cluster.request("n1", method, path, body)
    error = answer["error"]
    assert (seen, error["code"], error["definite"], answer["ok"]) == (status, code, True, False)
    assert FAILURES[code].http_status == status
    assert cluster.read("n1", "any") is None


def test_one_connection_serves_many_requests(cluster: LocalCluster) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", cluster.clients["n2"], timeout=6)
    connection.connect()
    used = connection.sock
    for body in (b'{"op":"read","key":"k"}', b"{", b'{"op":"read","key":"k"}'):
        connection.request("POST", "/v1/kv", body)
        connection.getresponse().read()
    assert connection.sock is used
    connection.close()


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and no more; everything that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=6) as connection:
        received = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received


def test_bytes_that_are_no_http_harm_nobody(cluster: LocalCluster) -> None:
    chance = random.Random(1)
    samples = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST /v1/kv HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/kv HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
        b"POST /v1/kv HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /status HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /status HTTP/9.9\r\nHost: x\r\n\r\n",
    ]
    samples += [chance.randbytes(chance.randrange(1, 400)) for _ in range(60)]
    whole = b'POST /v1/kv HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\n\r\n{"op":"read","key":"k"}'
    for _ in range(60):
        mutated = bytearray(whole)
        mutated[chance.randrange(len(whole))] = chance.randrange(256)
        samples.append(bytes(mutated))
    for sample in samples:
        answer = exchange(cluster.clients["n1"], sample)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert exchange(cluster.clients["n1"], samples[0]).startswith(b"HTTP/1.1 400")
    assert exchange(cluster.clients["n1"], whole).startswith(b"HTTP/1.1 200")
    assert cluster.processes["n1"].poll() is None


def test_expect_continue_is_answered(cluster: LocalCluster) -> None:
    body = b'{"op":"read","key":"k"}'
    with socket.create_connection(("127.0.0.1", cluster.clients["n1"]), timeout=6) as connection:
        connection.sendall(
            b"POST /v1/kv HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


# Between nodes.


def test_a_stranger_on_the_peer_port_changes_nothing(cluster: LocalCluster) -> None:
    leader = cluster.leader()
    target = follower_of(cluster, leader)
    other = next(name for name in cluster.names if name not in (leader, target))
    before = cluster.status(target)
    chance = random.Random(2)
    coup = encode_frame({"type": "heartbeat", "term": 10**6, "commit": 0, "round": 0})
    hello = {"type": "hello", "from": other, "protocol": 1, "cluster": "0" * 16}
    samples = [chance.randbytes(chance.randrange(1, 300)) for _ in range(60)]
    samples += [
        coup,
        encode_frame(hello) + coup,
        encode_frame({**hello, "from": "n9"}) + coup,
        encode_frame({**hello, "from": target}) + coup,
        encode_frame({**hello, "protocol": 2}) + coup,
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    for sample in samples:
        assert exchange(cluster.peers[target], sample) == b""
    after = cluster.status(target)
    assert cluster.processes[target].poll() is None
    assert [after[key] for key in ("term", "voted_for", "last_index", "state_hash")] == [
        before[key] for key in ("term", "voted_for", "last_index", "state_hash")
    ]
    assert cluster.leader() == leader


# Faults.


def test_a_killed_leader_is_replaced_and_what_was_acknowledged_stays(
    own_cluster: LocalCluster,
) -> None:
    cluster = own_cluster
    for round_ in range(3):
        old = cluster.leader()
        for number in range(10):
            cluster.write(cluster.names[number % 3], f"k{number}", [round_, number])
        cluster.kill(old)
        rest = [name for name in cluster.names if name != old]
        new = cluster.leader(rest)
        assert new != old
        for number in range(10):
            assert cluster.read(rest[number % 2], f"k{number}") == [round_, number]
        cluster.start(old)
        cluster.leader()
        assert cluster.read(old, "k3") == [round_, 3]


def test_all_killed_at_once_lose_nothing_acknowledged(own_cluster: LocalCluster) -> None:
    cluster = own_cluster
    for number in range(30):
        cluster.write(cluster.names[number % 3], f"k{number}", number)
    for name in cluster.names:
        cluster.kill(name)
    for name in cluster.names:
        cluster.start(name)
    for number in range(30):
        assert cluster.read(cluster.names[number % 3], f"k{number}") == number


def test_a_stopped_leader_serves_no_stale_read_when_it_goes_on(
    own_cluster: LocalCluster,
) -> None:
    cluster = own_cluster
    old = cluster.leader()
    cluster.write(old, "k", "before")
    cluster.signal(old, signal.SIGSTOP)
    try:
        rest = [name for name in cluster.names if name != old]
        cluster.leader(rest)
        cluster.write(rest[0], "k", "after")
        # A read that waits in the socket of the stopped process.
        with socket.create_connection(("127.0.0.1", cluster.clients[old]), timeout=10) as waiting:
            body = b'{"op":"read","key":"k"}'
            waiting.sendall(
                b"POST /v1/kv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            cluster.signal(old, signal.SIGCONT)
            answer = b""
            while part := waiting.recv(4096):
                answer += part
        assert b'"before"' not in answer
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert document["ok"] is False or document["value"] == "after"
    finally:
        cluster.signal(old, signal.SIGCONT)
    assert cluster.read(old, "k") == "after"


def test_without_a_majority_nothing_succeeds_and_everything_is_answered(
    own_cluster: LocalCluster,
) -> None:
    cluster = own_cluster
    leader = cluster.leader()
    followers = [name for name in cluster.names if name != leader]
    cluster.write(leader, "k", 1)
    for name in followers:
        cluster.kill(name)
    started_s = time.monotonic()
    status, answer = cluster.call(leader, op="write", key="k", value=2)
    assert time.monotonic() - started_s < 5
    assert (status, answer["error"]["code"]) == (504, "outcome-unknown")
    assert answer["error"]["definite"] is False
    until(lambda: cluster.status(leader)["role"] != "leader", "step-down")
    for operation in ({"op": "write", "value": 3}, {"op": "read"}):
        status, answer = cluster.call(leader, key="k", **operation)
        assert (status, answer["error"]["code"]) == (503, "no-leader")
        assert answer["error"]["definite"] is True
    cluster.start(followers[0])
    assert cluster.read(followers[0], "k") in (1, 2)


def test_sigterm_ends_with_status_0(own_cluster: LocalCluster) -> None:
    for name in own_cluster.names:
        own_cluster.signal(name, signal.SIGTERM)
    for name in own_cluster.names:
        assert own_cluster.processes[name].wait(timeout=10) == 0


def test_sigterm_answers_what_is_in_flight(own_cluster: LocalCluster) -> None:
    cluster = own_cluster
    leader = cluster.leader()
    for name in cluster.names:
        if name != leader:
            cluster.kill(name)
    idle = socket.create_connection(("127.0.0.1", cluster.clients[leader]), timeout=10)
    waiting = http.client.HTTPConnection("127.0.0.1", cluster.clients[leader], timeout=10)
    waiting.request("POST", "/v1/kv", b'{"op":"write","key":"k","value":1}')
    until(lambda: cluster.status(leader)["last_index"] > 1, "proposal")
    cluster.signal(leader, signal.SIGTERM)
    response = waiting.getresponse()
    answer = json.loads(response.read())
    assert (response.status, answer["error"]["code"]) == (504, "outcome-unknown")
    assert cluster.processes[leader].wait(timeout=10) == 0
    idle.close()
    waiting.close()


def test_a_disk_that_refuses_ends_the_process(tmp_path: Path) -> None:
    """A limit on the file size makes the write fail once the log has grown."""
    cluster = LocalCluster(tmp_path, size=1)
    limited = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "runpy.run_module('node', run_name='__main__')\n"
    )
    cluster.command = [sys.executable, "-c", limited]
    with cluster:
        cluster.leader()
        last: Any = None
        for number in range(100):
            try:
                last = cluster.call("n1", op="write", key="k", value="v" * 1000)
            except (OSError, http.client.HTTPException):
                break
            assert last[0] == 200, (number, last)
        assert cluster.processes["n1"].wait(timeout=10) == 4
        assert "disk refused" in cluster.log("n1")
    # What was acknowledged is there when the disk works again.
    cluster.command = [sys.executable, "-m", "node"]
    with cluster:
        assert cluster.read("n1", "k") == "v" * 1000


def test_a_disk_that_refuses_the_log_file_as_well_ends_the_process_too(tmp_path: Path) -> None:
    """Standard error on a full disk: the last words are lost, the exit status is not."""
    cluster = LocalCluster(tmp_path, size=1)
    limited = (
        "import os, resource, runpy, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "runpy.run_module('node', run_name='__main__')\n"
    )
    cluster.command = [sys.executable, "-c", limited]
    with cluster:
        cluster.leader()
        for _ in range(100):
            try:
                cluster.call("n1", op="write", key="k", value="v" * 1000)
            except (OSError, http.client.HTTPException):
                break
        assert cluster.processes["n1"].wait(timeout=10) == 4


def test_head_is_answered_without_a_body(cluster: LocalCluster) -> None:
    port = cluster.clients["n1"]
    answer = exchange(port, b"HEAD /status HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert body == b""


def test_the_torn_tail_of_a_killed_node_is_cut(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, size=1) as cluster:
        for number in range(5):
            cluster.write("n1", f"k{number}", number)
        cluster.kill("n1")
        wal = next((tmp_path / "n1").glob("wal-*"))
        size = os.path.getsize(wal)
        with wal.open("ab") as file:
            file.write(b"\xf5SBw half a frame")
        cluster.start("n1")
        assert cluster.read("n1", "k4") == 4
        assert "torn tail of" in cluster.log("n1")
        cluster.kill("n1")
        cluster.start("n1")
        assert [cluster.read("n1", f"k{number}") for number in range(5)] == list(range(5))
        assert size < os.path.getsize(wal)
