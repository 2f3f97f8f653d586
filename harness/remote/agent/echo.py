"""Looks at the network from this host: echoes (ICMP) there and back, and checksums that were wrong.

Rules of this file:
- Only looks. The answering end is the other host's kernel, so no process there has to be alive.
- A few echoes, a bounded wait; an answer that does not come is counted, not waited for.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COUNT_MAX, BYTES_MAX, PEERS_MAX = 200, 1400, 8
_PERIOD_S = 0.002
_PATIENCE_S = 0.7
_HEADER = struct.Struct("!BBHHH")
# Of each family: the protocol, and the types of a request and of an answer.
_IPV4 = (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0)
_IPV6 = (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129)


def look(peers: Sequence[str], *, count: int, size: int) -> dict[str, Any]:
    """Send echoes to some hosts and say what came back, and when. All peers count together."""
    with contextlib.ExitStack() as opened:
        echoes = [_Echoes(peer, opened) for peer in peers[:PEERS_MAX]]
        began_ns = time.monotonic_ns()
        for number in range(min(count, COUNT_MAX)):
            for one in echoes:
                one.send(number, min(size, BYTES_MAX))
            _collect(echoes, time.monotonic_ns() + int(_PERIOD_S * 1e9))
        deadline_ns = time.monotonic_ns() + int(_PATIENCE_S * 1e9)
        while any(one.missing for one in echoes) and time.monotonic_ns() < deadline_ns:
            _collect(echoes, deadline_ns, whole=False)
        _collect(echoes, time.monotonic_ns() + int(_PERIOD_S * 1e9))  # second answers
        round_trips = sorted(ms for one in echoes for ms in one.round_trips_ms)
        last_ns = max((one.last_ns for one in echoes), default=began_ns)
        bits = 8 * len(round_trips) * min(size, BYTES_MAX)
        return {
            "sent": sum(one.sent for one in echoes),
            "answered": len(round_trips),
            "duplicates": sum(one.duplicates for one in echoes),
            "reordered": sum(one.reordered for one in echoes),
            "shortest_ms": round(round_trips[0], 3) if round_trips else None,
            "median_ms": round(round_trips[len(round_trips) // 2], 3) if round_trips else None,
            "longest_ms": round(round_trips[-1], 3) if round_trips else None,
            # Bits in a millisecond are kilobits in a second.
            "kbit_s": round(bits * 1e6 / max(1, last_ns - began_ns), 1),
        }


class _Echoes:
    """Echoes to one host."""

    def __init__(self, peer: str, opened: contextlib.ExitStack) -> None:
        family, protocol, self._request, self._answer = _IPV6 if ":" in peer else _IPV4
        self.socket = opened.enter_context(socket.socket(family, socket.SOCK_RAW, protocol))
        self.socket.settimeout(0)
        self._peer, self._id = peer, int.from_bytes(os.urandom(2), "big")
        self._sent_ns: dict[int, int] = {}
        self._seen: set[int] = set()
        self.round_trips_ms: list[float] = []
        self.duplicates = self.reordered = self.last_ns = 0

    @property
    def sent(self) -> int:
        return len(self._sent_ns)

    @property
    def missing(self) -> bool:
        return len(self._seen) < len(self._sent_ns)

    def send(self, number: int, size: int) -> None:
        body = bytes(size)
        blank = _HEADER.pack(self._request, 0, 0, self._id, number)
        header = _HEADER.pack(self._request, 0, _checksum(blank + body), self._id, number)
        self._sent_ns[number] = time.monotonic_ns()
        with contextlib.suppress(OSError):  # no room, or no way there: it is not answered
            self.socket.sendto(header + body, (self._peer, 0))

    def receive(self) -> None:
        """Take what has come, of any kind; only answers to our own echoes count."""
        for _ in range(4 * COUNT_MAX):
            try:
                data, source = self.socket.recvfrom(65536)
            except OSError:
                return
            start = 0 if self.socket.family == socket.AF_INET6 else (data[0] & 15) * 4
            if source[0] != self._peer or len(data) < start + _HEADER.size:
                continue
            kind, _, _, identity, number = _HEADER.unpack_from(data, start)
            if (kind, identity) == (self._answer, self._id) and number in self._sent_ns:
                self._count(number, time.monotonic_ns())

    def _count(self, number: int, now_ns: int) -> None:
        if number in self._seen:
            self.duplicates += 1
            return
        self.reordered += any(number < other for other in self._seen)
        self._seen.add(number)
        self.round_trips_ms.append((now_ns - self._sent_ns[number]) / 1e6)
        self.last_ns = now_ns


def _collect(echoes: Sequence[_Echoes], until_ns: int, *, whole: bool = True) -> None:
    """Take answers until then, or (not `whole`) only until some have come."""
    while True:
        remaining_s = (until_ns - time.monotonic_ns()) / 1e9
        ready = select.select([one.socket for one in echoes], [], [], max(0.0, remaining_s))[0]
        for one in echoes:
            if one.socket in ready:
                one.receive()
        if remaining_s <= 0 or not whole:
            return


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071); the kernel makes its own for IPv6."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def checksum_errors(folder: Path = Path("/proc/net")) -> int:
    """Return how many packets arrived here with a wrong checksum, of any protocol."""
    pairs: list[tuple[str, str]] = []
    for name in ("snmp", "netstat"):
        lines = [line.split() for line in _lines(folder / name)]
        for names, values in zip(lines[::2], lines[1::2]):  # noqa: B905  (Python 3.9)
            pairs += zip(names, values)  # noqa: B905
    pairs += [(name, value) for name, value in map(str.split, _lines(folder / "snmp6"))]
    return sum(int(value) for name, value in pairs if name.endswith("InCsumErrors"))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
