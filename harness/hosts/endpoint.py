"""Where a program listens, as text: host:port, with an IPv6 address in brackets (RFC 3986)."""

from __future__ import annotations


def endpoint(address: str, port: int) -> str:
    """Return `address` and `port` as URLs and command lines want them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
