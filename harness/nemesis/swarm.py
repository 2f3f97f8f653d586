"""`--nemesis all`: each seed draws its own faults from those that are possible.

Rules of this file:
- Leaving some out finds more than having all of them always: a fault that strikes all the time
  hides what shows only without it (swarm testing: Groce et al., ISSTA 2012).
- What was drawn takes the place of `all` in the run's spec, so that the line that repeats the run
  names it. Pure, and all from the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workloads.randomness import Stream

_LEAST: Final = 2


def drawn(seed: int, possible: Sequence[str]) -> tuple[str, ...]:
    """Return each kind of fault with even chances, and two at least if there are two."""
    random = Stream(seed, "nemesis:swarm").random()
    order = list(possible)
    random.shuffle(order)
    count = max(min(_LEAST, len(order)), sum(random.random() < 0.5 for _ in order))
    chosen = set(order[:count])
    return tuple(kind for kind in possible if kind in chosen)
