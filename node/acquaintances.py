"""Which life of each other node is let in: a node that lost its disk must not vote again.

Rules of this file:
- A name stands for one incarnation, that of its data directory; the first one seen is remembered on
  disk before it is let in, and no other one is from then on, while the name is a member's.
- Another incarnation may take a name that was added to the configuration after the known one was
  met: that one was removed (which was committed before the addition could begin), and this is new.
  So may one whose name the committed configuration does not have.
- A node that knows no configuration yet (it is being added) lets everybody in and remembers nobody:
  whether who it meets is the member of that name, or what was removed and is about to be replaced,
  it cannot tell. It leads nobody and is in no quorum until it knows.
"""

from collections.abc import Callable

from node.core.raft import Raft
from node.storage.files import Directory
from node.storage.identity import forget_peer, known_peers, remember_peer

REFUSED_MAX = 1000
"""So many are complained of; who knows the secret could make up any number."""


class Acquaintances:
    """The other nodes, as this one has met them."""

    def __init__(self, directory: Directory, core: Raft, event: Callable[[str], None]) -> None:
        self._directory = directory
        self._core = core
        self._event = event
        self._known = known_peers(directory)
        self._refused: set[tuple[str, int]] = set()

    def admit(self, name: str, incarnation: int) -> bool:
        """May a node of that name and incarnation take part?"""
        log = self._core.log
        configuration = log.configuration
        is_member = name in configuration.members
        if not configuration.voters:
            return True
        # Removed and added again, a name is another member, and may be another node.
        key = f"{name}@{configuration.generations.get(name, 0)}" if is_member else name
        known = self._known.get(key)
        if known == incarnation:
            return True
        settled = log.configuration_index <= self._core.commit_index
        if known is None and not is_member and not settled:
            # Its removal may be taken back: then it is the member again that it was.
            known = self._latest(name, incarnation)
        if known is not None:
            if is_member or not settled:
                self._complain(name, incarnation, known)
                return False
            forget_peer(self._directory, key)
        remember_peer(self._directory, key, incarnation)
        self._known[key] = incarnation
        return True

    def _complain(self, name: str, incarnation: int, known: int) -> None:
        """Say it once of each: whoever is refused tries again many times a second."""
        if (name, incarnation) not in self._refused and len(self._refused) < REFUSED_MAX:
            self._refused.add((name, incarnation))
            self._event(
                f"{name} came back without its data (incarnation {incarnation}, known is"
                f" {known}): remove the member and add it again"
            )

    def _latest(self, name: str, incarnation: int) -> int | None:
        """An incarnation that a member of that name had; None if it had this one, or none did."""
        lives = [life for key, life in self._known.items() if key.startswith(f"{name}@")]
        return None if incarnation in lives or not lives else lives[-1]
