"""The Raft node of this project, known to the harness by node/PROTOCOL.md alone.

Rules of this file:
- Nothing is imported from `node`: its archive is built by a command, its API spoken over HTTP.
- How to install and start it, and how to ask for its state and order it about, is here; what its
  clients say and how they say it is in `raft_words.py`, `raft_client.py` and below.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from harness.client import Client
from harness.errors import HarnessError, UsageError
from harness.hosts.endpoint import endpoint
from harness.log_scan import STANDARD, Pattern
from harness.spec import READS, Spec
from harness.systems import raft_admin
from harness.systems.administrated import Members, Reply
from harness.systems.fault_model import FaultModel, Loss, Share
from harness.systems.kind import SystemKind
from harness.systems.one_post import CONNECT_S_MAX, code_of
from harness.systems.peer_filter import Counts
from harness.systems.raft_client import RaftClient
from harness.systems.raft_session import SharedSession
from harness.systems.raft_words import WORDS
from harness.systems.system import Status

# The folder above the packages: where the node's sources are, in a checkout or installed.
ROOT: Final = Path(__file__).resolve().parents[2]

# The kinds of data that clients know the words of (`workloads.data`).
OFFERS: Final = frozenset(WORDS)

PEER_PORT: Final = 7000
CLIENT_PORT: Final = 7001

# What Raft survives, and how the node keeps its data (node/PROTOCOL.md). A node that finds its data
# damaged ends with 3. That the newest of its log is gone, nobody can see who has nothing but the log.
MODEL: Final = FaultModel(
    survives={Loss.UNSYNCED: Share.ALL, Loss.TORN: Share.ALL, Loss.VISIBLE: Share.ONE},
    logs=("data/wal-" + "[0-9a-f]" * 16,),
    states=("data/identity", "data/snapshot-" + "[0-9a-f]" * 16),
    refuses_with=frozenset({3}),
)

# A run writes some thousands of entries: few enough that snapshots are taken and sent in each.
SNAPSHOT_ENTRIES: Final = 1000

# An exception that nobody caught. Connections that it had no descriptor for are none of those.
_UNEXPECTED: Final = Pattern(name="unexpected", regex=r"^\d+ unexpected: (?!socket\.accept\(\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftSystem:
    """A cluster of our nodes.

    `addresses` maps each node to its IP address. `reads` is the `mode` of whatever only reads.
    """

    addresses: Mapping[str, str]
    archive: Path
    version: str
    operation_timeout_s: float
    reads: str = "linear"
    name: str = "raft"
    # node -> the session that its repeating clients share
    _sessions: dict[str, SharedSession] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def files(self) -> Mapping[str, Path]:
        """Return the one archive that a node is."""
        return {"node.pyz": self.archive}

    def data_folders(self) -> Sequence[str]:
        """Return the data directory: identity, log and snapshots."""
        return ("data",)

    @property
    def secret_files(self) -> Sequence[str]:
        """Return the file of what its nodes prove to each other."""
        return ("data/secret",)

    def prepare(self, node: str, home: str) -> list[list[str]]:
        """Return the command that makes the data directory: a node that lost it does not start."""
        return [[*self._init(node, home), *self._places(*self.addresses)]]

    def prepare_to_join(self, node: str, home: str) -> list[list[str]]:
        """Return the command that makes a node of a cluster that exists, of another incarnation."""
        return [[*self._init(node, home), "--join", *self._places(node)]]

    def _init(self, node: str, home: str) -> list[str]:
        whose = ["--data", f"{home}/data", "--name", node, "--cluster", "splitbrain"]
        return [*_program(home), "init", *whose]

    def _places(self, *nodes: str) -> list[str]:
        places: list[str] = []
        for node in nodes:
            places += ["--peer", f"{node}={self._address(node, PEER_PORT)}"]
            places += ["--client", f"{node}={self._address(node, CLIENT_PORT)}"]
        return places

    def _address(self, node: str, port: int) -> str:
        return endpoint(self.addresses[node], port)

    def command(self, node: str, home: str) -> list[str]:
        """Return the command of node/PROTOCOL.md, "Starting a node"."""
        # The node gives up before its client does, so that clients hear what became of it.
        request_timeout_ms = int(self.operation_timeout_s * 800)
        return [
            *_program(home),
            "run",
            "--data",
            f"{home}/data",
            "--request-timeout-ms",
            str(request_timeout_ms),
            "--snapshot-entries",
            str(SNAPSHOT_ENTRIES),
            "--testing-faults",
            *(["--leases"] if self.reads == "lease" else []),
        ]

    @property
    def environmental_exits(self) -> frozenset[int]:
        """Bad arguments, a disk that refuses, an address in use (node/PROTOCOL.md)."""
        return frozenset({2, 4, 5})

    @property
    def exits_without_data(self) -> frozenset[int]:
        """No identity where the data should be (node/PROTOCOL.md)."""
        return frozenset({6})

    @property
    def offers(self) -> frozenset[str]:
        """Return the kinds of data that its clients know."""
        return OFFERS

    def client(
        self, node: str, data: str, *, timeout_s: float | None = None, retries: int = 0
    ) -> Client:
        """Return a client of one node. One that repeats goes on to the nodes after it, and shares
        a session with all such clients of the node."""
        nodes = [*self.addresses]
        first = nodes.index(node)
        return RaftClient(
            node=node,
            urls=[self._url(one) for one in nodes[first:] + nodes[:first]],
            data=data,
            timeout_s=timeout_s or self.operation_timeout_s,
            reads=self.reads,
            retries=retries,
            sessions=self._sessions.setdefault(node, SharedSession()) if retries else None,
        )

    def status(self, node: str, timeout_s: float) -> Status | None:
        """Ask /status once; the offset is taken at the middle of the round trip."""
        session = _status_session()
        before_ns, wall_before_ns = time.monotonic_ns(), time.time_ns()
        try:
            response = session.get(
                f"{self._url(node)}/status", timeout=timeout_s, allow_redirects=False
            )
            round_trip_ns = time.monotonic_ns() - before_ns
            answer = response.json()
            wall_ns = int(answer["clock"]["wall_ns"])
            return Status(
                role=str(answer["role"]),
                term=int(answer["term"]),
                leader=answer["leader"],
                commit_index=int(answer["commit_index"]),
                applied_index=int(answer["applied_index"]),
                clock_offset_ns=wall_ns - (wall_before_ns + round_trip_ns // 2),
                clock_error_ns=round_trip_ns // 2,
                raw=answer,
                state_hash=str(answer["state_hash"]),
            )
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return None

    def members(self, node: str, timeout_s: float) -> Members | None:
        """Ask /v1/members once."""
        try:
            response = _status_session().get(
                f"{self._url(node)}/v1/members", timeout=timeout_s, allow_redirects=False
            )
            return raft_admin.members_of(response.json())
        except (requests.RequestException, ValueError):
            return None

    def add_member(self, via: str, node: str, timeout_s: float) -> Reply:
        """Ask for a learner that is to become a voter."""
        peer, client = self._address(node, PEER_PORT), self._address(node, CLIENT_PORT)
        body = {"op": "add_member", "name": node, "peer": peer, "client": client}
        return self._administrate(via, body, timeout_s)

    def remove_member(self, via: str, node: str, timeout_s: float) -> Reply:
        """Ask for a configuration without a member."""
        return self._administrate(via, {"op": "remove_member", "name": node}, timeout_s)

    def transfer(self, via: str, to: str, timeout_s: float) -> Reply:
        """Ask for another leader."""
        return self._administrate(via, {"op": "transfer", "to": to}, timeout_s)

    def snapshot(self, via: str, timeout_s: float) -> Reply:
        """Ask for a snapshot."""
        return self._administrate(via, {"op": "snapshot"}, timeout_s)

    def drop_messages(
        self, node: str, classes: Sequence[str], *, for_ms: int, timeout_s: float
    ) -> Counts | None:
        """Ask for messages of these classes to be lost."""
        body = {"op": "drop_messages", "classes": [*classes], "peers": [], "for_ms": for_ms}
        try:
            return raft_admin.counts_of(*self._post(node, body, timeout_s))
        except (requests.RequestException, HTTPError):
            return None

    def compact(self, node: str, timeout_s: float) -> Reply:
        """Ask for a snapshot and a log that begins behind it."""
        return self._administrate(node, {"op": "compact"}, timeout_s)

    def _administrate(self, via: str, body: Mapping[str, str], timeout_s: float) -> Reply:
        try:
            return raft_admin.reply_of(*self._post(via, body, timeout_s))
        except (requests.RequestException, HTTPError) as error:
            return raft_admin.reply_of_failure(code_of(error))

    def _post(self, via: str, body: Mapping[str, object], timeout_s: float) -> tuple[int, bytes]:
        connect_s = min(CONNECT_S_MAX, timeout_s / 2)
        response = _status_session().post(
            f"{self._url(via)}/v1/admin",
            json=body,
            timeout=(connect_s, timeout_s - connect_s),
            allow_redirects=False,
        )
        return response.status_code, response.content

    def _url(self, node: str) -> str:
        return f"http://{self._address(node, CLIENT_PORT)}"


def _program(home: str) -> list[str]:
    return ["python3", "-I", f"{home}/node.pyz"]


_local = threading.local()


def _status_session() -> requests.Session:
    """Return this thread's session, so that samplers keep their connections."""
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = requests.Session()
        session.trust_env = False
        _local.session = session
    return session


def version_of(mutant: str) -> str:
    """Return the version that reports show."""
    ours = metadata.version("splitbrain")
    return f"{ours} (mutant {mutant})" if mutant else ours


def build_archive(target: Path, *, mutant: str, root: Path = ROOT) -> None:
    """Build the node's archive, of a mutated copy of its sources if `mutant` names one.

    `root` is the folder that holds the `node` package. Raises `UsageError` for an unknown mutant
    and `HarnessError` when building fails, with the last line of what the command said.
    """
    source = root / "node"
    if mutant:
        _command(["-m", "node.mutants", "apply", mutant, str(target.parent)], root)
        source = target.parent / "node"
    _command(["-m", "node.archive", str(target), "--source", str(source)], root)


def _command(arguments: Sequence[str], root: Path) -> str:
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"building the node failed: {error}") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        if done.returncode == UsageError.exit_code:
            raise UsageError(said)
        raise HarnessError(f"building the node failed: {said}")
    return done.stdout


def mutants(root: Path = ROOT) -> dict[str, str]:
    """Return the known mutants of the node: name -> what it does wrong."""
    listed = json.loads(_command(["-m", "node.mutants", "list", "--json"], root))
    return {str(one["id"]): str(one["summary"]) for one in listed}


def _check(spec: Spec) -> None:
    if spec.mutant and spec.mutant not in (known := mutants()):
        raise UsageError(f"mutant is {spec.mutant!r}, but must be one of: {', '.join(known)}")


def _make(spec: Spec, addresses: Mapping[str, str], scratch: Path) -> RaftSystem:
    archive = scratch / "node.pyz"
    build_archive(archive, mutant=spec.mutant)
    return RaftSystem(
        addresses=addresses,
        archive=archive,
        version=version_of(spec.mutant),
        operation_timeout_s=spec.operation_timeout,
        reads=spec.reads,
    )


KIND: Final = SystemKind(
    name="raft",
    make=_make,
    offers=OFFERS,
    reads=READS,
    cannot={},
    log_patterns=(*STANDARD, _UNEXPECTED),
    model=MODEL,
    check=_check,
)
