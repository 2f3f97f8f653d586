"""Messages between members over TCP: one connection for each ordered pair, opened by the sender.

Rules of this file:
- A frame is 4 bytes length, 4 bytes CRC-32 of the payload, payload (a JSON object). The first one
  says who speaks and for which cluster; a connection that breaks any rule is closed.
- Messages may be lost, never altered, repeated or reordered within a connection. Nothing is sent
  again. Every queue, wait and frame has a limit.
- A connection without progress is given up quickly and dialled anew: behind a partition the kernel
  doubles its patience with each retransmission, and would still be waiting long after the network
  has healed.
"""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from zlib import crc32

from node.core.messages import Json, Malformed

PROTOCOL = 1
FRAME_BYTES_MAX = 8 * 1024 * 1024
QUEUE_FRAMES_MAX = 1024
WRITE_BUFFER_BYTES_MAX = 1024 * 1024
CONNECT_TIMEOUT_S = 0.5
BACKOFF_S = (0.02, 0.05, 0.1, 0.2)
UNACKNOWLEDGED_MS_MAX = 1000
HELLO_TIMEOUT_S = 5.0
HELLO_BYTES_MAX = 4096
STABLE_S = 1.0
_HEADER = struct.Struct(">II")

Receive = Callable[[str, Mapping[str, Json]], None]


def encode_frame(document: Mapping[str, Json]) -> bytes:
    """A JSON object as one frame."""
    payload = json.dumps(document, separators=(",", ":")).encode("ascii")
    return _HEADER.pack(len(payload), crc32(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into frames; raises `Malformed` at the first that is none."""

    __slots__ = ("_buffer", "bytes_max")

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self.bytes_max = bytes_max

    def feed(self, data: bytes) -> list[dict[str, Json]]:
        """The objects completed by these bytes."""
        self._buffer += data
        documents: list[dict[str, Json]] = []
        position = 0
        while len(self._buffer) - position >= _HEADER.size:
            length, checksum = _HEADER.unpack_from(self._buffer, position)
            if length > self.bytes_max:
                raise Malformed(f"a frame of {length} bytes")
            start = position + _HEADER.size
            if len(self._buffer) < start + length:
                break
            documents.append(_decode_payload(bytes(self._buffer[start : start + length]), checksum))
            position = start + length
        del self._buffer[:position]
        return documents


def _decode_payload(payload: bytes, checksum: int) -> dict[str, Json]:
    if crc32(payload) != checksum:
        raise Malformed("a frame whose checksum is wrong")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        raise Malformed("a frame that is not JSON") from None
    if not isinstance(document, dict):
        raise Malformed("a frame that is not an object")
    return document


def tune(connection: socket.socket) -> None:
    """No delay for small frames; no patience with a peer that acknowledges nothing."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


class _Outgoing(asyncio.Protocol):
    """An open connection to a member; frames wait here while the socket is full."""

    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._queue: deque[bytes] = deque(maxlen=QUEUE_FRAMES_MAX)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        tune(transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(str(exc or "closed by the peer"))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        while self._queue and not self._paused:
            self.write(self._queue.popleft())

    def write(self, frame: bytes) -> bool:
        """Send, or queue; the oldest in a full queue is dropped."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._paused:
            self._queue.append(frame)
        else:
            self._transport.write(frame)
        return True

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Incoming(asyncio.Protocol):
    """A connection that a member opened to us."""

    def __init__(self, transport: "Transport") -> None:
        self._owner = transport
        # A stranger may not make us remember more than a hello.
        self._reader = FrameReader(HELLO_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._source = ""
        self._hello_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        tune(transport.get_extra_info("socket"))
        self._hello_timer = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._no_hello)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self._owner.incoming_closed(self._source, self)

    def data_received(self, data: bytes) -> None:
        try:
            for document in self._reader.feed(data):
                if self._source:
                    self._owner.receive(self._source, document)
                else:
                    self._source = self._owner.welcome(document, self)
                    self._reader.bytes_max = FRAME_BYTES_MAX
        except Malformed as error:
            self._owner.event(f"peer connection closed: {error}")
            self.abort()

    def _no_hello(self) -> None:
        if not self._source:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Transport:
    """The network of one member."""

    def __init__(
        self,
        *,
        name: str,
        addresses: Mapping[str, tuple[str, int]],
        cluster: str,
        receive: Receive,
        lost: Callable[[str], None],
        event: Callable[[str], None],
    ) -> None:
        self.name = name
        self.receive = receive
        self.event = event
        self._addresses = dict(addresses)
        self._cluster = cluster
        self._lost = lost
        self._outgoing: dict[str, _Outgoing] = {}
        self._incoming: dict[str, _Incoming] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen and begin to dial; raises `OSError` if the address cannot be had."""
        host, port = self._addresses[self.name]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Incoming(self), host, port)
        for member in self._addresses:
            if member != self.name:
                task = asyncio.create_task(self._keep_connected(member))
                task.add_done_callback(_hear_of)
                self._tasks.append(task)

    def close(self) -> None:
        """Stop listening, close every connection."""
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            self._server.close()
        for outgoing in list(self._outgoing.values()):
            outgoing.abort()
        for incoming in list(self._incoming.values()):
            incoming.abort()

    def send(self, target: str, document: Mapping[str, Json]) -> bool:
        """Send if connected. False: it certainly was not sent."""
        connection = self._outgoing.get(target)
        return connection is not None and connection.write(encode_frame(document))

    def welcome(self, hello: Mapping[str, Json], connection: _Incoming) -> str:
        """The member that a first frame announces; its older connection is of no more use."""
        source = hello.get("from")
        if (
            hello.get("type") != "hello"
            or hello.get("protocol") != PROTOCOL
            or hello.get("cluster") != self._cluster
            or not isinstance(source, str)
            or source not in self._addresses
            or source == self.name
        ):
            raise Malformed("no hello of a member of this cluster")
        older = self._incoming.get(source)
        self._incoming[source] = connection
        if older is not None:
            older.abort()
        return source

    def incoming_closed(self, source: str, connection: _Incoming) -> None:
        """Forget a connection, unless a newer one has taken its place."""
        if self._incoming.get(source) is connection:
            del self._incoming[source]

    async def _keep_connected(self, member: str) -> None:
        """Dial, announce, wait until the connection ends, dial again."""
        loop = asyncio.get_running_loop()
        host, port = self._addresses[member]
        hello: dict[str, Json] = {
            "type": "hello",
            "from": self.name,
            "protocol": PROTOCOL,
            "cluster": self._cluster,
        }
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    _, connection = await loop.create_connection(_Outgoing, host, port)
            except OSError:  # TimeoutError is one
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
                continue
            connected_at = loop.time()
            connection.write(encode_frame(hello))
            self._outgoing[member] = connection
            self.event(f"connected to {member}")
            reason = await connection.closed
            del self._outgoing[member]
            self.event(f"lost {member}: {reason}")
            self._lost(member)
            # A member that hangs up at once (it has another list of members) is a failure too.
            lasted = loop.time() - connected_at > STABLE_S
            failures = 0 if lasted else failures + 1
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])


def _hear_of(task: "asyncio.Task[None]") -> None:
    """A dial task never ends by itself: without this, one that died would be missed by nobody."""
    if not task.cancelled() and (error := task.exception()) is not None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a dial task died", "exception": error, "task": task}
        )
