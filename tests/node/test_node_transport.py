"""Transports that speak to each other over real sockets: who is let in, and what gets through."""

import asyncio
import random
from collections.abc import Mapping

import pytest
from peer_lab import (
    SECRET,
    Host,
    chunk_of,
    closed,
    hang_up,
    heard,
    opening,
    raw_connection,
    run,
    sealed,
    started,
    until,
)

import node.peer_connection
import node.transport
from node.authentication import FRAME_BYTES_MAX
from node.core.messages import Malformed
from node.transport import Address, Transport, address_from_text


def test_messages_arrive_once_and_in_order_both_ways() -> None:
    async def main() -> None:
        a, b = Host("a"), Host("b")
        await started(a, b)
        for number in range(500):
            assert a.transport.send("b", {"type": "vote_reply", "n": number, "t": "\u20ac"})
            assert b.transport.send("a", {"type": "append_request", "n": number})
        await until(lambda: len(a.received) == len(b.received) == 500, "messages")
        assert [m["n"] for m in b.from_peer("a")] == list(range(500))
        assert [m["n"] for m in a.from_peer("b")] == list(range(500))
        assert b.received[0][1]["t"] == "\u20ac"
        assert a.transport.counts.frames_sent == 500 == b.transport.counts.frames_received
        assert a.transport.counts.connections_refused == 0
        closed(a, b)

    run(main)


def test_what_is_written_in_one_turn_leaves_in_few_writes() -> None:
    async def main() -> None:
        a, b = Host("a"), Host("b")
        await started(a, b)
        outgoing = a.transport._peers["b"].outgoing
        assert outgoing is not None
        assert outgoing.socket is not None
        writes: list[int] = []
        original = outgoing.socket.write
        outgoing.socket.write = lambda data: (writes.append(len(data)), original(data))  # type: ignore[method-assign,assignment,func-returns-value]
        for number in range(100):
            a.transport.send("b", {"type": "heartbeat", "n": number})
        await until(lambda: len(b.received) == 100, "messages")
        assert len(writes) == 1
        closed(a, b)

    run(main)


@pytest.mark.parametrize(
    ("stranger", "reason"),
    [
        ({"secret": b"another secret of the same length"}, "does not know the cluster secret"),
        ({"cluster": "c2"}, "another cluster"),
    ],
)
def test_a_node_of_another_cluster_or_secret_is_refused_by_both(
    stranger: Mapping[str, object], reason: str
) -> None:
    async def main() -> None:
        a, b = Host("a"), Host("b", **stranger)  # type: ignore[arg-type]
        for host, other in ((a, b), (b, a)):
            host.transport.set_members({other.name: other.address})
            await host.transport.start()
        await until(lambda: a.said(reason) and b.said(reason), "refusal")
        await until(lambda: a.said("in the handshake") and b.said("in the handshake"), "report")
        assert a.transport.connected() == b.transport.connected() == []
        assert not a.transport.send("b", {"type": "x"})
        assert a.known == b.known == {}, "nobody is admitted who has proven nothing"
        closed(a, b)

    run(main)


def test_a_node_is_told_by_whom_it_was_refused_once_it_has_proven_itself() -> None:
    """The wiped node: same name, same secret, another incarnation."""

    async def main() -> None:
        a, b = Host("a"), Host("b", incarnation=7)
        await started(a, b)
        closed(b)
        await until(lambda: not a.transport.connected(), "loss")
        wiped = Host("b", port=b.address[1], incarnation=8)
        wiped.transport.set_members({"a": a.address})
        await wiped.transport.start()
        await until(lambda: wiped.said("refused: incarnation 8 is not the one"), "refusal")
        await until(lambda: a.said("its incarnation 8 is not the one"), "refusal of the called")
        assert a.known == {"b": 7}
        assert a.transport.connected() == []
        assert wiped.transport.connected() == []
        closed(a, wiped)

    run(main)


def test_a_node_that_lives_at_the_address_of_another_is_not_taken_for_it() -> None:
    async def main() -> None:
        a, b = Host("a"), Host("b")
        await b.transport.start()
        a.transport.set_members({"c": b.address})
        await a.transport.start()
        await until(lambda: b.said("it called another node than this one"), "refusal")
        assert a.transport.connected() == []
        closed(a, b)

    run(main)


def test_two_of_the_same_name_do_not_speak() -> None:
    async def main() -> None:
        a = Host("a")
        await a.transport.start()
        with pytest.raises(ConnectionResetError, match="closed"):
            await raw_connection(a.address, opening(name="a"))
        assert a.said("it has the name of this node")
        closed(a)

    run(main)


def test_a_restarted_peer_is_found_again() -> None:
    async def main() -> None:
        a, b = Host("a"), Host("b")
        await started(a, b)
        for round_ in range(3):
            closed(b)
            await until(lambda: not a.transport.connected(), "loss")
            assert a.lost == ["b"] * (round_ + 1)
            b = Host("b", port=b.address[1])
            b.transport.set_members({"a": a.address})
            await b.transport.start()
            await until(lambda: a.transport.connected() == ["b"], "peer")
        assert a.transport.send("b", {"type": "x"})
        await heard(b, "a", {"type": "x"})
        closed(a, b)

    run(main)


def test_members_come_go_and_move() -> None:
    async def main() -> None:
        a, b, c = Host("a"), Host("b"), Host("c")
        await started(a, b)
        await started(c, acquainted=False)
        everybody = {host.name: host.address for host in (a, b, c)}
        a.transport.set_members(everybody)
        await until(lambda: a.transport.connected() == ["b", "c"], "the new member")
        kept = a.transport._peers["b"].outgoing
        a.transport.set_members({"c": c.address, "a": a.address})
        assert a.lost[:1] == ["b"], "who waits for an answer of b is told at once"
        assert not a.transport.send("b", {"type": "x"})
        await until(lambda: kept is None or kept.socket is None, "end of the connection")
        moved = Host("c")
        closed(c)
        await moved.transport.start()
        a.transport.set_members({"c": moved.address})
        # b still calls, as a guest by now: whether it is back already does not matter.
        await until(lambda: "c" in a.transport.connected(), "the member that moved")
        assert a.transport.send("c", {"type": "x"})
        await until(lambda: moved.received == [("a", {"type": "x"})], "message")
        closed(a, b, moved)

    run(main)


def test_a_learner_that_knows_nobody_answers_whoever_speaks_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node.transport, "GUEST_LINGER_S", 0.05)

    async def main() -> None:
        leader, learner = Host("leader"), Host("learner")
        await started(learner, acquainted=False)
        leader.transport.set_members({"learner": learner.address})
        await leader.transport.start()
        await until(lambda: learner.transport.connected() == ["leader"], "call back")
        leader.transport.send("learner", {"type": "append_request"})
        await until(lambda: learner.received, "message")
        assert learner.transport.send("leader", {"type": "append_reply"})
        await until(lambda: leader.from_peer("learner"), "reply")
        # It becomes a member: the same connection goes on.
        before = learner.transport._peers["leader"].outgoing
        learner.transport.set_members({"leader": leader.address})
        assert learner.transport._peers["leader"].outgoing is before
        # A guest that has gone is forgotten; a member is not.
        guest = Host("guest")
        guest.transport.set_members({"learner": learner.address})
        await guest.transport.start()
        await until(lambda: learner.transport.connected() == ["guest", "leader"], "guest")
        closed(guest, leader)
        await until(lambda: set(learner.transport._peers) == {"leader"}, "end of the visit")
        closed(learner)

    run(main)


def test_guests_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.transport, "GUESTS_MAX", 2)

    async def main() -> None:
        a = Host("a")
        await a.transport.start()
        guests = [await raw_connection(a.address, opening(name=name)) for name in ("g1", "g2")]
        with pytest.raises(Malformed, match="refused: more than 2 nodes"):
            await raw_connection(a.address, opening(name="g3"))
        monkeypatch.setattr(node.transport, "GUESTS_MAX", 3)
        with pytest.raises(Malformed, match="refused: not host:port"):
            await raw_connection(a.address, opening(name="g3", address="nowhere"))
        for _, writer, _ in guests:
            await hang_up(writer)
        closed(a)

    run(main)


def test_a_newer_connection_of_a_node_replaces_the_older() -> None:
    async def main() -> None:
        a = Host("a")
        await a.transport.start()
        first, first_writer, _ = await raw_connection(a.address, opening())
        _, writer, sealer = await raw_connection(a.address, opening(nonce=b"x" * 32))
        assert await first.read() == b""
        await hang_up(first_writer)
        writer.write(sealed(sealer, {"type": "x"}))
        await until(lambda: a.received == [("b", {"type": "x"})], "message")
        await hang_up(writer)
        closed(a)

    run(main)


def test_chunks_of_a_snapshot_pass_and_what_is_too_large_is_refused() -> None:
    async def main() -> None:
        a, b = Host("a"), Host("b")
        await started(a, b)
        chunk = chunk_of(256 * 1024)
        for offset in range(16):
            assert a.transport.send(
                "b", {"type": "snapshot_chunk", "offset": offset, "data": chunk}
            )
        await until(lambda: len(b.received) == 16, "chunks")
        assert all(document["data"] == chunk for _, document in b.received)
        assert not a.transport.send("b", {"type": "x", "data": "x" * FRAME_BYTES_MAX})
        assert a.said("too large")
        assert a.transport.connected() == ["b"]
        closed(a, b)

    run(main)


def test_random_and_truncated_bytes_at_every_stage_over_sockets() -> None:
    """What is wrong ends its own connection; a member that speaks all the while is not disturbed."""

    async def main() -> None:
        chance = random.Random(3)
        a, b = Host("a"), Host("b")
        await started(a, b)
        for number in range(120):
            stage = number % 4
            rubbish = chance.randbytes(chance.randrange(1, 6000))
            if stage < 3:
                reader, writer = await asyncio.open_connection(*a.address)
                hello = node.transport.encode_frame(opening(name="s").hello())
                if stage == 1:
                    writer.write(hello[: chance.randrange(len(hello))])
                elif stage == 2:
                    writer.write(hello)
            else:
                reader, writer, sealer = await raw_connection(a.address, opening(name="s"))
                writer.write(sealed(sealer, {"type": "x", "n": number}))
                await heard(a, "s", {"type": "x", "n": number})
                frame = bytearray(sealed(sealer, {"type": "evil"}))
                frame[chance.randrange(4, len(frame))] ^= 1 << chance.randrange(8)
                rubbish = bytes(frame) + rubbish
            writer.write(rubbish)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 20)
            assert b"accepted" not in answer
            await hang_up(writer)
            assert b.transport.send("a", {"type": "ping", "n": number})
            await heard(a, "b", {"type": "ping", "n": number})
        assert [m["n"] for m in a.from_peer("b")] == list(range(120))
        assert [m["n"] for m in a.from_peer("s")] == list(range(3, 120, 4))
        assert {source for source, _ in a.received} == {"b", "s"}
        assert a.transport.counts.connections_refused >= 60
        assert b.lost == []
        assert len(a.events) < 150
        closed(a, b)

    run(main)


def test_what_a_transport_needs_is_checked() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="openssl rand"):
            Host("a", secret=b"short")
        with pytest.raises(ValueError, match="printable ASCII"):
            Host("\u00e4")
        taken = Host("a")
        await taken.transport.start()
        with pytest.raises(OSError, match="in use"):
            await Host("b", port=taken.address[1]).transport.start()
        closed(taken)

    run(main)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("n1:7000", ("n1", 7000)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("n1", None),
        (":7000", None),
        ("n1:0", None),
        ("n1:65536", None),
        ("n1:\u0663", None),
        ("n1:+80", None),
    ],
)
def test_addresses(text: str, address: Address | None) -> None:
    if address is None:
        with pytest.raises(Malformed):
            address_from_text(text)
    else:
        assert address_from_text(text) == address


def test_a_transport_on_ipv6_introduces_itself_so_that_it_can_be_called_back() -> None:
    async def main() -> None:
        transport = Transport(
            name="a",
            address=("::1", 7000),
            cluster="c",
            secret=SECRET,
            incarnation=1,
            admit=lambda *_: True,
            receive=lambda *_: None,
            lost=lambda _: None,
            event=lambda _: None,
        )
        hello = transport.opening("b").hello()
        assert address_from_text(str(hello["address"])) == ("::1", 7000)

    run(main)
