"""One connection to or from a peer: the handshake on it, its queue, its limits.

Rules of this file:
- A connection is a stranger's until its handshake is done, and may cost no more than 4 KiB and a
  few seconds until then. Whatever breaks a rule ends the connection and nothing else.
- What elects and what confirms does not wait behind what replicates: small messages overtake
  large ones in the queue, and little is handed to the kernel ahead of time.
- Whom to let in, and what a message means, is decided by the owner (node/transport.py).
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from node.authentication import (
    HANDSHAKE_BYTES_MAX,
    Accepting,
    FrameReader,
    Opening,
    SealedReader,
    Sealer,
    Speaker,
    encode_frame,
)
from node.core.messages import Json, Malformed

QUEUE_BYTES_MAX = 16 * 1024 * 1024
QUEUE_FRAMES_MAX = 1024
URGENT_BYTES_MAX = 4096

WRITE_BYTES = 64 * 1024
"""Handed over at once; so much may wait in the process, twice as much unsent in the kernel."""

ACCEPTING_TIMEOUT_S = 5.0
UNACKNOWLEDGED_MS_MAX = 1000


@dataclass(slots=True)
class Counts:
    """What went through, for /metrics."""

    frames_sent: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    bytes_received: int = 0
    frames_dropped: int = 0
    connections_refused: int = 0


class Owner(Protocol):
    """What a connection asks of the transport that it belongs to."""

    loop: asyncio.AbstractEventLoop
    counts: Counts
    queue_bytes_max: int
    receive: Callable[[str, Mapping[str, Json]], None]
    admit: Callable[[str, int], bool]

    def opening(self, target: str) -> Opening:
        """A handshake to begin."""
        ...

    def accepting(self) -> Accepting:
        """A handshake to answer."""
        ...

    def stranger_came(self, connection: "Incoming") -> None:
        """A connection that has proven nothing yet."""
        ...

    def refusal(self, speaker: Speaker) -> str:
        """Why a node that knows the secret may still not speak here; empty if it may."""
        ...

    def welcome(self, speaker: Speaker, connection: "Incoming") -> None:
        """The handshake is done."""
        ...

    def incoming_closed(self, connection: "Incoming") -> None:
        """It is of no more use."""
        ...

    def complain(self, text: str) -> None:
        """Somebody broke a rule."""
        ...


def tune(connection: socket.socket) -> None:
    """No delay for small frames; no patience with a peer that acknowledges nothing."""
    tcp = socket.IPPROTO_TCP
    connection.setsockopt(tcp, socket.TCP_NODELAY, 1)
    connection.setsockopt(tcp, socket.TCP_NOTSENT_LOWAT, 2 * WRITE_BYTES)
    connection.setsockopt(tcp, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(tcp, socket.TCP_KEEPIDLE, 2)
    connection.setsockopt(tcp, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(tcp, socket.TCP_KEEPCNT, 3)


class SendQueue:
    """Frames that wait for one connection, in two classes; each keeps its order.

    A full queue of urgent ones drops its oldest: the newest heartbeat or vote says all that the
    older ones said. A full queue of the others refuses: the beginning of a stream is of use
    without its end, not the end without its beginning, and who was refused knows it for certain.
    """

    __slots__ = ("_bulk", "_bytes_max", "_urgent", "bulk_bytes", "dropped")

    def __init__(self, bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._urgent: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self.bulk_bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._bulk)

    def put(self, payload: bytes, *, bulk: bool) -> bool:
        """Queue; False if it was refused."""
        if not bulk and len(payload) <= URGENT_BYTES_MAX:
            self._urgent.append(payload)
            if len(self._urgent) > QUEUE_FRAMES_MAX:
                self._urgent.popleft()
                self.dropped += 1
            return True
        full = self._bulk and self.bulk_bytes + len(payload) > self._bytes_max
        if full or len(self._bulk) >= QUEUE_FRAMES_MAX:
            self.dropped += 1
            return False
        self._bulk.append(payload)
        self.bulk_bytes += len(payload)
        return True

    def take(self) -> bytes:
        """The next one to send. The queue must not be empty."""
        if self._urgent:
            return self._urgent.popleft()
        payload = self._bulk.popleft()
        self.bulk_bytes -= len(payload)
        return payload


class Connection(asyncio.Protocol):
    """What both ends have in common: a socket, and the handshake's limits."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.socket: asyncio.Transport | None = None
        self.address = ""
        self._reader: FrameReader | SealedReader = FrameReader(HANDSHAKE_BYTES_MAX)
        self._handshake_bytes = 0
        self.authenticated = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.socket = transport
        self.address = str(transport.get_extra_info("peername"))
        tune(transport.get_extra_info("socket"))
        self.begin()

    def data_received(self, data: bytes) -> None:
        try:
            if not self.authenticated:
                self._handshake_bytes += len(data)
                if self._handshake_bytes > HANDSHAKE_BYTES_MAX:
                    raise Malformed(f"a handshake of more than {HANDSHAKE_BYTES_MAX} bytes")
            else:
                self.owner.counts.bytes_received += len(data)
            proven = self.authenticated
            for document in self._reader.feed(data):
                if self.authenticated and not proven:
                    # It cannot have known the verdict yet: somebody else wrote this.
                    raise Malformed("a frame without a seal behind the handshake")
                self.take(document)
        except Malformed as error:
            self.fail(str(error))

    def begin(self) -> None:
        """The socket is open."""

    def take(self, document: dict[str, Json]) -> None:
        """A frame has come; raises `Malformed` if it should not have."""
        raise NotImplementedError

    def fail(self, reason: str) -> None:
        """The other side broke a rule."""
        raise NotImplementedError

    def say(self, document: Mapping[str, Json]) -> None:
        """Send a frame of the handshake."""
        if self.socket is not None:
            self.socket.write(encode_frame(document))

    def abort(self) -> None:
        if self.socket is not None:
            self.socket.abort()


class Outgoing(Connection):
    """A connection that we opened to a peer: frames wait here while the socket is full."""

    def __init__(self, owner: Owner, target: str) -> None:
        super().__init__(owner)
        self.opened: asyncio.Future[str] = owner.loop.create_future()
        """Empty when the handshake is done, or else why it failed."""
        self.closed: asyncio.Future[str] = owner.loop.create_future()
        self._opening = owner.opening(target)
        self._sealer: Sealer | None = None
        self._queue = SendQueue(owner.queue_bytes_max)
        self._paused = False
        self._flushing = False
        self._reason = ""

    def begin(self) -> None:
        assert self.socket is not None
        self.socket.set_write_buffer_limits(high=WRITE_BYTES)
        self.say(self._opening.hello())

    def connection_lost(self, exc: Exception | None) -> None:
        self.socket = None
        reason = self._reason or str(exc or "closed by the peer")
        if not self._reason and not self.authenticated:
            reason += " in the handshake (same secret, cluster and version? its log says why)"
        for future in (self.opened, self.closed):
            if not future.done():
                future.set_result(reason)

    def take(self, document: dict[str, Json]) -> None:
        if self.authenticated:
            raise Malformed("it speaks on a connection that is not its own")
        if self._opening.peer is None:
            self.say(self._opening.proof(document))
            return
        key = self._opening.key(document)
        peer = self._opening.peer
        if not self.owner.admit(peer.name, peer.incarnation):
            raise Malformed(f"its incarnation {peer.incarnation} is not the one that is known here")
        self._sealer = Sealer(key)
        self.authenticated = True
        if not self.opened.done():
            self.opened.set_result("")

    def fail(self, reason: str) -> None:
        self._reason = reason
        self.abort()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def write(self, payload: bytes, *, bulk: bool) -> bool:
        """Send at the end of this turn of the loop; False if it certainly will not be sent."""
        if self.socket is None or self.socket.is_closing() or self._sealer is None:
            return False
        dropped = self._queue.dropped
        queued = self._queue.put(payload, bulk=bulk)
        self.owner.counts.frames_dropped += self._queue.dropped - dropped
        if not self._flushing and not self._paused:
            self._flushing = True
            self.owner.loop.call_soon(self._flush)
        return queued

    def _flush(self) -> None:
        """Hand over what the socket takes: many small frames in one write.

        Frames are sealed here, not when they are queued: the seal fixes their order.
        """
        self._flushing = False
        while len(self._queue) and not self._paused:
            if self.socket is None or self.socket.is_closing() or self._sealer is None:
                return
            parts: list[bytes] = []
            size = 0
            while len(self._queue) and size < WRITE_BYTES:
                parts.append(self._sealer.frame(self._queue.take()))
                size += len(parts[-1])
            self.owner.counts.frames_sent += len(parts)
            self.owner.counts.bytes_sent += size
            self.socket.write(b"".join(parts))


class Incoming(Connection):
    """A connection that somebody opened to us."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner)
        self._accepting = owner.accepting()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._timer = self.owner.loop.call_later(ACCEPTING_TIMEOUT_S, self._too_slow)
        self.owner.stranger_came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.owner.incoming_closed(self)

    @property
    def source(self) -> str:
        """Who speaks here; empty until it is proven."""
        peer = self._accepting.peer
        return peer.name if self.authenticated and peer is not None else ""

    def take(self, document: dict[str, Json]) -> None:
        if self.authenticated:
            self.owner.counts.frames_received += 1
            self.owner.receive(self.source, document)
        elif self._accepting.peer is None:
            self.say(self._accepting.challenge(document))
        else:
            peer = self._accepting.check(document)
            if reason := self.owner.refusal(peer):
                self.say(self._accepting.refused(reason))
                raise Malformed(f"{peer.name} is refused: {reason}")
            verdict, key = self._accepting.accepted()
            self.authenticated = True
            self._reader = SealedReader(key)
            self.say(verdict)
            self.owner.welcome(peer, self)

    def fail(self, reason: str) -> None:
        self.owner.counts.connections_refused += not self.authenticated
        self.owner.complain(f"peer connection from {self.source or self.address} closed: {reason}")
        if self.socket is not None and self._accepting.proven and not self.authenticated:
            self.socket.close()  # lets the reason leave
        else:
            self.abort()

    def _too_slow(self) -> None:
        if not self.authenticated:
            self.fail(f"no handshake within {ACCEPTING_TIMEOUT_S:g} s")
