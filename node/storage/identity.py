"""Who the data in a directory belong to, and which lives of its peers a node has met.

Rules of this file:
- A node that finds no identity refuses to start: it is new, or its disk was wiped, and a wiped node
  that votes again can undo what it had acknowledged. Only `init`, which an operator or the first
  start of a cluster asks for, makes one, with an incarnation that was never used before.
- `init` makes the first segment of the log before the identity, so a node that has an identity and
  no log has lost it.
- Both files are replaced as a whole and carry a checksum.
"""

import json
from dataclasses import dataclass
from zlib import crc32

from node.core.messages import HardState, Json, Malformed, natural
from node.storage.errors import AlreadyInitialised, Corrupt, NotInitialised, WrongOwner
from node.storage.files import ASIDE, Directory
from node.storage.segments import (
    FIRST,
    Head,
    Owner,
    create_segment,
    has_batches,
    is_segment,
    segment_name,
)
from node.storage.snapshots import is_snapshot

IDENTITY, PEERS = "identity", "peers"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """One life of one node of one cluster. `incarnation` is random, of 63 bits."""

    cluster: str
    name: str
    incarnation: int

    @property
    def owner(self) -> Owner:
        """As the log names it."""
        return self.cluster, self.name, self.incarnation


def init(directory: Directory, identity: Identity) -> None:
    """Make an empty directory that of a node, durably. `AlreadyInitialised` if it is one."""
    if IDENTITY in directory.names():
        raise AlreadyInitialised(f"{IDENTITY} exists: the directory belongs to a node already")
    _refuse_orphans(directory)
    first = segment_name(FIRST)
    if first in directory.names():  # left by an `init` that did not finish
        directory.remove(first)
    head = Head(identity.owner, FIRST, 0, HardState(), 0, 0)
    create_segment(directory, head)[0].close()
    document = {
        "version": VERSION,
        "cluster": identity.cluster,
        "name": identity.name,
        "incarnation": natural(identity.incarnation),
    }
    directory.write_whole(IDENTITY, _sealed(document))


def load(directory: Directory, *, cluster: str | None = None, name: str | None = None) -> Identity:
    """Whose directory it is; who says whose it should be gets `WrongOwner` when it is not.

    `NotInitialised`: there is nothing. `Corrupt`: the identity is damaged, or gone from its data.
    """
    if IDENTITY not in directory.names():
        _refuse_orphans(directory)
        raise NotInitialised("the directory holds no node: it is new, or it was wiped")
    document = _opened(IDENTITY, directory.read(IDENTITY))
    try:
        texts = [document["cluster"], document["name"]]
        if document["version"] != VERSION or not all(isinstance(text, str) for text in texts):
            raise Malformed(f"not an identity of version {VERSION}")
        identity = Identity(str(texts[0]), str(texts[1]), natural(document["incarnation"]))
    except (KeyError, ValueError) as error:
        raise Corrupt(IDENTITY, 0, f"checksum right, content wrong: {error}") from None
    if cluster not in (None, identity.cluster):
        raise WrongOwner(f"the data belong to cluster {identity.cluster}, not {cluster}")
    if name not in (None, identity.name):
        raise WrongOwner(f"the data belong to {identity.name}, not {name}")
    return identity


def known_peers(directory: Directory) -> dict[str, int]:
    """The incarnation of each peer that was remembered."""
    if PEERS not in directory.names():
        return {}
    document = _opened(PEERS, directory.read(PEERS))
    try:
        return {name: natural(incarnation) for name, incarnation in document.items()}
    except ValueError as error:
        raise Corrupt(PEERS, 0, f"checksum right, content wrong: {error}") from None


def remember_peer(directory: Directory, name: str, incarnation: int) -> None:
    """Know a peer by its incarnation, durably. `ValueError` if another one is known."""
    peers = known_peers(directory)
    known = peers.get(name)
    if known is None:
        peers[name] = natural(incarnation)
        directory.write_whole(PEERS, _sealed(peers))
    elif known != incarnation:
        raise ValueError(f"{name} is known as {known}, not {incarnation}: forget it first")


def forget_peer(directory: Directory, name: str) -> None:
    """Know a peer no longer, durably: its name may come back in another life."""
    peers = known_peers(directory)
    if peers.pop(name, None) is not None:
        directory.write_whole(PEERS, _sealed(peers))


def _refuse_orphans(directory: Directory) -> None:
    """Without an identity there may be what an unfinished `init` leaves, and nothing else."""
    for name in directory.names():
        if name.endswith(ASIDE) or not (is_segment(name) or is_snapshot(name) or name == PEERS):
            continue
        if name == segment_name(FIRST) and not has_batches(directory.read(name)):
            continue
        raise Corrupt(IDENTITY, 0, f"missing, but {name} is there")


def _sealed(document: Json) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    return text + b"\n" + f"{crc32(text):08x}\n".encode("ascii")


def _opened(name: str, image: bytes) -> dict[str, Json]:
    text, _, checksum = image.partition(b"\n")
    if checksum != f"{crc32(text):08x}\n".encode("ascii"):
        raise Corrupt(name, 0, "the checksum is wrong")
    document = json.loads(text)
    if not isinstance(document, dict):
        raise Corrupt(name, 0, "checksum right, content wrong: not an object")
    return document
