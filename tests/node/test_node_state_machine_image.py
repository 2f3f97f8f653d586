"""Images of the state: whole or refused, and untouched by what comes after."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import state_image
from node.command import Command
from node.core.messages import CONFIGURATION, Entry, Malformed
from node.operations import Operation, Session
from node.state_machine import StateMachine


def filled() -> StateMachine:
    """A state with something of everything."""
    state = StateMachine()
    session = Session(2, 5, 3)
    operations = [
        Operation("open_session", ttl_ms=500),
        Operation("write", "text", '"x"', ttl_ms=90),
        Operation("write", "\u00e9\ud800", '{"a":[1,null]}'),
        Operation("append", "list", "1"),
        Operation("append", "list", '"two"', session=session),
        Operation("set_add", "set", '"b"'),
        Operation("set_add", "set", '"a"'),
        Operation("enqueue", "queue", "1"),
        Operation("enqueue", "queue", "2"),
        Operation("dequeue", "queue"),
        Operation("lock_acquire", "lock", '"me"', ttl_ms=80),
    ]
    state.apply(Entry(1, 1, '{"voters":["n1"]}', CONFIGURATION))
    for operation in operations:
        data = Command(10, operation).to_text()
        assert state.apply(Entry(state.applied_index + 1, 2, data)).error == ""
    return state


IMAGE = filled().image()()


def sealed(text: str) -> bytes:
    """These lines with a right digest: damage that only reading can find."""
    whole = text.encode()
    return whole + state_image._end(whole)


BODY = IMAGE[: -state_image._END_BYTES].decode()


def test_everything_comes_back() -> None:
    state, restored = filled(), StateMachine.from_image(IMAGE)
    assert sealed(BODY) == IMAGE
    for name in ("applied_index", "applied_term", "time_ms", "configuration", "key_count"):
        assert getattr(restored, name) == getattr(state, name)
    assert restored.configuration == '{"voters":["n1"]}'
    assert (restored.applied_index, restored.applied_term, restored.time_ms) == (12, 2, 10)
    assert restored.state_hash() == state.state_hash()
    assert restored.next_expiry_ms() == state.next_expiry_ms() == 90
    assert restored.read(Operation("read", "list")) == ("", '[1,"two"]')
    assert restored.read(Operation("set_members", "set")) == ("", '["a","b"]')
    assert restored.read(Operation("queue_length", "queue")) == ("", "1")
    assert restored.read(Operation("lock_holder", "lock")) == ("", '{"owner":"me","token":12}')


def test_an_empty_state_has_an_image() -> None:
    restored = StateMachine.from_image(StateMachine().image()())
    assert restored.state_hash() == StateMachine().state_hash()
    assert restored.next_expiry_ms() is None


def test_every_flipped_bit_is_found() -> None:
    for place in range(len(IMAGE)):
        damaged = bytearray(IMAGE)
        damaged[place] ^= 1 << (place % 8)
        with pytest.raises(Malformed):
            StateMachine.from_image(bytes(damaged))


def test_every_cut_is_found() -> None:
    for size in range(len(IMAGE)):
        with pytest.raises(Malformed):
            StateMachine.from_image(IMAGE[:size])
    with pytest.raises(Malformed):
        StateMachine.from_image(IMAGE + b"\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_image_or_malformed(raw: bytes) -> None:
    for image in (raw, raw + state_image._end(raw), IMAGE + raw[1:]):
        try:
            StateMachine.from_image(image)
        except Malformed:
            continue
        assert image == IMAGE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('["head",1,', '["head",2,'),
        ('["head",', '["tail",'),
        ('"text",', ""),
        ('"text",', '"other",'),
        ('"text",', '"",'),
        ('"text","\\"x\\""', '"text","null"'),
        ('"text","\\"x\\""', '"text",7'),
        ('"text","\\"x\\""', '"text",[]'),
        ('["list",0,', '["heap",0,'),
        ('["list",0,', '["list",1,'),
        ('["list",0,"1"', '["list",0,1'),
        ('["list",0,"1"', '["list",0,"2"'),
        ('["set",0,"\\"a\\""', '["set",0,"\\"b\\""'),
        ('["queue",1,', '["queue",0,'),
        ('["queue",1,', '["queue",-1,'),
        ('["lock",12,"\\"me\\""]', '["lock",12]'),
        ('["lock",12,', '["lock",null,'),
        ('["deadlines","text",100', '["deadlines","text",101'),
        ('["deadlines","text",100', '["deadlines","nobody",100'),
        ('["deadlines","text",100', '["deadlines","text",null'),
        ('["deadlines","text",100', '["deadlines","text",0'),
        ('["deadlines","text",100', '["deadlines",100'),
        ('["sessions",2,500,', '["sessions",2,501,'),
        ('["sessions",2,500,', '["sessions",500,'),
        ('["sessions",2,500,', '["sessions","2",500,'),
        ('["sessions",2,500,10,6,3,5,"","2"]', '["sessions",2,500,10,6,3]'),
        ('["sessions",2,500,10,6,3,5,"","2"]', '["sessions",2,500,10,6,3,5,"oops","2"]'),
        ('["sessions",2,500,10,6,3,5,"","2"]', '["sessions",2,500,10,6,3,5,null,"2"]'),
        ('["sessions",2,500,10,6,3,5,"","2"]', '["sessions",2,500,10,6,3,5,"",2]'),
        ('["sessions",2,500,10,6,3,5,"","2"]', '["sessions",2,500,10,6,3,6,"","2"]'),
        ('["sessions"', '["seasons"'),
        ('["sessions"', "[[]"),
    ],
)
def test_what_only_reading_can_find_is_found(old: str, new: str) -> None:
    """The digest of these images is right: their content is not."""
    assert old in BODY
    text = BODY.replace(old, new, 1) if old else BODY + BODY.splitlines()[-1] + "\n"
    with pytest.raises(Malformed):
        StateMachine.from_image(sealed(text))


def test_an_image_is_written_while_the_state_goes_on() -> None:
    """On another thread; every line of what it writes is of the moment when it was taken."""
    state = StateMachine()

    def run(operation: Operation) -> None:
        data = Command(state.applied_index, operation).to_text()
        state.apply(Entry(state.applied_index + 1, 1, data))

    run(Operation("open_session"))
    for number in range(4000):
        run(Operation("write", f"key-{number}", str(number)))
        run(Operation("append", "list", str(number), session=Session(1, number % 900 + 1, 0)))
        run(Operation("set_add", "set", str(number)))
        run(Operation("enqueue", "queue", str(number)))
    before, index = state.state_hash(), state.applied_index
    write = state.image()
    images: list[bytes] = []
    thread = threading.Thread(target=lambda: images.extend(write() for _ in range(5)))
    thread.start()
    number = 0
    while thread.is_alive() or number < 500:
        run(Operation("write", f"key-{number % 4000}", '"new"'))
        run(Operation("append", "list", "0", session=Session(1, 901 + number % 50, 0)))
        run(Operation("set_remove", "set", str(number)))
        run(Operation("set_add", "set", f'"{number}"'))
        run(Operation("dequeue", "queue"))
        run(Operation("delete", f"key-{number % 4000 - 10}"))
        number += 1
    thread.join()
    for image in images:
        restored = StateMachine.from_image(image)
        assert (restored.applied_index, restored.state_hash()) == (index, before)


def test_lines_are_short() -> None:
    """So that the thread that writes them lets the others run in between."""
    state = StateMachine()
    for number in range(5000):
        data = Command(1, Operation("write", f"key-{number}", '"' + "x" * 100 + '"')).to_text()
        state.apply(Entry(number + 1, 1, data))
    lines = state.image()().splitlines()
    assert len(lines) > 8
    assert max(map(len, lines)) < 2 * state_image.LINE_BYTES
