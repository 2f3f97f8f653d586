"""Strings by key: get, put, append, delete, compare-and-set, and times to live; all linearizable.

Rules of this file:
- Every put, appended or swapped string has a token of its own, which tells the operation and its
  position: the string ``p5.a8.`` is what put 5 left and append 8 made of it.
- A compare-and-set expects what was last seen of its key. Where that was nothing it is a put:
  systems differ in whether a missing key is an empty string.
- Keys ``k0``, ``k1``, ... last. Keys ``t0``, ``t1``, ... are put with a time to live, and also without one,
  which ends it; nothing is appended to them (`workloads.checks.expiry` says why).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from checker.history import Event, EventType

from .checks import Linearizable
from .checks.expiry import with_expiry
from .final import Change, changed_and_seen
from .generator import PENDING, Context, Generator, Invocation, Step
from .randomness import Stream
from .workload import Probe, Setting, Workload

_LASTING = ("get",) * 6 + ("put",) * 2 + ("append",) * 3 + ("delete",) + ("cas",) * 4
_MORTAL = ("get",) * 12 + ("put",) * 3 + ("delete", "cas")
# Most keys are changed again within a second or so: short times are the ones that run out.
_TTLS_MS = (None, 200, 200, 500, 500, 1000, 2000)


@dataclass(frozen=True, slots=True)
class KeyValueOperations:
    """An endless mix of operations, two of three on keys that last, on whichever thread is free.

    `seen` is the string last known of each key.
    """

    stream: Stream
    lasting: tuple[str, ...]
    mortal: tuple[str, ...]
    position: int = 0
    seen: Mapping[str, str] = field(default_factory=dict)

    def next(self, context: Context) -> Step:
        """Return an operation for a random free thread."""
        if not context.free:
            return PENDING
        stream = context.stream(self.stream)
        draw = self.position * 5
        lasts = stream.below(draw, 3) > 0
        key = stream.choice(draw + 1, self.lasting if lasts else self.mortal)
        f = stream.choice(draw + 2, _LASTING if lasts else _MORTAL)
        before = self.seen.get(key, "")
        if f == "cas" and not before:
            f = "put"
        ttl_ms = None if lasts or f != "put" else stream.choice(draw + 3, _TTLS_MS)
        invocation = Invocation(
            f=f,
            key=key,
            value=self._value(f, before, ttl_ms),
            thread=stream.choice(draw + 4, context.free),
            at_ns=context.time_ns,
        )
        return invocation, replace(self, position=self.position + 1)

    def _value(self, f: str, before: str, ttl_ms: int | None) -> Any:
        """Return what is asked for."""
        token = f"{f[0]}{self.position}."
        if f in ("get", "delete"):
            return None
        if f == "cas":
            return [before, token]
        return token if ttl_ms is None else {"value": token, "ttl_ms": ttl_ms}

    def update(self, event: Event, context: Context) -> Generator:
        """Remember the string that an acknowledged operation seems to have left in its key."""
        del context
        if event.type is not EventType.OK or event.key is None:
            return self
        match event.f, event.value:
            case "append", str(token):
                left = self.seen.get(event.key, "") + token
            case "cas", [_, left]:
                pass
            case "put", {"value": left}:
                pass
            case (("put" | "get"), str(left)):
                pass
            case _:  # it was deleted, or got and not there
                left = ""
        return replace(self, seen={**self.seen, event.key: left})


def load(setting: Setting) -> Generator:
    """Return the mix of operations."""
    stream = Stream(setting.seed, "key-value")
    return KeyValueOperations(stream, setting.names("k"), setting.names("t"))


def final(setting: Setting) -> Generator:
    """Put every key once more, then get every key through every node."""
    keys = setting.names("k") + setting.names("t")
    return changed_and_seen(
        setting, keys, lambda key, value: Change("put", f"f{-value}.", key), "get"
    )


WORKLOAD = Workload(
    name="key-value",
    summary="strings that are put, appended to, deleted, swapped, and that expire",
    data="key-value",
    functions=("get", "put", "append", "delete", "cas"),
    load=load,
    final=final,
    checks=(Linearizable("key-value", prepare=with_expiry),),
    probe=Probe(f="get", key="k0"),
    change=Probe(f="put", value="probe", key="probe"),
)
