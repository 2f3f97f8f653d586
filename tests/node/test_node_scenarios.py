"""The stories in `scenarios/` give the traces that are written in them.

`REWRITE_SCENARIOS=1 python -m pytest tests/node/test_node_scenarios.py` writes the traces anew; read
what changed before you keep it.
"""

import inspect
import os
import re
from pathlib import Path

import pytest
from scenario import Stage, play, stories

REWRITE = bool(os.environ.get("REWRITE_SCENARIOS"))


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_the_story_goes_as_it_is_written(path: Path) -> None:
    text = path.read_text("utf-8")
    told = play(text)
    if REWRITE:
        path.write_text(told, "utf-8")
    else:
        assert told == text


def test_there_are_stories() -> None:
    assert len(stories()) >= 12


def test_every_command_is_used_in_some_story_and_described() -> None:
    commands = {
        name.removeprefix("do_").replace("_", "-")
        for name, _ in inspect.getmembers(Stage, inspect.isfunction)
        if name.startswith("do_")
    }
    used = {line.split()[0] for path in stories() for line in commands_of(path)}
    readme = (Path(__file__).parent / "scenarios" / "README.txt").read_text("utf-8")
    described = {line.split()[0] for line in readme.splitlines() if re.match(r" {4}\S", line)}
    assert used == commands
    assert described == commands


def commands_of(path: Path) -> list[str]:
    found: list[str] = []
    for block in path.read_text("utf-8").strip("\n").split("\n\n"):
        head = block.split("\n----")[0].split("\n")
        found += [line for line in head if line and not line.startswith("#")]
    return found


def test_a_wrong_trace_is_noticed() -> None:
    text = "nodes a\nrun 600\n----\nb is leader in term 1\n"
    assert play(text) != text
    assert "a is leader in term 1" in play(text)
