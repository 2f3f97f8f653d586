"""A folder of a store -> a page with links to what is in it.

Rules of this file:
- Names are untrusted: escaped as text, quoted byte for byte as links.
- Pure: names in, a page out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from . import sealed, words
from .index import STYLES, href

ENTRIES_MAX: Final = 2000


def render(path: str, entries: Sequence[tuple[str, int | None]]) -> str:
    """Return the page of a folder: its entries by name, each with its size, `None` for folders."""
    return sealed.render(
        "listing.html.j2",
        scripts=(),
        styles=STYLES,
        icon=("pass", "/"),
        path=words.clean(path, limit=300),
        entries=[
            {
                "name": words.clean(name, limit=200) + ("/" if size is None else ""),
                "href": href(name, folder=size is None),
                "size": "" if size is None else words.number(size),
            }
            for name, size in entries[:ENTRIES_MAX]
        ],
        left_out=max(0, len(entries) - ENTRIES_MAX),
    )
