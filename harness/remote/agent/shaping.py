"""Network faults: what this host sends to some others is held back, lost, doubled or corrupted.

Rules of this file:
- netem does it where the kernel has it; else nftables loses packets, tbf makes a link slow, and a
  queue of our own does the rest. The evidence says which it was.
- Who is struck is an nft set whose elements expire: if nobody renews them, packets pass as ever.
  The table is another one than that of partitions; both may be in force.
- Nothing but packets to the named hosts is struck (from them, where nftables loses packets), and
  never the controller's.
- What is needed to undo it is in a file before it is done.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import traffic_control
from .effect import Effect, netem_words, tbf_words
from .files import json_text, read_json, write_atomically
from .network import NetworkError, canonical_address, nft
from .packet_queue import DEVICE, PacketQueue, QueueError
from .traffic_control import ToolError, run_tool

TABLE = "splitbrain_traffic"
# Ours among the routing tables, rules and marks of a host; chosen to be nobody else's.
_ROUTES = _PREFERENCE = "23319"
_STRUCK, _SENT_ON = 0x5B170001, 0x5B170002

# What a rule does with a packet that is struck.
_TO_CLASS = f"meta priority set {traffic_control.CLASS}"
_TO_QUEUE = f"meta mark set {_STRUCK:#x}"
_SETS = """\
add table inet {table}
delete table inet {table}
add table inet {table}
add set inet {table} struck4 {{ type ipv4_addr; flags timeout; }}
add set inet {table} struck6 {{ type ipv6_addr; flags timeout; }}
add counter inet {table} struck
add counter inet {table} lost
"""
# The queue's own packets have been here before.
_LEAVING = """\
add chain inet {table} leaving {{ type route hook output priority mangle; policy accept; }}
add rule inet {table} leaving oifname "lo" return
add rule inet {table} leaving meta mark {sent_on:#x} return
add rule inet {table} leaving ip daddr @struck4 counter name "struck" {action}
add rule inet {table} leaving ip6 daddr @struck6 counter name "struck" {action}
"""
# On arrival: who sends would be told of a packet that is lost on its way out.
_ARRIVING = """\
add chain inet {table} arriving {{ type filter hook prerouting priority raw; policy accept; }}
add chain inet {table} losing
add rule inet {table} arriving iifname "lo" return
add rule inet {table} arriving ip saddr @struck4 counter name "struck" jump losing
add rule inet {table} arriving ip6 saddr @struck6 counter name "struck" jump losing
add rule inet {table} losing numgen random mod 100 < {percent} counter name "lost" drop
"""


class Shaping:
    """The network fault on this host. Thread-safe."""

    def __init__(self, folder: Path, *, protected: Iterable[str]) -> None:
        """`folder` holds the notes; `protected` are addresses that may never be struck."""
        self._folder = folder
        self._protected = {canonical_address(address) for address in protected}
        self._lock = threading.RLock()
        self._peers: list[str] = []
        self._devices: list[str] = []
        self._queue: PacketQueue | None = None
        self._by, self._why_not_netem = "", ""
        self._timeout_s, self._renewed_ns, self._lapses = 0.0, 0, 0

    def install(self, peers: Sequence[str], effect: Effect, *, timeout_s: float) -> dict[str, Any]:
        """Strike what is sent to exactly these; replaces an earlier fault. Says by what means.

        Raises `NetworkError` for what must not be done; what cannot be is `skipped`.
        """
        try:
            wanted = sorted({canonical_address(peer) for peer in peers})
        except ValueError as error:
            raise NetworkError(str(error)) from None
        forbidden = self._protected.intersection(wanted)
        if forbidden:
            raise NetworkError(
                "will not disturb the controller ({})".format(", ".join(sorted(forbidden)))
            )
        with self._lock:
            self._undo()
            self._why_not_netem = ""
            try:
                self._strike(wanted, effect, timeout_s)
            except (NetworkError, ToolError, QueueError) as error:
                self._undo()
                return {"skipped": "; ".join(filter(None, (self._why_not_netem, str(error))))}
            except BaseException:
                self._undo()
                raise
            return self.evidence()

    def renew(self, timeout_s: float) -> None:
        """Let it last another `timeout_s`; note if it had expired meanwhile."""
        with self._lock:
            if not self._peers:
                return
            now_ns = time.monotonic_ns()
            self._lapses += self._has_run_out()
            flush = [f"flush set inet {TABLE} struck{family}" for family in (4, 6)]
            nft("\n".join([*flush, *_elements(self._peers, timeout_s)]) + "\n")
            self._renewed_ns, self._timeout_s = now_ns, timeout_s

    def evidence(self) -> dict[str, Any]:
        """Return by what means, and what it counted; nothing in force counts nothing."""
        with self._lock:
            counts: dict[str, int] = {}
            if self._peers:
                counts = _counters()
                if self._devices:
                    counts = {**counts, **traffic_control.statistics(self._devices)}
                if self._queue is not None:
                    counts = {**counts, **self._queue.counts}
            return {
                "by": self._by,
                "why_not_netem": self._why_not_netem,
                "counts": counts,
                "lapses": self._lapses + self._has_run_out(),
            }

    def _has_run_out(self) -> bool:
        """Whether what is in force by our account has expired in truth."""
        age_ns = time.monotonic_ns() - self._renewed_ns
        return bool(self._peers) and age_ns > self._timeout_s * 1e9

    def undo(self) -> dict[str, Any]:
        """Let packets pass, and return the last evidence. Nothing in force is no error."""
        with self._lock:
            try:
                return self.evidence()
            finally:
                # Also when nothing could be counted: a fault must never outlive its undoing.
                self._undo()

    def _strike(self, peers: list[str], effect: Effect, timeout_s: float) -> None:
        devices = _devices_towards(peers)
        notes = {"devices": devices}
        write_atomically(_notes(self._folder), json_text(notes))
        rules = self._choose_means(devices, peers, effect)
        elements = "\n".join(_elements(peers, timeout_s))
        nft(f"{_SETS.format(table=TABLE)}{rules}{elements}\n")
        self._peers, self._timeout_s = peers, timeout_s
        self._renewed_ns, self._lapses = time.monotonic_ns(), 0

    def _choose_means(self, devices: list[str], peers: list[str], effect: Effect) -> str:
        """Get the means ready; return the rules that make packets go there."""
        self._by, self._why_not_netem, self._devices = "netem", "", devices
        try:
            traffic_control.install(devices, netem_words(effect))
        except ToolError as error:
            self._why_not_netem = _why_not_netem(str(error))
        else:
            return _leaving(_TO_CLASS)
        if effect.name == "bandwidth":
            self._by = "tbf"
            traffic_control.install(devices, tbf_words(effect))
            return _leaving(_TO_CLASS)
        self._devices = []
        if effect.name == "loss":
            self._by = "nftables"
            return _ARRIVING.format(table=TABLE, percent=effect.percent)
        self._by = "a queue"
        self._queue = PacketQueue(effect, peers, mark=_SENT_ON, notes=self._folder)
        _route_into_queue(devices)
        self._queue.start()
        return _leaving(_TO_QUEUE)

    def _undo(self) -> None:
        self._peers, self._devices, self._by = [], [], ""
        try:
            undo_shaping(self._folder)
        finally:
            if self._queue is not None:
                self._queue.close()
                self._queue = None


def undo_shaping(folder: Path) -> None:
    """Undo what any agent noted here. A queue goes with its process. No notes is no error."""
    notes = read_json(_notes(folder))
    if notes is None:
        return
    nft(f"add table inet {TABLE}\ndelete table inet {TABLE}\n")
    for family in ("-4", "-6"):
        with contextlib.suppress(ToolError):  # there is none
            run_tool("ip", family, *_routing_rule("delete"))
    with contextlib.suppress(FileNotFoundError):
        traffic_control.remove([str(device) for device in notes.get("devices", [])])
    _notes(folder).unlink(missing_ok=True)


def _notes(folder: Path) -> Path:
    return folder / "traffic.json"


def _devices_towards(peers: Sequence[str]) -> list[str]:
    """Return the devices by which packets leave for these hosts."""
    found = set()
    for peer in peers:
        for route in json.loads(run_tool("ip", "-json", "route", "get", peer)):
            found.add(str(route.get("dev", "lo")))
    return sorted(found - {"lo"})


def _route_into_queue(devices: Sequence[str]) -> None:
    """Let marked packets go to the queue's device; both routes and rule are ours alone."""
    sizes = [
        int(link["mtu"])
        for device in devices
        for link in json.loads(run_tool("ip", "-json", "link", "show", "dev", device))
    ]
    run_tool("ip", "link", "set", DEVICE, "mtu", str(min(sizes, default=1500)), "up")
    for family in ("-4", "-6"):
        try:
            run_tool("ip", family, "route", "add", "default", "dev", DEVICE, "table", _ROUTES)
            run_tool("ip", family, *_routing_rule("add"))
        except ToolError:
            if family == "-4":  # without IPv6 there is nothing of it to strike
                raise


def _routing_rule(verb: str) -> list[str]:
    mark = f"{_STRUCK:#x}"
    return ["rule", verb, "fwmark", mark, "lookup", _ROUTES, "preference", _PREFERENCE]


def _why_not_netem(said: str) -> str:
    if "qdisc kind is unknown" in said:
        return "the kernel has no netem"
    return f"netem does not work: {said}"


def _leaving(action: str) -> str:
    return _LEAVING.format(table=TABLE, sent_on=_SENT_ON, action=action)


def _elements(peers: Sequence[str], timeout_s: float) -> list[str]:
    timeout = f"timeout {max(1000, int(timeout_s * 1000))}ms"
    return [
        f"add element inet {TABLE} struck{_version(peer)} {{ {peer} {timeout} }}" for peer in peers
    ]


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _counters() -> dict[str, int]:
    listing = json.loads(nft("", words=("--json", "list", "counters", "table", "inet", TABLE)))
    found = [item["counter"] for item in listing.get("nftables", []) if "counter" in item]
    return {counter["name"]: int(counter["packets"]) for counter in found}
