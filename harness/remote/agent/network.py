"""Partitions: packets from given sources are dropped on arrival, in an nft table of our own.

Rules of this file:
- Only the table `inet splitbrain` is ever touched, and it is deleted as a whole.
- What is dropped is a set whose elements expire: if nobody renews them, the cut ends by itself.
- Beside each expiring set is one that only counts: its counters outlive renewals.
- The controller is never cut off, whatever is asked for.
- How IPv6 finds its neighbours on the wire is left alone, as ARP is: a link that is cut one way must
  still carry packets the other way.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

TABLE = "splitbrain"
NFT_TIMEOUT_S = 10

# Before connection tracking and address translation: containers behind the host are cut as well.
_RULES = """\
add table inet splitbrain
delete table inet splitbrain
add table inet splitbrain
add set inet splitbrain cut4 {{ type ipv4_addr; flags timeout; }}
add set inet splitbrain cut6 {{ type ipv6_addr; flags timeout; }}
add set inet splitbrain seen4 {{ type ipv4_addr; counter; }}
add set inet splitbrain seen6 {{ type ipv6_addr; counter; }}
add chain inet splitbrain arriving {{ type filter hook prerouting priority raw; policy accept; }}
add rule inet splitbrain arriving iifname != "lo" ip saddr @cut4 ip saddr @seen4 drop
add rule inet splitbrain arriving icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
add rule inet splitbrain arriving iifname != "lo" ip6 saddr @cut6 ip6 saddr @seen6 drop
{elements}
"""


class NetworkError(Exception):
    """A cut that cannot or must not be made; the text says why."""


def nft(script: str, *, words: Sequence[str] = ("-f", "-")) -> str:
    """Run an nft script as one transaction (or a command) and return what it printed."""
    try:
        done = subprocess.run(
            ["nft", *words],
            input=script,
            capture_output=True,
            text=True,
            timeout=NFT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise NetworkError("nft is not installed: apt-get install nftables") from None
    except subprocess.TimeoutExpired:
        raise NetworkError("nft did not end in time") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise NetworkError(f"nft: {said[0]}")
    return done.stdout


def heal_network() -> None:
    """Delete our table; no table is no error (adding it first makes deleting it safe)."""
    nft(f"add table inet {TABLE}\ndelete table inet {TABLE}\n")


def why_nft_does_not_work() -> str:
    """Return an empty string if cuts can be made here, else the reason."""
    try:
        nft(_RULES.format(elements=""), words=("--check", "-f", "-"))
    except NetworkError as error:
        return str(error) if os.geteuid() == 0 else f"dropping packets needs root ({error})"
    return ""


def canonical_address(text: str) -> str:
    """Return an address as nft prints it; an IPv4 address inside IPv6 is meant as IPv4."""
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


class Cut:
    """The sources whose packets are dropped on this host. Thread-safe."""

    def __init__(self, *, protected: Iterable[str]) -> None:
        """`protected` are addresses that may never be cut: the controller's."""
        self._protected = {canonical_address(address) for address in protected}
        self._lock = threading.RLock()
        self._sources: list[str] = []
        self._timeout_s = 0.0
        self._renewed_ns = 0
        self._lapses = 0

    def install(self, sources: Sequence[str], *, timeout_s: float) -> None:
        """Drop what arrives from exactly these sources; replaces an earlier cut."""
        try:
            wanted = sorted({canonical_address(source) for source in sources})
        except ValueError as error:
            raise NetworkError(str(error)) from None
        forbidden = self._protected.intersection(wanted)
        if forbidden:
            raise NetworkError(
                "will not cut off the controller ({})".format(", ".join(sorted(forbidden)))
            )
        with self._lock:
            nft(_RULES.format(elements="\n".join(_elements(wanted, timeout_s, counted=True))))
            self._sources, self._timeout_s = wanted, timeout_s
            self._renewed_ns, self._lapses = time.monotonic_ns(), 0

    def renew(self, timeout_s: float) -> None:
        """Let the cut last another `timeout_s`; note if it had expired meanwhile."""
        with self._lock:
            if not self._sources:
                return
            now_ns = time.monotonic_ns()
            self._lapses += self._has_run_out()
            flush = [f"flush set inet {TABLE} cut{family}" for family in (4, 6)]
            nft("\n".join([*flush, *_elements(self._sources, timeout_s, counted=False)]) + "\n")
            self._renewed_ns, self._timeout_s = now_ns, timeout_s

    def heal(self) -> dict[str, Any]:
        """Take the cut away and return its last evidence."""
        with self._lock:
            try:
                return self.evidence()
            finally:
                # Also when the counters cannot be read: a cut must never outlive its undoing.
                self._sources = []
                heal_network()

    def evidence(self) -> dict[str, Any]:
        """Return packets dropped by source since the cut was made, and how often it lapsed."""
        dropped: dict[str, int] = {}
        with self._lock:
            if self._sources:
                for family in (4, 6):
                    dropped.update(_counters(f"seen{family}"))
            return {"dropped": dropped, "lapses": self._lapses + self._has_run_out()}

    def _has_run_out(self) -> bool:
        """Whether what is in force by our account has expired in truth."""
        age_ns = time.monotonic_ns() - self._renewed_ns
        return bool(self._sources) and age_ns > self._timeout_s * 1e9


def _elements(sources: Sequence[str], timeout_s: float, *, counted: bool) -> list[str]:
    timeout = f"timeout {max(1000, int(timeout_s * 1000))}ms"
    lines: list[str] = []
    for source in sources:
        family = ipaddress.ip_address(source).version
        lines.append(f"add element inet {TABLE} cut{family} {{ {source} {timeout} }}")
        if counted:
            lines.append(f"add element inet {TABLE} seen{family} {{ {source} }}")
    return lines


def _counters(name: str) -> dict[str, int]:
    """Return the packets counted by each element of a set."""
    listing = json.loads(nft("", words=("--json", "list", "set", "inet", TABLE, name)))
    counters: dict[str, int] = {}
    for item in listing.get("nftables", []):
        for element in item.get("set", {}).get("elem", []):
            known = element["elem"]
            counters[known["val"]] = int(known["counter"]["packets"])
    return counters
