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
from harness.systems.system import Status
from workloads.generator import Invocation

# The folder above the packages: where the node's sources are, in a checkout or installed.
ROOT: Final = Path(__file__).resolve().parents[2]

PEER_PORT: Final = 7000
CLIENT_PORT: Final = 7001

# Error code -> certainly had no effect. The node's codes are those of node/PROTOCOL.md (a test
# compares the tables); the last four are seen by the client itself.
ERRORS: Final[Mapping[str, bool]] = {
    "bad-request": True,
    "not-found": True,
    "precondition-failed": True,
    "too-large": True,
    "no-leader": True,
    "not-leader": True,
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
    name: str = "raft"

    def files(self) -> Mapping[str, Path]:
        """Return the one archive that a node is."""
        return {"node.pyz": self.archive}

    def data_files(self) -> Sequence[str]:
        """Return the write-ahead log: it is all that a node keeps."""
        return ("data/wal",)

    def command(self, node: str, home: str) -> list[str]:
        """Return the command of node/PROTOCOL.md, "Starting a node"."""
        members: list[str] = []
        for name, address in self.addresses.items():
            members += ["--peer", f"{name}={address}:{PEER_PORT}"]
            members += ["--client", f"{name}={address}:{CLIENT_PORT}"]
        # The node gives up before its client does, so that clients hear what became of it.
        request_timeout_ms = int(self.operation_timeout_s * 800)
        return [
            "python3",
            "-I",
            f"{home}/node.pyz",
            "--name",
            node,
            "--data",
            f"{home}/data",
            *members,
            "--request-timeout-ms",
            str(request_timeout_ms),
        ]

    @property
    def environmental_exits(self) -> frozenset[int]:
        """Bad arguments, a disk that refuses, an address in use (node/PROTOCOL.md)."""
        return frozenset({2, 4, 5})

    def client(self, node: str, *, timeout_s: float | None = None) -> Client:
        """Return a client of one node."""
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
            )
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return None

    def _url(self, node: str) -> str:
        return f"http://{self.addresses[node]}:{CLIENT_PORT}"


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
