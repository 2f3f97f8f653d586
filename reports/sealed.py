"""A page in one file that needs nothing else: no network, no fonts, no other file.

Rules of this file:
- Jinja escapes everything that a template is given; only our own script and style stand as they
  are.
- The Content-Security-Policy allows that script and style by their digests, pictures from data:
  URLs, and nothing else: even what slipped through could neither run nor connect.
- A page is written aside and renamed: nobody reads half of one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import words

_HERE: Final = Path(__file__).parent
_ICON_COLOURS: Final = {"pass": "#1a7f4b", "violation": "#c02b2b"}


def render(
    template: str,
    *,
    scripts: Sequence[str],
    styles: Sequence[str],
    icon: tuple[str, str],
    **values: Any,
) -> str:
    """Return a page. `icon` is the kind of outcome that colours it, and its sign."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = words.number
    script, style = _script(scripts), _style(styles)
    return environment.get_template(template).render(
        icon=_icon(*icon),
        script=script,
        style=style,
        policy=policy(scripts, styles),
        **values,
    )


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return the Content-Security-Policy of a page with these scripts and styles."""
    script = f"'{_digest(_script(scripts))}'" if scripts else "'none'"
    return (
        f"default-src 'none'; script-src {script}; style-src '{_digest(_style(styles))}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def save(target: Path, text: str) -> Path:
    """Write a page, whole or not at all. Raises `OSError`."""
    aside = target.with_name(f".{target.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(target)
    return target


def _script(names: Sequence[str]) -> str:
    return "(() => {\n" + "\n".join(_static(name) for name in names) + "\n})();" if names else ""


def _style(names: Sequence[str]) -> str:
    return "\n".join(_static(name) for name in names)


def _static(name: str) -> str:
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _icon(kind: str, sign: str) -> str:
    colour = _ICON_COLOURS.get(kind, "#a15c00")
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<rect width="16" height="16" rx="4" fill="{colour}"/><text x="8" y="12.5" fill="#fff" '
        f'font-family="sans-serif" font-size="12" font-weight="700" text-anchor="middle">{sign}'
        "</text></svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode()
