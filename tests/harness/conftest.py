"""Labs for the tests that need real hosts: never the user's own, always taken down.

One is shared by all tests that only use it, one is for tests that make and unmake labs, and one
number is for whole runs, which do that themselves.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.hosts import lab, lab_groups
from harness.hosts.lab import Lab
from harness.nemesis.plan import Plan
from harness.remote.ssh import Remote
from harness.run import Result, run
from harness.spec import Spec

# Far from 0, which is what people get who do not choose.
FIRST_INSTANCE, LAST_INSTANCE = 200, 250
# Below those, for whole runs: a run claims its lab itself, so nobody can hold it for a run.
FIRST_FOR_RUNS = 50
NODES = 3


def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces: run the tests with sudo")


def claim_for_tests() -> Iterator[int]:
    """Hold an instance that nobody else uses, and leave nothing of it behind."""
    need_root()
    start = FIRST_INSTANCE + os.getpid() % (LAST_INSTANCE - FIRST_INSTANCE)
    for instance in [*range(start, LAST_INSTANCE), *range(FIRST_INSTANCE, start)]:
        if lab.status(instance).state != "down":
            continue
        try:
            claimed = lab.claim(instance)
            claimed.__enter__()
        except HarnessError:
            continue
        try:
            yield instance
        finally:
            lab.down(instance)
            claimed.__exit__(None, None, None)
        return
    pytest.skip("every lab instance for tests is in use")


@pytest.fixture
def free_instance() -> Iterator[int]:
    """An instance with nothing in it, for tests that make and unmake labs."""
    yield from claim_for_tests()


@pytest.fixture(scope="session")
def test_lab() -> Iterator[Lab]:
    """A lab of three hosts, shared by all tests that only use it."""
    for instance in claim_for_tests():
        yield lab.up(nodes=NODES, instance=instance)


@pytest.fixture
def remote(test_lab: Lab) -> Iterator[Remote]:
    """A connection to the first host."""
    with Remote.connect(test_lab.hosts[0]) as connected:
        yield connected


@pytest.fixture
def own_lab() -> Iterator[int]:
    """The number of a lab for whole runs, not every process the same; they leave nothing of it."""
    instance = FIRST_FOR_RUNS + os.getpid() % (FIRST_INSTANCE - FIRST_FOR_RUNS)
    yield instance
    assert lab.status(instance).state == "down", "the run left its lab behind"
    assert lab_groups.of(instance) == [], "the run left control groups behind"


@pytest.fixture
def lab_run(own_lab: int, tmp_path: Path) -> Callable[..., Result]:
    """What makes a run there: it is given the fields of a spec, and a plan if it must be this one."""

    def made(*, plan: Plan | None = None, **fields: Any) -> Result:
        return run(Spec(lab=own_lab, store=str(tmp_path), **fields), plan=plan)

    return made
