"""Histories and certificates written by hand, shared by the tests of the verifier."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checker.history import Event, EventType, History
from checker.models import Model
from checker.verify import CertificateError, Verified, verify

ABSENT = {"failed_cas": "absent", "nil_read": "absent"}
DIFFERS = {"failed_cas": "differs", "nil_read": "absent"}
J = dict[str, Any]


def history(*lines: str) -> History:
    """Build a history: ``"0 write 1"`` invokes; ``"0 ok"``, ``"0 fail"``, ``"0 info"`` complete, and
    ``"0 ok 5"`` gives the answer. A key is written ``"0 write@k 1"``. Positions are the lines'.
    """
    events: list[Event] = []
    begun: dict[int, Event] = {}
    for index, line in enumerate(lines):
        process, word, *rest = line.split(" ", 2)
        value = json.loads(rest[0]) if rest else None
        if word in ("ok", "fail", "info"):
            invoked = begun[int(process)]
            told = value if rest else invoked.value
            kind, f, key = EventType(word), invoked.f, invoked.key
            event = Event(index=index, process=int(process), type=kind, f=f, key=key, value=told)
        else:
            f, _, name = word.partition("@")
            event = Event(
                index=index, process=int(process), type=EventType.INVOKE, f=f, key=name or None, value=value
            )  # fmt: skip
            begun[int(process)] = event
        events.append(event)
    return History(tuple(events))


def call(index: int, start: int, end: int | None, *, required: bool | None = None) -> J:
    must = end is not None if required is None else required
    return {"index": index, "start": start, "end": end, "required": must}


def refuting(
    *calls: J,
    model: str = "cas-register",
    meaning: J = ABSENT,
    key: str | None = None,
    since: int | None = None,
    elements: list[str] | None = None,
    frontier: Any = None,
    **top: Any,
) -> J:
    """Return a certificate of the invalid kind."""
    refutation = {
        "key": key, "from": since, "elements": elements, "calls": list(calls),
        "frontier": frontier, "cycle": None,
    }  # fmt: skip
    return {
        "certificate": 1, "model": model, "meaning": meaning, "verdict": "invalid",
        "refutation": refutation, **top,
    }  # fmt: skip


def ordering(*orders: tuple[str | None, list[int]], model: str = "cas-register", **top: Any) -> J:
    """Return a certificate of the valid kind."""
    linearizations = [{"key": key, "order": order} for key, order in orders]
    return {
        "certificate": 1, "model": model, "meaning": ABSENT, "verdict": "valid",
        "linearizations": linearizations, **top,
    }  # fmt: skip


def rejected(past: History, certificate: Any, match: str, model: Model | None = None) -> None:
    with pytest.raises(CertificateError, match=match):
        verify(past, certificate, model)


def judged(past: History, certificate: Any) -> Verified | None:
    """Verify; anything but an answer or a `CertificateError` is a failure of the test."""
    try:
        return verify(past, certificate)
    except CertificateError:
        return None


def counts(*pairs: tuple[int, int]) -> list[J]:
    return [{"return_of": index, "configurations": left} for index, left in pairs]
