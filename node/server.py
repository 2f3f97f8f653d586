"""Starts one node: the only file that knows all the others.

Rules of this file:
- Clock, chance, disk, network and signals come from here. Everything that decides uses the
  monotonic clock; the wall clock is only shown in /status.
- How the process ends is part of the protocol: see EXIT_*.
"""

import argparse
import asyncio
import contextlib
import fcntl
import gc
import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from node import __version__
from node.core.log import RaftLog
from node.core.messages import Json
from node.core.raft import Raft
from node.core.settings import MS, Settings
from node.http_api import HttpApi
from node.replica import Replica
from node.state_machine import StateMachine
from node.storage.files import RealFile, sync_directory
from node.storage.group_commit import GroupCommit
from node.storage.wal import Corrupt, Wal, WrongOwner
from node.transport import Transport

EXIT_OK, EXIT_USAGE, EXIT_DAMAGED, EXIT_DISK, EXIT_BUSY, EXIT_BUG = 0, 2, 3, 4, 5, 70
TICKS_PER_HEARTBEAT = 5
STOP_S_MAX = 1.0

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked."""

    name: str
    data: Path
    peers: dict[str, Address]
    clients: dict[str, Address]
    settings: Settings
    request_timeout_ns: int
    seed: int | None


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


def parse_arguments(arguments: Sequence[str] | None) -> Options:
    """The options; ends the process with status 2 when they make no sense."""
    parser = argparse.ArgumentParser(prog="node", description="One node of the key-value store.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--peer", required=True, action="append", metavar="NAME=HOST:PORT")
    parser.add_argument("--client", required=True, action="append", metavar="NAME=HOST:PORT")
    parser.add_argument("--election-timeout-ms", type=int, default=500)
    parser.add_argument("--heartbeat-interval-ms", type=int, default=50)
    parser.add_argument("--request-timeout-ms", type=int, default=4000)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args(arguments)
    try:
        peers, clients = _addresses(given.peer), _addresses(given.client)
        if set(peers) != set(clients):
            raise ValueError("--peer and --client must name the same members")
        if given.name not in peers:
            raise ValueError(f"--name {given.name} is not among the members")
        if given.request_timeout_ms <= 0:
            raise ValueError("--request-timeout-ms must be positive")
        settings = Settings(
            election_timeout_ns=given.election_timeout_ms * MS,
            heartbeat_interval_ns=given.heartbeat_interval_ms * MS,
        )
    except ValueError as error:
        parser.error(str(error))
    timeout_ns = given.request_timeout_ms * MS
    return Options(given.name, given.data, peers, clients, settings, timeout_ns, given.seed)


def _addresses(texts: Sequence[str]) -> dict[str, Address]:
    addresses: dict[str, Address] = {}
    for text in texts:
        name, equals, address = text.partition("=")
        host, colon, port = address.rpartition(":")
        if not (name and equals and host and colon and port.isascii() and port.isdecimal()):
            raise ValueError(f"not NAME=HOST:PORT: {text}")
        if name in addresses:
            raise ValueError(f"{name} is named twice")
        if not 0 < int(port) < 65536:
            raise ValueError(f"no such port: {text}")
        addresses[name] = (host.strip("[]"), int(port))
    return addresses


def cluster_digest(peers: Mapping[str, Address]) -> str:
    """Members of the same cluster have the same list of members."""
    text = ",".join(f"{name}={host}:{port}" for name, (host, port) in sorted(peers.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_wal(options: Options) -> Wal:
    """Lock the data directory and open the log in it."""
    directory = options.data
    try:
        missing = [path for path in (directory, *directory.parents) if not path.is_dir()]
        directory.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_directory(path.parent)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until the process ends
        except BlockingIOError:
            raise Ending(EXIT_BUSY, f"{directory} is in use by another process") from None
        path = directory / "wal"
        wal = Wal(RealFile(path), name=options.name, members=tuple(options.peers))
    except Corrupt as error:
        raise Ending(EXIT_DAMAGED, f"{directory / 'wal'}: {error}") from None
    except WrongOwner as error:
        raise Ending(EXIT_USAGE, f"{directory / 'wal'}: {error}") from None
    except OSError as error:
        raise Ending(EXIT_DISK, f"{directory}: {error}") from None
    if wal.recovered.torn_bytes:
        log(f"torn tail of {wal.recovered.torn_bytes} bytes cut off {path}")
    return wal


class Node:
    """A replica with its disk, network and clients."""

    def __init__(self, options: Options, wal: Wal) -> None:
        """To be called within the event loop."""
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._started_ns = time.monotonic_ns()
        self._woken = False
        self._disk = GroupCommit(wal, deliver=self._deliver, fatal=_disk_failed)
        self._transport = Transport(
            name=options.name,
            addresses=options.peers,
            cluster=cluster_digest(options.peers),
            receive=lambda source, document: self._replica.receive(source, document),
            lost=lambda member: self._replica.peer_lost(member),
            event=log,
        )
        core = Raft(
            name=options.name,
            members=sorted(options.peers),
            settings=options.settings,
            random=_stream(options, "election"),
            hard_state=wal.recovered.hard_state,
            log=RaftLog(wal.recovered.entries),
            now_ns=self._started_ns,
        )
        self._replica = Replica(
            core=core,
            state=StateMachine(),
            disk=self._disk,
            network=self._transport,
            clock_ns=time.monotonic_ns,
            wake=self._wake,
            request_timeout_ns=options.request_timeout_ns,
            incarnation=self._started_ns,
            event=log,
        )
        self._http = HttpApi(
            name=options.name,
            submit=self._replica.submit,
            status=self._status,
            leader=lambda: core.leader,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        try:
            await self._transport.start()
            await self._http.start(*self._options.clients[self._options.name])
        except OSError as error:
            raise Ending(EXIT_BUSY, f"cannot listen: {error}") from None
        log(f"{self._options.name} serves, pid {os.getpid()}, version {__version__}")
        self._tick()
        await stop.wait()
        log("stopping")
        self._http.stop_listening()
        self._replica.stop()
        await asyncio.sleep(0.05)  # let the answers leave
        await self._http.close()
        self._transport.close()
        self._disk.close(STOP_S_MAX)

    def _tick(self) -> None:
        interval_s = self._options.settings.heartbeat_interval_ns / TICKS_PER_HEARTBEAT / 1e9
        self._loop.call_later(interval_s, self._tick)
        self._replica.tick()

    def _wake(self) -> None:
        """Pump once for all that happens in this turn of the loop: that is the batching."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        self._replica.pump()

    def _deliver(self, callback: Callable[[], None]) -> None:
        # When the loop has ended, so has everybody who could be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def _status(self) -> dict[str, Json]:
        now_ns = time.monotonic_ns()
        return {
            "name": self._options.name,
            **asdict(self._replica.status()),
            "pid": os.getpid(),
            "uptime_ms": (now_ns - self._started_ns) // MS,
            "version": __version__,
            "clock": {"wall_ns": time.time_ns(), "monotonic_ns": now_ns},
        }


def _stream(options: Options, purpose: str) -> random.Random:
    """A stream of chance of its own for each purpose and node."""
    if options.seed is None:
        return random.Random(os.urandom(16))
    return random.Random(f"{options.seed}:{options.name}:{purpose}")


def _disk_failed(error: BaseException) -> NoReturn:
    """The log cannot be written: nothing more may be promised, so nothing more is said."""
    try:
        if isinstance(error, OSError):
            log(f"the disk refused: {error}")
        else:
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(EXIT_DISK if isinstance(error, OSError) else EXIT_BUG)


def _unexpected(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that nobody caught: stop before it does harm."""
    error = context.get("exception")
    message = str(context.get("message"))
    log(f"unexpected: {message}: {error!r}")
    if isinstance(error, OSError) and "accept" in message:
        return  # no file descriptor left for another connection: a later one may have it
    try:
        if isinstance(error, BaseException):
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(EXIT_BUG)


async def serve(options: Options) -> None:
    """Run a node until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unexpected)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = Node(options, open_wal(options))
    gc.freeze()
    await node.run(stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    options = parse_arguments(arguments)
    try:
        asyncio.run(serve(options))
    except Ending as ending:
        log(f"exit {ending.status}: {ending}")
        return ending.status
    except Exception as error:  # noqa: BLE001  (PROTOCOL.md: anything else is a bug, and says 70)
        sys.excepthook(type(error), error, error.__traceback__)
        return EXIT_BUG
    return EXIT_OK
