"""The hosts of a run, prepared: connected, each with an agent, the system installed and started.

Rules of this file:
- Everything on a host goes through SSH; every command is bounded; all hosts are prepared at once.
- What the harness started, it knows: an exit that it did not ask for is reported, never hidden.
- Closing heals: agents undo their faults and stop the system before the connections go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final

from harness.errors import HostError
from harness.hosts.host import HostAddress
from harness.remote.agent_client import Agent
from harness.remote.ssh import Remote
from harness.store import CLOCK, write_json
from harness.systems.system import System

HOME: Final = "/srv/splitbrain"
SYSTEM_HOME: Final = f"{HOME}/system"
LOG: Final = f"{HOME}/system.log"

_CONNECT_TIMEOUT_S: Final = 10.0
_COMMAND_TIMEOUT_S: Final = 20.0
_LOG_BYTES_MAX: Final = 20_000_000


class Cluster:
    """A set of hosts with one system on them. Use as a context manager."""

    def __init__(
        self, hosts: Sequence[HostAddress], system: System, *, clock_faults: bool = False
    ) -> None:
        self.system = system
        self.nodes = tuple(host.name for host in hosts)
        self.addresses = {host.name: host.address for host in hosts}
        self._hosts = {host.name: host for host in hosts}
        self._clock_faults = clock_faults
        self._remotes: dict[str, Remote] = {}
        self._agents: dict[str, Agent] = {}
        self._lock = threading.Lock()
        self._down: set[str] = set()

    def __enter__(self) -> Cluster:
        try:
            self._everywhere(self._connect)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def agent(self, node: str) -> Agent:
        """Return the agent of a node."""
        return self._agents[node]

    def install(self) -> None:
        """Put the system on every host, in place of whatever was there before."""
        self._everywhere(self._install)

    def start_all(self) -> None:
        """Start the system everywhere."""
        self._everywhere(self.start)

    def start(self, node: str) -> str:
        """Start the system on one node and return a sentence about it. Raises `HostError`."""
        command = self.system.command(node, SYSTEM_HOME)
        started = self._agents[node].start(command, log=LOG, clock=self._clock_faults)
        return started.detail

    def note_down(self, node: str) -> None:
        """Remember that a fault holds this node down."""
        with self._lock:
            self._down.add(node)

    def note_up(self, node: str) -> None:
        """Remember that it does no longer."""
        with self._lock:
            self._down.discard(node)

    def is_up(self, node: str) -> bool:
        """Whether no fault holds this node down."""
        with self._lock:
            return node not in self._down

    def unexplained_exits(self) -> list[str]:
        """Return a sentence for each time the system ended although nobody asked it to."""
        found: list[str] = []
        for node, agent in self._agents.items():
            try:
                found += [f"{node}: {text}" for text in agent.unexplained_exits()]
            except HostError:
                continue  # a host that is gone says nothing about the system
        return found

    def collect(self, target: Path, clock: Callable[[], int]) -> list[str]:
        """Fetch every host's log below `target`; returns what could not be fetched, and why.

        `clock` gives the run's time in ns: beside each log, `clock.json` says at which moment of the
        run the host's monotonic clock showed zero, so that its log lines can be placed.
        """
        problems: list[str] = []

        def fetch(node: str) -> None:
            folder = target / node
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._remotes[node].download(LOG, folder / "system.log", bytes_max=_LOG_BYTES_MAX)
                before_ns = clock()
                host_ns = self._agents[node].wall_clock().monotonic_ns
                zero_ns = (before_ns + clock()) // 2 - host_ns
                write_json(folder / CLOCK, {"run_ns_at_monotonic_zero": zero_ns})
            except (HostError, OSError) as error:
                problems.append(f"{node}: the log could not be fetched: {error}")

        self._everywhere(fetch, nodes=[node for node in self.nodes if node in self._remotes])
        return problems

    def close(self) -> None:
        """Heal and let go of every host; safe at any time."""

        def let_go(node: str) -> None:
            if node in self._agents:
                self._agents.pop(node).close()
            self._remotes.pop(node).close()

        self._everywhere(let_go, nodes=list(self._remotes))

    def _connect(self, node: str) -> None:
        remote = Remote.connect(self._hosts[node], timeout_s=_CONNECT_TIMEOUT_S)
        self._remotes[node] = remote
        self._agents[node] = Agent.launch(remote, home=HOME)

    def _install(self, node: str) -> None:
        remote = self._remotes[node]
        remote.check(["rm", "-rf", SYSTEM_HOME, LOG], timeout_s=_COMMAND_TIMEOUT_S)
        for name, path in self.system.files().items():
            remote.upload(path, f"{SYSTEM_HOME}/{name}", mode=0o755)

    def _everywhere(
        self, act: Callable[[str], object], *, nodes: Sequence[str] | None = None
    ) -> None:
        """Do something on all hosts at once; the first failure is raised when all have ended."""
        chosen = self.nodes if nodes is None else nodes
        if not chosen:
            return
        with ThreadPoolExecutor(len(chosen), thread_name_prefix="host") as pool:
            for future in [pool.submit(act, node) for node in chosen]:
                future.result()
