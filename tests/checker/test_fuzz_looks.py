"""What decides without a search of all, and what shrinks: against brute force, as the searches are.

Each history has a seed of its own: a failure names the algorithm and the seed, and prints the calls.
"""

from __future__ import annotations

import pytest
from differential import tried

# How many histories of each, and which answers must be among them, each this often.
LOOKS: dict[str, tuple[int, dict[str, int]]] = {
    "first-look": (
        3000,
        {
            "valid by depth-first": 900,
            "invalid by zones": 60,
            "invalid by stale": 200,
            "invalid by depth-first": 20,
            "look": 100,
        },
    ),
    "contradictions": (
        5000,
        {
            "found 1": 200,
            "found 2": 700,
            "found 3": 15,
            "found 4": 4,
            "found 5": 10,
            "nothing, valid": 2000,
            "nothing, invalid": 20,
        },
    ),
    "containers": (3000, {"valid": 1000, "invalid": 500}),
    "cores": (6000, {"refuted": 600, "has an order": 2500}),
    "windows": (3000, {"contradiction": 150, "nothing, valid": 1000, "nothing, invalid": 30}),
}


@pytest.mark.parametrize("algorithm", LOOKS)
def test_answers_are_those_of_brute_force(algorithm: str) -> None:
    tried(algorithm, *LOOKS[algorithm])
