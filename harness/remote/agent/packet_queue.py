"""A queue in user space: holds packets back, doubles, overtakes or corrupts them, and sends them on.

Rules of this file:
- What is to be struck is routed into a tun device that lives as long as we hold it open. When this
  process dies, however it dies, the kernel takes the device and its routes away, and packets go
  their usual way: nothing is left in force.
- The kernel completes checksums before a packet gets here, so that a corrupted one is found out.
- What is sent on carries a mark, by which the rules know it and let it pass.
- The queue is bounded; what does not fit is dropped and counted. One thread, all waits bounded.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from .effect import PACKETS_MAX, Effect, corrupted, fate

DEVICE = "splitbrain"
_TUN = Path("/dev/net/tun")
_TUN_NUMBERS = os.makedev(10, 200)
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SO_MARK = 36
_SEND_BUFFER_BYTES = 4 << 20
_PACKET_BYTES_MAX = 65_536
_READS_MAX = 64
_WAIT_S = 0.05
_STOP_TIMEOUT_S = 5.0
# Shorter than this a packet was on its way through, not held back.
_DELAYED_NS = 1_000_000


class QueueError(Exception):
    """There can be no queue here; the text says why."""


class PacketQueue:
    """Does to packets what an effect says. `close` sends what is held and lets the device go."""

    def __init__(self, effect: Effect, peers: Sequence[str], *, mark: int, notes: Path) -> None:
        """`peers` are the only addresses that anything is sent on to."""
        self._effect, self._random = effect, Random()
        self._families = {_packed(peer): _family(peer) for peer in peers}
        self._held: list[tuple[int, int, bytes]] = []
        self._arrivals, self._latest_sent = 0, -1
        self.counts = dict.fromkeys(
            ("delayed", "held_ms", "duplicated", "reordered", "corrupted", "overflowed"), 0
        )
        self._held_ns = 0
        self._stopped = threading.Event()
        with contextlib.ExitStack() as opened:
            self._device = _open_device(notes)
            opened.callback(os.close, self._device)
            self._out = {
                family: opened.enter_context(_raw_socket(family, mark))
                for family in sorted(set(self._families.values()))
            }
            self._opened = opened.pop_all()
        self._thread = threading.Thread(target=self._run, name="packet-queue", daemon=True)

    def start(self) -> None:
        """Take packets from now on."""
        self._thread.start()

    def close(self) -> None:
        """Send what is held at once, and let the device go."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_TIMEOUT_S)
        self._opened.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            wait_s = _WAIT_S
            if self._held:
                wait_s = max(0.0, min(wait_s, (self._held[0][0] - time.monotonic_ns()) / 1e9))
            if select.select([self._device], [], [], wait_s)[0]:
                self._take()
            self._send_until(time.monotonic_ns())
        if self._held:
            self._send_until(max(due_ns for due_ns, _, _ in self._held))

    def _take(self) -> None:
        for _ in range(_READS_MAX):
            try:
                packet = os.read(self._device, _PACKET_BYTES_MAX)
            except OSError:  # none is left
                return
            if _destination(packet) in self._families:
                self._hold(packet, time.monotonic_ns())

    def _hold(self, packet: bytes, now_ns: int) -> None:
        its = fate(self._effect, self._random)
        if its.corrupt:
            packet = corrupted(packet, self._random)
            self.counts["corrupted"] += 1
        due_ns = now_ns + int(its.delay_ms * 1e6)
        if due_ns - now_ns >= _DELAYED_NS:
            self.counts["delayed"] += 1
            self._held_ns += due_ns - now_ns
            self.counts["held_ms"] = self._held_ns // 1_000_000
        for copy in range(its.copies):
            if len(self._held) >= PACKETS_MAX:
                self.counts["overflowed"] += 1
                return
            self.counts["duplicated"] += copy > 0
            heapq.heappush(self._held, (due_ns, self._arrivals, packet))
        self._arrivals += 1

    def _send_until(self, now_ns: int) -> None:
        while self._held and self._held[0][0] <= now_ns:
            _, arrival, packet = heapq.heappop(self._held)
            self.counts["reordered"] += arrival < self._latest_sent
            self._latest_sent = max(self._latest_sent, arrival)
            packed = _destination(packet)
            family = self._families[packed]
            try:
                self._out[family].sendto(packet, (socket.inet_ntop(family, packed), 0))
            except OSError:  # no room in the device, or the link is down: lost, as it happens
                self.counts["overflowed"] += 1


def _open_device(notes: Path) -> int:
    """Open a tun device of our own; it goes when the descriptor is closed."""
    path = _TUN
    if not path.exists():  # a container may be allowed to use it all the same
        path = notes / "tun"
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            os.mknod(path, 0o600 | 0o020000, _TUN_NUMBERS)
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise QueueError(f"{_TUN} cannot be opened ({error.strerror})") from None
    try:
        asked = struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(device, _TUNSETIFF, asked)
    except OSError as error:
        os.close(device)
        raise QueueError(f"no tun device can be made ({error.strerror})") from None
    return device


def _raw_socket(family: socket.AddressFamily, mark: int) -> socket.socket:
    """Return a socket that sends whole packets, header and all, under our mark."""
    out = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    out.settimeout(0)
    out.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    return out


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    return socket.inet_pton(_family(address), address)


def _destination(packet: bytes) -> bytes:
    return packet[24:40] if packet[0] >> 4 == 6 else packet[16:20]
