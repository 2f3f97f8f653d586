"""Messages between members over TCP: one connection for each ordered pair, opened by the sender.

Rules of this file:
- Nothing is sent or received before both sides have proven that they know the cluster secret
  (node/authentication.py). A connection that breaks any rule is closed and has changed nothing.
- Messages may be lost, never altered or repeated. Nothing is sent again. Every queue, wait and
  frame has a limit, for strangers a small one.
- Members come and go; a node that knows the secret and is no member yet may speak and is called
  back, within limits.
- A connection without progress is given up quickly and dialled anew: behind a partition the kernel
  doubles its patience with each retransmission, and would still be waiting long after the network
  has healed.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from node.authentication import (
    ADDRESS_CHARS_MAX,
    FRAME_BYTES_MAX,
    NAME_CHARS_MAX,
    NONCE_BYTES,
    Accepting,
    FrameReader,
    Opening,
    Speaker,
    check_secret,
    encode_frame,
    encode_payload,
)
from node.core.messages import Json, Malformed
from node.peer_connection import QUEUE_BYTES_MAX, Counts, Incoming, Outgoing

__all__ = ["FRAME_BYTES_MAX", "FrameReader", "Transport", "address_from_text", "encode_frame"]

BULK = frozenset(
    {"append_request", "forward", "forward_reply", "install_snapshot", "snapshot_chunk"}
)
"""Messages that wait behind all others, whatever their size. So does any larger than 4 KiB."""

CONNECT_TIMEOUT_S = 0.5
OPENING_TIMEOUT_S = 2.0
BACKOFF_S = (0.02, 0.05, 0.1, 0.2)
STRANGERS_MAX = 64
GUESTS_MAX = 16
GUEST_LINGER_S = 10.0
STABLE_S = 1.0
COMPLAINT_INTERVAL_S = 10.0

Address = tuple[str, int]
Receive = Callable[[str, Mapping[str, Json]], None]


def address_from_text(text: str) -> Address:
    """The parts of "host:port" or "[host]:port"; raises `Malformed`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and colon and port.isascii() and port.isdecimal() and len(port) <= 5):
        raise Malformed(f"not host:port: {text!r:.60}")
    if not 0 < int(port) < 65536 or len(text) > ADDRESS_CHARS_MAX:
        raise Malformed(f"not host:port: {text!r:.60}")
    return host, int(port)


def _address_to_text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True, eq=False)
class _Peer:
    """A node that we speak to: a member, or a guest that spoke to us first."""

    name: str
    address: Address
    member: bool
    outgoing: Outgoing | None = None
    incoming: Incoming | None = None
    task: "asyncio.Task[None] | None" = None
    last_failure: str = ""


class Transport:
    """The network of one node."""

    def __init__(
        self,
        *,
        name: str,
        address: Address,
        cluster: str,
        secret: bytes,
        incarnation: int,
        admit: Callable[[str, int], bool],
        receive: Receive,
        lost: Callable[[str], None],
        event: Callable[[str], None],
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        """To be called within the event loop.

        `admit` says whether a node of this name may have this incarnation: it is asked on both
        sides of every connection, after the other side has proven itself.
        """
        if not (0 < len(name) <= NAME_CHARS_MAX and name.isascii() and name.isprintable()):
            raise ValueError(f"a name is 1 to {NAME_CHARS_MAX} printable ASCII characters: {name}")
        self.name = name
        self.receive = receive
        self.admit = admit
        self.loop = asyncio.get_running_loop()
        self.counts = Counts()
        self.queue_bytes_max = queue_bytes_max
        self._own = Speaker(name, incarnation, _address_to_text(address))
        self._address = address
        self._cluster = cluster
        self._secret = check_secret(secret)
        self._lost = lost
        self._event = event
        self._peers: dict[str, _Peer] = {}
        self._strangers: dict[Incoming, None] = {}
        self._server: asyncio.Server | None = None
        self._closed = False
        self._quiet_until_s = 0.0
        self._unsaid = 0

    async def start(self) -> None:
        """Listen and begin to dial; raises `OSError` if the address cannot be had."""
        self._server = await self.loop.create_server(lambda: Incoming(self), *self._address)
        for peer in self._peers.values():
            self._dial(peer)

    def close(self) -> None:
        """Stop listening, close every connection."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for stranger in list(self._strangers):
            stranger.abort()
        for peer in list(self._peers.values()):
            self._hang_up(peer)

    def set_members(self, members: Mapping[str, Address]) -> None:
        """Dial these and no others. This node's own name may be among them."""
        for name in [name for name, peer in self._peers.items() if peer.member]:
            if name not in members:
                self._hang_up(self._peers.pop(name))
        for name, address in members.items():
            if name == self.name:
                continue
            peer = self._peers.get(name)
            if peer is not None and peer.address == address:
                peer.member = True
                continue
            incoming = None if peer is None else peer.incoming
            if peer is not None:
                peer.incoming = None  # it is the same node, elsewhere: it may go on speaking
                self._hang_up(peer)
            self._peers[name] = _Peer(name, address, member=True, incoming=incoming)
            self._dial(self._peers[name])

    def send(self, target: str, document: Mapping[str, Json]) -> bool:
        """Send if connected. False: it certainly was not and will not be sent."""
        peer = self._peers.get(target)
        if peer is None or peer.outgoing is None:
            return False
        payload = encode_payload(document)
        if len(payload) > FRAME_BYTES_MAX:
            kind = document.get("type")
            self.complain(f"a {kind} of {len(payload)} bytes for {target} is too large to be sent")
            return False
        return peer.outgoing.write(payload, bulk=document.get("type") in BULK)

    def connected(self) -> list[str]:
        """The peers that can be spoken to at this moment."""
        return sorted(name for name, peer in self._peers.items() if peer.outgoing is not None)

    # What connections ask.

    def opening(self, target: str) -> Opening:
        nonce = os.urandom(NONCE_BYTES)
        return Opening(
            secret=self._secret, cluster=self._cluster, own=self._own, target=target, nonce=nonce
        )

    def accepting(self) -> Accepting:
        nonce = os.urandom(NONCE_BYTES)
        return Accepting(secret=self._secret, cluster=self._cluster, own=self._own, nonce=nonce)

    def stranger_came(self, connection: Incoming) -> None:
        """Keep few that have proven nothing. The oldest goes: whoever belongs here is quicker."""
        if self._closed:
            connection.abort()
            return
        self._strangers[connection] = None
        if len(self._strangers) > STRANGERS_MAX:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.fail("too many connections that have proven nothing")

    def refusal(self, speaker: Speaker) -> str:
        """Why a node that knows the secret may still not speak here; empty if it may."""
        if not self.admit(speaker.name, speaker.incarnation):
            return f"incarnation {speaker.incarnation} is not the one that is known here"
        if speaker.name not in self._peers:
            if sum(not peer.member for peer in self._peers.values()) >= GUESTS_MAX:
                return f"more than {GUESTS_MAX} nodes speak here that are no members"
            try:
                address_from_text(speaker.address)
            except Malformed as error:
                return str(error)
        return ""

    def welcome(self, speaker: Speaker, connection: Incoming) -> None:
        """Note who speaks on this connection; an older one of the same node is of no more use.

        Who is no member yet is called back at the address it gives: a learner hears from its
        cluster before it hears who belongs to it.
        """
        self._strangers.pop(connection, None)
        peer = self._peers.get(speaker.name)
        if peer is not None and not peer.member:
            address = address_from_text(speaker.address)
            if address != peer.address:
                self._hang_up(self._peers.pop(speaker.name))
                peer = None
        if peer is None:
            peer = _Peer(speaker.name, address_from_text(speaker.address), member=False)
            self._peers[speaker.name] = peer
            self._dial(peer)
        older, peer.incoming = peer.incoming, connection
        if older is not None:
            older.abort()

    def incoming_closed(self, connection: Incoming) -> None:
        """Forget a connection, unless a newer one has taken its place."""
        self._strangers.pop(connection, None)
        peer = self._peers.get(connection.source)
        if peer is not None and peer.incoming is connection:
            peer.incoming = None
            if not peer.member and not self._closed:
                self.loop.call_later(GUEST_LINGER_S, self._see_off, peer)

    def complain(self, text: str) -> None:
        """Report what strangers do wrong, once in ten seconds: they must not fill the disk."""
        now_s = self.loop.time()
        if now_s < self._quiet_until_s:
            self._unsaid += 1
            return
        more = f" (and {self._unsaid} more since the last such line)" if self._unsaid else ""
        self._event(text + more)
        self._unsaid = 0
        self._quiet_until_s = now_s + COMPLAINT_INTERVAL_S

    def _see_off(self, guest: _Peer) -> None:
        """A guest that has said nothing for a while is not called any more."""
        if self._peers.get(guest.name) is guest and not guest.member and guest.incoming is None:
            self._hang_up(self._peers.pop(guest.name))

    # Dialling.

    def _dial(self, peer: _Peer) -> None:
        if self._server is None or self._closed:
            return  # `start` will
        peer.task = asyncio.create_task(self._keep_connected(peer))
        peer.task.add_done_callback(_hear_of)

    def _hang_up(self, peer: _Peer) -> None:
        if peer.task is not None:
            peer.task.cancel()
        if peer.incoming is not None:
            peer.incoming.abort()
        if peer.outgoing is not None:
            peer.outgoing.abort()
            peer.outgoing = None
            if not self._closed:
                self._event(f"left {peer.name}")
                self._lost(peer.name)

    async def _keep_connected(self, peer: _Peer) -> None:
        """Dial, shake hands, wait until the connection ends, dial again."""
        failures = 0
        while True:
            connection = await self._connect(peer)
            if connection is not None:
                connected_at_s = self.loop.time()
                peer.outgoing = connection
                peer.last_failure = ""
                self._event(f"connected to {peer.name}")
                reason = await connection.closed
                peer.outgoing = None
                self._event(f"lost {peer.name}: {reason}")
                self._lost(peer.name)
                # A member that hangs up at once is a failure too.
                if self.loop.time() - connected_at_s > STABLE_S:
                    failures = 0
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _connect(self, peer: _Peer) -> Outgoing | None:
        """A connection to a peer that has proven itself, if it can be had now."""
        made: list[Outgoing] = []

        def factory() -> Outgoing:
            made.append(Outgoing(self, peer.name))
            return made[-1]

        failure = "cancelled"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await self.loop.create_connection(factory, *peer.address)
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                failure = await connection.opened
        except TimeoutError:
            failure = "no answer" if not made else "connected, but it does not shake hands"
        except OSError as error:
            failure = str(error)
        finally:
            if failure:
                for connection in made:
                    connection.abort()
        if not failure:
            return connection
        if failure != peer.last_failure:  # said once, not at every try
            peer.last_failure = failure
            self._event(
                f"cannot connect to {peer.name} at {_address_to_text(peer.address)}: {failure}"
            )
        return None


def _hear_of(task: "asyncio.Task[None]") -> None:
    """A dial task never ends by itself: without this, one that died would be missed by nobody."""
    if not task.cancelled() and (error := task.exception()) is not None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a dial task died", "exception": error, "task": task}
        )
