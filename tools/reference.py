"""The tables of docs/reference.md, made from the code's own: commands, faults, workloads, models,
outcomes.

Rules of this file:
- Nothing is said here that the code does not say itself: help texts, `words`, docstrings.
- Each function returns Markdown. What a cell must not hold is escaped, in one place.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from checker.models import MODELS
from checker.models.table import row as model_row
from harness.cli import _parser
from harness.nemesis import words
from harness.nemesis.plan import VARIANTS
from harness.outcome_words import OUTCOMES
from harness.pytest_plugin import _OPTIONS
from harness.spec import Spec, flag
from workloads.catalogue import WORKLOADS, workload_named


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines).replace("|  |", "| |")


def commands() -> str:
    """Return every command with its options."""
    parts = []
    for name, help_text, parser in _commands(_parser(), "splitbrain"):
        parts.append(f"### `{name}`\n\n{_sentence(help_text)}")
        shown = [action for action in parser._actions if _is_shown(action)]
        bounds = _bounds() if name == "splitbrain test" else {}
        rows = [_option(action, bounds) for action in shown]
        if rows:
            parts.append(table(("argument", "what it is"), rows))
    return "\n\n".join(parts)


def _commands(
    parser: argparse.ArgumentParser, name: str
) -> Iterable[tuple[str, str, argparse.ArgumentParser]]:
    """Yield each command that does something, however deep it is."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for word, inner in action.choices.items():
                deeper = list(_commands(inner, f"{name} {word}"))
                yield from deeper or [(f"{name} {word}", helps[word], inner)]


def _is_shown(action: argparse.Action) -> bool:
    return not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)


def _option(action: argparse.Action, bounds: Mapping[str, str]) -> tuple[str, str]:
    names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
    value = " ".join(name for name in names if name)
    if action.choices is not None and not value:
        value = "|".join(map(str, action.choices))
    if not action.option_strings:
        return f"`{value or action.dest}`", _sentence(action.help)
    written = " ".join([*action.option_strings, *([value] if action.nargs != 0 and value else [])])
    return f"`{written}`", _sentence(action.help) + bounds.get(action.option_strings[0], "")


def _bounds() -> dict[str, str]:
    """Return what each option of a test may be, by its flag."""
    between = {flag(one.name): (one.metadata["low"], one.metadata["high"]) for one in fields(Spec)}
    return {
        option: f" (from {low} to {high})"
        for option, (low, high) in between.items()
        if low is not None and option != "--seed"
    }


def _sentence(text: str | None) -> str:
    return (text or "").replace("%%", "%")


def pytest_options() -> str:
    """Return the options that the pytest plugin adds."""
    rows = [(f"`--splitbrain-{name.replace('_', '-')}`", text) for name, text in _OPTIONS.items()]
    return table(("option", "what it is"), rows)


def faults() -> str:
    """Return every kind of fault and every variant."""
    rows = []
    for kind, variants in VARIANTS.items():
        rows.append((f"**`{kind}`**", "", words.KINDS[kind]))
        rows += [("", f"`{name}`", words.VARIANTS[kind][name]) for name in variants]
    return table(("kind", "variant", "what happens"), rows)


def workloads() -> str:
    """Return every workload."""
    rows = []
    for name in WORKLOADS:
        one = workload_named(name)
        checks = ", ".join(check.name for check in one.checks)
        rows.append((f"`{name}`", one.summary, one.data, checks))
    return table(("workload", "what clients do", "data", "what must hold"), rows)


def models() -> str:
    """Return every model, with its operations."""
    rows = [model_row(name)[:3] for name in MODELS]
    return table(("model", "what it is", "operations"), rows)


def outcomes() -> str:
    """Return every outcome, its exit code, and what to do."""
    rows = [(name, str(one.exit_code), one.means, one.do) for name, one in OUTCOMES.items()]
    return table(("outcome", "exit code", "what it means", "what to do"), rows)
