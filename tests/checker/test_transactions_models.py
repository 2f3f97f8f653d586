"""The lattice of isolation models: its laws, and that the documentation is drawn from it."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest

from checker.transactions.anomaly import CYCLES, MEANINGS, VARIANTS, cycle_name
from checker.transactions.check import ORDER, meanings
from checker.transactions.cycles import automaton
from checker.transactions.isolation import (
    FORBIDS,
    IMPLIES,
    MODELS,
    implied,
    lattice,
    lattice_to_dot,
    model_called,
    remaining,
    ruled_out,
    strongest,
    table,
    weaker_or_same,
    weakest,
)

DOC = Path(__file__).resolve().parents[2] / "docs/transactions.md"
NAMES = tuple(dict.fromkeys([*IMPLIES, *(n for names in FORBIDS.values() for n in names)]))


def test_the_lattice_has_one_top_and_one_bottom_and_no_circle() -> None:
    drawn = lattice()
    assert nx.is_directed_acyclic_graph(drawn)
    assert [m for m in drawn if not drawn.in_degree(m)] == ["strict-serializable"]
    assert [m for m in drawn if not drawn.out_degree(m)] == ["read-uncommitted"]
    # No edge says what others say already, and the list is in an order of strength.
    assert set(nx.transitive_reduction(drawn).edges) == set(drawn.edges)
    assert all(MODELS.index(strong) < MODELS.index(weak) for strong, weak in drawn.edges)
    assert set(FORBIDS) == set(MODELS)


@pytest.mark.parametrize("name", NAMES)
def test_what_rules_out_a_model_rules_out_all_stronger_ones(name: str) -> None:
    out = ruled_out([name])
    assert "strict-serializable" in out or name == "G1c" or out
    for model in MODELS:
        if weaker_or_same(model) & out:
            assert model in out
    assert set(remaining([name])) == set(MODELS) - out
    assert all(ruled_out([other]) <= out for other in implied([name]))


def test_well_known_boundaries() -> None:
    boundaries = {
        "G0": {"read-uncommitted"},
        "G1a": {"read-committed"},
        "G1b": {"read-committed"},
        "G1c": {"read-committed"},
        "lost-update": {"cursor-stability", "parallel-snapshot-isolation"},
        "G-single": {"consistent-view", "repeatable-read"},
        "G-nonadjacent": {"snapshot-isolation", "repeatable-read"},
        "G2-item": {"repeatable-read"},
        "G-single-process": {"strong-session-snapshot-isolation"},
        "G-single-realtime": {"strong-snapshot-isolation"},
        "G2-item-process": {"strong-session-serializable"},
        "G2-item-realtime": {"strict-serializable"},
        "internal": {"read-atomic"},
        "duplicate-elements": {"read-uncommitted"},
    }
    for name, expected in boundaries.items():
        allowed = {"serializable"} if name == "internal" else set()
        assert set(weakest(ruled_out([name]))) - allowed == expected, name
    assert strongest(remaining(["G2-item"])) == ("strong-snapshot-isolation",)


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    assert model_called("PL-3") == "serializable"
    with pytest.raises(ValueError, match="snapshot-isolation"):
        model_called("seriousable")


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (["ww", "ww"], "G0"),
        (["ww", "wr"], "G1c"),
        (["ww", "realtime"], "G0-realtime"),
        (["rw", "wr"], "G-single"),
        (["rw", "process"], "G-single-process"),
        (["rw", "wr", "rw", "ww"], "G-nonadjacent"),
        (["rw", "wr", "ww", "rw"], "G2-item"),  # the last one meets the first
        (["rw", "rw"], "G2-item"),
        (["rw", "rw", "realtime", "process"], "G2-item-realtime"),
    ],
)
def test_the_edges_give_a_cycle_its_name(kinds: list[str], name: str) -> None:
    assert cycle_name(kinds) == name


def test_time_alone_has_no_cycle() -> None:
    with pytest.raises(ValueError, match="data"):
        cycle_name(["realtime", "process"])


@pytest.mark.parametrize("base", CYCLES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_automaton_accepts_walks_of_its_name_and_of_weaker_ones_only(
    base: str, variant: str
) -> None:
    letters = ("ww", "wr", "rw", "process", "realtime")
    table_of, accepts = automaton(base, variant)
    walks: list[tuple[int, list[str]]] = [(0, [])]
    found = set()
    for _ in range(5):
        walks = [
            (int(table_of[state, letter]), [*said, letters[letter]])
            for state, said in walks
            for letter in range(5)
            if table_of[state, letter] != -1
        ]
        for state, said in walks:
            # Time alone has no cycle: such a walk never closes.
            if accepts[state] and set(said) & {"ww", "wr", "rw"}:
                found.add(cycle_name(said))
    assert found == {base + variant}


def test_every_anomaly_has_a_meaning_and_a_place_in_reports() -> None:
    assert set(ORDER) == set(NAMES)
    assert all(meanings([name])[name] for name in NAMES)
    assert {n.removesuffix("-process").removesuffix("-realtime") for n in NAMES} == set(MEANINGS)


def test_the_documentation_has_the_table_that_the_code_has() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert table() in text
    for name, meaning in MEANINGS.items():
        assert f"| {name} | {meaning} |" in text


def test_the_lattice_is_drawn_with_what_is_ruled_out_struck() -> None:
    dot = lattice_to_dot(["G2-item"])
    assert dot.count("dashed") == len(ruled_out(["G2-item"]))
    assert dot.count("->") == lattice().number_of_edges()
