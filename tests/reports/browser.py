"""A page in a real browser, and everything that the browser has to say about it.

Rules of this file:
- The browser is the machine's own chromium, driven by Playwright; without either, tests that ask
  for it are skipped and say what is missing.
- What was complained of, what was asked of the network and what ran as a dialog is collected for
  every page; `Visits.end` fails the test that it belongs to.
- It knows nothing of what a page is about.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Nothing but the page that is tested: no updates, no first steps, no services.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 15_000


@contextmanager
def launched() -> Iterator[Browser]:
    """Run a browser; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    api = pytest.importorskip(
        "playwright.sync_api", reason="no playwright here: pip install playwright"
    )
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visits:
    """The pages that one test opened."""

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(
        self, page: Path | str, *, address: str = "", width: int = 1300, **options: Any
    ) -> Page:
        """Open a file (or a URL) with something after its `#`, in a window of its own."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(TIMEOUT_MS)
        self.contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: self.complaints.append(f"thrown: {error}"))
        shown.on("request", lambda request: self.requests.append(request.url))
        shown.on("dialog", self._dialog)
        shown.goto((page.as_uri() if isinstance(page, Path) else page) + address)
        return shown

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"something ran: {dialog.message}")
        dialog.dismiss()

    def end(self) -> None:
        """Close everything, and fail if a page was complained of or wanted the network."""
        for context in self.contexts:
            context.close()
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:"))] == []


def at_rest(shown: Page) -> None:
    """Wait until the next frames are drawn: what was asked for is on the screen then."""
    shown.evaluate(
        """async () => {
          for (let frame = 0; frame < 4; frame += 1) await new Promise(requestAnimationFrame);
        }"""
    )


def drawn(shown: Page, name: str, canvas: str = "base") -> str:
    """Return what a plot's canvas holds, to tell one drawing from another.

    A plot is drawn when it is in sight, so it is brought there.
    """
    shown.locator(f"[data-plot={name}]").scroll_into_view_if_needed()
    at_rest(shown)
    told: str = shown.evaluate(
        f"""() => document.querySelector('[data-plot="{name}"] .{canvas}').toDataURL()"""
    )
    return told


def overflow(shown: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    wide: int = shown.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide
