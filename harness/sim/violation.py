"""What a simulation finds.

Rules of this file:
- `oracle` says who saw it: `client` (only what clients were told), `invariant` (observers who see
  every node), `liveness` (something did not happen in time), `crash` (the node's own code raised).
- `rule` is the number of the invariant in the list of `invariants`, or a short name.
"""


class Violation(AssertionError):
    """A property does not hold."""

    def __init__(self, oracle: str, rule: str, text: str) -> None:
        super().__init__(f"{oracle} {rule}: {text}")
        self.oracle = oracle
        self.rule = rule


def check(holds: object, oracle: str, rule: str, text: str) -> None:
    """Raise a `Violation` unless it holds. Where `text` costs much, ask before."""
    if not holds:
        raise Violation(oracle, rule, text)
