"""What a network fault does to packets, as data; and how each mechanism is told, or would do it.

Rules of this file:
- Pure: no packet is touched here, and randomness is handed in.
- The words are those of tc(8); the queue in user space does the same to a packet as netem would.
- Bounds are such that a fault can be lived with: what is worse than that is a partition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

# What each effect needs to be told, and what it may be.
NEEDS = {
    "latency": ("delay_ms",),
    "jitter": ("delay_ms", "jitter_ms"),
    "loss": ("percent",),
    "duplication": ("percent",),
    "reordering": ("delay_ms", "percent"),
    "corruption": ("percent",),
    "bandwidth": ("kbit_s",),
}
BOUNDS = {
    "delay_ms": (1, 2000),
    "jitter_ms": (1, 2000),
    "percent": (1, 90),
    "kbit_s": (16, 1_000_000),
}
# How much may wait. More is dropped, as a real router would.
PACKETS_MAX = 2000
# At the start of a slow link a few packets pass at once; the smallest burst that lets a full one.
_BURST_BYTES = 4096
_WAIT_MS = 400


class EffectError(Exception):
    """An effect that makes no sense; the text says why."""


@dataclass(frozen=True)
class Effect:
    """One effect and its size; what it does not need is 0."""

    name: str
    delay_ms: int = 0
    jitter_ms: int = 0
    percent: int = 0
    kbit_s: int = 0


@dataclass(frozen=True)
class Fate:
    """What becomes of one packet."""

    delay_ms: float = 0.0
    copies: int = 1
    corrupt: bool = False


def read_effect(content: Any) -> Effect:
    """Return the effect that a request names. Raises `EffectError`."""
    if not isinstance(content, Mapping) or content.get("name") not in NEEDS:
        raise EffectError("an effect has a name, one of: {}".format(", ".join(NEEDS)))
    sizes: dict[str, int] = {}
    for key in NEEDS[content["name"]]:
        value, (low, high) = content.get(key), BOUNDS[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise EffectError(f"{key!r} must be a whole number from {low} to {high}")
        sizes[key] = value
    return Effect(content["name"], **sizes)


def netem_words(effect: Effect) -> list[str]:
    """Return what tc is told where the kernel has netem."""
    words = {
        "latency": ["delay", f"{effect.delay_ms}ms"],
        "jitter": ["delay", f"{effect.delay_ms}ms", f"{effect.jitter_ms}ms"],
        "loss": ["loss", f"{effect.percent}%"],
        "duplication": ["duplicate", f"{effect.percent}%"],
        # This share of packets overtakes the others, which are held back.
        "reordering": ["delay", f"{effect.delay_ms}ms", "reorder", f"{effect.percent}%"],
        "corruption": ["corrupt", f"{effect.percent}%"],
        "bandwidth": ["rate", f"{effect.kbit_s}kbit"],
    }[effect.name]
    limit = PACKETS_MAX
    if effect.name == "bandwidth":  # in packets of full size, what passes in the time it may wait
        limit = max(4, effect.kbit_s * _WAIT_MS // (8 * 1500))
    return ["netem", "limit", str(limit), *words]


def tbf_words(effect: Effect) -> list[str]:
    """Return what tc is told for a slow link where it has only a token bucket."""
    rate, wait = f"{effect.kbit_s}kbit", f"{_WAIT_MS}ms"
    return ["tbf", "rate", rate, "burst", str(_BURST_BYTES), "latency", wait]


def fate(effect: Effect, random: Random) -> Fate:
    """Decide what becomes of one packet in the queue in user space."""
    struck = random.random() * 100 < effect.percent
    if effect.name == "latency":
        return Fate(delay_ms=effect.delay_ms)
    if effect.name == "jitter":
        spread_ms = random.uniform(-effect.jitter_ms, effect.jitter_ms)
        return Fate(delay_ms=max(0.0, effect.delay_ms + spread_ms))
    if effect.name == "duplication":
        return Fate(copies=2 if struck else 1)
    if effect.name == "reordering":
        return Fate(delay_ms=0.0 if struck else effect.delay_ms)
    if effect.name == "corruption":
        return Fate(corrupt=struck)
    raise EffectError(f"a queue is not the means for {effect.name}")


def corrupted(packet: bytes, random: Random) -> bytes:
    """Flip one bit behind the IP header: its checksum no longer fits, so the receiver drops it."""
    header = 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
    if len(packet) <= header:
        return packet
    place = random.randrange(header, len(packet))
    flipped = packet[place] ^ (1 << random.randrange(8))
    return packet[:place] + bytes([flipped]) + packet[place + 1 :]
