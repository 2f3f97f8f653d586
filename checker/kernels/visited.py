"""The memory of the depth-first search: configurations it entered, in an open-addressed table.

Rules of this file:
- A row is the configuration's words, a tag of event and state (0: the place is free), and which
  open writes can be absorbed. Rows are compared whole: a hash alone never decides.
- A state fits in 32 bits, an event in 31.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from checker.kernels.layout import mix


@njit(cache=True, inline="always")
def is_known(visited, words, event, state, overtaken):
    """Whether a configuration is in the table; it is afterwards. The table has room."""
    width = words.shape[0]
    tag = (uint64(event + 1) << uint64(32)) | uint64(state)
    h = mix(tag, uint64(overtaken))
    for w in range(width):
        h = mix(words[w], h)
    mask = visited.shape[0] - 1
    place = np.int64(h & uint64(mask))
    while visited[place, width] != uint64(0):
        if visited[place, width] == tag and visited[place, width + 1] == uint64(overtaken):
            same = True
            for w in range(width):
                if visited[place, w] != words[w]:
                    same = False
                    break
            if same:
                return True
        place = (place + 1) & mask
    for w in range(width):
        visited[place, w] = words[w]
    visited[place, width] = tag
    visited[place, width + 1] = uint64(overtaken)
    return False


@njit(cache=True)
def rehash_visited(old, new):
    """Move all configurations into a larger table."""
    width = old.shape[1] - 2
    mask = new.shape[0] - 1
    for row in range(old.shape[0]):
        if old[row, width] != uint64(0):
            h = mix(old[row, width], old[row, width + 1])
            for w in range(width):
                h = mix(old[row, w], h)
            place = np.int64(h & uint64(mask))
            while new[place, width] != uint64(0):
                place = (place + 1) & mask
            for w in range(width + 2):
                new[place, w] = old[row, w]
