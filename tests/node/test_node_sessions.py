"""Sessions: an operation happens once, in whatever order and however often it is sent."""

import json
import random

import pytest

from node import sessions as sessions_module
from node.answers import Result
from node.command import Command
from node.core.messages import Entry
from node.operations import TICK, Operation, Session
from node.sessions import REPLIES_MAX, REPLY_BYTES_MAX, SESSION_TTL_MS
from node.state_machine import StateMachine


class Client:
    """Speaks to a state machine in sessions."""

    def __init__(self) -> None:
        self.state = StateMachine()
        self.now_ms = 0

    def run(self, operation: Operation) -> Result:
        entry = Entry(self.state.applied_index + 1, 1, Command(self.now_ms, operation).to_text())
        return self.state.apply(entry)

    def open(self, ttl_ms: int = 0) -> int:
        result = self.run(Operation("open_session", ttl_ms=ttl_ms))
        assert result == ("", str(self.state.applied_index))
        return int(result.value)

    def append(self, session: int, sequence: int, ack: int = 0, value: str = "1") -> Result:
        return self.run(Operation("append", "k", value, session=Session(session, sequence, ack)))

    def alive(self, session: int, sequence: int = 1) -> bool:
        result = self.run(Operation("keep_alive", session=Session(session, sequence, 0)))
        assert result in (("", "true"), ("session-expired", "null"))
        return result.error == ""

    def length(self) -> int:
        value = json.loads(self.state.read(Operation("read", "k")).value)
        return 0 if value is None else len(value)


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_repeated_operation_gives_its_first_reply(client: Client) -> None:
    session, other = client.open(), client.open()
    assert client.append(session, 1) == ("", "1")
    assert client.append(other, 1) == ("", "2")
    assert client.append(session, 1) == ("", "1")
    assert client.append(session, 2) == ("", "3")
    assert client.length() == 3


def test_sequences_may_arrive_in_any_order(client: Client) -> None:
    session = client.open()
    order = [5, 3, 9, 1, 2, 8]
    replies = {sequence: client.append(session, sequence) for sequence in order}
    assert [replies[sequence].value for sequence in order] == list("123456")
    for sequence in sorted(order):
        assert client.append(session, sequence) == replies[sequence]
    assert client.length() == len(order)


def test_a_failure_is_kept_too(client: Client) -> None:
    """What failed when it was first applied must not succeed when it is sent again."""
    session = client.open()
    cas = Operation("cas", "a", "2", "1", Session(session, 1, 0))
    assert client.run(cas) == ("precondition-failed", "null")
    client.run(Operation("write", "a", "1"))
    assert client.run(cas) == ("precondition-failed", "null")
    lock = Operation("lock_acquire", "l", '"me"', session=Session(session, 3, 0))
    client.run(Operation("lock_acquire", "l", '"you"'))
    assert client.run(lock) == ("held", '"you"')
    client.run(Operation("lock_release", "l", '"you"'))
    assert client.run(lock) == ("held", '"you"')


def test_a_repeated_dequeue_gives_its_element_again(client: Client) -> None:
    session = client.open()
    for value in ("1", "2"):
        client.run(Operation("enqueue", "q", value))
    dequeue = Operation("dequeue", "q", session=Session(session, 1, 0))
    assert [client.run(dequeue) for _ in range(2)] == [("", "1")] * 2
    assert client.state.read(Operation("queue_length", "q")) == ("", "1")


def test_what_was_acknowledged_is_stale(client: Client) -> None:
    session = client.open()
    for sequence in (1, 2, 3):
        client.append(session, sequence)
    assert client.append(session, 4, ack=2) == ("", "4")
    assert client.append(session, 2, ack=0) == ("session-stale", "null")
    assert client.append(session, 3, ack=0) == ("", "3")
    assert client.append(session, 5, ack=5) == ("session-stale", "null")
    assert client.append(session, 3, ack=0) == ("session-stale", "null")
    assert client.length() == 4


def test_an_acknowledgement_may_leap(client: Client) -> None:
    """Its cost is bounded by the replies that are kept, not by the distance."""
    session = client.open()
    client.append(session, 1)
    client.append(session, 10**15)
    assert client.append(session, 10**15 + 2, ack=10**15 - 1) == ("", "3")
    assert client.append(session, 10**15) == ("", "2")
    assert client.append(session, 1) == ("session-stale", "null")


def test_an_unknown_session_is_never_created(client: Client) -> None:
    for _ in range(2):
        assert client.append(77, 1) == ("session-expired", "null")
    assert client.state.session_count == 0
    assert client.length() == 0


def test_a_closed_session_is_gone(client: Client) -> None:
    session = client.open()
    assert client.run(Operation("close_session", id=session)) == ("", "true")
    assert client.run(Operation("close_session", id=session)) == ("", "false")
    assert client.append(session, 1) == ("session-expired", "null")
    assert client.state.next_expiry_ms() is None


def test_a_session_ends_by_the_time_of_the_log_after_its_last_use(client: Client) -> None:
    short, usual = client.open(ttl_ms=1000), client.open()
    assert client.state.next_expiry_ms() == 1000
    client.now_ms = 999
    assert client.alive(short)
    assert client.state.next_expiry_ms() == 1999
    client.now_ms = 1998
    assert client.append(short, 9, ack=9) == ("session-stale", "null")  # this too is a use
    client.now_ms = 2998
    assert not client.alive(short)
    assert client.state.next_expiry_ms() == SESSION_TTL_MS
    client.now_ms = SESSION_TTL_MS
    client.run(TICK)
    assert not client.alive(usual)
    assert client.state.session_count == 0


def test_a_session_keeps_only_so_many_replies(client: Client) -> None:
    session = client.open()
    for sequence in range(1, REPLIES_MAX + 1):
        assert client.append(session, sequence).error == ""
    assert client.append(session, REPLIES_MAX + 1) == ("session-full", "null")
    assert client.append(session, 1) == ("", "1")
    assert client.append(session, REPLIES_MAX + 1, ack=1) == ("", str(REPLIES_MAX + 1))
    assert client.append(session, REPLIES_MAX + 2) == ("session-full", "null")
    assert client.length() == REPLIES_MAX + 1


def test_a_session_keeps_only_so_many_bytes(client: Client) -> None:
    session = client.open()
    value = json.dumps("x" * 65_000)
    sequence = 0
    while True:
        sequence += 1
        operation = Operation("write", "w", value, session=Session(session, sequence, 0))
        if client.run(operation).error == "session-full":
            break
    assert sequence == REPLY_BYTES_MAX // len(value) + 2
    assert client.append(session, sequence, ack=sequence - 1) == ("", "1")


def test_the_session_used_longest_ago_makes_room(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "SESSIONS_MAX", 3)
    first, second, third = client.open(), client.open(), client.open()
    assert client.alive(first)
    fourth = client.open()
    assert client.state.session_count == 3
    assert not client.alive(second)
    assert [client.alive(session, 2) for session in (third, first, fourth)] == [True] * 3
    # The order outlives an image: all have been used at the same time of the log.
    client.state = StateMachine.from_image(client.state.image()())
    fifth = client.open()
    assert [client.alive(session, 3) for session in (third, first, fourth, fifth)] == [
        False, True, True, True,
    ]  # fmt: skip


def test_a_restored_session_still_knows_its_replies(client: Client) -> None:
    session = client.open()
    client.append(session, 1)
    client.append(session, 3, ack=1)
    client.state = StateMachine.from_image(client.state.image()())
    assert client.append(session, 3) == ("", "2")
    assert client.append(session, 1) == ("session-stale", "null")
    assert client.append(session, 2) == ("", "3")


@pytest.mark.parametrize("seed", range(20))
def test_any_delivery_is_as_if_each_had_been_sent_once(seed: int) -> None:
    """A network that repeats and reorders; a client that acknowledges what it has heard of."""
    chance = random.Random(seed)
    client = Client()
    clients = [client.open() for _ in range(3)]
    replies: dict[tuple[int, int], Result] = {}
    acknowledged = dict.fromkeys(clients, 0)
    sent: list[Operation] = []
    following = dict.fromkeys(clients, 0)
    for _ in range(400):
        session = chance.choice(clients)
        if chance.random() < 0.5 or not sent:
            following[session] += 1
            claim = Session(session, following[session], acknowledged[session])
            sent.append(Operation("append", "k", f"[{session},{claim.sequence}]", session=claim))
        operation = chance.choice(sent[-20:])
        claim = operation.session or Session(0, 0, 0)
        result = client.run(operation)
        place = (claim.id, claim.sequence)
        if place in replies and claim.sequence > acknowledged[claim.id]:
            assert result == replies[place]
        elif result.error == "session-stale":
            assert claim.sequence <= acknowledged[claim.id]
        else:
            assert result.error == ""
            replies.setdefault(place, result)
        while (claim.id, acknowledged[claim.id] + 1) in replies and chance.random() < 0.7:
            acknowledged[claim.id] += 1
    held = json.loads(client.state.read(Operation("read", "k")).value)
    assert [tuple(place) for place in held] == sorted(replies, key=lambda p: int(replies[p].value))
    assert len(set(map(tuple, held))) == len(held)
