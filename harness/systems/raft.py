"""The Raft node of this project, known to the harness by node/PROTOCOL.md alone.

Rules of this file:
- Nothing is imported from `node`: its archive is built by a command, its API spoken over HTTP.
- What an error means is decided by one table (`ERRORS`) and one function (`outcome_of`). A code
  that the table does not know, an answer that is cut short, or a node whose own `definite` flag
  disagrees with the table: all of them are doubt, and doubt is `info`.
- A request is sent once. No redirects, no retries, no proxies, and one deadline for all of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from checker.history import EventType
from harness.client import Client, Completion
from harness.errors import HarnessError, UsageError
from harness.systems import raft_admin
from harness.systems.administrated import Members, Reply
from harness.systems.system import Status
from workloads.generator import Invocation

# The folder above the packages: where the node's sources are, in a checkout or installed.
ROOT: Final = Path(__file__).resolve().parents[2]

# The kinds of data that clients know the words of (`workloads.data`).
OFFERS: Final = frozenset({"register"})

PEER_PORT: Final = 7000
CLIENT_PORT: Final = 7001

# A run writes some thousands of entries: few enough that snapshots are taken and sent in each.
SNAPSHOT_ENTRIES: Final = 1000

# Error code -> certainly had no effect. The node's codes are those of node/PROTOCOL.md (a test
# compares the tables); the last four are seen by the client itself.
ERRORS: Final[Mapping[str, bool]] = {
    "bad-request": True,
    "not-authorised": True,
    "not-found": True,
    "unknown-member": True,
    "wrong-type": True,
    "out-of-range": True,
    "empty": True,
    "held": True,
    "not-held": True,
    "session-full": True,
    "session-stale": False,
    "session-expired": False,
    "change-in-progress": True,
    "precondition-failed": True,
    "too-large": True,
    "no-leader": True,
    "not-leader": True,
    "transferring": True,
    "overloaded": True,
    "shutting-down": True,
    "not-committed": True,
    "outcome-unknown": False,
    "not-connected": True,
    "connection-lost": False,
    "timeout": False,
    "garbled-answer": False,
}

# Hosts are near: a connection that takes longer than this is not going to be made.
_CONNECT_S_MAX: Final = 1.0

# What a client waits after it could not connect.
_BACK_OFF_S: Final = 0.1

# An answer is a few hundred bytes; anything of this size is not one of ours.
_ANSWER_BYTES_MAX: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 14


def outcome_of(code: str) -> EventType:
    """Say whether an operation that ended with this error certainly did not happen."""
    return EventType.FAIL if ERRORS.get(code, False) else EventType.INFO


class RaftClient:
    """Speaks to one node. Not thread-safe: one client a thread."""

    def __init__(self, *, node: str, url: str, timeout_s: float) -> None:
        """Prepare a session; no connection is made before the first operation."""
        self.node = node
        self._url = f"{url}/v1/kv"
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False

    def invoke(self, invocation: Invocation) -> Completion:
        """Perform one operation within the timeout, and decide what its end means."""
        try:
            status, body = self._post(_request_body(invocation))
        except (requests.RequestException, HTTPError) as error:
            code = _code_of(error)
            if code == "not-connected":
                # A node that is dead refuses in no time: without a pause its clients would take
                # all the load that the rate allows, and the living nodes would get none.
                time.sleep(min(_BACK_OFF_S, self._timeout_s / 2))
            return Completion(outcome_of(code), invocation.value, code)
        return _completion(invocation, status, body)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _post(self, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Send once, receive until the deadline. The socket's own timeout is for each receive;
        the loop adds them up, so that an answer that trickles in does not hold the client."""
        deadline = time.monotonic() + self._timeout_s
        connect_s = min(_CONNECT_S_MAX, self._timeout_s / 2)
        with self._session.post(
            self._url,
            json=body,
            timeout=(connect_s, self._timeout_s - connect_s),
            allow_redirects=False,
            stream=True,
        ) as response:
            received = bytearray()
            while chunk := response.raw.read1(_CHUNK_BYTES):
                received += chunk
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout("the answer was not complete by the deadline")
                if len(received) > _ANSWER_BYTES_MAX:
                    raise requests.exceptions.ContentDecodingError("the answer is too long")
            return response.status_code, bytes(received)


def _request_body(invocation: Invocation) -> dict[str, Any]:
    body: dict[str, Any] = {"op": invocation.f, "key": invocation.key}
    if invocation.f == "write":
        body["value"] = invocation.value
    elif invocation.f == "cas":
        body["from"], body["to"] = invocation.value
    return body


def _code_of(error: requests.RequestException | HTTPError) -> str:
    """Name what went wrong below HTTP. Only what failed while connecting carried nothing."""
    if isinstance(error, requests.ConnectTimeout):
        return "not-connected"
    if isinstance(error, requests.Timeout | ReadTimeoutError):
        return "timeout"
    if isinstance(error, requests.ConnectionError):
        cause = error.args[0] if error.args else None
        reason = getattr(cause, "reason", cause)
        if isinstance(reason, NewConnectionError | ConnectTimeoutError):
            return "not-connected"
        return "connection-lost"
    return "connection-lost" if isinstance(error, ProtocolError) else "garbled-answer"


def _completion(invocation: Invocation, status: int, body: bytes) -> Completion:
    """Turn an answer into a completion; whatever is not exactly as agreed is doubt."""
    doubt = Completion(outcome_of("garbled-answer"), invocation.value, "garbled-answer")
    try:
        answer = json.loads(body)
    except ValueError:
        return doubt
    if not isinstance(answer, dict):
        return doubt
    if status == requests.codes.ok and answer.get("ok") is True and "value" in answer:
        if invocation.f == "read":
            return Completion(EventType.OK, answer["value"])
        # The node repeats what it wrote: an answer to somebody else's write is none to ours.
        asked = invocation.value[1] if invocation.f == "cas" else invocation.value
        same = json.dumps(answer["value"], sort_keys=True) == json.dumps(asked, sort_keys=True)
        return Completion(EventType.OK, invocation.value) if same else doubt
    error = answer.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return doubt
    # "Definite" takes two: the node's promise for this request, and the protocol's for the code.
    promised = error.get("definite") is True
    kind = outcome_of(error["code"]) if promised else EventType.INFO
    return Completion(kind, invocation.value, error["code"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftSystem:
    """A cluster of our nodes. `addresses` maps each node to its IP address."""

    addresses: Mapping[str, str]
    archive: Path
    version: str
    operation_timeout_s: float
    reads: str = "linear"
    name: str = "raft"

    def files(self) -> Mapping[str, Path]:
        """Return the one archive that a node is."""
        return {"node.pyz": self.archive}

    def data_folders(self) -> Sequence[str]:
        """Return the data directory: identity, log and snapshots."""
        return ("data",)

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
        return f"{self.addresses[node]}:{port}"

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
        """Return a client of one node."""
        del data, retries
        timeout_s = timeout_s or self.operation_timeout_s
        return RaftClient(node=node, url=self._url(node), timeout_s=timeout_s)

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

    def _administrate(self, via: str, body: Mapping[str, str], timeout_s: float) -> Reply:
        connect_s = min(_CONNECT_S_MAX, timeout_s / 2)
        try:
            response = _status_session().post(
                f"{self._url(via)}/v1/admin",
                json=body,
                timeout=(connect_s, timeout_s - connect_s),
                allow_redirects=False,
            )
            return raft_admin.reply_of(response.status_code, response.content)
        except (requests.RequestException, HTTPError) as error:
            return raft_admin.reply_of_failure(_code_of(error))

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
