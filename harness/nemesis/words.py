"""What each kind of fault and each of its variants does, in one sentence.

Rules of this file:
- Every variant of `plan.VARIANTS` is here, and nothing else: a test holds them together, and
  docs/reference.md is written from here (`python tools/write_docs.py`).
- A sentence says what happens to whom and nothing about how; how it is done and what counts as
  evidence is in docs/nemesis.md. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "partition": "some nodes no longer hear some others",
    "kill": "processes die and are started again",
    "pause": "processes stop for a while and go on, as in a long garbage collection",
    "clock": "the wall clocks of half of the nodes or more go wrong",
    "disk": "power fails, disks are full, slow, or refuse",
    "resource": "a node is left little processor time, memory or open files",
    "network": "what some nodes send to the others comes late, not at all, twice, or changed",
    "member": "a voter is removed, and comes back later without its data",
    "transfer": "leadership is handed on",
    "snapshot": "snapshots are taken at once",
    "damage": "a node finds its data damaged",
    "amnesia": "nodes forget the newest of what they had promised to keep",
}

VARIANTS: Final[Mapping[str, Mapping[str, str]]] = {
    "partition": {
        "isolate-leader": "the leader and the others do not hear each other",
        "halves": "the nodes are split into two halves that do not hear each other",
        "isolate-one": "one node and the others do not hear each other",
        "majorities-ring": "every node hears a majority, but no two nodes the same one",
        "one-way": "one node hears nobody, or nobody hears it",
        "bridge": "two halves do not hear each other, but one node hears both",
        "minority": "a minority and the majority do not hear each other",
        "one-way-leader": "the leader hears nobody, or nobody hears it",
        "flapping": "one node is cut off and healed again, every 0.2 to 0.8 s",
        "no-votes": "votes are lost everywhere while one node, or the leader, hears no heartbeats",
        "no-appends": "entries do not reach some nodes, or their answers the leader; heartbeats arrive",
        "no-snapshots": "one node is left behind, and no snapshot reaches it",
    },
    "kill": {
        "kill-leader": "the leader is killed",
        "kill-one": "one node is killed",
        "kill-minority": "as many nodes as a majority can do without are killed",
        "kill-majority": "a majority is killed at once",
        "kill-all": "all nodes are killed at once",
        "rolling": "each node in turn is killed; it is back before the next one goes",
        "crash-loop": "one node is killed again and again, every 0.2 to 0.8 s",
        "after-vote": "the leader dies, then others, each right after it voted, and are back at once",
    },
    "pause": {
        "pause-leader": "the leader stops",
        "pause-one": "one node stops",
        "pause-minority": "as many nodes as a majority can do without stop",
        "pause-majority": "a majority stops",
        "pause-all": "all nodes stop",
    },
    "clock": {
        "bump": "clocks jump, by 100 ms to 4 minutes, forwards or back",
        "strobe": "clocks jump there and back, every 8 to 512 ms",
        "rate": "clocks run at half to five times their speed",
    },
    "disk": {
        "power-loss-leader": "the leader's power fails: what it had not fsynced is lost",
        "power-loss-all": "the power of all nodes fails at one moment",
        "full": "one node's disk has no byte left",
        "slow": "one node's disk does ten writes a second",
        "power-loss-minority": "the power of as many nodes as a majority can do without fails",
        "power-loss-one": "one node's power fails",
        "failing": "one node's disk refuses every write, fsync and read",
    },
    "resource": {
        "cpu": "one node, or the leader, gets 1 to 10 % of one CPU",
        "memory": "one node, or the leader, gets hardly more memory than it cannot give back",
        "descriptors": "one node, or the leader, can open no new file and take no new connection",
    },
    "network": {
        "latency": "what some nodes send to the others comes later",
        "jitter": "what they send comes later, now more and now less",
        "loss": "some of the packets that they send are lost",
        "duplication": "some of their packets come twice",
        "reordering": "some of their packets come after later ones",
        "corruption": "a bit of some of their packets is flipped, so that the checksum is wrong",
        "bandwidth": "they send over a slow link",
    },
    "member": {
        "remove-leader": "the leader is removed, runs on outside, and is brought back at the end",
        "replace-one": "a voter is removed and brought back at once",
        "remove-one": "a voter is removed, runs on outside, and is brought back at the end",
        "replace-leader": "the leader is removed and brought back at once",
    },
    "transfer": {
        "to-another": "the leader hands leadership to another voter",
        "there-and-back": "the same, and at the end it is handed back",
    },
    "snapshot": {
        "on-leader": "the leader takes a snapshot",
        "on-all": "all nodes take one",
        "on-one": "one node takes one",
    },
    "damage": {
        "torn-write": "one node dies and finds the first part of a write that was never fsynced",
        "bit-flip": "one node dies and finds one bit of its data flipped",
        "truncate": "one node dies and finds a file of its data cut short",
    },
    "amnesia": {
        "cut-one": "one node dies and finds a log that ends earlier and looks whole",
        "cut-majority": "the same happens to a majority at once",
    },
}
