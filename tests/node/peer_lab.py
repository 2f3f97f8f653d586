"""Transports on 127.0.0.1 and connections without sockets, for tests of the peer protocol.

Rules of this file: every wait has a limit; an exception that nobody caught fails the test.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from local_cluster import free_ports

from node.authentication import (
    NONCE_BYTES,
    Accepting,
    FrameReader,
    Opening,
    SealedReader,
    Sealer,
    Speaker,
    encode_frame,
    encode_payload,
)
from node.core.messages import Json
from node.transport import Address, Transport

SECRET = b"0123456789abcdef0123456789abcdef"
CLUSTER = "c1"
T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run in a loop of its own; whatever a callback raised fails the test."""
    raised: list[dict[str, Any]] = []

    async def inside() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        try:
            return await asyncio.wait_for(main(), 60)
        finally:
            await asyncio.sleep(0.01)  # what was aborted ends

    result = asyncio.run(inside())
    assert raised == []
    return result


async def until(condition: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, f"no {what} within {limit_s} s"
        await asyncio.sleep(0.005)


class Host:
    """A transport, and all that it told."""

    def __init__(
        self,
        name: str,
        *,
        port: int = 0,
        secret: bytes = SECRET,
        cluster: str = CLUSTER,
        incarnation: int = 1,
        queue_bytes_max: int = 1 << 24,
    ) -> None:
        self.name = name
        self.address: Address = ("127.0.0.1", port or free_ports(1)[0])
        self.received: list[tuple[str, Mapping[str, Json]]] = []
        self.lost: list[str] = []
        self.events: list[str] = []
        self.known: dict[str, int] = {}
        self.transport = Transport(
            name=name,
            address=self.address,
            cluster=cluster,
            secret=secret,
            incarnation=incarnation,
            admit=lambda other, number: self.known.setdefault(other, number) == number,
            receive=lambda source, document: self.received.append((source, document)),
            lost=self.lost.append,
            event=self.events.append,
            queue_bytes_max=queue_bytes_max,
        )

    def said(self, text: str) -> bool:
        return any(text in event for event in self.events)

    def from_peer(self, name: str) -> list[Mapping[str, Json]]:
        return [document for source, document in self.received if source == name]


async def started(*hosts: Host, acquainted: bool = True) -> None:
    """Start them, each knowing all, and wait until all are connected."""
    addresses = {host.name: host.address for host in hosts}
    for host in hosts:
        if acquainted:
            host.transport.set_members(addresses)
        await host.transport.start()
    for host in hosts if acquainted else ():
        others = sorted({*addresses} - {host.name})
        await connected(host, others)


async def connected(host: Host, names: list[str]) -> None:
    await until(lambda: host.transport.connected() == names, f"connections to {names}")


async def heard(host: Host, source: str, document: Mapping[str, Json]) -> None:
    """Wait until this is the last message that came."""
    await until(lambda: host.received[-1:] == [(source, document)], "message")


def closed(*hosts: Host) -> None:
    for host in hosts:
        host.transport.close()


def opening(
    target: str = "a",
    name: str = "b",
    *,
    secret: bytes = SECRET,
    cluster: str = CLUSTER,
    incarnation: int = 1,
    address: str = "127.0.0.1:9",
    nonce: bytes = bytes(NONCE_BYTES),
) -> Opening:
    own = Speaker(name, incarnation, address)
    return Opening(secret=secret, cluster=cluster, own=own, target=target, nonce=nonce)


def accepting(name: str = "a", *, secret: bytes = SECRET, cluster: str = CLUSTER) -> Accepting:
    own = Speaker(name, 1, "127.0.0.1:8")
    return Accepting(secret=secret, cluster=cluster, own=own, nonce=b"n" * NONCE_BYTES)


def frames(data: bytes) -> list[dict[str, Json]]:
    """The frames of a handshake."""
    return FrameReader().feed(data)


class FakeSocket(asyncio.Transport):
    """What a protocol writes to; nothing leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.gone = False
        self.eof = False
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else "a stranger"

    def setsockopt(self, *_: int) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.gone
        self.written += data

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True

    def abort(self) -> None:
        self.gone = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


async def raw_connection(
    address: Address, opening: Opening
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Sealer]:
    """Shake hands over a real socket as a peer would."""
    reader, writer = await asyncio.open_connection(*address)
    frame_reader = FrameReader()
    try:
        writer.write(encode_frame(opening.hello()))
        (challenge,) = await _next(reader, frame_reader)
        writer.write(encode_frame(opening.proof(challenge)))
        (verdict,) = await _next(reader, frame_reader)
        return reader, writer, Sealer(opening.key(verdict))
    except BaseException:
        await hang_up(writer)
        raise


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _next(
    reader: asyncio.StreamReader, frame_reader: FrameReader | SealedReader
) -> list[dict[str, Json]]:
    while True:
        data = await reader.read(65536)
        if not data:
            raise ConnectionResetError("the connection was closed")
        if documents := frame_reader.feed(data):
            return documents


async def answer_handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str
) -> SealedReader:
    """Be the node that was dialled."""
    ours = accepting(name)
    frame_reader = FrameReader()
    (hello,) = await _next(reader, frame_reader)
    writer.write(encode_frame(ours.challenge(hello)))
    (proof,) = await _next(reader, frame_reader)
    ours.check(proof)
    verdict, key = ours.accepted()
    writer.write(encode_frame(verdict))
    return SealedReader(key)


def sealed(sealer: Sealer, document: Mapping[str, Json]) -> bytes:
    return sealer.frame(encode_payload(document))


def chunk_of(size: int) -> str:
    """As a chunk of a snapshot travels."""
    return base64.b64encode(bytes(size)).decode()
