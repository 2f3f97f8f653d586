"""Bytes of clients: what h11 has judged once is judged the same again, and nothing costs much."""

import asyncio
import json
import re
import socket
from typing import Any

import pytest
from api_lab import Client, Lab, NoJudge, one_response, request, responses, success
from hypothesis import given
from hypothesis import strategies as st
from local_cluster import free_ports
from peer_lab import run, until

import node.http_connection
from node.http_api import CONNECTIONS_MAX
from node.http_connection import BODY_BYTES_MAX, JUDGED_MAX, Judge, _plain_head
from node.operations import Answer

READ = b'{"op":"read","key":"k"}'
WRITE = b'{"op":"write","key":"k","value":1}'


def test_a_head_is_judged_once() -> None:
    judge = Judge()
    head = request("POST", "/v1/kv", READ)[: -len(READ)]
    first = judge.head(head)
    assert first is not None
    assert (first.method, first.target, first.body_bytes) == (b"POST", b"/v1/kv", len(READ))
    assert judge.head(bytes(bytearray(head))) is first
    assert judge.head(head.replace(b"kv", b"KV")) is not first


def test_what_is_remembered_about_heads_is_bounded() -> None:
    judge = Judge()
    for number in range(JUDGED_MAX + 10):
        assert judge.head(request("GET", f"/{number}")) is not None
        assert len(judge._known) <= JUDGED_MAX
    before = len(judge._known)
    assert judge.head(request("GET", "/" + "x" * 5000)) is not None
    assert len(judge._known) == before


NOT_PLAIN = [
    b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 131073\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\n\nGET / HTT\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 13\n\nGET / HTT\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\n\nGET / HTT\r\n\r\n",
    b"\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
]


@pytest.mark.parametrize("head", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_h11(head: bytes) -> None:
    assert _plain_head(head) is None


# The twin: the same bytes, with and without memory of heads.

targets = st.sampled_from(["/v1/kv", "/status", "/other", "/v1/admin"])
bodies = st.sampled_from(
    [b"", READ, WRITE, b"{", b"x" * 300, b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
extras = st.sampled_from(
    [
        "",
        "Accept: */*\r\n",
        "Connection: keep-alive\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "X-Long: " + "y" * 3000 + "\r\n",
        "Upgrade: h2c\r\n",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["POST", "POST", "GET", "HEAD", "PUT"]))
    whole = request(method, draw(targets), draw(bodies), draw(extras))
    kind = draw(st.sampled_from(["good"] * 6 + ["chunked", "lf", "old", "changed", "cut"]))
    if kind == "chunked":
        head = whole.partition(b"Content-Length")[0]
        return head + b"Transfer-Encoding: chunked\r\n\r\n17\r\n" + READ + b"\r\n0\r\n\r\n"
    if kind == "lf":
        return whole.replace(b"\r\n", b"\n", draw(st.integers(1, 9)))
    if kind == "old":
        return whole.replace(b"HTTP/1.1", b"HTTP/1.0")
    if kind == "changed":
        changed = bytearray(whole)
        changed[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole) - 1))]
    return whole


def talk(stream: bytes, cuts: list[int], judge: Judge) -> tuple[bytes, list[Any], bool, bool]:
    """What the API saw and said for a stream of bytes that ends."""

    async def main() -> tuple[bytes, list[Any], bool, bool]:
        lab = Lab()
        client = Client(lab, judge)
        position = 0
        for cut in [*cuts, len(stream)]:
            client.say(stream[position : position + cut])
            position += cut
            await asyncio.sleep(0)
        client.finish()
        for _ in range(20):
            await asyncio.sleep(0)
        ending = client.socket.gone, client.socket.eof
        data = client.raw()
        client.end()
        return data, [*lab.operations, *lab.admin], *ending

    return run(main)


def normal(data: bytes) -> list[tuple[int, bytes]] | bytes:
    """Responses without their spelling; to HEAD and to what was cut, the bytes as they are."""
    try:
        return responses(data)
    except Exception:  # noqa: BLE001  (a response to HEAD has a length and no body)
        return re.sub(rb"(HTTP/1.1 \d+) [^\r]*", rb"\1", data).lower()


@given(
    st.lists(requests(), min_size=1, max_size=4),
    st.lists(st.integers(1, 400), max_size=4),
)
def test_with_and_without_memory_of_heads_everything_is_the_same(
    parts: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(parts)
    judge = Judge()
    slow = talk(stream, cuts, NoJudge())
    for _ in range(2):  # the second time the heads are known
        fast = talk(stream, cuts, judge)
        assert fast[1:] == slow[1:]
        assert normal(fast[0]) == normal(slow[0])


# One connection.


def test_requests_are_answered_in_turn_and_one_at_a_time() -> None:
    async def main() -> None:
        lab = Lab()
        lab.answer = lambda: None
        client = lab.connect()
        client.say(request("POST", "/v1/kv", READ) * 3)
        await asyncio.sleep(0)
        assert len(lab.operations) == 1
        for number in range(3):
            reply = lab.waiting[number]
            reply(success(str(number)))
            await asyncio.sleep(0.001)
            reply(success("9"))  # once is enough
            assert len(lab.operations) == min(3, number + 2)
        answers = [json.loads(body)["value"] for _, body in responses(client.raw())]
        assert answers == [0, 1, 2]
        client.end()

    run(main)


def test_a_client_that_sends_ahead_is_not_read_without_end() -> None:
    async def main() -> None:
        lab = Lab()
        lab.answer = lambda: None
        client = lab.connect()
        one = request("POST", "/v1/kv", READ)
        while client.socket.reading:
            client.say(one * 100)
            assert len(client.connection._buffer) < 100_000
        lab.answer = success
        lab.waiting[0](success())
        await until(lambda: client.socket.reading, "reading again")
        assert len(lab.operations) > 600
        assert client.connection._buffer == b""
        client.end()

    run(main)


def test_a_client_that_does_not_read_is_not_served_further() -> None:
    async def main() -> None:
        lab = Lab()
        client = lab.connect()
        client.say(request("POST", "/v1/kv", READ))
        client.connection.pause_writing()
        client.say(request("POST", "/v1/kv", READ) * 5)
        await asyncio.sleep(0.001)
        assert len(lab.operations) == 1
        client.connection.resume_writing()
        await asyncio.sleep(0.001)
        assert len(lab.operations) == 6
        client.end()

    run(main)


def test_one_client_with_much_to_say_leaves_others_their_turn() -> None:
    async def main() -> None:
        lab = Lab()
        first, second = lab.connect(), lab.connect()
        first.say(request("POST", "/v1/kv", READ) * 200)
        assert len(lab.operations) < 50
        second.say(request("POST", "/v1/kv", READ))
        assert len(responses(second.raw())) == 1
        await until(lambda: len(lab.operations) == 201, "all")
        first.end()
        second.end()

    run(main)


def test_a_client_that_has_gone_is_not_answered() -> None:
    async def main() -> None:
        lab = Lab()
        lab.answer = lambda: None
        client = lab.connect()
        client.say(request("POST", "/v1/kv", READ) * 2)
        client.end()
        lab.waiting[0](success())
        await asyncio.sleep(0.001)
        assert client.raw() == b""
        assert len(lab.operations) == 1
        assert lab.api.connections == 0

    run(main)


def test_a_client_that_has_said_all_is_still_answered() -> None:
    async def main() -> None:
        lab = Lab()
        lab.answer = lambda: None
        client = lab.connect()
        client.say(request("POST", "/v1/kv", READ))
        client.finish()
        assert not client.socket.is_closing()
        lab.waiting[0](success())
        await asyncio.sleep(0.001)
        assert one_response(client.raw())[0] == 200
        assert client.socket.gone
        client.end()

    run(main)


@pytest.mark.parametrize("judge", [Judge(), NoJudge()])
@pytest.mark.parametrize(("extra", "status"), [(0, 400), (1, 413)])
def test_a_body_has_a_limit(judge: Judge, extra: int, status: int) -> None:
    async def main() -> None:
        client = Lab().connect(judge)
        seen, answer = client.ask("POST", "/v1/kv", b" " * (BODY_BYTES_MAX + extra))
        assert (seen, answer["error"]["definite"]) == (status, True)
        assert client.socket.eof is (extra == 1)
        client.end()

    run(main)


def test_a_head_has_a_limit() -> None:
    async def main() -> None:
        lab = Lab()
        client = lab.connect()
        client.say(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        for _ in range(40):
            client.say(b"a" * 1000)
        status, answer = one_response(client.raw())
        assert (status, answer["error"]["code"]) == (400, "bad-request")
        assert client.socket.eof
        client.end()

    run(main)


def test_a_refused_request_is_answered_before_the_connection_ends() -> None:
    """What the client still sends is read for a moment: a reset would overtake the answer."""

    async def main() -> None:
        client = Lab().connect()
        client.say(b"nonsense\r\n\r\n")
        assert client.socket.eof
        assert not client.socket.gone
        client.say(request("POST", "/v1/kv", READ))
        assert len(responses(client.raw())) == 1
        assert client.connection.eof_received() is False  # now asyncio closes
        client.end()

    run(main)


def test_nobody_keeps_a_connection_by_silence_or_by_slowness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node.http_connection, "IDLE_S_MAX", 0.1)
    monkeypatch.setattr(node.http_connection, "LINGER_S_MAX", 0.1)

    async def main() -> None:
        lab = Lab()
        silent, slow, refused, busy = (lab.connect() for _ in range(4))
        refused.say(b"nonsense\r\n\r\n")
        lab.answer = lambda: None
        busy.say(request("POST", "/v1/kv", READ))
        data = request("POST", "/v1/kv", b" " * 10_000)
        for position in range(10_000):
            slow.say(data[position : position + 1])
            if slow.socket.gone:
                break
            await asyncio.sleep(0.005)
        await until(lambda: silent.socket.gone and refused.socket.gone, "their end")
        assert slow.socket.gone
        assert not busy.socket.gone, "who waits for an answer is not idle"
        for client in (silent, slow, refused, busy):
            client.end()

    run(main)


def test_other_kinds_of_requests() -> None:
    async def main() -> None:
        client = Lab().connect()
        client.say(b"POST /v1/kv HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\n")
        client.say(b"Expect: 100-continue\r\n\r\n")
        assert client.raw().startswith(b"HTTP/1.1 100")
        client.say(READ)
        assert one_response(client.raw())[0] == 200
        client.say(
            b"POST /v1/kv HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"17\r\n" + READ + b"\r\n0\r\n\r\n" + request("GET", "/status")
        )
        await asyncio.sleep(0.001)
        assert [status for status, _ in responses(client.raw())] == [200, 200]
        client.say(b"HEAD /status HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = client.raw().partition(b"\r\n\r\n")
        assert (head[:12], body) == (b"HTTP/1.1 404", b"")
        client.say(b"GET /status HTTP/1.0\r\nHost: x\r\n\r\n")
        assert b"connection: close" in client.raw().lower()
        assert client.socket.eof
        client.end()

    run(main)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_are_answered_or_waited_for(parts: list[bytes]) -> None:
    async def main() -> None:
        lab = Lab()
        client = lab.connect()
        for part in parts:
            client.say(part)
        client.finish()
        await asyncio.sleep(0)
        for status, body in responses(client.raw()):
            assert status in (400, 404)
            assert json.loads(body)["error"]["definite"] is True
        assert lab.operations == []
        client.end()

    run(main)


# Real sockets.


def test_over_sockets_until_the_api_is_closed() -> None:
    async def main() -> None:
        lab = Lab()
        port = free_ports(1)[0]
        await lab.api.start("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(50):
            lab.answer = lambda number=number: Answer("", str(number), 1, 1, "n1")  # type: ignore[misc]
            writer.write(request("POST", "/v1/kv", READ))
            assert one_response(await reader.read(65536))[1]["value"] == number
        lab.api.stop_listening()
        with pytest.raises(OSError, match="failed"):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/status"))
        assert one_response(await reader.read(65536))[0] == 200
        await lab.api.close()
        assert await reader.read() == b""
        writer.close()
        assert lab.api.connections == 0
        assert lab.api.requests == 51

    run(main)


def test_too_many_connections_are_told_so() -> None:
    async def main() -> None:
        lab = Lab()
        port = free_ports(1)[0]
        await lab.api.start("127.0.0.1", port)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS_MAX)]
        await until(lambda: lab.api.connections == CONNECTIONS_MAX, "connections")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status, answer = one_response(await reader.read())
        assert (status, answer["error"]["code"]) == (503, "overloaded")
        assert answer["error"]["message"] == "too many connections"
        writer.close()
        for client in clients:
            client.close()
        await until(lambda: lab.api.connections == 0, "end of the connections")
        await lab.api.close()

    run(main)
