"""What an operator asks of the cluster, apart from how it travels.

Rules of this file:
- Pure. `parse_admin` lets in only what means something; the rest is `BadRequest`, and a field that
  nobody knows is refused: a misspelt one must not be ignored where members are at stake.
- Whether the cluster can do it (is there such a member? is a change going on?) is not known here.
"""

import json
from dataclasses import dataclass

from node.core.messages import Json
from node.operations import BadRequest

NAME_CHARS_MAX = 64
ADDRESS_CHARS_MAX = 270

FIELDS: dict[str, tuple[str, ...]] = {
    "add_member": ("name", "peer", "client"),
    "remove_member": ("name",),
    "transfer": ("to",),
    "snapshot": (),
}
"""The operations, and what each of them needs."""


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """One request of an operator. Addresses are "host:port" and have been checked."""

    op: str
    name: str = ""
    peer: str = ""
    client: str = ""
    to: str = ""


def parse_admin(body: bytes) -> AdminRequest:
    """The request in a body of POST /v1/admin."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    op = document.pop("op", None)
    fields = FIELDS.get(op) if isinstance(op, str) else None
    if fields is None:
        raise BadRequest(f"op must be one of {', '.join(FIELDS)}")
    for name in fields:
        if name not in document:
            raise BadRequest(f"{name} is missing")
    for name in document:
        if name not in fields:
            raise BadRequest(f"{op} has no field {name!r:.60}")
    return AdminRequest(op, **{name: _checked(name, document[name]) for name in fields})


def _checked(name: str, value: Json) -> str:
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise BadRequest(f"{name} must be a string of printable ASCII characters")
    if name in ("peer", "client"):
        _check_address(name, value)
    elif not 0 < len(value) <= NAME_CHARS_MAX:
        raise BadRequest(f"{name} must have 1 to {NAME_CHARS_MAX} characters")
    return value


def _check_address(name: str, text: str) -> None:
    host, _, port = text.rpartition(":")
    good = host and not host.isspace() and port.isdecimal() and len(port) <= 5
    if not good or not 0 < int(port) < 65536 or len(text) > ADDRESS_CHARS_MAX:
        raise BadRequest(f"{name} must be an address as host:port")
