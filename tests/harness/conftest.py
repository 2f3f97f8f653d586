"""A lab for the tests that need real hosts: made once, never the user's own, always taken down."""

import os
from collections.abc import Iterator

import pytest

from harness.errors import HarnessError
from harness.hosts import lab
from harness.hosts.lab import Lab
from harness.remote.ssh import Remote

# Far from 0, which is what people get who do not choose.
FIRST_INSTANCE, LAST_INSTANCE = 200, 250
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
