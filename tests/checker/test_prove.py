"""Searches that lie: a wrong order never passes, a wrong contradiction is never certified."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certificates import history

from checker import Budget, Meaning, Verdict, check, exhaust, model_named
from checker import decide as decide  # the kernels are in memory, whatever else was run
from checker.checkpoint import resume, save
from checker.columns import Columns, columns_of
from checker.first_look import look
from checker.history import History
from checker.models import Model
from checker.page import as_text
from checker.parts import Found, Part
from checker.portfolio import Answer, Race
from checker.prove import OBJECTS_MAX
from checker.replay import ReplayError
from checker.verdict import CheckResult
from checker.verify import verify

ROOT = Path(__file__).resolve().parents[2]
CAS = model_named("cas-register")
KEY_VALUE = model_named("key-value")
Lie = Callable[[list[int]], list[int]]


def registers(length: int) -> History:
    """Key a: writes one after the other, reads in between, a crashed write; key b: one write."""
    lines = ["7 write@b 1", "7 ok", "8 write@a -1", "8 info"]
    for n in range(length):
        lines += [f"0 write@a {n}", "0 ok", "1 read@a", f"1 ok {n}"]
    return history(*lines)


def strings(length: int) -> History:
    """The same of strings, a few of them at a time overwritten."""
    lines = ['7 put@b "x"', "7 ok", '8 append@a "zz"', "8 info"]
    for n in range(length):
        lines += [f'0 put@a "{n}"', "0 ok", "1 get@a", f'1 ok "{n}"']
    return history(*lines)


def only_a(random: History) -> History:
    """Return key a's events, numbered anew."""
    events = [event for event in random.events if event.key == "a"]
    return History(tuple(replace(event, index=n) for n, event in enumerate(events)))


CASES = {
    "short": (registers(20), CAS),
    "long": (registers(OBJECTS_MAX), CAS),
    "short-strings": (strings(20), KEY_VALUE),
    "long-strings": (strings(OBJECTS_MAX), KEY_VALUE),
}
# Rows: 0 is key b's, 1 the crashed write, then a write and its read in turn.
LIES: dict[str, Lie] = {
    "nothing": lambda _: [],
    "all-but-the-last": lambda rows: rows[:-1],
    "all-but-one": lambda rows: [*rows[:7], *rows[8:]],
    "the-last-twice": lambda rows: [*rows, rows[-1]],
    "a-read-twice": lambda rows: [*rows[:8], rows[7], *rows[8:]],
    "of-another-key": lambda rows: [0, *rows],
    "of-no-row": lambda rows: [*rows, 10**9],
    "a-negative-row": lambda rows: [-1, *rows],
    "against-real-time": lambda rows: [*rows[2:4], *rows[0:2], *rows[4:]],
    "reads-swapped": lambda rows: [rows[0], rows[3], rows[2], rows[1], *rows[4:]],
    "backwards": lambda rows: rows[::-1],
    "a-crashed-one-in-the-way": lambda rows: [rows[0], 1, *rows[1:]],
    "a-crashed-one-twice": lambda rows: [*rows, 1, 1],
}
SAID = r"is not one|ended before|ordered|would need|twice"


def lying_look(monkeypatch: pytest.MonkeyPatch, lie: Lie) -> None:
    """Let the first look lie about key a, the first that has a crashed write."""

    def lies(columns: Columns, model: Model, meaning: Meaning, **options: Any) -> Any:
        seen = look(columns, model, meaning, **options)
        assert seen is not None
        place = columns.keys.index("a")
        found = seen[place]
        assert found is not None
        assert found.order is not None
        rows = [row for row in found.order.tolist() if row > 1]
        seen[place] = replace(found, order=np.array(lie(rows), np.int64))
        return seen

    monkeypatch.setattr("checker.decide.look", lies)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lie", LIES)
def test_a_first_look_that_lies(monkeypatch: pytest.MonkeyPatch, case: str, lie: str) -> None:
    random, model = CASES[case]
    lying_look(monkeypatch, LIES[lie])
    with pytest.raises(ReplayError, match=SAID):
        check(random, model)


@pytest.mark.parametrize("case", CASES)
def test_a_crashed_one_where_it_does_no_harm_is_no_lie(
    monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    random, model = CASES[case]
    lying_look(monkeypatch, lambda rows: [*rows, 1])
    result = check(random, model)
    assert result.verdict is Verdict.VALID
    # The crashed write is the row 1, invoked at event 2.
    assert [(key.linearization or ())[-1] for key in result.keys if key.key == "a"] == [2]


@pytest.mark.parametrize("case", ["short", "long"])
@pytest.mark.parametrize(
    "lie", sorted(set(LIES) - {"of-another-key", "of-no-row", "a-negative-row"})
)
def test_a_race_that_lies(monkeypatch: pytest.MonkeyPatch, case: str, lie: str) -> None:
    random, model = CASES[case]

    def lies(race: Race, _: Budget) -> Answer:
        places = [place for place in race.problem.row.tolist() if place > 0]
        order = [place - 1 for place in LIES[lie]([place + 1 for place in places])]
        return Answer(verdict=Verdict.VALID, algorithm="liar", order=order)

    monkeypatch.setattr("checker.decide.look", lambda *_, **__: None)
    monkeypatch.setattr(Race, "run", lies)
    with pytest.raises(ReplayError, match=SAID):
        check(only_a(random), model)


def test_a_race_that_is_right_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without the lie, so that the tests above test what they say."""
    monkeypatch.setattr("checker.decide.look", lambda *_, **__: None)
    for case in ("short", "long"):
        assert check(*CASES[case]).verdict is Verdict.VALID


@pytest.mark.parametrize("case", ["short", "long"])
def test_a_checkpoint_that_lies(tmp_path: Path, case: str) -> None:
    random, model = CASES[case]
    columns, path, meaning = columns_of(random), tmp_path / "check.npz", Meaning()

    def shortened(parts: list[Part]) -> None:
        for part in parts:
            assert part.found is not None
            assert part.found.order is not None
            part.found.order = part.found.order[:-1]
        save(path, parts, columns, model, meaning)

    def resumed(parts: list[Part]) -> None:
        resume(path, parts, columns, model, meaning)

    with pytest.raises(ReplayError):
        check(columns, model, meaning=meaning, pause=shortened)
    with pytest.raises(ReplayError):
        check(columns, model, meaning=meaning, resume=resumed)


class TestInvalidOfAValidHistory:
    """The verdict of an exhaustive search stands, but nothing proves it."""

    def refuted(
        self, monkeypatch: pytest.MonkeyPatch, case: str, **what: Any
    ) -> CheckResult:  # fmt: skip
        random, model = CASES[case]
        found = Found(verdict=Verdict.INVALID, algorithm="liar", **what)

        def lies(columns: Columns, *_: Any, **__: Any) -> Any:
            return [found if key == "a" else None for key in columns.keys]

        monkeypatch.setattr("checker.decide.look", lies)
        budget = Budget.of(seconds=30, memory_mb=500, clock=counting(0.2))
        return check(random, model, budget=budget)

    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize(
        "what",
        [
            {"until": 9},
            {"until": 9, "hint": (2, 3, 8, 9)},
            {"until": 9, "hint": (9,)},
            {"hint": (3, 4, 5)},
        ],
        ids=["a-return", "a-hint", "one-operation", "a-hint-alone"],
    )
    def test_it_is_not_certified(
        self, monkeypatch: pytest.MonkeyPatch, case: str, what: dict[str, Any]
    ) -> None:
        result = self.refuted(monkeypatch, case, **what)
        assert result.verdict is Verdict.INVALID
        assert result.certificate is None
        shown = result.counterexample
        assert shown is not None
        assert shown["cycle"] == []
        assert "proved" not in as_text("h", result)

    def test_by_a_race(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("checker.decide.look", lambda *_, **__: None)
        monkeypatch.setattr(
            Race, "run", lambda *_: Answer(verdict=Verdict.INVALID, algorithm="liar", until=9)
        )
        budget = Budget.of(seconds=30, memory_mb=500, clock=counting(0.2))
        result = check(only_a(CASES["short"][0]), CAS, budget=budget)
        assert (result.verdict, result.certificate) == (Verdict.INVALID, None)


def counting(step: float) -> Callable[[], float]:
    """Return a clock that advances by a step each time it is read."""
    now = [0.0]

    def clock() -> float:
        now[0] += step
        return now[0]

    return clock


STALE = registers(20).events
BROKEN = History((*STALE[:-1], replace(STALE[-1], value=3)))


class TestTheStoryFails:
    """Whatever goes wrong in telling a contradiction, the verdict and its proof are there."""

    @pytest.mark.parametrize(
        "name", ["checker.prove.explain", "checker.cycle.cycle_of", "checker.cycle.in_words"]
    )
    def test_the_verdict_stands(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        def fails(*_: Any, **__: Any) -> None:
            raise RuntimeError("no words")

        expected = check(BROKEN, CAS)
        assert expected.verdict is Verdict.INVALID
        monkeypatch.setattr(name, fails)
        result = check(BROKEN, CAS)
        assert result.verdict is Verdict.INVALID
        assert result.counterexample is not None
        assert result.certificate is not None
        assert verify(BROKEN, result.certificate).verdict is Verdict.INVALID
        assert as_text("h", result).startswith("h: invalid")

    def test_it_says_what_failed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: Any, **__: Any) -> None:
            raise RuntimeError("no words")

        monkeypatch.setattr("checker.prove.explain", fails)
        shown = check(BROKEN, CAS).counterexample
        assert shown is not None
        assert shown["key"] == "a"
        assert "the explanation failed: RuntimeError: no words" in shown["summary"]
        assert (shown["operations"], shown["final_states"], shown["cycle"]) == ([], [], [])

    def test_a_budget_that_is_over_still_gives_the_verdict(self) -> None:
        """Found in time, proved as far as the time goes: at least one try."""
        spent = iter([*[0.0] * 12, *[100.0] * 10**6])
        budget = Budget(clock=lambda: next(spent), deadline=50.0, memory_bytes=1e9)
        result = check(BROKEN, CAS, budget=budget)
        assert result.verdict is Verdict.INVALID
        if result.certificate is not None:
            assert verify(BROKEN, result.certificate).verdict is Verdict.INVALID


def test_only_the_first_invalid_key_is_told_but_all_are_named() -> None:
    lines = []
    for key in ("x", "y", "z"):
        answer = 1 if key == "y" else 5
        lines += [f"0 write@{key} 1", "0 ok", f"1 read@{key}", f"1 ok {answer}"]
    result = check(history(*lines), CAS)
    assert [str(key.verdict) for key in result.keys] == ["invalid", "valid", "invalid"]
    assert result.counterexample is not None
    assert result.counterexample["key"] == "x"
    assert result.reason == "1 of 3 keys valid, 2 invalid (x, z)"


# The last call is impossible because of the first, so a search that looks ahead gives up at once.
HOPELESS = {
    "acquired twice": ("mutex", ("0 acquire", "0 ok", "1 acquire", "1 ok")),
    "acquired three times": (
        "mutex", ("2 acquire", "0 acquire", "0 ok", "1 acquire", "1 ok", "2 ok"),
    ),
    "owned twice": ("owner-mutex", ("0 acquire", "0 ok", "2 acquire", "2 ok")),
    "an old string": (
        "key-value",
        ("0 get", '2 put "c"', '1 put "e"', '0 ok "e"', '0 put "c"', "0 ok", "2 ok", '2 put ""',
         "1 ok", "2 ok", "2 get", '2 ok "e"'),
    ),
    "a semaphore of one, taken twice": ("semaphore", ("0 acquire", "0 ok", "1 acquire", "1 ok")),
}  # fmt: skip


@pytest.mark.parametrize("name", HOPELESS)
def test_what_is_hopeless_from_the_first_call_on_is_certified_too(name: str) -> None:
    model, lines = HOPELESS[name]
    random = history(*lines)
    result = check(random, model_named(model))
    assert result.verdict is Verdict.INVALID
    assert result.certificate is not None
    assert verify(random, result.certificate).verdict is Verdict.INVALID


def test_a_window_with_many_values_ends() -> None:
    """The state before a window may be any of hundreds. In a process of its own: a kernel that
    does not return cannot be interrupted."""
    code = (
        "from checker.calls import Call\n"
        "from checker.core import core_of, settled\n"
        "from checker.core_search import is_refuted\n"
        "from checker.models import model_named\n"
        "model, calls = model_named('cas-register'), []\n"
        "for n in range(300):\n"
        "    for place, f in enumerate(('write', 'read')):\n"
        "        at = 4 * n + 2 * place\n"
        "        calls.append(Call(index=at, action=(f, str(n)), start=at, end=at + 1))\n"
        "core = settled(core_of(calls, until=1199, since=1), model)\n"
        "assert not is_refuted(core, model, steps_max=10**6)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=20)


@pytest.mark.parametrize("answer", [99, 0])
def test_the_plain_search_points_at_what_contradicts(
    monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    """So many writes at once that no one can try all orders: read what nobody wrote, or long ago."""
    monkeypatch.setattr("checker.prove._refuter", lambda: exhaust.is_refuted)
    monkeypatch.setattr("checker.linearizable.are_kernels_loaded", lambda: False)
    wide = range(1, 15)
    lines = ["0 write 0", "0 ok", "0 write 50", "0 ok"]
    lines += [f"{n} write {n}" for n in wide] + [f"{20 + n} read" for n in wide] + ["40 read"]
    lines += [f"{n} ok" for n in wide] + [f"{20 + n} ok {n}" for n in wide] + [f"40 ok {answer}"]
    random = history(*lines)
    result = check(random, CAS)
    assert (result.verdict, result.algorithm) == (Verdict.INVALID, "wing-gong-lowe")
    assert result.certificate is not None
    verify(random, result.certificate)
