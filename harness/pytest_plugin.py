"""A fixture for pytest: `splitbrain.run(...)` runs a test on real hosts, from a test of yours.

Rules of this file:
- Loading it costs nothing: pytest loads it in every session where splitbrain is installed. The
  harness is imported when the fixture first runs something.
- What a test names itself counts; then the options of the command line; then the spec's defaults.
- A test that fails shows the folders of its runs and the lines that repeat them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from harness.run import Result

_NAME: Final = "splitbrain"
# Field of the spec -> what its option is for.
_OPTIONS: Final = {
    "time_limit": "seconds of load and faults in each run",
    "seed": "the seed of each run; by default a fresh one, which is shown when a test fails",
    "hosts": "'lab' (SSH hosts on this machine, needs root), 'docker' or an inventory file",
    "nodes": "how many nodes",
    "store": "the folder that runs are kept in",
}
_RESULTS: Final = pytest.StashKey[list["Result"]]()


class Splitbrain:
    """Runs tests on real hosts, and remembers them for the report."""

    def __init__(self, defaults: dict[str, str], results: list[Result]) -> None:
        """`defaults` stand in for fields that a test does not name."""
        self._defaults = defaults
        self._results = results

    def run(self, **fields: Any) -> Result:
        """Run one test and return what came of it: `.passed`, `.outcome`, `.reasons`, `.path`.

        The keywords are the fields of a `splitbrain.Spec`. Raises `UsageError` for a spec that
        cannot be run, and `HarnessError` when not even the run's folder can be made.
        """
        from harness import run as one_run
        from harness.outcome import Outcome
        from harness.seed import fresh_seed
        from harness.spec import from_values

        spec = from_values({"seed": fresh_seed(), **self._defaults, **fields})
        result = one_run.run(spec)
        self._results.append(result)
        if result.interrupted or result.outcome is Outcome.INTERRUPTED:
            # The run heard Ctrl-C and put its hosts away; pytest has not heard it yet.
            raise KeyboardInterrupt(f"interrupted in the run {result.path}")
        return result


@pytest.fixture
def splitbrain(request: pytest.FixtureRequest) -> Splitbrain:
    """Run tests on real hosts: `assert splitbrain.run(workload="register").passed`."""
    given = {name: request.config.getoption(_destination(name)) for name in _OPTIONS}
    results = request.node.stash.setdefault(_RESULTS, [])
    return Splitbrain({name: value for name, value in given.items() if value is not None}, results)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option for each field that depends on where the tests run."""
    group = parser.getgroup(_NAME, "splitbrain: runs on real hosts")
    for name, help_text in _OPTIONS.items():
        flag = f"--{_NAME}-{name.replace('_', '-')}"
        group.addoption(flag, dest=_destination(name), metavar="VALUE", help=help_text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", f"{_NAME}: runs a system on real hosts; every test with the fixture has it"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the fixture, so that `-m "not splitbrain"` leaves them out."""
    for item in items:
        if _NAME in getattr(item, "fixturenames", ()):
            item.add_marker(_NAME)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failed test where its runs are, and how to repeat them."""
    report = yield
    if report.when == "call" and report.failed:
        for result in item.stash.get(_RESULTS, []):
            report.sections.append((_NAME, _told(result)))
    return report


def _destination(name: str) -> str:
    return f"{_NAME}_{name}"


def _told(result: Result) -> str:
    return "\n".join(
        [
            f"{result.outcome.value.upper()}  {result.document['name']}",
            *(f"  {reason}" for reason in result.reasons),
            f"folder       {result.path}",
            f"run again    {result.document['repeat']}",
        ]
    )
