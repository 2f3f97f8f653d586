"""Models that users write: one function, and a file for the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from model_histories import histories

from checker import Event, EventType, History, Meaning, ModelError, check, model_named
from checker.models import UNKNOWN, Frozen, model_from
from checker.models.custom import frozen
from checker.models.user_file import is_user_file, model_from_file

DOCS = Path(__file__).parents[2] / "docs/models.md"
more = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def fifo(state: Any, f: str, value: Any, answer: Any) -> Any:
    if f == "enqueue":
        return [*state, value]
    if answer is UNKNOWN:
        return state[1:]
    if answer is None:
        return None if state else state
    return state[1:] if state and state[0] == answer else None


def counter(state: Any, f: str, value: Any, answer: Any) -> Any:
    if f == "read":
        return state if answer == state else None
    if f == "add":
        return state + value
    step = 1 if value is None else value
    return state + step if f == "increment" else state - step


def bag(state: Any, f: str, value: Any, answer: Any) -> Any:
    """All possible bags, as sets of lists."""
    after = set()
    for held in state:
        if f == "enqueue":
            after.add(tuple(sorted([*held, value])))
        elif not held:
            after |= {held} if answer in (UNKNOWN, None) else set()
        else:
            after |= {held[:n] + held[n + 1 :] for n in range(len(held))
                      if answer is UNKNOWN or held[n] == answer}  # fmt: skip
    return after or None


@more
@given(history=histories("fifo-queue"))
def test_a_queue_in_a_few_lines_is_the_queue(history: History) -> None:
    own = model_from("own", fifo, [])
    assert check(history, own).verdict == check(history, model_named("fifo-queue")).verdict


@more
@given(history=histories("counter"))
def test_a_counter_in_a_few_lines_is_the_counter(history: History) -> None:
    own = model_from("own", counter, 0, pure=("read",))
    assert check(history, own).verdict == check(history, model_named("counter")).verdict


@more
@given(history=histories("unordered-queue"))
def test_a_bag_in_a_few_lines_is_the_bag(history: History) -> None:
    own = model_from("own", bag, {()})
    assert check(history, own).verdict == check(history, model_named("bag")).verdict


def one_by_one(*asked: tuple[str, Any, Any], key: str | None = None) -> History:
    events: list[Event] = []
    for f, value, answer in asked:
        for kind, said in ((EventType.INVOKE, value), (EventType.OK, answer)):
            index = len(events)
            events.append(Event(index=index, process=0, type=kind, f=f, value=said, key=key))
    return History(tuple(events))


def test_values_and_states_cannot_be_changed() -> None:
    seen: list[Any] = []

    def merge(state: Any, f: str, value: Any, answer: Any) -> Any:
        seen.append(value)
        return {**state, **value}

    model = model_from("merge", merge, {"a": [1]})
    assert model.initial == Frozen((("a", (1,)),))
    history = one_by_one(("merge", {"b": [{"c": 1.0}]}, None), ("merge", {"a": 2}, None))
    assert check(history, model).verdict == "valid"
    assert seen[0]["b"][0]["c"] == 1
    assert len({seen[0], frozen({"b": ({"c": 1},)})}) == 1
    assert frozen({"x": 1, "a": {2}}) == frozen({"a": {2}, "x": 1})
    with pytest.raises(KeyError):
        seen[0]["nothing"]
    assert repr(seen[1]) == "{'a': 2}"


def test_equal_values_of_other_types_are_other_actions() -> None:
    """`1 == True` in Python: the checker must not take one operation for the other."""
    model = model_from("own", lambda state, f, value, answer: state + repr(value), "")
    one, true = one_by_one(("f", 1, 1)), one_by_one(("f", True, True))
    actions = {
        model.action(operation, Meaning())
        for history in (one, true)
        for operation in history.operations()
    }
    assert len(actions) == 2


def test_a_counterexample_shows_what_the_function_refused() -> None:
    model = model_from("own", counter, 0, pure=["read"])
    result = check(one_by_one(("add", 1, 1), ("read", None, 2)), model)
    assert result.counterexample is not None
    assert "would need another state: step refuses read answered 2 in 1" in str(
        result.counterexample
    )


@pytest.mark.parametrize(
    ("step", "pure", "why"),
    [
        (lambda state, f, value, answer: 1 / 0, (), "raised ZeroDivisionError"),
        (lambda state, f, value, answer: True, (), "returned True: it must return the next"),
        (lambda state, f, value, answer: state + 1, ("f",), "returned 1, but 'f' is said to be pu"),
        (lambda state, f, value, answer: bytearray(), (), "raised TypeError: unhashable"),
        (lambda state: state, (), "raised TypeError: .* takes 1 positional"),
    ],
)
def test_what_a_function_does_wrong_is_said(step: Any, pure: Any, why: str) -> None:
    model = model_from("own", step, 0, pure=pure)
    with pytest.raises(ModelError, match=rf"own: step\(0, 'f', 5, 6\) {why}"):
        check(one_by_one(("f", 5, 6)), model)


def test_a_crashed_operation_that_only_observes_is_not_asked_about() -> None:
    model = model_from("own", counter, 0, pure=["read"])
    (read,) = History(one_by_one(("read", None, 0)).events[:1]).operations()
    assert model.action(read, Meaning()) is None
    (add,) = History(one_by_one(("add", 1, 1)).events[:1]).operations()
    assert model.action(add, Meaning()) == ("add", "1", None)


def test_what_cannot_be_a_model_is_refused() -> None:
    with pytest.raises(ModelError, match="expected a function"):
        model_from("own", 5, 0)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="starts as None"):
        model_from("own", counter, None)
    with pytest.raises(ModelError, match="unhashable"):
        model_from("own", counter, bytearray())
    with pytest.raises(ModelError, match="expected a list of function names"):
        model_from("own", counter, 0, pure="read")


def test_a_model_without_keys() -> None:
    history = one_by_one(("add", 1, 1), key="a")
    assert [key.key for key in check(history, model_from("own", counter, 0)).keys] == ["a"]
    alone = model_from("own", counter, 0, keyed=False)
    assert [key.key for key in check(history, alone).keys] == [None]


def test_the_ten_lines_in_the_docs(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[0]
    file = tmp_path / "tickets.py"
    file.write_text(code, encoding="utf-8")
    model = model_from_file(f"{file}:tickets")
    right = one_by_one(("take", None, 1), ("take", None, 2), ("last", None, 2))
    assert check(right, model).verdict == "valid"
    wrong = one_by_one(("take", None, 1), ("take", None, 1))
    assert check(wrong, model).verdict == "invalid"
    later = model_from_file(f"{file}:tickets", 7)
    assert check(one_by_one(("take", None, 7)), later).verdict == "valid"
    with pytest.raises(ModelError, match="knows take and last, not 'give'"):
        check(one_by_one(("give", None, 7)), model)


FILE = """\
from checker.models import model_from, model_named
SEEN = []
def step(state, f, value, answer):
    SEEN.append(f)
    return state
own = model_from("own", step, 0)
known = model_named("mutex")
number = 5
"""


def test_a_file_keeps_its_other_names(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(FILE, encoding="utf-8")
    assert check(one_by_one(("f", 1, 1)), model_from_file(f"{file}:own")).verdict == "valid"
    assert model_from_file(f"{file}:known") == model_named("mutex")
    assert is_user_file(f"{file}:own")
    assert is_user_file("own.py")
    assert not is_user_file("mutex")


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("own.py", FILE, "expected path/to/file.py:NAME"),
        ("own.txt:own", FILE, "expected path/to/file.py:NAME"),
        ("own.py:", FILE, "expected path/to/file.py:NAME"),
        ("other.py:own", FILE, "other.py: No such file"),
        ("own.py:mine", FILE, "own.py has no mine; there are the models own, known"),
        ("own.py:mine", "x = 1", "own.py has no mine$"),
        ("own.py:number", FILE, "is 5, expected a model: number = model_from"),
        ("own.py:step", FILE, "expected a model: step = model_from"),
        ("own.py:own", "import os\nx = 1 / 0\n", "own.py:2: ZeroDivisionError"),
        ("own.py:own", "x = 1\n\nif\n", "own.py:3: SyntaxError"),
        ("own.py:own", "import nothing_of_that_name", "own.py:1: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, code: str, why: str) -> None:
    (tmp_path / "own.py").write_text(code, encoding="utf-8")
    with pytest.raises(ModelError, match=why):
        model_from_file(str(tmp_path / text))


def test_only_own_models_start_as_something_else(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FILE, encoding="utf-8")
    with pytest.raises(ModelError, match="only a model built by model_from"):
        model_from_file(str(tmp_path / "own.py:known"), "held")
    with pytest.raises(ModelError, match="starts as None"):
        model_from_file(str(tmp_path / "own.py:own"), None)
