"""What clients do when all faults are over: look at every key through every node.

Rules of this file:
- Thread t speaks to node ``t % nodes``; the first thread of each node looks at all the keys, each
  beginning at another one, so that nodes are asked for the same key at different moments.
"""

from __future__ import annotations

from collections.abc import Sequence

from workloads.generator import Generator, Invocation, PerThread
from workloads.workload import Setting


def everywhere(setting: Setting, f: str, keys: Sequence[str]) -> Generator:
    """Return one operation `f` on every key through every node."""
    scripts = {}
    for thread in range(setting.nodes):
        shift = thread % len(keys)
        order = (*keys[shift:], *keys[:shift])
        scripts[thread] = tuple(Invocation(f=f, key=key, thread=thread) for key in order)
    return PerThread(scripts)
