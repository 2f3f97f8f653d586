"""etcd, known to the harness by its command line and its v3 JSON gateway.

Rules of this file:
- The program is the one installed where the harness runs; it is uploaded to every host, so hosts
  need nothing but the same kind of machine. Nothing is tuned that would make it less safe.
- The cluster is static: who its members are is on the command line. etcd makes its own data
  directory, so there is nothing to prepare.
- What etcd cannot do or cannot show is said in `CANNOT`, and refused before a run begins.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.client import Client
from harness.errors import HarnessError
from harness.hosts.endpoint import endpoint
from harness.spec import Spec
from harness.systems import etcd_words
from harness.systems.etcd_client import EtcdClient
from harness.systems.fault_model import FaultModel, Loss, Share
from harness.systems.kind import SystemKind
from harness.systems.one_post import NoAnswer, open_session, post_once
from harness.systems.system import Status

if TYPE_CHECKING:
    import requests

PEER_PORT: Final = 2380
CLIENT_PORT: Final = 2379

# A run writes some thousands of entries: few enough that snapshots are taken in each.
SNAPSHOT_ENTRIES: Final = 1000

# Faults last some two seconds: half of etcd's own values, so that elections are over within them.
HEARTBEAT_MS: Final = 50
ELECTION_MS: Final = 500

# What of the spec it knows: kinds of data and of reads; and the faults it cannot have, with why.
OFFERS: Final = etcd_words.OFFERS
READS: Final = ("linear", "stale")
_NO_ORDERS: Final = "the harness knows no way to ask it for that"
CANNOT: Final[Mapping[str, str]] = {
    "clock": "it does not say what its clock shows, so nobody could see it move",
    "member": _NO_ORDERS,
    "transfer": _NO_ORDERS,
    "snapshot": _NO_ORDERS,
    "damage": "the harness knows no way to put another member in the place of one that was struck",
    "amnesia": "the harness knows no way to put another member in the place of one that was struck",
}
# What Raft survives; of what is beyond nothing is tried.
MODEL: Final = FaultModel(survives={Loss.UNSYNCED: Share.ALL, Loss.TORN: Share.ALL})

_VERSION_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSystem:
    """A cluster of etcd. `addresses` maps each node to its IP address, `program` is uploaded.

    `ids` are the members' names by the numbers that etcd gave them, as far as they are known.
    """

    addresses: Mapping[str, str]
    program: Path
    version: str
    operation_timeout_s: float
    reads: str = "linear"
    name: str = "etcd"
    ids: dict[str, str] = field(default_factory=dict)

    def files(self) -> Mapping[str, Path]:
        """Return the program."""
        return {"etcd": self.program}

    def data_folders(self) -> Sequence[str]:
        """Return where the database is. The log beside it is made of files of 64 MB, mostly empty."""
        return ("data/member/snap",)

    def prepare(self, node: str, home: str) -> list[list[str]]:
        """Return nothing: etcd makes its data directory itself."""
        del node, home
        return []

    def command(self, node: str, home: str) -> list[str]:
        """Return the command line of a member of a static cluster."""
        peer, client = self._url(node, PEER_PORT), self._url(node, CLIENT_PORT)
        cluster = [f"{name}={self._url(name, PEER_PORT)}" for name in self.addresses]
        return [
            f"{home}/etcd",
            *("--name", node),
            *("--data-dir", f"{home}/data"),
            *("--initial-cluster-state", "new", "--initial-cluster-token", "splitbrain"),
            *("--initial-cluster", ",".join(cluster)),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--heartbeat-interval", str(HEARTBEAT_MS), "--election-timeout", str(ELECTION_MS)),
            *("--snapshot-count", str(SNAPSHOT_ENTRIES)),
            "--enable-v2=false",
            *("--logger", "zap", "--log-outputs", "stderr"),
        ]

    @property
    def environmental_exits(self) -> frozenset[int]:
        """A port that is taken, a disk that refuses: 1. It is also how etcd ends when it finds its
        own data broken; then it does not come back, and that is judged (`liveness`)."""
        return frozenset({1})

    @property
    def exits_on_full_disk(self) -> frozenset[int]:
        """It also panics (status 2) when there is no room for a snapshot."""
        return frozenset({1, 2})

    @property
    def offers(self) -> frozenset[str]:
        """Return the kinds of data that its clients know."""
        return OFFERS

    def client(
        self, node: str, data: str, *, timeout_s: float | None = None, retries: int = 0
    ) -> Client:
        """Return a client of one node. etcd has no sessions: `retries` means nothing."""
        del retries
        return EtcdClient(
            node=node,
            url=self._url(node, CLIENT_PORT),
            data=data,
            timeout_s=timeout_s or self.operation_timeout_s,
            stale=self.reads == "stale",
        )

    def status(self, node: str, timeout_s: float) -> Status | None:
        """Ask the maintenance service once."""
        url = f"{self._url(node, CLIENT_PORT)}/v3/maintenance/status"
        try:
            _, body = post_once(_session(), url, {}, deadline=time.monotonic() + timeout_s)
            answer = json.loads(body)
            self.ids[str(answer["header"]["member_id"])] = node
            return status_of(answer, self.ids)
        except (NoAnswer, ValueError, KeyError, TypeError):
            return None

    def _url(self, node: str, port: int) -> str:
        return f"http://{endpoint(self.addresses[node], port)}"


def status_of(answer: Mapping[str, Any], ids: Mapping[str, str]) -> Status:
    """Read what a member says of itself. Raises `KeyError` or `ValueError` for what is no status.

    The gateway leaves out what is zero: no `leader` means that it knows none.
    """
    own, leader = str(answer["header"]["member_id"]), str(answer.get("leader", "0"))
    role = "leader" if leader == own else "candidate" if leader == "0" else "follower"
    return Status(
        role=role,
        term=int(answer["raftTerm"]),
        leader=ids.get(leader),
        commit_index=int(answer["raftIndex"]),
        applied_index=int(answer.get("raftAppliedIndex", 0)),
        clock_offset_ns=None,
        clock_error_ns=None,
        raw=answer,
    )


_local = threading.local()


def _session() -> requests.Session:
    """Return this thread's session, so that samplers keep their connections."""
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = _local.session = open_session()
    return session


def find_program() -> Path:
    """Return the program on this machine. Raises `HarnessError` that says how to get it."""
    found = shutil.which("etcd")
    if found is None:
        raise HarnessError(
            "etcd is not installed on this machine, from where it is put on the hosts: "
            "sudo apt-get install -y etcd-server"
        )
    return Path(found)


def version_of(program: Path) -> str:
    """Return the version that the program says it is. Raises `HarnessError` if it says none."""
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"{program} --version: {error}") from None
    found = re.search(r"^etcd Version: (\S+)", done.stdout, re.MULTILINE)
    if found is None:
        raise HarnessError(f"{program} --version says no version: is it etcd?")
    return found[1]


def _check(spec: Spec) -> None:
    del spec
    find_program()


def _make(spec: Spec, addresses: Mapping[str, str], scratch: Path) -> EtcdSystem:
    del scratch
    program = find_program()
    return EtcdSystem(
        addresses=addresses,
        program=program,
        version=version_of(program),
        operation_timeout_s=spec.operation_timeout,
        reads=spec.reads,
    )


KIND: Final = SystemKind(
    name="etcd", make=_make, offers=OFFERS, reads=READS, cannot=CANNOT, model=MODEL, check=_check
)
