"""What all tests share: how hard hypothesis tries, what waits for the night, and what is skipped without root."""

import os
import signal
import threading

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    # A shell's job in the background ignores Ctrl-C, and so would every program that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is for the night, and skip, saying so, what needs root where we are not."""
    if os.environ.get("HYPOTHESIS_PROFILE") != "nightly":
        items[:] = [item for item in items if item.get_closest_marker("nightly") is None]
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root for network namespaces: run the tests with sudo")
    for item in items:
        if item.get_closest_marker("lab") is not None:
            item.add_marker(skip)
