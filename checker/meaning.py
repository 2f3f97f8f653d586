"""What an operation's outcome means, where histories differ about it.

Rules of this file:
- Nothing is guessed silently: each format has one default, written here, and a caller may
  override each part. The same file can be valid under one meaning and invalid under another.
- Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailedCas(StrEnum):
    """What a compare-and-set that answered `fail` tells us."""

    DIFFERS = "differs"  # it ran, and the value was not the expected one: an observation
    ABSENT = "absent"  # it did not happen: says nothing


class NilRead(StrEnum):
    """What a successful read of nil (null) tells us."""

    ABSENT = "absent"  # the key had no value: an observation
    UNKNOWN = "unknown"  # the client did not say what it read: says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """How to read the outcomes that histories disagree about."""

    failed_cas: FailedCas = FailedCas.ABSENT
    nil_read: NilRead = NilRead.ABSENT


_BY_FORMAT = {
    # Porcupine's etcd logs keep what a client saw: a failed cas was answered by the server.
    "jepsen-log": Meaning(failed_cas=FailedCas.DIFFERS),
    # Knossos: `fail` is struck from the history, and a read of nil is legal in every state.
    "edn": Meaning(nil_read=NilRead.UNKNOWN),
}


def default_meaning(format: str) -> Meaning:  # noqa: A002 - the option's name everywhere
    """Return what outcomes mean in histories of this format unless somebody says otherwise."""
    return _BY_FORMAT.get(format, Meaning())
