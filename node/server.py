"""Runs one node: the only file that knows all the others.

Rules of this file:
- Clock, chance, disk, network and signals come from here. Everything that decides uses the
  monotonic clock; the wall clock is only shown in /status.
- An exception that nobody expected ends the process: half a Ready is not a state to go on from.
"""

import asyncio
import contextlib
import gc
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

from node import __version__
from node.acquaintances import Acquaintances
from node.admin import AdminRequest, parse_admin
from node.command_line import (
    EXIT_BUG,
    EXIT_BUSY,
    EXIT_DAMAGED,
    EXIT_DISK,
    EXIT_OK,
    Data,
    Ending,
    Options,
    log,
    make,
    open_data,
    options_of,
    parser,
)
from node.core.log import RaftLog
from node.core.membership import configuration_from_text
from node.core.messages import Json, Malformed
from node.core.raft import Raft
from node.core.settings import MS
from node.disk import StoreDisk
from node.http_api import HttpApi
from node.observed import metrics_of
from node.operations import Answer, parse
from node.peer_filter import PeerFilter
from node.replica import Replica
from node.state_machine import StateMachine
from node.transport import Transport, address_from_text
from node.waiters import Reply

TICKS_PER_HEARTBEAT = 5
STOP_S_MAX = 1.0


class Network:
    """The transport, as the replica sees it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(self, target: str, document: Mapping[str, Json]) -> bool:
        """False if it certainly was not sent."""
        return self._transport.send(target, document)

    def set_members(self, addresses: Mapping[str, tuple[str, str]]) -> None:
        """Dial these and no others."""
        found = {}
        for name, (peer, _) in addresses.items():
            with contextlib.suppress(Malformed):
                found[name] = address_from_text(peer)
        self._transport.set_members(found)


class Node:
    """A replica with its disk, network and clients."""

    def __init__(self, options: Options, data: Data) -> None:
        """To be called within the event loop."""
        self._options = options
        self._identity = identity = data.identity
        self._client = data.client
        self._loop = asyncio.get_running_loop()
        self._started_ns = time.monotonic_ns()
        self._woken = False
        self._disk = StoreDisk(data.store, deliver=self._deliver, fatal=_disk_failed)
        core, state = _recovered(options, data, self._started_ns)
        data.store.release_recovered()
        self._acquaintances = Acquaintances(data.directory, core, log)
        self._peer_filter = PeerFilter()
        self._transport = Transport(
            name=identity.name,
            address=data.peer,
            cluster=identity.cluster,
            secret=data.secret,
            incarnation=identity.incarnation,
            admit=self._acquaintances.admit,
            receive=self._receive,
            lost=lambda member: self._replica.peer_lost(member),
            event=log,
        )
        self._replica = Replica(
            core=core,
            state=state,
            disk=self._disk,
            network=Network(self._transport),
            clock_ns=time.monotonic_ns,
            wake=self._wake,
            request_timeout_ns=options.request_timeout_ns,
            incarnation=self._started_ns,
            event=log,
            snapshot_entries=options.snapshot_entries,
            chunk_bytes=options.chunk_bytes,
        )
        self._http = HttpApi(
            name=identity.name,
            parse=parse,
            submit=self._replica.submit,
            submit_admin=self._administrate,
            status=self._status,
            members=self._members,
            metrics=metrics_of(self._replica, self._transport, self._peer_filter),
            leader=lambda: core.leader,
            parse_admin=partial(parse_admin, testing=options.testing_faults),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        try:
            await self._transport.start()
            await self._http.start(*self._client)
        except OSError as error:
            raise Ending(EXIT_BUSY, f"cannot listen: {error}") from None
        log(f"{self._identity.name} serves, pid {os.getpid()}, version {__version__}")
        self._tick()
        await stop.wait()
        log("stopping")
        self._http.stop_listening()
        self._replica.stop()
        await asyncio.sleep(0.05)  # let the answers leave
        await self._http.close()
        self._transport.close()
        self._disk.close(STOP_S_MAX)

    def _receive(self, source: str, document: Mapping[str, Json]) -> None:
        """A message of another node: lost here, if a test wants that, as if it had never come."""
        if self._peer_filter.admits(source, document.get("type"), time.monotonic_ns()):
            self._replica.receive(source, document)

    def _administrate(self, request: AdminRequest, reply: Reply) -> None:
        """What concerns this process alone is done at once, also by one that waits for a leader."""
        if request.op != "drop_messages":
            self._replica.submit_admin(request, reply)
            return
        until_ns = time.monotonic_ns() + request.for_ms * MS
        self._peer_filter.drop(request.classes, request.peers, until_ns)
        core, dropped = self._replica.core, json.dumps(self._peer_filter.dropped())
        reply(Answer("", dropped, core.commit_index, core.term, core.name))

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
            "name": self._identity.name,
            "cluster": self._identity.cluster,
            "incarnation": self._identity.incarnation,
            **asdict(self._replica.status()),
            "pid": os.getpid(),
            "uptime_ms": (now_ns - self._started_ns) // MS,
            "version": __version__,
            "clock": {"wall_ns": time.time_ns(), "monotonic_ns": now_ns},
        }

    def _members(self) -> dict[str, Json]:
        log_ = self._replica.core.log
        configuration = log_.configuration
        return {
            "voters": configuration.voters,
            "outgoing": configuration.outgoing,
            "learners": configuration.learners,
            "promotable": configuration.promotable,
            "addresses": {name: list(at) for name, at in configuration.addresses.items()},
            "index": log_.configuration_index,
            "committed": log_.configuration_index <= self._replica.core.commit_index,
        }


def _recovered(options: Options, data: Data, now_ns: int) -> tuple[Raft, StateMachine]:
    """The core and the state machine, as the disk has them."""
    recovered = data.store.recovered
    state, configuration = StateMachine(), data.start
    try:
        if recovered.snapshot is not None:
            assert recovered.image is not None
            state = StateMachine.from_image(recovered.image)
            configuration = configuration_from_text(recovered.snapshot.configuration)
        log_ = RaftLog(
            recovered.entries, recovered.base_index, recovered.base_term, configuration
        )  # fmt: skip
    except ValueError as error:
        raise Ending(
            EXIT_DAMAGED, f"{options.data}: checksums right, content wrong: {error}"
        ) from None
    core = Raft(
        name=data.identity.name,
        settings=options.settings,
        random=_stream(options, data.identity.name, "election"),
        hard_state=recovered.hard_state,
        log=log_,
        now_ns=now_ns,
    )
    return core, state


def _stream(options: Options, name: str, purpose: str) -> random.Random:
    """A stream of chance of its own for each purpose and node."""
    if options.seed is None:
        return random.Random(os.urandom(16))
    return random.Random(f"{options.seed}:{name}:{purpose}")


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
        disk = isinstance(error, OSError) and "remember" in message
        os._exit(EXIT_DISK if disk else EXIT_BUG)


async def serve(options: Options) -> None:
    """Run a node until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unexpected)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = Node(options, open_data(options))
    gc.freeze()
    await node.run(stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "init":
            make(given)
        else:
            asyncio.run(serve(options_of(given)))
    except Ending as ending:
        log(f"exit {ending.status}: {ending}")
        return ending.status
    except Exception as error:  # noqa: BLE001  (PROTOCOL.md: anything else is a bug, and says 70)
        sys.excepthook(type(error), error, error.__traceback__)
        return EXIT_BUG
    return EXIT_OK
