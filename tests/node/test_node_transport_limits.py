"""What a peer connection may cost: queues, waits and strangers, each with its limit."""

import asyncio
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer_lab import (
    Host,
    answer_handshake,
    closed,
    hang_up,
    opening,
    raw_connection,
    run,
    sealed,
    until,
)

import node.peer_connection
import node.transport
from node.core.messages import Json
from node.peer_connection import QUEUE_FRAMES_MAX, SendQueue


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not read is not given up: the machine may be slow."""
    monkeypatch.setattr(node.peer_connection, "UNACKNOWLEDGED_MS_MAX", 60_000)


@pytest.mark.usefixtures("patience")
def test_a_heartbeat_overtakes_megabytes_of_entries() -> None:
    """The peer stops reading; when it goes on, the heartbeat is among the first to come."""

    async def main() -> None:
        a = Host("a")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        listener.bind(("127.0.0.1", 0))
        go_on = asyncio.Event()
        kinds: list[Json] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sealed_reader = await answer_handshake(reader, writer, "b")
            await go_on.wait()
            while data := await reader.read(65536):
                kinds.extend(document["type"] for document in sealed_reader.feed(data))
            await hang_up(writer)

        server = await asyncio.start_server(serve, sock=listener, limit=4096)
        a.transport.set_members({"b": listener.getsockname()})
        await a.transport.start()
        await until(lambda: a.transport.connected(), "peer")
        entries = "e" * 32 * 1024
        for _ in range(400):
            assert a.transport.send("b", {"type": "append_request", "entries": entries})
        await asyncio.sleep(0.05)
        assert a.transport.send("b", {"type": "heartbeat"})
        go_on.set()
        await until(lambda: len(kinds) == 401, "everything")
        assert kinds.index("heartbeat") < 100
        closed(a)
        server.close()

    run(main)


@pytest.mark.usefixtures("patience")
def test_what_waits_for_a_silent_peer_is_bounded() -> None:
    async def main() -> None:
        a = Host("a", queue_bytes_max=1 << 20)
        done = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answer_handshake(reader, writer, "b")
            await done.wait()
            await hang_up(writer)

        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(serve, sock=listener, limit=4096)
        a.transport.set_members({"b": listener.getsockname()})
        await a.transport.start()
        await until(lambda: a.transport.connected(), "peer")
        sent = 0
        for _ in range(1000):
            sent += a.transport.send("b", {"type": "append_request", "e": "e" * 65536})
            await asyncio.sleep(0)
        assert 0 < sent < 200
        outgoing = a.transport._peers["b"].outgoing
        assert outgoing is not None
        assert outgoing._queue.bulk_bytes <= 1 << 20
        for _ in range(5000):
            assert a.transport.send("b", {"type": "heartbeat"})
        assert len(outgoing._queue) <= 2 * node.peer_connection.QUEUE_FRAMES_MAX
        assert a.transport.counts.frames_dropped >= 1000 - sent + 5000 - 1024
        done.set()
        closed(a)
        server.close()

    run(main)


def test_a_peer_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for its answers is told, and a new connection is tried."""
    monkeypatch.setattr(node.peer_connection, "UNACKNOWLEDGED_MS_MAX", 200)

    async def main() -> None:
        a = Host("a")
        done = asyncio.Event()
        calls: list[int] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            calls.append(1)
            # Every try is given up in turn: the last one may be cut off in its handshake.
            with suppress(ConnectionError):
                await answer_handshake(reader, writer, "b")
                await done.wait()
            await hang_up(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096)
        a.transport.set_members({"b": server.sockets[0].getsockname()})
        await a.transport.start()
        await until(lambda: a.transport.connected(), "peer")
        for _ in range(64):
            a.transport.send("b", {"type": "append_request", "e": "e" * 65536})
        await until(lambda: a.lost == ["b"] and len(calls) > 1, "a new connection")
        done.set()
        closed(a)
        server.close()

    run(main)


def test_strangers_cost_little_and_do_not_keep_a_member_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node.peer_connection, "ACCEPTING_TIMEOUT_S", 60)

    async def main() -> None:
        a, b = Host("a"), Host("b")
        await a.transport.start()
        strangers = [await asyncio.open_connection(*a.address) for _ in range(200)]
        await until(lambda: len(a.transport._strangers) == node.transport.STRANGERS_MAX, "limit")
        b.transport.set_members({"a": a.address})
        await b.transport.start()
        await until(lambda: b.transport.connected() == ["a"], "the member")
        assert len(a.events) < 10, "strangers do not fill the log"
        hung_up = 200 - node.transport.STRANGERS_MAX
        for reader, _ in strangers[:hung_up]:
            assert await asyncio.wait_for(reader.read(), 20) == b""
        for _, writer in strangers:
            await hang_up(writer)
        await until(lambda: not a.transport._strangers, "end of the strangers")
        closed(a, b)

    run(main)


def test_a_stranger_that_says_nothing_or_stops_half_way_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node.peer_connection, "ACCEPTING_TIMEOUT_S", 0.1)

    async def main() -> None:
        a = Host("a")
        await a.transport.start()
        for data in (b"", b"\0\0\0\x10half"):
            reader, writer = await asyncio.open_connection(*a.address)
            writer.write(data)
            assert await asyncio.wait_for(reader.read(), 20) == b""
            await hang_up(writer)
        assert a.said("no handshake within 0.1 s")
        # Who has shaken hands may be silent as long as it likes.
        reader, writer, sealer = await raw_connection(a.address, opening())
        await asyncio.sleep(0.3)
        writer.write(sealed(sealer, {"type": "x"}))
        await until(lambda: a.received, "message")
        await hang_up(writer)
        closed(a)

    run(main)


def test_one_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.transport, "OPENING_TIMEOUT_S", 0.1)

    async def main() -> None:
        a = Host("a")
        tries: list[int] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tries.append(1)
            await reader.read()
            await reader.read()
            await hang_up(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        a.transport.set_members({"b": server.sockets[0].getsockname()})
        await a.transport.start()
        await until(lambda: len(tries) >= 3, "three tries")
        assert a.transport.connected() == []
        assert sum("does not shake hands" in event for event in a.events) == 1
        closed(a)
        server.close()

    run(main)


# The queue.


@given(
    st.lists(st.one_of(st.none(), st.tuples(st.booleans(), st.integers(1, 9000))), max_size=60),
    st.integers(5000, 20_000),
)
def test_the_queue_does_what_a_dumb_one_does(
    steps: list[tuple[bool, int] | None], bytes_max: int
) -> None:
    """Urgent first, order within a class, bulk refused when the bytes are too many."""
    queue = SendQueue(bytes_max)
    urgent: list[bytes] = []
    bulk: list[bytes] = []
    for number, step in enumerate(steps):
        if step is None:
            if urgent or bulk:
                assert queue.take() == (urgent or bulk).pop(0)
        else:
            is_bulk, size = step
            payload = b"%06d" % number + bytes(size)
            if not is_bulk and len(payload) <= 4096:
                urgent.append(payload)
                assert queue.put(payload, bulk=False)
            else:
                fits = not bulk or sum(map(len, bulk)) + len(payload) <= bytes_max
                assert queue.put(payload, bulk=is_bulk) is fits
                if fits:
                    bulk.append(payload)
        assert len(queue) == len(urgent) + len(bulk)
        assert queue.bulk_bytes == sum(map(len, bulk))


def test_a_full_queue_drops_old_urgent_frames_and_refuses_new_bulk() -> None:
    queue = SendQueue()
    for number in range(QUEUE_FRAMES_MAX + 5):
        assert queue.put(b"%d" % number, bulk=False)
        assert queue.put(b"%d" % number, bulk=True) is (number < QUEUE_FRAMES_MAX)
    assert len(queue) == 2 * QUEUE_FRAMES_MAX
    assert queue.dropped == 10
    assert queue.take() == b"5"
