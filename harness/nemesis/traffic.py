"""What shows that a network fault works. Pure: numbers in, a sentence out, or none.

Rules of this file:
- That packets were sent into a fault is no evidence. What counts is what came of them: seen from
  outside (echoes there and back, checksums found wrong at the receivers), or counted by the means
  itself as lost, held back, doubled, overtaken.
- Echoes prove something only against echoes from just before: a slow host is slow without us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from harness.remote.traffic import Echo, Shaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of a fault on one node: echoes before it and in it, and what was counted.

    `wrong_checksums` are those that arrived at the other nodes since it began.
    """

    parameters: Mapping[str, int]
    before: Echo
    during: Echo
    counted: Shaped
    wrong_checksums: int


def what_was_seen(name: str, look: Look) -> str:
    """Return a sentence about the effect; an empty one if none was seen."""
    return _EFFECTS[name](look)


def _latency(look: Look) -> str:
    then_ms, now_ms = look.before.median_ms, look.during.median_ms
    if then_ms is None or now_ms is None or now_ms < then_ms + look.parameters["delay_ms"] / 2:
        return _held(look)
    return f"a round trip took {then_ms:.1f} ms before, and takes {now_ms:.1f} ms now"


def _jitter(look: Look) -> str:
    then, now = look.before, look.during
    if (
        _spread_ms(now) >= _spread_ms(then) + look.parameters["jitter_ms"]
        and now.median_ms is not None
        and now.median_ms >= (then.median_ms or 0) + look.parameters["delay_ms"] / 2
    ):
        return f"round trips took {_range(then)} before, and take {_range(now)} now"
    return _held(look)


def _held(look: Look) -> str:
    delayed = look.counted.count("delayed")
    if not delayed:
        return ""
    mean_ms = look.counted.count("held_ms") / delayed
    return f"{delayed} packets were held back, for {mean_ms:.0f} ms in the mean"


def _loss(look: Look) -> str:
    lost = look.counted.count("lost")
    return f"{lost} of {look.counted.count('struck')} packets were lost" if lost else ""


def _duplication(look: Look) -> str:
    if look.during.duplicates > look.before.duplicates:
        return f"of {look.during.answered} echoes {look.during.duplicates} came twice"
    doubled = look.counted.count("duplicated")
    return f"{doubled} of {look.counted.count('struck')} packets were sent twice" if doubled else ""


def _reordering(look: Look) -> str:
    if look.during.reordered > look.before.reordered:
        return f"of {look.during.answered} echoes {look.during.reordered} came after a later one"
    overtaken = look.counted.count("reordered")
    return f"{overtaken} packets were overtaken" if overtaken else ""


def _corruption(look: Look) -> str:
    wrong = look.wrong_checksums
    return f"{wrong} packets arrived at the others with a wrong checksum" if wrong > 0 else ""


def _bandwidth(look: Look) -> str:
    then, now, meant = look.before.kbit_s, look.during.kbit_s, look.parameters["kbit_s"]
    if 0 < now <= 1.5 * meant and then >= 2 * now:
        return f"{then:.0f} kbit/s of echoes came through before, and {now:.0f} kbit/s now"
    lost, waited = look.counted.count("lost"), look.counted.count("waited")
    if lost or waited:
        return f"packets had to wait {waited} times, {lost} were lost"
    return ""


def _spread_ms(echo: Echo) -> float:
    return (echo.longest_ms or 0) - (echo.shortest_ms or 0)


def _range(echo: Echo) -> str:
    return f"{echo.shortest_ms or 0:.1f} to {echo.longest_ms or 0:.1f} ms"


_EFFECTS: Final[Mapping[str, Callable[[Look], str]]] = {
    "latency": _latency,
    "jitter": _jitter,
    "loss": _loss,
    "duplication": _duplication,
    "reordering": _reordering,
    "corruption": _corruption,
    "bandwidth": _bandwidth,
}
