"""The hosts of a run, prepared: connected, each with an agent, the system installed and started.

Rules of this file:
- Everything on a host goes through SSH; every command is bounded; all hosts are prepared at once.
- What the harness started, it knows: an exit that it did not ask for is reported, never hidden.
- Closing heals: agents undo their faults and stop the system before the connections go.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from harness.errors import HostError
from harness.host_files import keep_without_secrets
from harness.hosts.host import HostAddress
from harness.redact import MARK
from harness.remote.agent_client import Agent
from harness.remote.evidence import (
    DAMAGED_DATA,
    FAILING_DISK,
    FEW_DESCRIPTORS,
    FULL_DISK,
    MEMORY_SQUEEZE,
)
from harness.remote.ssh import Remote
from harness.store import CLOCK, write_json
from harness.systems.administrated import Administrated
from harness.systems.fault_model import CRASHES_ONLY, FaultModel
from harness.systems.system import System

# Bounds, not expectations: an emulated host on a busy machine takes half a minute for what others
# do in half a second.
_CONNECT_TIMEOUT_S: Final = 30.0
_COMMAND_TIMEOUT_S: Final = 90.0
_LOG_BYTES_MAX: Final = 20_000_000
_DATA_BYTES_MAX: Final = 100_000_000
_DATA_FILES_MAX: Final = 64
_SECRET_BYTES_MAX: Final = 4096
_STOP_TIMEOUT_S: Final = 2.0


class Cluster:
    """A set of hosts with one system on them. Use as a context manager."""

    def __init__(
        self,
        hosts: Sequence[HostAddress],
        system: System,
        *,
        clock_faults: bool = False,
        disk_faults: bool = False,
        resource_faults: bool = False,
        model: FaultModel = CRASHES_ONLY,
    ) -> None:
        """`model` says what the system promises to survive, and how it refuses damaged data."""
        self.system = system
        self.model = model
        self.nodes = tuple(host.name for host in hosts)
        self.addresses = {host.name: host.address for host in hosts}
        # Also those that are not used: a partition that left one out would leak.
        self.all_addresses = {host.name: host.addresses for host in hosts}
        self._hosts = {host.name: host for host in hosts}
        self._clock_faults = clock_faults
        self._disk_faults = disk_faults
        self._resource_faults = resource_faults
        self._remotes: dict[str, Remote] = {}
        self._agents: dict[str, Agent] = {}
        # A node that is being made anew must not be started by somebody else in the middle of it.
        self._starting = {node: threading.RLock() for node in self.nodes}
        self._absent: set[str] = set()
        self._wiped: set[str] = set()

    def __enter__(self) -> Cluster:
        try:
            self._everywhere(self._connect)
        except BaseException:
            with suppress(HostError):  # what went wrong first is what has to be told
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

    def system_home(self, node: str) -> str:
        """Return the folder on a node that the system lives in."""
        return f"{self._hosts[node].home}/system"

    def log(self, node: str) -> str:
        """Return the file on a node that the system's output goes to."""
        return f"{self._hosts[node].home}/system.log"

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
        with self._starting[node]:
            if node in self._absent:
                return "has no data of use and is left alone until it is made anew"
            command = self.system.command(node, self.system_home(node))
            started = self._agents[node].start(
                command, log=self.log(node), clock=self._clock_faults
            )
            return started.detail

    def hold(self, node: str) -> AbstractContextManager[object]:
        """Keep everybody else from starting a node or making it anew meanwhile."""
        return self._starting[node]

    def condemn(self, node: str) -> None:
        """Let nobody start a node again, or strike it, before it was made anew."""
        self._absent.add(node)

    def start_anew(self, node: str) -> str:
        """Stop the system on a node, wipe its data, make it anew to join, and start it.

        What fails half way leaves the node without the system; it may be tried again. Raises
        `HostError`.
        """
        assert isinstance(self.system, Administrated)
        remote, home = self._remotes[node], self.system_home(node)
        with self._starting[node]:
            self._absent.add(node)
            self._wiped.add(node)
            ended = self._agents[node].stop(timeout_s=_STOP_TIMEOUT_S)
            if not ended.gone:
                raise HostError(f"{node}: the system could not be stopped: {ended.detail}")
            if self._disk_faults:
                self._agents[node].undo_disk()  # a new node comes with a good disk
            if self._resource_faults:
                self._agents[node].undo_squeeze()
            folders = [f"{home}/{name}" for name in self.system.data_folders()]
            remote.check(["rm", "-rf", *folders], timeout_s=_COMMAND_TIMEOUT_S)
            self._agents[node].end_damage()
            for command in self.system.prepare_to_join(node, home):
                remote.check(command, timeout_s=_COMMAND_TIMEOUT_S)
            self._absent.discard(node)
            return self.start(node)

    def absent(self) -> frozenset[str]:
        """Return the nodes that have no data of use at the moment: no fault can strike them."""
        return frozenset(self._absent)

    def settle(self) -> None:
        """Make sure that nothing of ours stands in the system's way any more.

        Every agent undoes whatever is left and answers for it, and a system that a fault left dead
        is started. Raises `HostError` if a host cannot be vouched for: then nobody may judge
        whether the system recovers.
        """

        def vouch(node: str) -> None:
            agent = self._agents[node]
            healed = agent.heal()
            if not healed.healed:
                said = ", ".join(f"{step}: {why}" for step, why in healed.problems.items())
                raise HostError(f"{node}: faults could not be undone: {said}")
            process = agent.process()
            if not process.running and all(exit_.asked_by for exit_ in process.exits[-1:]):
                self.start(node)

        self._everywhere(vouch)

    def unexplained_exits(self) -> tuple[list[str], list[str]]:
        """Return how the system ended although no fault ended it: crashes, and misfortunes.

        A crash is the system's own doing. A misfortune (its disk is full, its port is taken,
        somebody else killed it) is its surroundings', or nobody could look.
        """
        crashes: list[str] = []
        misfortunes: list[str] = []
        for node, agent in self._agents.items():
            try:
                exits = agent.process().exits
            except HostError as error:
                misfortunes.append(f"{error}; whether the system crashed there is not known")
                continue
            for one in exits:
                killed = one.signal == "SIGKILL"
                if one.asked_by == "stop" or (one.asked_by == "kill" and killed):
                    continue
                if one.asked_by == MEMORY_SQUEEZE and killed:
                    continue  # by the kernel: we left it no memory
                if one.asked_by in (FEW_DESCRIPTORS, FAILING_DISK) and one.signal is None:
                    continue  # it may not even have found its own code: any status will do
                if one.asked_by is not None and one.status in self._excused(one.asked_by):
                    continue  # it is right to give up
                if node in self._wiped and one.status in self._exits_without_data():
                    continue  # it is right to refuse: its data was taken away by us
                surroundings = killed or one.status in self.system.environmental_exits
                (misfortunes if surroundings else crashes).append(f"{node}: {one.detail}")
        return crashes, misfortunes

    def _excused(self, why: str) -> frozenset[int]:
        """Return how the system may end by what we did to its disk: some know more ways then."""
        usual = self.system.environmental_exits
        if why == FULL_DISK:
            return frozenset(getattr(self.system, "exits_on_full_disk", usual))
        return self.model.refuses_with if why == DAMAGED_DATA else frozenset()

    def _exits_without_data(self) -> frozenset[int]:
        system = self.system
        return system.exits_without_data if isinstance(system, Administrated) else frozenset()

    def collect(self, target: Path, clock: Callable[[], int]) -> tuple[list[str], list[str]]:
        """Fetch every host's log and data below `target`; returns what could not be, and why: of
        hosts without a whole log, and of others.

        Secrets stay behind: those that the system keeps in files, and what looks like one.

        `clock` gives the run's time in ns: beside each log, `clock.json` says at which moment of the
        run the host's monotonic clock showed zero, so that its log lines can be placed.
        """
        unread: list[str] = []
        problems: list[str] = []

        def fetch(node: str) -> None:
            folder = target / node
            lacking = unread
            try:
                folder.mkdir(parents=True, exist_ok=True)
                secrets = self._secrets(node)
                log = folder / "system.log"
                skipped = self._fetch(node, self.log(node), log, _LOG_BYTES_MAX, secrets)
                if skipped:
                    unread.append(
                        f"{node}: the first {skipped} bytes of its log were not looked at"
                    )
                lacking = problems
                before_ns = clock()
                host_ns = self._agents[node].wall_clock().monotonic_ns
                zero_ns = (before_ns + clock()) // 2 - host_ns
                write_json(folder / CLOCK, {"run_ns_at_monotonic_zero": zero_ns})
                for name in self.system.data_folders():
                    self._fetch_folder(node, name, folder, secrets)
            except (HostError, OSError) as error:
                lacking.append(f"{node}: not everything could be fetched: {error}")

        self._everywhere(fetch, nodes=[node for node in self.nodes if node in self._remotes])
        return unread, problems

    def _secrets(self, node: str) -> list[bytes]:
        """Return what the system on a node has in the files that it calls secret."""
        found = [
            self._remotes[node].run(
                ["head", "-c", str(_SECRET_BYTES_MAX), f"{self.system_home(node)}/{name}"]
            )
            for name in self._secret_files()
        ]
        return [one.stdout.strip().encode() for one in found if one.exit_status == 0]

    def _secret_files(self) -> frozenset[str]:
        return frozenset(getattr(self.system, "secret_files", ()))

    def _fetch(
        self, node: str, path: str, target: Path, bytes_max: int, secrets: Sequence[bytes]
    ) -> int:
        """Fetch the end of a file; return how much of its beginning was left out."""
        with tempfile.TemporaryDirectory(prefix="splitbrain-") as aside:
            fetched = Path(aside, "fetched")
            done = self._remotes[node].download(path, fetched, bytes_max=bytes_max)
            keep_without_secrets(fetched, target, secrets)
        return done.skipped_bytes

    def _fetch_folder(self, node: str, name: str, folder: Path, secrets: Sequence[bytes]) -> None:
        """Fetch the files of a folder; not those of folders in it."""
        remote = self._remotes[node]
        (folder / name).mkdir(parents=True, exist_ok=True)
        listing = [
            "find",
            f"{self.system_home(node)}/{name}",
            "-maxdepth",
            "1",
            "-type",
            "f",
            "-printf",
            "%f\\n",
        ]
        found = remote.check(listing, timeout_s=_COMMAND_TIMEOUT_S).splitlines()
        for file in sorted(found)[:_DATA_FILES_MAX]:
            if f"{name}/{file}" in self._secret_files():
                (folder / name / file).write_bytes(MARK + b"\n")
                continue
            path = f"{self.system_home(node)}/{name}/{file}"
            self._fetch(node, path, folder / name / file, _DATA_BYTES_MAX, secrets)

    def close(self) -> None:
        """Heal and let go of every host; safe at any time.

        Raises `HostError` when all are let go and some could not be healed, naming them.
        """
        dirty: list[str] = []

        def let_go(node: str) -> None:
            agent = self._agents.pop(node, None)
            if agent is not None:
                healed = agent.close()
                if healed is None:
                    dirty.append(
                        f"{node}: its agent was gone (it heals by itself, within its lease)"
                    )
                elif not healed.healed:
                    dirty.append(f"{node}: {dict(healed.problems)}")
            self._remotes.pop(node).close()

        self._everywhere(let_go, nodes=list(self._remotes))
        if dirty:
            raise HostError(f"hosts that may not be clean: {'; '.join(sorted(dirty))}")

    def _connect(self, node: str) -> None:
        remote = Remote.connect(self._hosts[node], timeout_s=_CONNECT_TIMEOUT_S)
        self._remotes[node] = remote
        self._agents[node] = Agent.launch(remote, home=remote.host.home)

    def _install(self, node: str) -> None:
        remote, home = self._remotes[node], self.system_home(node)
        remote.check(["rm", "-rf", home, self.log(node)], timeout_s=_COMMAND_TIMEOUT_S)
        if self._disk_faults:
            # All of the system's folder is the volume: what is wiped in it is never the mount.
            self._agents[node].make_volume(home)
        if self._resource_faults:
            self._agents[node].make_group()
        for name, path in self.system.files().items():
            remote.upload(path, f"{home}/{name}", mode=0o755)
        if self._disk_faults:
            # A power loss must not take the program: it was there long before.
            remote.check(["sync", "-f", home], timeout_s=_COMMAND_TIMEOUT_S)
        for command in self.system.prepare(node, home):
            remote.check(command, timeout_s=_COMMAND_TIMEOUT_S)

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
