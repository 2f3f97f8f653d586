"""Isolation models: which are stronger than which, and which anomaly rules out which.

Rules of this file:
- Everything is in three tables; the text, the graph, the documentation and the tests read them.
- `WEAKER[m]` are the models that every history of m also has. `FORBIDS[m]` are the anomalies that m
  forbids beyond what weaker ones do. `IMPLIES[a]` are the anomalies that are there if a is.
- Sources: Adya, PhD thesis (MIT 1999) chapter 4 for PL-1 (read uncommitted), PL-2 (read committed),
  PL-CS, PL-2+ (consistent view), PL-2.99 (repeatable read), PL-3, PL-SS (strict serializable);
  Cerone, Bernardi & Gotsman (CONCUR 2015) for read atomic, parallel and snapshot isolation; Cerone &
  Gotsman (PODC 2016): snapshot isolation forbids every cycle in which no two rw edges meet; Bailis
  et al. (VLDB 2013) for monotonic atomic view; Daudjee & Salem (ICDE 2004, VLDB 2006) for strong
  session models. Elle (Kingsbury & Alvaro, VLDB 2020) draws the same lattice with more models.
- Snapshot isolation is the generalised one: a snapshot may be old. Its strong variants are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx

from checker.transactions.anomaly import CYCLES, VARIANTS

WEAKER: dict[str, tuple[str, ...]] = {
    "strict-serializable": ("strong-session-serializable", "strong-snapshot-isolation"),
    "strong-session-serializable": ("serializable", "strong-session-snapshot-isolation"),
    "serializable": ("repeatable-read", "snapshot-isolation"),
    "strong-snapshot-isolation": ("strong-session-snapshot-isolation", "strong-read-committed"),
    "strong-session-snapshot-isolation": ("snapshot-isolation", "strong-session-read-committed"),
    "snapshot-isolation": ("parallel-snapshot-isolation", "consistent-view"),
    "parallel-snapshot-isolation": ("read-atomic",),
    "repeatable-read": ("cursor-stability", "monotonic-atomic-view"),
    "consistent-view": ("cursor-stability",),
    "read-atomic": ("monotonic-atomic-view",),
    "cursor-stability": ("read-committed",),
    "monotonic-atomic-view": ("read-committed",),
    "strong-read-committed": ("strong-session-read-committed", "strong-read-uncommitted"),
    "strong-session-read-committed": ("read-committed", "strong-session-read-uncommitted"),
    "read-committed": ("read-uncommitted",),
    "strong-read-uncommitted": ("strong-session-read-uncommitted",),
    "strong-session-read-uncommitted": ("read-uncommitted",),
    "read-uncommitted": (),
}

FORBIDS: dict[str, tuple[str, ...]] = {
    "read-uncommitted": ("G0", "duplicate-elements", "cyclic-versions"),
    "read-committed": ("G1a", "G1b", "G1c"),
    "monotonic-atomic-view": (),
    "read-atomic": ("internal", "future-read"),
    "cursor-stability": ("lost-update",),
    "consistent-view": ("G-single",),
    "repeatable-read": ("G2-item", "lost-update"),
    "parallel-snapshot-isolation": ("lost-update",),
    "snapshot-isolation": ("G-nonadjacent",),
    "serializable": ("G2-item", "internal"),
    "strong-session-read-uncommitted": ("G0-process",),
    "strong-session-read-committed": ("G1c-process",),
    "strong-session-snapshot-isolation": ("G-nonadjacent-process",),
    "strong-session-serializable": ("G2-item-process",),
    "strong-read-uncommitted": ("G0-realtime",),
    "strong-read-committed": ("G1c-realtime",),
    "strong-snapshot-isolation": ("G-nonadjacent-realtime",),
    "strict-serializable": ("G2-item-realtime",),
}


def _implications() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {
        "incompatible-order": ("G1a",),  # one of the two reads was of no committed state
        "dirty-update": ("G1a",),
        "garbage-read": ("G1a",),
        "future-read": ("G1c",),  # a transaction that depends on itself
        "lost-update": ("G2-item",),
    }
    wider = {
        "G0": ("G1c",),
        "G1c": (),
        "G-single": ("G-nonadjacent",),
        "G-nonadjacent": ("G2-item",),
        "G2-item": (),
    }
    for name in CYCLES:
        for variant, stronger in zip(VARIANTS, (*VARIANTS[1:], ""), strict=True):
            implied = [other + variant for other in wider[name]]
            found[name + variant] = (*implied, *([name + stronger] if stronger else []))
    return found


IMPLIES = _implications()
MODELS = tuple(WEAKER)
ALIASES = {
    "strong-serializable": "strict-serializable",
    "snapshot": "snapshot-isolation",
    "PL-1": "read-uncommitted",
    "PL-2": "read-committed",
    "PL-2.99": "repeatable-read",
    "PL-3": "serializable",
    "PL-SS": "strict-serializable",
}


def model_called(name: str) -> str:
    """Return the model of that name or alias; `ValueError` lists those there are."""
    found = ALIASES.get(name, name)
    if found not in WEAKER:
        raise ValueError(f"no isolation model is called {name!r}; there are {', '.join(MODELS)}")
    return found


def implied(names: Iterable[str]) -> frozenset[str]:
    """Return these anomalies and all that are there because they are."""
    return _closure(names, IMPLIES)


def ruled_out(names: Iterable[str]) -> frozenset[str]:
    """Return the models that cannot be what made a history with these anomalies."""
    there = implied(names)
    broken = {model for model, forbidden in FORBIDS.items() if there & set(forbidden)}
    return frozenset(model for model in MODELS if weaker_or_same(model) & broken)


def remaining(names: Iterable[str]) -> tuple[str, ...]:
    """Return the models that are left, strongest first."""
    out = ruled_out(names)
    return tuple(model for model in MODELS if model not in out)


def weaker_or_same(model: str) -> frozenset[str]:
    """Return a model and all that are weaker."""
    return _closure([model], WEAKER)


def strongest(models: Iterable[str]) -> tuple[str, ...]:
    """Return those models that no other one of them is stronger than."""
    kept = set(models)
    below = {weak for model in kept for weak in weaker_or_same(model) if weak != model}
    return tuple(model for model in MODELS if model in kept - below)


def weakest(models: Iterable[str]) -> tuple[str, ...]:
    """Return those models that are stronger than no other one of them."""
    kept = set(models)
    return tuple(
        model for model in MODELS if model in kept and weaker_or_same(model) & kept == {model}
    )


def lattice() -> nx.DiGraph[str]:
    """Return the models as a graph, an edge from each to those just below it."""
    drawn: nx.DiGraph[str] = nx.DiGraph()
    drawn.add_nodes_from(MODELS)
    drawn.add_edges_from((model, weak) for model, below in WEAKER.items() for weak in below)
    return drawn


def lattice_to_dot(names: Iterable[str] = ()) -> str:
    """Return the lattice for graphviz; what these anomalies rule out is struck through."""
    out = ruled_out(names)
    lines = ["digraph isolation {", '  node [shape=box, fontname="sans-serif"];']
    for model in MODELS:
        style = ' [style=dashed, fontcolor="#b00020"]' if model in out else ""
        lines.append(f'  "{model}"{style};')
    lines += [f'  "{a}" -> "{b}";' for a, below in WEAKER.items() for b in below]
    return "\n".join([*lines, "}"])


def table(names: Iterable[str] | None = None) -> str:
    """Return models against anomalies as Markdown: x where the anomaly rules the model out.

    With `names`, only these anomalies' columns.
    """
    shown = list(IMPLIES) + [one for one in _others() if one not in IMPLIES]
    if names is not None:
        chosen = set(names)
        shown = [one for one in shown if one in chosen]
    lines = ["| model | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for model in MODELS:
        marks = ["x" if model in ruled_out([name]) else "" for name in shown]
        lines.append(f"| {model} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def _others() -> list[str]:
    return sorted({name for forbidden in FORBIDS.values() for name in forbidden})


def _closure(start: Iterable[str], steps: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    found = set(start)
    todo = list(found)
    while todo:
        for other in steps.get(todo.pop(), ()):
            if other not in found:
                found.add(other)
                todo.append(other)
    return frozenset(found)
