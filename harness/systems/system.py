"""What the harness needs to know of a system under test.

Rules of this file:
- A `System` is told the cluster's hosts once and then answers questions; it opens no connection
  of its own but for clients and status requests.
- Hosts are prepared and processes started by the harness; the system only says what is to be
  uploaded and which command runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a node said of itself, and what its clock showed while it did.

    `clock_offset_ns` is the node's wall clock minus the controller's, give or take
    `clock_error_ns` (half the round trip); both are `None` if it does not say what time it is.
    `raw` is the answer as it came. `state_hash` is a digest of the state at `applied_index`, `None`
    from a system that gives none. Who gives one vouches that all of the status is of one moment:
    then two leaders of a term, or two states at an index, are a violation (`harness.agreement`).
    """

    role: str
    term: int
    leader: str | None
    commit_index: int
    applied_index: int
    clock_offset_ns: int | None
    clock_error_ns: int | None
    raw: Mapping[str, Any]
    state_hash: str | None = None


class System(Protocol):
    """A replicated store that can be put on hosts and spoken to."""

    @property
    def name(self) -> str:
        """What specs and reports call it."""
        ...

    @property
    def version(self) -> str:
        """The version under test, as reports show it."""
        ...

    def files(self) -> Mapping[str, Path]:
        """Return what to upload to every host: path below the system's folder -> local file."""
        ...

    def data_folders(self) -> Sequence[str]:
        """Return which folders below the system's folder hold its data, for whoever looks into a
        violation."""
        ...

    def prepare(self, node: str, home: str) -> Sequence[Sequence[str]]:
        """Return the commands, each an argument vector, that run on a host once, after the files
        are there and before the first start. A restart does not repeat them."""
        ...

    def command(self, node: str, home: str) -> list[str]:
        """Return the argument vector that starts `node`; `home` is the system's folder there."""
        ...

    @property
    def environmental_exits(self) -> frozenset[int]:
        """Exit statuses that blame the surroundings: a full disk, a port that is taken."""
        ...

    @property
    def offers(self) -> frozenset[str]:
        """Return the kinds of data (`workloads.data`) that its clients know the words of."""
        ...

    def client(
        self, node: str, data: str, *, timeout_s: float | None = None, retries: int = 0
    ) -> Client:
        """Return a client that speaks to `node` about one kind of data; must not block.

        `timeout_s` is for each operation with all its tries; by default the run's. An operation in
        doubt is repeated up to `retries` times, if the system can tell a repetition from another
        operation; else `retries` means nothing.
        """
        ...

    def status(self, node: str, timeout_s: float) -> Status | None:
        """Ask a node how it is; `None` when it does not answer in time. Thread-safe."""
        ...
