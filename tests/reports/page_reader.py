"""Reads a page as a browser's parser would: which elements there are, with which attributes and text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class Element:
    """An element: its attributes, and the text directly and indirectly in it."""

    tag: str
    attributes: dict[str, str]
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.parts)


@dataclass
class Page(HTMLParser):
    """A parsed page."""

    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(made)
        if tag not in ("meta", "link", "br", "img", "input", "hr"):
            self._open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for one in self._open:
            one.parts.append(data)

    def all(self, tag: str) -> list[Element]:
        return [one for one in self.elements if one.tag == tag]

    def by_id(self, name: str) -> Element:
        return next(one for one in self.elements if one.attributes.get("id") == name)

    def by_class(self, name: str) -> list[Element]:
        return [one for one in self.elements if name in one.attributes.get("class", "").split()]

    @property
    def text(self) -> str:
        """Everything that a reader sees."""
        return " ".join(self.all("body")[0].text.split())

    @property
    def data(self) -> dict[str, Any]:
        """What the scripts are given."""
        found: dict[str, Any] = json.loads(self.by_id("run-data").text)
        return found


def read(html: str) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(html)
    page.close()
    return page
