"""Hard histories: the recorded ones again, and what is claimed of them against all orders."""

from __future__ import annotations

import hashlib
from collections import Counter
from random import Random

import numpy as np
import pytest
from brute_force import register_has_order

from checker import EventType, FailedCas, History, Meaning, Verdict, check, model_named
from checker.columns import Columns, columns_of
from checker.hard_faults import FAULTS
from checker.hard_histories import SUITE, Fault, Shape, generate, history_of, suite_row
from checker.hard_keys import KeyedShape, key_values, registers
from checker.hard_simulation import Draft, replayed, simulate

# Of the generator that the published table was measured with, without its first line (a comment).
RECORDED = {
    "n_1e3_10_0_ok": "814d6729f7f8793e",
    "n_1e3_10_10_bad": "db2541f68c7008fb",
    "n_1e3_10_10_ok": "c5c850b43d7808ba",
    "n_1e3_100_0_bad": "bc69715011d7e6a8",  # no such read: as the ok one
    "n_1e3_100_0_ok": "bc69715011d7e6a8",
    "n_1e3_20_100_bad": "840a1f84fec95047",
    "n_1e4_10_0_bad": "fa54d20d8d4438fe",
    "n_1e4_30_300_ok": "aaabcc1954521b4b",
    "u_1e3_10_0_ok": "876a033c6fa74275",
    "u_1e3_10_10_bad": "4e40cae9ba1ac0e7",
    "u_1e3_10_10_ok": "6b854f9f5b2ccf3d",
    "u_1e3_100_0_bad": "878e4a1d115e26d0",
    "u_1e3_20_100_bad": "ed9b98c437975b5a",
    "u_1e4_10_0_bad": "bcdde1ed5f9c781b",
    "u_1e4_30_300_ok": "2f57e6a401e051c9",
}
# The shapes of the published table, each with unique and with few values, ok and bad.
TABLE = ("1e3_10_0", "1e3_10_10", "1e3_10_30", "1e3_20_100", "1e3_50_0", "1e3_100_0", "1e4_10_0",
         "1e4_50_0", "1e4_30_300", "1e5_10_0", "1e6_10_0")  # fmt: skip
TINY = (
    Shape(operations=9, clients=3, crashed=1, values=2),
    Shape(operations=9, clients=3, crashed=2, values=None),
    Shape(operations=12, clients=3, crashed=1, values=None),
    Shape(operations=10, clients=2, crashed=1, values=3),
)
CAS, KEY_VALUE = model_named("cas-register"), model_named("key-value")
LETTERS = {EventType.INVOKE: "i", EventType.OK: "o", EventType.FAIL: "f", EventType.INFO: "n"}


def recorded_text(history: History) -> str:
    """The format of the recorded ones: type, process, function, two values; - for none."""
    lines = []
    for event in history.events:
        first, second = event.value if event.f == "cas" else (event.value, None)
        shown = ("-" if value is None else value for value in (first, second))
        lines.append(" ".join(map(str, (LETTERS[event.type], event.process, event.f[0], *shown))))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", RECORDED)
def test_the_published_table_is_about_these_histories(name: str) -> None:
    text = recorded_text(history_of(suite_row(name).generate().columns))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == RECORDED[name]


def test_how_a_recorded_one_begins() -> None:
    text = recorded_text(history_of(suite_row("n_1e3_10_10_ok").generate().columns))
    assert text.splitlines()[:6] == [
        "i 7 r - -", "i 5 w 4 -", "i 1 c 0 0", "i 6 c 0 3", "f 1 c 0 0", "i 1 r - -",
    ]  # fmt: skip


def test_the_suite_has_every_row_of_the_table_and_other_faults() -> None:
    names = [recipe.name for recipe in SUITE]
    assert len(set(names)) == len(names)
    table = {
        f"{values}_{shape}_{end}" for values in "un" for shape in TABLE for end in ("ok", "bad")
    }
    assert table <= set(names)
    assert {name.rsplit("_", 1)[1] for name in names} == {*Fault, "ok", "bad"} - {Fault.STALE_READ}
    with pytest.raises(KeyError, match="n_1e3_10_0_ok"):
        suite_row("n_1e3_10_0")


@pytest.mark.parametrize("values", [5, None])
def test_what_is_expected_of_small_rows_is_known(values: int | None) -> None:
    shape = Shape(operations=1000, clients=10, crashed=10, values=values)
    expected = {fault: generate(shape, seed=11, fault=fault).expected for fault in Fault}
    unproven = {fault for fault in Fault if expected[fault] is not Verdict.INVALID}
    # Three crashed writes of five values: somebody else can always have written it again.
    assert unproven == ({Fault.WRITE_RETURNS} if values else set())


def has_order(history: History, failed_cas: str) -> bool:
    return register_has_order(
        history.operations(), initial=None, failed_cas=failed_cas, nil_read="absent"
    )


@pytest.mark.parametrize("shape", TINY, ids=str)
def test_without_a_fault_there_is_an_order(shape: Shape) -> None:
    for seed in range(60):
        hard = generate(shape, seed=seed)
        assert hard.expected is Verdict.VALID
        assert has_order(history_of(hard.columns), "differs")


@pytest.mark.parametrize("fault", Fault)
def test_what_is_called_proven_has_no_order_under_either_meaning(fault: Fault) -> None:
    expected: Counter[Verdict] = Counter()
    for shape in TINY:
        for seed in range(120):
            hard = generate(shape, seed=seed, fault=fault)
            expected[hard.expected] += 1
            history = history_of(hard.columns)
            if hard.expected is Verdict.INVALID:
                assert not has_order(history, "differs")
                assert not has_order(history, "absent")
            elif hard.expected is Verdict.VALID:
                assert hard.altered == ()
                assert has_order(history, "differs")
    assert expected[Verdict.INVALID] >= 5


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_alters_answers_and_nothing_else(fault: Fault) -> None:
    shape = Shape(operations=300, clients=5, crashed=6)
    plain = generate(shape, seed=3).columns
    hard = generate(shape, seed=3, fault=fault)
    assert hard.altered
    for name in ("index", "end_index", "process", "function", "input", "start", "end"):
        assert np.array_equal(getattr(plain, name), getattr(hard.columns, name)), name
    answers = np.flatnonzero(plain.output != hard.columns.output)
    outcomes = np.flatnonzero(plain.type != hard.columns.type)
    assert len(answers) + len(outcomes)
    assert hard.note.startswith(fault)
    if fault in (Fault.STALE_READ, Fault.NEW_OLD_NEW, Fault.REORDERED_READS):
        assert set(answers) == set(hard.altered)
        assert not len(outcomes)
    if fault is Fault.SWAPPED_CAS:
        assert set(outcomes) == set(hard.altered)


@pytest.mark.parametrize("values", [5, None])
@pytest.mark.parametrize("fault", [None, *Fault])
def test_the_search_says_what_is_expected(fault: Fault | None, values: int | None) -> None:
    shape = Shape(operations=120, clients=4, crashed=3, values=values)
    for seed in range(3):
        hard = generate(shape, seed=seed, fault=fault)
        result = check(history_of(hard.columns), CAS, meaning=Meaning(failed_cas=FailedCas.DIFFERS))
        assert hard.expected in (result.verdict, Verdict.UNKNOWN)


def same(columns: Columns, history: History) -> None:
    operations = history.operations()
    assert [columns.operation(row) for row in range(len(columns))] == operations
    again = columns_of(history)
    for name in (
        "index",
        "end_index",
        "process",
        "type",
        "key",
        "start",
        "end",
        "start_ns",
        "error",
    ):
        assert np.array_equal(getattr(columns, name), getattr(again, name)), name
    assert columns.keys == again.keys


@pytest.mark.parametrize("values", [5, None])
def test_columns_and_events_say_the_same(values: int | None) -> None:
    shape = Shape(operations=400, clients=7, crashed=20, values=values)
    hard = generate(shape, seed=5, fault=Fault.LOST_UPDATE)
    same(hard.columns, history_of(hard.columns))
    keyed = KeyedShape(keys=7, operations=40, clients=3, crashed=4, values=values)
    for columns in (registers(keyed, seed=2), key_values(keyed, seed=2)):
        assert len(columns) == 280
        same(columns, history_of(columns))


def test_effects_in_their_order_give_the_same_answers_again() -> None:
    for values in (5, None):
        draft = simulate(Shape(operations=500, clients=8, crashed=20, values=values), 1)
        again, states = replayed(draft, draft.effects)
        assert isinstance(again, Draft)
        assert again == draft
        assert len(states) == len(draft.effects)


def test_a_seed_is_a_history() -> None:
    shape = Shape(operations=200, clients=5, crashed=5)
    for fault in (None, *Fault):
        one, two = (generate(shape, seed=9, fault=fault) for _ in range(2))
        assert recorded_text(history_of(one.columns)) == recorded_text(history_of(two.columns))
    assert FAULTS.keys() == set(Fault)
    draft = simulate(shape, 9)
    assert FAULTS[Fault.STALE_READ](draft, Random(1)) is not None
    assert draft == simulate(shape, 9), "a fault must not alter the draft it is given"


@pytest.mark.parametrize("values", [3, None])
@pytest.mark.parametrize("seed", range(5))
def test_many_keys_are_valid_by_construction(seed: int, values: int | None) -> None:
    shape = KeyedShape(keys=5, operations=40, clients=3, crashed=2, values=values)
    differs = Meaning(failed_cas=FailedCas.DIFFERS)
    for columns, model in (
        (registers(shape, seed=seed), CAS),
        (key_values(shape, seed=seed), KEY_VALUE),
    ):
        result = check(history_of(columns), model, meaning=differs)
        assert result.verdict is Verdict.VALID
        assert Counter(columns.key.tolist()) == dict.fromkeys(range(5), 40)
        assert int((columns.end < 0).sum()) == 10


@pytest.mark.parametrize("seed", range(5))
def test_a_stale_read_shows_in_its_key_alone(seed: int) -> None:
    shape = KeyedShape(keys=4, operations=120, clients=3, crashed=2, values=None)
    for columns, model in (
        (registers(shape, seed=seed, stale=(2,)), CAS),
        (key_values(shape, seed=seed, stale=(2,)), KEY_VALUE),
    ):
        result = check(history_of(columns), model)
        assert {part.key: part.verdict for part in result.keys} == {
            f"k{key}": Verdict.INVALID if key == 2 else Verdict.VALID for key in range(4)
        }


def test_a_stale_read_that_might_not_show_is_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        registers(KeyedShape(keys=1, operations=100), seed=1, stale=(0,))
    with pytest.raises(ValueError, match="too short"):
        key_values(KeyedShape(keys=1, operations=4, values=None), seed=1, stale=(0,))
