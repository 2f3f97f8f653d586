"""The command: `init` makes a node's data directory, `run` starts the node in it.

Rules of this file:
- A node that finds no data does not start: it is new, or its disk was wiped. Only `init` makes data,
  and nobody runs it twice by accident.
- How the process ends is part of the protocol: see EXIT_*.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.core.membership import Configuration, configuration_from_text
from node.core.messages import Malformed
from node.core.settings import MS, Settings
from node.storage.errors import AlreadyInitialised, Corrupt, NotInitialised, WrongOwner
from node.storage.files import RealDirectory
from node.storage.identity import Identity, init, load
from node.storage.segments import SEGMENT_BYTES
from node.storage.store import Store
from node.transport import address_from_text

EXIT_OK, EXIT_USAGE, EXIT_DAMAGED, EXIT_DISK, EXIT_BUSY, EXIT_EMPTY, EXIT_BUG = 0, 2, 3, 4, 5, 6, 70

CONFIGURATION, SECRET, LOCK = "configuration", "secret", "lock"
SNAPSHOT_ENTRIES = 10_000

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `run`, checked."""

    data: Path
    settings: Settings
    request_timeout_ns: int
    snapshot_entries: int
    chunk_bytes: int
    segment_bytes: int
    testing_faults: bool
    seed: int | None


@dataclass(frozen=True, slots=True)
class Data:
    """An open data directory: whose it is, and what it holds."""

    directory: RealDirectory
    identity: Identity
    start: Configuration
    secret: bytes
    store: Store
    peer: Address
    client: Address


class Ending(Exception):
    """The process must end, with this exit status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def log(event: str) -> None:
    """One line on standard error; the number is monotonic milliseconds.

    A line that cannot be written (the log's disk is full) is lost: no task may die of it.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{time.monotonic_ns() // MS} {event}\n")
        sys.stderr.flush()


def parser() -> argparse.ArgumentParser:
    """The two commands."""
    whole = argparse.ArgumentParser(prog="node", description="One node of the key-value store.")
    commands = whole.add_subparsers(dest="command", required=True)
    made = commands.add_parser("init", help="make the data directory of a node")
    made.add_argument("--data", required=True, type=Path)
    made.add_argument("--name", required=True)
    made.add_argument("--cluster", required=True, help="the name of the cluster")
    made.add_argument("--peer", required=True, action="append", metavar="NAME=HOST:PORT")
    made.add_argument("--client", required=True, action="append", metavar="NAME=HOST:PORT")
    made.add_argument("--join", action="store_true", help="of a cluster that exists: wait for it")
    made.add_argument("--secret-file", type=Path, help="what the members prove to each other")
    run = commands.add_parser("run", help="start the node")
    run.add_argument("--data", required=True, type=Path)
    run.add_argument("--election-timeout-ms", type=int, default=500)
    run.add_argument("--heartbeat-interval-ms", type=int, default=50)
    run.add_argument("--request-timeout-ms", type=int, default=4000)
    run.add_argument("--snapshot-entries", type=int, default=SNAPSHOT_ENTRIES, help="0: never")
    run.add_argument("--chunk-bytes", type=int, default=128 * 1024)
    run.add_argument("--segment-bytes", type=int, default=SEGMENT_BYTES)
    run.add_argument("--leases", action="store_true", help="allow reads by lease: see PROTOCOL.md")
    run.add_argument("--testing-faults", action="store_true", help="let operators break things")
    run.add_argument("--seed", type=int)
    return whole


def options_of(given: argparse.Namespace) -> Options:
    """The options of `run`; raises `Ending` when they make no sense."""
    for name, least in (
        ("request_timeout_ms", 1), ("snapshot_entries", 0), ("chunk_bytes", 1),
        ("segment_bytes", 1),
    ):  # fmt: skip
        if getattr(given, name) < least:
            flag = name.replace("_", "-")
            raise Ending(EXIT_USAGE, f"--{flag} must be at least {least}")
    if given.chunk_bytes > 256 * 1024:
        raise Ending(EXIT_USAGE, "--chunk-bytes must be at most 262144")
    try:
        settings = Settings(
            election_timeout_ns=given.election_timeout_ms * MS,
            heartbeat_interval_ns=given.heartbeat_interval_ms * MS,
            leases=given.leases,
        )
    except ValueError as error:
        raise Ending(EXIT_USAGE, str(error)) from None
    return Options(
        data=given.data,
        settings=settings,
        request_timeout_ns=given.request_timeout_ms * MS,
        snapshot_entries=given.snapshot_entries,
        chunk_bytes=given.chunk_bytes,
        segment_bytes=given.segment_bytes,
        testing_faults=given.testing_faults,
        seed=given.seed,
    )


def make(given: argparse.Namespace) -> None:
    """Carry out `init`."""
    peers, clients = _addresses(given.peer), _addresses(given.client)
    if set(peers) != set(clients):
        raise Ending(EXIT_USAGE, "--peer and --client must name the same members")
    if given.name not in peers:
        raise Ending(EXIT_USAGE, f"--name {given.name} is not among the members")
    if given.join and len(peers) > 1:
        raise Ending(EXIT_USAGE, "--join: give the addresses of this node only")
    voters = () if given.join else tuple(sorted(peers))
    start = Configuration(
        voters=voters, addresses={name: (peers[name], clients[name]) for name in peers}
    )
    incarnation = int.from_bytes(os.urandom(8), "big") >> 1
    try:
        configuration_from_text(start.to_text())
        secret = _secret_of(given)
        given.data.mkdir(parents=True, exist_ok=True)
        with locked(given.data):
            directory = RealDirectory(given.data)
            if IDENTITY_FILE not in directory.names():
                directory.write_whole(CONFIGURATION, start.to_text().encode("ascii"))
                directory.write_whole(SECRET, secret)
                (given.data / SECRET).chmod(0o600)
            init(directory, Identity(given.cluster, given.name, incarnation))
    except ValueError as error:
        raise Ending(EXIT_USAGE, str(error)) from None
    except AlreadyInitialised as error:
        raise Ending(EXIT_USAGE, f"{given.data}: {error}") from None
    except Corrupt as error:
        raise Ending(EXIT_DAMAGED, f"{given.data}: {error}") from None
    except OSError as error:
        raise Ending(EXIT_DISK, f"{given.data}: {error}") from None


IDENTITY_FILE = "identity"


def _secret_of(given: argparse.Namespace) -> bytes:
    if given.secret_file is None:
        # Keeps clusters apart that meet by mistake, and nobody out who means harm.
        return hashlib.sha256(f"no secret: {given.cluster}".encode()).hexdigest().encode()
    secret: bytes = given.secret_file.read_bytes().strip()
    if len(secret) < 16:
        raise ValueError(f"{given.secret_file}: a secret has at least 16 bytes")
    return secret


def _addresses(texts: Sequence[str]) -> dict[str, str]:
    addresses: dict[str, str] = {}
    for text in texts:
        name, equals, address = text.partition("=")
        try:
            if not (name and equals):
                raise Malformed("no name")
            address_from_text(address)
        except Malformed:
            raise Ending(EXIT_USAGE, f"not NAME=HOST:PORT: {text}") from None
        if name in addresses:
            raise Ending(EXIT_USAGE, f"{name} is named twice")
        addresses[name] = address
    return addresses


@contextlib.contextmanager
def locked(directory: Path):  # type: ignore[no-untyped-def]
    """Hold a data directory; no other process may."""
    lock = _lock(directory)
    try:
        yield
    finally:
        os.close(lock)


def _lock(directory: Path) -> int:
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Ending(EXIT_BUSY, f"{directory} is in use by another process") from None
    return lock


def open_data(options: Options) -> Data:
    """Open a data directory, held until the process ends; raises `Ending`."""
    path = options.data
    try:
        if not path.is_dir():
            raise NotInitialised("there is no such directory")
        _lock(path)
        directory = RealDirectory(path)
        identity = load(directory)
        start = configuration_from_text(directory.read(CONFIGURATION).decode("ascii"))
        secret = directory.read(SECRET)
        store = Store.opened(directory, identity, options.segment_bytes)
        peer, client = start.addresses[identity.name]
        if store.recovered.torn_bytes:
            log(f"torn tail of {store.recovered.torn_bytes} bytes cut off {path}")
        return Data(
            directory, identity, start, secret, store,
            address_from_text(peer), address_from_text(client),
        )  # fmt: skip
    except NotInitialised as error:
        raise Ending(EXIT_EMPTY, f"{path}: {error}; `init` makes a new node") from None
    except (Corrupt, ValueError, KeyError) as error:
        raise Ending(EXIT_DAMAGED, f"{path}: {error}") from None
    except WrongOwner as error:
        raise Ending(EXIT_USAGE, f"{path}: {error}") from None
    except OSError as error:
        raise Ending(EXIT_DISK, f"{path}: {error}") from None
