"""Takes secrets out of what a run keeps: private keys, passwords, tokens, secrets that are known.

Rules of this file:
- Pure, and bounded: one line at a time, and a line has a greatest length.
- What is taken out leaves a mark. A line that holds no secret is passed on byte for byte.
- Better one harmless word too many than a secret too few; but a log must stay readable, so only
  names that mean a secret are believed to precede one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

MARK: Final = b"[redacted]"
LINE_BYTES_MAX: Final = 1 << 20
# Shorter ones are no secrets, and would tear holes into every word.
SECRET_BYTES_MIN: Final = 8
# A file is text if it has no zero byte in its beginning.
HEAD_BYTES: Final = 8192

# A key in one line (JSON has its line ends as \n), and the beginning and end of one in many.
_WHOLE_KEY: Final = re.compile(
    rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [A-Z0-9 ]*PRIVATE KEY-----"
)
_KEY_BEGINS: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_KEY_ENDS: Final = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY-----")
_KEY_LINES_MAX: Final = 200

# What follows is a secret. Quotes may be escaped, as in JSON within JSON.
_QUOTE: Final = rb"""\\*["']?"""
_IS: Final = rb"(?:\s*[:=]\s*|\s+)"
# Within quotes up to the quote, else up to what ends a word.
_VALUE: Final = rb"""(?:(?<=")[^"\\\n]+|(?<=')[^'\\\n]+|[^\s"'`\\,;&}\])]+)"""
_RULES: Final = (
    re.compile(
        rb"(?i)(\b(?:proxy-)?authorization" + _QUOTE + rb"\s*[:=]\s*" + _QUOTE
        + rb"(?:(?:basic|bearer|digest|negotiate|token)\s+)?)" + _VALUE
    ),
    re.compile(rb"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(
        rb"(?i)((?:password|passwd|passphrase|secret|api[_-]?key|private[_-]?key"
        rb"|(?:access|auth|refresh|session)[_-]?token)" + _QUOTE + rb"\s*[:=]\s*" + _QUOTE + rb")"
        + _VALUE
    ),
    re.compile(rb"(?i)(--(?:password|passwd|secret|token|api-key)" + _IS + rb")" + _VALUE),
    re.compile(rb"(\b[a-z][a-z0-9+.-]*://[^\s/:@]+:)[^\s/@]+(?=@)"),
)  # fmt: skip


class Redactor:
    """Knows some secrets, and what others look like. One for each file: a key spans lines."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        """`secrets` are taken out wherever they are; those too short to be any are not."""
        known = sorted({one for one in secrets if len(one) >= SECRET_BYTES_MIN}, key=len)
        self._known = known[::-1]  # the longer first: one may hold another
        self._key_lines = 0

    def lines(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on lines without the secrets in them."""
        for line in lines:
            shown = self.line(line)
            if shown:
                yield shown

    def line(self, line: bytes) -> bytes:
        """Return a line without the secrets in it; an empty one in the middle of a key."""
        if self._key_lines:
            return self._within_key(line)
        if len(line) > LINE_BYTES_MAX:
            line = line[:LINE_BYTES_MAX] + b" [cut]\n"
        for secret in self._known:
            line = line.replace(secret, MARK)
        line = _WHOLE_KEY.sub(MARK, line)
        begins = _KEY_BEGINS.search(line)
        if begins is not None:
            self._key_lines = 1
            return line[: begins.start()] + MARK + b"\n"
        for rule in _RULES:
            line = rule.sub(rb"\1" + MARK, line)
        return line

    def _within_key(self, line: bytes) -> bytes:
        self._key_lines += 1
        ends = _KEY_ENDS.search(line)
        if ends is not None:
            self._key_lines = 0
            rest = line[ends.end() :]
            return self.line(rest) if rest.strip() else b""
        if self._key_lines > _KEY_LINES_MAX:
            self._key_lines = 0  # no key is that long: it was cut off, and a log goes on
        return b""


def is_text(head: bytes) -> bool:
    """Say whether a file that begins like this is text. What is not is kept as it is."""
    return b"\0" not in head[:HEAD_BYTES]


def in_text(text: str) -> str:
    """Return a text of several lines without secrets."""
    lines = text.encode("utf-8", "surrogateescape").splitlines(keepends=True)
    return b"".join(Redactor().lines(lines)).decode("utf-8", "surrogateescape")
