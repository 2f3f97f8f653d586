"""Small plots as inline SVG: where lines and points go.

Rules of this file:
- A value that is not known leaves a gap: nothing is drawn between its neighbours.
- Places are pixels of the drawing's own box, y grows downwards, rounded so that pages stay small.
- Pure: values in, places out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

# From 0 (bottom) to 1 (top).
Scale = Callable[[float], float]
_EDGE_PX: Final = 3.0


def trace(
    values: Sequence[float | None], *, step_px: float, height_px: float, scale: Scale
) -> dict[str, Any]:
    """Lay out one line: `lines` are its unbroken stretches, `points` all of its points."""
    points: list[dict[str, Any]] = []
    stretches: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            stretches.append([])
            continue
        x = round((number + 0.5) * step_px, 1)
        y = round(height_px - _EDGE_PX - scale(value) * (height_px - 2 * _EDGE_PX), 1)
        points.append({"number": number, "x": x, "y": y})
        stretches[-1].append(f"{x},{y}")
    return {"lines": [" ".join(one) for one in stretches if len(one) > 1], "points": points}


def from_zero(top: float) -> Scale:
    """A scale from zero to `top`: small differences look small."""
    return lambda value: min(1.0, value / top) if top > 0 else 0.0


def logarithmic(values: Sequence[float]) -> tuple[Scale, list[tuple[float, float]]]:
    """A scale for values that differ by orders of magnitude, and its powers of ten with places."""
    positive = [value for value in values if value > 0] or [1.0]
    low = math.floor(math.log10(min(positive)))
    high = max(low + 1, math.ceil(math.log10(max(positive))))

    def scale(value: float) -> float:
        place = math.log10(value) if value > 0 else float(low)
        return min(1.0, max(0.0, (place - low) / (high - low)))

    return scale, [(10.0**power, scale(10.0**power)) for power in range(low, high + 1)]
