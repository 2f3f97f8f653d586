"""The plugin for pytest, in sessions of its own: options, marker, what a failed test shows."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fake_runs import FakeRuns

from harness import seed
from harness.errors import UsageError
from harness.outcome import Outcome

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[3]
TEST = """\
def test_a_register(splitbrain):
    result = splitbrain.run(workload="register", nemesis="partition,kill", time_limit=30)
    assert result.passed, result.reasons
"""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    fake = FakeRuns()
    monkeypatch.setattr("harness.run.run", fake)
    # Where splitbrain is installed the plugin would be loaded twice.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return fake


def session(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(
        "-p", "harness.pytest_plugin", "-p", "no:cacheprovider", "--strict-markers", *arguments
    )


def test_a_run_that_passes_is_a_test_that_passes(pytester: pytest.Pytester, runs: FakeRuns) -> None:
    pytester.makepyfile(TEST)
    session(pytester, "-W", "error").assert_outcomes(passed=1)
    (spec,) = runs.specs
    assert (spec.workload, spec.nemesis, spec.time_limit) == ("register", ("partition", "kill"), 30)
    assert (pytester.path / "store" / "register" / "latest" / "outcome.json").is_file()


def test_options_stand_in_for_what_a_test_does_not_name(
    pytester: pytest.Pytester, runs: FakeRuns
) -> None:
    pytester.makepyfile(TEST)
    options = ["--splitbrain-time-limit=5", "--splitbrain-seed=77", "--splitbrain-nodes=3"]
    options += ["--splitbrain-hosts", "mine.toml", "--splitbrain-store", "elsewhere"]
    session(pytester, *options).assert_outcomes(passed=1)
    (spec,) = runs.specs
    assert (spec.seed, spec.nodes, spec.hosts, spec.store) == (77, 3, "mine.toml", "elsewhere")
    assert spec.time_limit == 30


def test_without_an_option_each_run_has_a_fresh_seed(
    pytester: pytest.Pytester, runs: FakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = iter((31, 32))
    monkeypatch.setattr(seed, "fresh_seed", lambda: next(seeds))
    pytester.makepyfile(
        "def test_twice(splitbrain):\n"
        "    assert splitbrain.run().passed\n"
        "    assert splitbrain.run(nodes=3).passed\n"
    )
    session(pytester).assert_outcomes(passed=1)
    assert [spec.seed for spec in runs.specs] == [31, 32]


def test_a_failed_test_shows_the_folder_and_the_line_that_repeats_it(
    pytester: pytest.Pytester, runs: FakeRuns
) -> None:
    runs.fate = lambda _: Outcome.VIOLATION
    pytester.makepyfile(TEST)
    result = session(pytester, "--splitbrain-seed=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: ('it is violation',)",
            "*- splitbrain -*",
            "VIOLATION  register",
            "  it is violation",
            "folder       store/register/*-7",
            "run again    splitbrain test --system raft --workload register*--seed 7",
        ]
    )


def test_a_test_that_passes_or_ran_nothing_shows_nothing(
    pytester: pytest.Pytester, runs: FakeRuns
) -> None:
    pytester.makepyfile(TEST + "\ndef test_something_else(splitbrain):\n    assert False\n")
    result = session(pytester, "-rA")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*run again*")
    assert len(runs.specs) == 1


def test_a_spec_that_makes_no_sense_is_an_error_of_the_test(
    pytester: pytest.Pytester, runs: FakeRuns
) -> None:
    pytester.makepyfile("def test_it(splitbrain):\n    splitbrain.run(nods=3)\n")
    result = session(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UsageError: unknown option 'nods'; known are: system*"])
    runs.fate = lambda _: UsageError("no such mutant")
    pytester.makepyfile("def test_it(splitbrain):\n    splitbrain.run()\n")
    session(pytester).assert_outcomes(failed=1)


def test_an_interrupted_run_ends_the_session(pytester: pytest.Pytester, runs: FakeRuns) -> None:
    runs.fate = lambda _: Outcome.INTERRUPTED
    pytester.makepyfile(TEST + TEST.replace("test_a", "test_another"))
    result = pytester.runpytest_inprocess(
        "-p", "harness.pytest_plugin", "-p", "no:cacheprovider", no_reraise_ctrlc=True
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])
    assert len(runs.specs) == 1


def test_the_marker_selects_every_test_with_the_fixture(
    pytester: pytest.Pytester, runs: FakeRuns
) -> None:
    pytester.makepyfile(
        TEST
        + "import pytest\n"
        + "def test_of_something_else(): pass\n"
        + "@pytest.mark.splitbrain\ndef test_marked_by_hand(): pass\n"
    )
    session(pytester, "-m", "not splitbrain").assert_outcomes(passed=1, deselected=2)
    assert runs.specs == []
    session(pytester, "-m", "splitbrain").assert_outcomes(passed=2, deselected=1)


def test_options_and_marker_are_explained(pytester: pytest.Pytester, runs: FakeRuns) -> None:
    del runs
    result = session(pytester, "--help")
    for name in ("time-limit", "seed", "hosts", "nodes", "store"):
        result.stdout.fnmatch_lines([f"*--splitbrain-{name}=VALUE*"])
    session(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.splitbrain: runs a*"])


def test_loading_it_imports_nothing_of_the_harness() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import harness.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['harness', 'harness.pytest_plugin']"


def test_it_is_what_the_installed_package_offers_to_pytest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"splitbrain": "harness.pytest_plugin"}
