"""What an operator asks of the cluster, apart from how it travels.

Rules of this file:
- Pure. `parse_admin` lets in only what means something; the rest is `BadRequest`, and a field that
  nobody knows is refused: a misspelt one must not be ignored where members are at stake.
- What breaks things on purpose is known only to a node that was started for tests.
- Whether the cluster can do it (is there such a member? is a change going on?) is not known here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node.core.messages import Json
from node.operations import BadRequest
from node.peer_filter import CLASSES, FOR_MS_MAX

NAME_CHARS_MAX = 64
ADDRESS_CHARS_MAX = 270
PEERS_MAX = 64

FIELDS: dict[str, tuple[str, ...]] = {
    "add_member": ("name", "peer", "client"),
    "remove_member": ("name",),
    "transfer": ("to",),
    "snapshot": (),
}
"""The operations, and what each of them needs."""

TESTING: dict[str, tuple[str, ...]] = {
    "drop_messages": ("classes", "peers", "for_ms"),
    "compact": (),
}
"""Those that are there with `--testing-faults` only."""


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """One request of an operator. Addresses are "host:port" and have been checked."""

    op: str
    name: str = ""
    peer: str = ""
    client: str = ""
    to: str = ""
    classes: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    for_ms: int = 0


def parse_admin(body: bytes, *, testing: bool = False) -> AdminRequest:
    """The request in a body of POST /v1/admin; `testing`: to a node that was started for tests."""
    known: Mapping[str, tuple[str, ...]] = {**FIELDS, **TESTING} if testing else FIELDS
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    op = document.pop("op", None)
    fields = known.get(op) if isinstance(op, str) else None
    if fields is None:
        raise BadRequest(f"op must be one of {', '.join(known)}")
    for name in fields:
        if name not in document:
            raise BadRequest(f"{name} is missing")
    for name in document:
        if name not in fields:
            raise BadRequest(f"{op} has no field {name!r:.60}")
    return AdminRequest(op, **{name: _checked(name, document[name]) for name in fields})


def _checked(name: str, value: Json) -> Any:
    if name == "for_ms":
        if type(value) is not int or not 1 <= value <= FOR_MS_MAX:
            raise BadRequest(f"for_ms must be a whole number from 1 to {FOR_MS_MAX}")
        return value
    if name == "classes":
        classes = _texts(name, value, len(CLASSES))
        if not set(classes) <= set(CLASSES):
            raise BadRequest(f"classes must be some of {', '.join(CLASSES)}")
        return classes
    if name == "peers":
        return tuple(_name(name, one) for one in _texts(name, value, PEERS_MAX))
    if name in ("peer", "client"):
        _check_address(name, _text(name, value))
        return value
    return _name(name, value)


def _texts(name: str, value: Json, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise BadRequest(f"{name} must be a list of at most {most}")
    return tuple(_text(name, one) for one in value)


def _text(name: str, value: Json) -> str:
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise BadRequest(f"{name} must be a string of printable ASCII characters")
    return value


def _name(name: str, value: Json) -> str:
    text = _text(name, value)
    if not 0 < len(text) <= NAME_CHARS_MAX:
        raise BadRequest(f"{name} must have 1 to {NAME_CHARS_MAX} characters")
    return text


def _check_address(name: str, text: str) -> None:
    host, _, port = text.rpartition(":")
    good = host and not host.isspace() and port.isdecimal() and len(port) <= 5
    if not good or not 0 < int(port) < 65536 or len(text) > ADDRESS_CHARS_MAX:
        raise BadRequest(f"{name} must be an address as host:port")
