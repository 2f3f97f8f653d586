"""The public API: every name is there, typed, documented, and costs nothing until it is used."""

import subprocess
import sys

import pytest

import splitbrain


@pytest.mark.parametrize("name", splitbrain.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    thing = getattr(splitbrain, name)
    assert thing is not None
    if name != "MODELS":
        assert thing.__doc__


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        splitbrain.nothing  # noqa: B018


def test_importing_it_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import splitbrain; print(set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {"checker", "harness", "reports", "workloads", "node", "pandas", "paramiko"}
    assert not [name for name in ours if f"'{name}'" in done.stdout]


def test_the_example_of_the_readme_checks_a_history() -> None:
    events = (
        splitbrain.Event(index=0, process=0, type=splitbrain.EventType.INVOKE, f="read"),
        splitbrain.Event(index=1, process=0, type=splitbrain.EventType.OK, f="read", value=3),
    )
    result = splitbrain.check(splitbrain.History(events), splitbrain.model_named("register"))
    assert result.verdict is splitbrain.Verdict.INVALID
    result = splitbrain.check(splitbrain.History(events), splitbrain.model_named("register", 3))
    assert result.verdict is splitbrain.Verdict.VALID
