"""A store as a website, without the network: a request's target in, an answer out.

Rules of this file:
- Only what is inside the store, links followed, is ever opened; names that begin with a dot are
  not there. Whether a path is good is decided before the disk is touched, and again by where it
  leads.
- Files may come from hosts that lie. HTML is served as such only where we wrote it (the index, a
  run's own report, a comparison), and the saved ones in a sandbox of their own; everything else is
  text or a download.
- The index is made anew, but not more often than every few seconds; comparing is done one at a
  time, because it reads whole histories.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import parse_qs, quote, unquote_to_bytes

from reports import compare, index, listing, sealed
from reports.load import HOSTS, NotARunError, load
from reports.runs import NoStoreError, read_store

INDEX_SECONDS: Final = 3.0
_HTML: Final = "text/html; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"
_TYPES: Final = {
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".xml": "application/xml",
    **dict.fromkeys(("", ".html", ".jsonl", ".log", ".md", ".py", ".toml", ".txt"), _TEXT),
}
_NOTHING_RUNS: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
# A saved report has its own policy with the digests of its script and style; this one adds that it
# is nobody's neighbour: it can read no other page of this site.
_SAVED_PAGE: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "sandbox allow-scripts allow-modals allow-top-navigation-by-user-activation"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send: a body, or `size` bytes of a file that is to be closed."""

    status: int = 200
    kind: str = _TEXT
    policy: str = _NOTHING_RUNS
    body: bytes = b""
    file: BinaryIO | None = None
    size: int = 0
    location: str = ""


class Refused(Exception):
    """The request cannot be granted."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def plain(status: int, text: str) -> Answer:
    """Return an answer of one line."""
    return Answer(status=status, body=f"{text}\n".encode(errors="backslashreplace"))


class Site:
    """The pages and files of one store. Used from many threads."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._root = store.resolve()
        self._index = b""
        self._index_until_s = 0.0
        self._indexing = threading.Lock()
        self._comparing = threading.Lock()

    def answer(self, target: str) -> Answer:
        """Answer a GET for a target as it stands in the request's first line."""
        path, _, query = target.partition("?")
        try:
            if path in ("/", f"/{index.INDEX}"):
                return _page(self._fresh_index(), index.SCRIPTS)
            if path == "/compare":
                return self._compare(query)
            return self._file(segments(path), slash=path.endswith("/"))
        except Refused as refusal:
            return plain(refusal.status, str(refusal))
        except (NoStoreError, NotARunError) as error:
            return plain(404, str(error))

    def _fresh_index(self) -> bytes:
        with self._indexing:
            if not self._index or time.monotonic() >= self._index_until_s:
                page = index.render(read_store(self._root), store=self._store, served=True)
                self._index = page.encode()
                self._index_until_s = time.monotonic() + INDEX_SECONDS
            return self._index

    def _compare(self, query: str) -> Answer:
        try:
            asked = parse_qs(query, max_num_fields=8, errors="strict")
        except ValueError:
            raise Refused(400, "the query cannot be read") from None
        paths = [asked.get(name, []) for name in ("a", "b")]
        if any(len(path) != 1 for path in paths):
            raise Refused(400, "name two runs: /compare?a=NAME/RUN&b=NAME/RUN")
        runs = [self._inside(segments("/" + quote(path[0]))) for path in paths]
        with self._comparing:
            a, b = (load(run) for run in runs)
            return _page(compare.render(a, b, store=self._root).encode(), ())

    def _inside(self, names: list[str]) -> Path:
        """Return where a path in the store leads, if that is in the store, too."""
        try:
            path = self._root.joinpath(*names).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise Refused(404, "there is no such file") from None
        if not path.is_relative_to(self._root) or _hidden(path.relative_to(self._root).parts):
            raise Refused(404, "there is no such file")
        return path

    def _file(self, names: list[str], *, slash: bool) -> Answer:
        path = self._inside(names)
        try:
            if path.is_dir():
                return self._listing(path, names, slash=slash)
            # Opening must not wait for a writer (a pipe), nor follow a link made meanwhile.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(404, f"the file cannot be read ({error.strerror})") from None
        status = os.fstat(handle)
        if slash or not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise Refused(404, "there is no such file")
        ours = self._is_our_page(path)
        return Answer(
            kind=_HTML if ours else _TYPES.get(path.suffix, "application/octet-stream"),
            policy=_SAVED_PAGE if ours else _NOTHING_RUNS,
            file=os.fdopen(handle, "rb"),
            size=status.st_size,
        )

    def _listing(self, folder: Path, names: list[str], *, slash: bool) -> Answer:
        if not slash:
            there = "/" + "/".join(quote(os.fsencode(name), safe="") for name in names) + "/"
            return Answer(status=308, location=there)
        entries = [
            (entry.name, None if entry.is_dir() else entry.stat(follow_symlinks=False).st_size)
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
            if not entry.name.startswith(".")
        ]
        page = listing.render("/".join(names), entries)
        return _page(page.encode(), ())

    def _is_our_page(self, path: Path) -> bool:
        """Return whether we wrote this page: hosts may send files of any name."""
        names = path.relative_to(self._root).parts
        if names == (compare.COMPARISON,):
            return True
        return path.name == "report.html" and HOSTS not in names and len(names) > 1


def _page(body: bytes, scripts: tuple[str, ...]) -> Answer:
    policy = sealed.policy(scripts, index.STYLES) + "; frame-ancestors 'none'"
    return Answer(kind=_HTML, policy=policy, body=body)


def _hidden(names: tuple[str, ...]) -> bool:
    return any(name.startswith(".") for name in names)


def segments(path: str) -> list[str]:
    """Return the names in a quoted path. Refuses what could mean anything but a file below.

    Each name is unquoted once, by itself: a quoted slash never becomes a separator.
    """
    if not path.startswith("/"):
        raise Refused(400, "the path must begin with a slash")
    names = []
    for part in path.strip("/").split("/"):
        raw = unquote_to_bytes(part)
        if not raw or raw.startswith(b".") or b"/" in raw or b"\\" in raw or min(raw) < 32:
            raise Refused(404, "there is no such file")
        names.append(os.fsdecode(raw))
    return names
