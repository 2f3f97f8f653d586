"""The state machine: what each operation does, when things expire, and that apply is pure."""

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.command import Command
from node.core.messages import CONFIGURATION, NOOP, Entry
from node.json_text import HELD_BYTES_MAX
from node.operations import COUNTER_MAX, TICK, Operation, Result, parse
from node.state_machine import StateMachine
from node.values import Line


class Store:
    """A state machine that is spoken to as a client would, at a time of one's choosing."""

    def __init__(self) -> None:
        self.state = StateMachine()
        self.now_ms = 1000

    def raw(self, data: str, kind: str = "command") -> Result:
        return self.state.apply(Entry(self.state.applied_index + 1, 1, data, kind))

    def run(self, operation: Operation) -> Result:
        if operation.reads_only:
            # A read that goes through the log gives what a read without does.
            read = self.state.read(operation)
            assert self.raw(Command(self.now_ms, operation).to_text()) == read
            return read
        return self.raw(Command(self.now_ms, operation).to_text())

    def do(self, op: str, key: str | None = None, **fields: object) -> object:
        """The value, or the error's code alone, or [code, value] if the value says something."""
        document = {"op": op} | ({} if key is None else {"key": key}) | fields
        error, text = self.run(parse(json.dumps(document).encode()))
        value = json.loads(text)
        if not error:
            return value
        return error if value is None else [error, value]

    def tick(self, now_ms: int) -> None:
        self.now_ms = now_ms
        assert self.run(TICK) == ("", "null")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, True, False), (0, False, False), (1, 1.0, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), ([1, 2], [2, 1], False), (None, None, True),
        ("1", 1, False),
    ],
)  # fmt: skip
def test_json_equality(store: Store, one: object, other: object, equal: bool) -> None:
    assert store.do("write", "k", value=one) == one
    expected = 7 if equal else ["precondition-failed", one]
    assert store.do("cas", "k", **{"from": other, "to": 7}) == expected
    assert store.do("read", "k") == (7 if equal else one)


def test_a_missing_key_and_null_are_the_same(store: Store) -> None:
    before = store.state.state_hash()
    assert store.do("read", "k") is None
    assert store.do("cas", "k", **{"from": None, "to": 1}) == 1
    assert store.do("cas", "k", **{"from": None, "to": 2}) == ["precondition-failed", 1]
    assert store.do("cas", "k", **{"from": 1, "to": None}) is None
    assert store.state.state_hash() == before
    store.do("write", "k", value=5)
    store.do("write", "k", value=None)
    assert store.do("delete", "k") is False
    assert store.do("append", "k", value=1) == 1
    assert store.do("delete", "k") is True
    assert store.state.state_hash() == before
    assert store.state.key_count == 0


def test_lists(store: Store) -> None:
    assert store.do("append", "k", value="a") == 1
    assert store.do("append", "k", value=[None]) == 2
    assert store.do("read", "k") == ["a", [None]]
    store.do("write", "k", value=[1, {"b": 2, "a": [1.5]}])
    assert store.do("append", "k", value=2) == 3
    assert store.do("read", "k") == [1, {"a": [1.5], "b": 2}, 2]
    assert store.do("cas", "k", **{"from": [1, {"a": [1.5], "b": 2}, 2], "to": []}) == []
    assert store.do("append", "k", value=3) == 1
    assert store.do("write", "k", value="text") == "text"
    assert store.do("append", "k", value=3) == "wrong-type"


def test_counters(store: Store) -> None:
    assert [store.do("unique_id", "k") for _ in range(3)] == [1, 2, 3]
    assert store.do("increment", "k", by=-5) == -2
    assert store.do("read", "k") == -2
    store.do("write", "k", value=COUNTER_MAX)
    assert store.do("unique_id", "k") == "out-of-range"
    assert store.do("increment", "k", by=-COUNTER_MAX) == 0
    assert store.do("increment", "k", by=-COUNTER_MAX) == -COUNTER_MAX
    assert store.do("increment", "k", by=-1) == "out-of-range"
    for value in ("1", 1.0, True, 10**40, [1]):
        store.do("write", "k", value=value)
        assert store.do("increment", "k", by=1) == "wrong-type"
        assert store.do("read", "k") == value


def test_sets(store: Store) -> None:
    assert store.do("set_members", "k") == []
    assert store.do("set_remove", "k", value=1) is False
    assert [store.do("set_add", "k", value=value) for value in (2, "b", 2, 1)] == [
        True, True, False, True,
    ]  # fmt: skip
    assert store.do("set_members", "k") == ["b", 1, 2]
    assert store.do("set_remove", "k", value=2) is True
    assert store.do("set_remove", "k", value=2) is False
    assert store.do("set_members", "k") == ["b", 1]
    store.do("set_remove", "k", value="b")
    store.do("set_remove", "k", value=1)
    assert store.do("delete", "k") is False


def test_queues(store: Store) -> None:
    assert store.do("queue_length", "k") == 0
    assert store.do("dequeue", "k") == "empty"
    assert [store.do("enqueue", "k", value=value) for value in range(300)] == list(range(1, 301))
    assert [store.do("dequeue", "k") for _ in range(299)] == list(range(299))
    # A restored state computes its hash anew: this one is right after all that has left.
    assert StateMachine.from_image(store.state.image()()).state_hash() == store.state.state_hash()
    assert store.do("enqueue", "k", value="last") == 2
    assert store.do("queue_length", "k") == 2
    assert [store.do("dequeue", "k") for _ in range(3)] == [299, "last", "empty"]
    assert store.do("delete", "k") is False


def test_locks(store: Store) -> None:
    """The token is the index of the entry, so that a later holder has a larger one."""
    assert store.do("lock_holder", "k") is None
    assert store.do("lock_release", "k", owner="a") == "not-held"
    token = store.do("lock_acquire", "k", owner="a")
    assert token == store.state.applied_index
    assert store.do("lock_acquire", "k", owner="a") == ["held", "a"]
    assert store.do("lock_acquire", "k", owner="b") == ["held", "a"]
    assert store.do("lock_holder", "k") == {"owner": "a", "token": token}
    assert store.do("lock_release", "k", owner="b") == "not-held"
    assert store.do("lock_release", "k", owner="a") is True
    assert store.do("lock_release", "k", owner="a") == "not-held"
    later = store.do("lock_acquire", "k", owner="b")
    assert isinstance(later, int)
    assert isinstance(token, int)
    assert later > token


def test_an_operation_on_another_type_changes_nothing(store: Store) -> None:
    store.do("write", "text", value="x")
    store.do("append", "list", value=1)
    store.do("increment", "counter", by=1)
    store.do("set_add", "set", value=1)
    store.do("enqueue", "queue", value=1)
    store.do("lock_acquire", "lock", owner="me")
    reads_as_value = {"text", "list", "counter"}
    operations: list[tuple[str, set[str], dict[str, object]]] = [
        ("read", reads_as_value, {}),
        ("write", reads_as_value, {"value": 1}),
        ("cas", reads_as_value, {"from": 99, "to": 1}),
        ("append", {"list"}, {"value": 1}),
        ("increment", {"counter"}, {"by": 1}),
        ("unique_id", {"counter"}, {}),
        ("set_add", {"set"}, {"value": 1}),
        ("set_remove", {"set"}, {"value": 9}),
        ("set_members", {"set"}, {}),
        ("enqueue", {"queue"}, {"value": 1}),
        ("dequeue", {"queue"}, {}),
        ("queue_length", {"queue"}, {}),
        ("lock_acquire", {"lock"}, {"owner": "you"}),
        ("lock_release", {"lock"}, {"owner": "you"}),
        ("lock_holder", {"lock"}, {}),
    ]
    before = store.state.state_hash()
    for op, fitting, fields in operations:
        for key in {"text", "list", "counter", "set", "queue", "lock"} - fitting:
            assert store.do(op, key, **fields) == "wrong-type", (op, key)
    assert store.state.state_hash() == before
    assert store.do("txn", ops=[["write", "new", 1], ["read", "set"]]) == "wrong-type"
    assert store.do("txn", ops=[["write", "new", 1], ["compare", "lock", 1]]) == "wrong-type"
    assert store.state.state_hash() == before
    assert [store.do("delete", key) for key in ("set", "queue", "lock")] == [True] * 3


def test_what_a_key_holds_is_bounded(store: Store) -> None:
    value = "x" * 60_000
    for op, key in (("append", "a"), ("enqueue", "b")):
        answers = [store.do(op, key, value=value) for _ in range(20)]
        assert answers == [*range(1, 18), *["too-large"] * 3]
    answers = [store.do("set_add", "c", value=f"{number:02}{value}") for number in range(20)]
    assert answers == [True] * 17 + ["too-large"] * 3
    read = store.run(Operation("read", "a"))
    assert len(read.value) <= HELD_BYTES_MAX
    before = store.state.state_hash()
    both = [["append", "d", 1], ["read", "a"], ["read", "a"]]
    assert store.do("txn", ops=both) == "too-large"
    assert store.state.state_hash() == before


def test_a_transaction_sees_its_own_steps(store: Store) -> None:
    steps = [
        ["read", "a"], ["write", "a", 1], ["read", "a"], ["append", "b", "x"], ["append", "b", "y"],
        ["read", "b"], ["compare", "b", ["x", "y"]], ["delete", "b"], ["compare", "b", None],
        ["write", "b", [0]], ["append", "b", 1],
    ]  # fmt: skip
    assert store.do("txn", ops=steps) == [
        None, None, 1, None, None, ["x", "y"], None, None, None, None, None,
    ]  # fmt: skip
    assert store.do("read", "a") == 1
    assert store.do("read", "b") == [0, 1]


@pytest.mark.parametrize("met", [12, 1.5, "1", None])
def test_a_compare_is_met_by_the_whole_value_alone(store: Store, met: object) -> None:
    store.do("write", "a", value=met)
    steps = [["compare", "a", 1], ["write", "a", 2]]
    refused = "precondition-failed" if met is None else ["precondition-failed", met]
    assert store.do("txn", ops=steps) == refused
    assert store.do("read", "a") == met


def test_a_transaction_compares_also_what_it_does_not_write(store: Store) -> None:
    """Of two that look at the same keys and write one each, the second is refused."""
    both = [["compare", "a", None], ["compare", "b", None]]
    assert store.do("txn", ops=[*both, ["write", "a", 1]]) == [None, None, None]
    assert store.do("txn", ops=[*both, ["write", "b", 1]]) == ["precondition-failed", 1]
    assert store.do("read", "b") is None


def test_a_cas_that_expects_a_value_does_not_make_a_key(store: Store) -> None:
    store.do("write", "k", value="a")
    store.do("delete", "k")
    assert store.do("cas", "k", **{"from": "a", "to": "b"}) == "precondition-failed"
    assert store.do("read", "k") is None


def test_a_failed_transaction_leaves_no_trace(store: Store) -> None:
    for key, value in (("a", 1), ("b", [1])):
        store.do("write", key, value=value, ttl_ms=50)
    store.do("append", "c", value="first")
    store.do("set_add", "s", value=1)
    store.do("enqueue", "q", value=1)
    before, due_ms = store.state.state_hash(), store.state.next_expiry_ms()
    steps = [
        ["write", "a", 2], ["append", "b", 2], ["append", "c", "never"], ["append", "c", "never"],
        ["delete", "s"], ["delete", "q"], ["delete", "a"], ["write", "new", 1], ["append", "n", 1],
        ["compare", "c", ["first"]],
    ]  # fmt: skip
    met = ["precondition-failed", ["first", "never", "never"]]
    assert store.do("txn", ops=steps) == met
    assert (store.state.state_hash(), store.state.next_expiry_ms()) == (before, due_ms)
    assert store.do("append", "c", value="second") == 2
    assert store.do("read", "c") == ["first", "second"]
    assert store.do("read", "b") == [1]
    assert store.do("set_members", "s") == [1]
    store.tick(1050)
    assert store.do("read", "a") is None


def test_keys_vanish_by_the_time_of_the_log(store: Store) -> None:
    store.do("write", "a", value=1, ttl_ms=100)
    store.do("write", "b", value=[], ttl_ms=200)
    store.do("lock_acquire", "l", owner="me", ttl_ms=150)
    assert store.state.next_expiry_ms() == 1100
    store.tick(1099)
    assert store.do("read", "a") == 1
    store.tick(1100)
    assert store.do("read", "a") is None
    assert store.state.next_expiry_ms() == 1150
    # What changes a value in place keeps its end; a new value has its own, or none.
    store.do("append", "b", value=1)
    assert store.do("lock_acquire", "l", owner="you") == ["held", "me"]
    store.now_ms = 1150
    assert store.do("lock_acquire", "l", owner="you") == store.state.applied_index
    assert store.state.next_expiry_ms() == 1200
    store.do("write", "c", value=1, ttl_ms=10)
    store.do("write", "c", value=2)
    store.do("write", "d", value=1, ttl_ms=10)
    store.do("cas", "d", **{"from": 1, "to": 2})
    store.tick(1200)
    assert [store.do("read", key) for key in "bcd"] == [None, 2, 2]
    assert store.state.next_expiry_ms() is None


def test_time_never_falls(store: Store) -> None:
    store.tick(5000)
    store.now_ms = 3000  # a new leader whose clock is behind
    store.do("write", "a", value=1, ttl_ms=100)
    assert store.state.time_ms == 5000
    assert store.state.next_expiry_ms() == 5100
    store.tick(5099)
    assert store.do("read", "a") == 1


def test_many_rewritten_times_to_live_need_little_memory(store: Store) -> None:
    for number in range(3000):
        store.do("write", "a", value=1, ttl_ms=1000 + number)
    heap = store.state._keys._deadlines._heap
    assert len(heap) < 200
    assert store.state.next_expiry_ms() == 1000 + 1000 + 2999


def test_a_queue_does_not_keep_what_has_left(store: Store) -> None:
    for number in range(5000):
        store.do("enqueue", "q", value=number)
        if number >= 10:
            store.do("dequeue", "q")
    queue = store.state._keys.get("q")
    assert isinstance(queue, Line)
    assert len(queue.items) < 200


def test_entries_of_other_kinds(store: Store) -> None:
    before = store.state.state_hash()
    assert store.raw("", NOOP) == ("", "null")
    assert store.state.state_hash() == before
    assert store.raw('{"voters":["n1"]}', CONFIGURATION) == ("", "null")
    assert store.state.configuration == '{"voters":["n1"]}'
    assert store.state.state_hash() != before
    assert store.state.applied_index == 2


@given(st.text(max_size=40) | st.lists(st.text(max_size=3) | st.integers()).map(json.dumps))
def test_a_malformed_entry_changes_nothing(data: str) -> None:
    store = Store()
    store.do("write", "a", value=1, ttl_ms=10)
    before, now_ms = store.state.state_hash(), store.state.time_ms
    assert store.raw(data) == ("bad-request", "null")
    assert (store.state.state_hash(), store.state.time_ms) == (before, now_ms)
    assert store.state.applied_index == 2
    late = Command(10**6, Operation("write", "k" * 300, "1"))
    assert store.raw(late.to_text()).error == "bad-request"
    assert store.do("read", "a") == 1


def test_the_order_of_keys_does_not_show_in_the_hash() -> None:
    one, other = Store(), Store()
    for key in "abc":
        one.do("write", key, value=key)
    for key in "cab":
        other.do("write", key, value="old")
        other.do("write", key, value=key)
    assert one.state.state_hash() == other.state.state_hash()
    other.do("write", "a", value="99")
    assert one.state.state_hash() != other.state.state_hash()


def test_the_state_is_decided_without_effects() -> None:
    """The files that decide import no clock, disk, network or chance."""
    package = Path(__file__).resolve().parents[2] / "node"
    names = (
        "answers", "command", "deadlines", "execution", "json_text", "keyspace", "operations",
        "sessions", "state_image", "state_machine", "values",
    )  # fmt: skip
    allowed = {"node", "json", "math", "hashlib", "heapq", "collections", "typing", "dataclasses"}
    for name in names:
        tree = ast.parse((package / f"{name}.py").read_text("utf-8"))
        for part in ast.walk(tree):
            if isinstance(part, ast.Import):
                assert {alias.name for alias in part.names} <= allowed
            elif isinstance(part, ast.ImportFrom):
                assert (part.module or "").split(".")[0] in allowed
            elif isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
                assert part.func.id not in {"hash", "id", "open", "print"}
