"""Asks every node to serve: before the load, and after the faults.

Rules of this file:
- Each node is asked through itself, all at the same time, until it serves or time is over. What it
  said last is the evidence against it.
- A probe is no part of the history, so it must not disturb what is checked: looks look, and each
  change is of a key of its own, another one with every try. So a try that was lost and comes late
  is nobody's business.
- A client that raises, cannot be opened or does not return has not been served; clients are
  people's own code.
- A system whose nodes ever called themselves leader has to have one in the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from checker.history import EventType
from harness.client import Client
from harness.client_thread import Unopened
from harness.systems.system import System
from workloads.generator import Invocation
from workloads.workload import Probe

# A probe that is lost must not use up the time that the system has.
_PROBE_TIMEOUT_S: Final = 1.0
_STATUS_TIMEOUT_S: Final = 0.5
_POLL_S: Final = 0.05
# What a client may take beyond its timeout before nobody waits for it any more.
_GRACE_S: Final = 5.0


class Service:
    """What the nodes of a system are asked in the words of one kind of data.

    `stopping` tells when nobody waits for an answer any more.
    """

    def __init__(
        self, system: System, nodes: Sequence[str], data: str, stopping: Callable[[], bool]
    ) -> None:
        self._system = system
        self._nodes = tuple(nodes)
        self._data = data
        self._stopping = stopping

    def everywhere(self, look: Probe, change: Probe | None, deadline: float) -> str:
        """Wait until every node has served the change, if there is one, and then the look.

        Returns an empty string, or who did not serve by the deadline, and why.
        """
        answers = dict.fromkeys(self._nodes, "was asked, and its client does not return")
        mistakes: list[Exception] = []

        answered = {node: threading.Event() for node in self._nodes}

        def ask(node: str) -> None:
            client = Unopened(
                lambda: self._system.client(node, self._data, timeout_s=_PROBE_TIMEOUT_S), node
            )
            try:
                answers[node] = self._serves(client, node, look, change, deadline)
            except Exception as error:  # noqa: BLE001  (it is raised where it is heard)
                mistakes.append(error)
            answered[node].set()  # first: closing may take for ever
            with suppress(Exception):
                client.close()

        # Not a pool, which would wait for ever for a client that does.
        for node in self._nodes:
            threading.Thread(target=ask, args=(node,), name=f"asks-{node}", daemon=True).start()
        for one in answered.values():
            one.wait(max(0.0, deadline + _GRACE_S - time.monotonic()))
        if mistakes:
            raise mistakes[0]
        return "; ".join(f"{node} {answer}" for node, answer in answers.items() if answer)

    def await_leader(self, deadline: float) -> tuple[str | None, str]:
        """Wait until a node says that it leads; return who, or `None` and what they said last."""
        while True:
            said = {node: self._system.status(node, _STATUS_TIMEOUT_S) for node in self._nodes}
            leading = [
                (status.term, node)
                for node, status in said.items()
                if status is not None and status.role == "leader"
            ]
            if leading:
                return max(leading)[1], ""
            if time.monotonic() >= deadline or self._stopping():
                roles = (
                    f"{node} {'says nothing' if status is None else f'is {status.role}'}"
                    for node, status in said.items()
                )
                return None, f"nobody leads ({', '.join(roles)})"
            time.sleep(_POLL_S)

    def _serves(
        self, client: Client, node: str, look: Probe, change: Probe | None, deadline: float
    ) -> str:
        for probe, name in ((change, _key_of_its_own(node)), (look, _the_key)):
            said = "" if probe is None else self._insist(client, probe, name, deadline)
            if said and probe is not None:
                return f"serves no {probe.f} ({said}; {self._state(node)})"
        return ""

    def _insist(
        self, client: Client, probe: Probe, name: Callable[[str, int], str], deadline: float
    ) -> str:
        """Ask until it is served in time; return an empty string, or what was said last."""
        said, tries = "was not asked", 0
        while time.monotonic() < deadline and not self._stopping():
            time.sleep(_POLL_S)
            key = None if probe.key is None else name(probe.key, tries)
            invocation = Invocation(f=probe.f, value=probe.value, key=key, thread=0)
            try:
                completion = client.invoke(invocation)
                if completion.type is EventType.OK and time.monotonic() <= deadline:
                    return ""
                said = completion.error or "answered too late"
            except Exception as error:  # noqa: BLE001  (people's own code: it was not served)
                said = f"client-error: {type(error).__name__}: {error}"
            tries += 1
        return said

    def _state(self, node: str) -> str:
        status = self._system.status(node, _STATUS_TIMEOUT_S)
        return "no status" if status is None else f"{status.role} in term {status.term}"


def _key_of_its_own(node: str) -> Callable[[str, int], str]:
    return lambda key, tries: f"{key}.{node}.{tries}"


def _the_key(key: str, tries: int) -> str:
    del tries
    return key
