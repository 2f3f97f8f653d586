"""A reader of EDN, the notation of Clojure's data, which Jepsen and Knossos write histories in.

Rules of this file:
- Our own, because the only readers on PyPI that are pure Python are unkept or slow: edn_format
  (the best known) builds on `ply`, whose author ended its releases, and recurses on input depth.
  What histories use of EDN fits on one page: https://github.com/edn-format/edn
- Values come out like JSON's: keywords and symbols as their names, lists, vectors and sets as
  lists, maps as dictionaries with text names, characters as text, a tagged literal as its value.
- One pass with one regular expression and an explicit stack: linear time, no recursion, and a
  bound on nesting, so that no input can exhaust the interpreter's stack.
- Errors are `HistoryError` with a line number. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from checker.history import HistoryError
from checker.values import canonical

NESTING_MAX = 100

_TOKEN = re.compile(
    r"""
      (?P<space>[\s,]+|;[^\n]*)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<open>\#\{|[(\[{])
    | (?P<close>[)\]}])
    | (?P<discard>\#_)
    | (?P<symbolic>\#\#-?[A-Za-z]+)
    | (?P<tag>\#[A-Za-z][^\s,;"()\[\]{}]*)
    | (?P<meta>\^)
    | (?P<char>\\(?:[A-Za-z0-9]+|.))
    | (?P<atom>[^\s,;"()\[\]{}\\\#^][^\s,;"()\[\]{}\\]*)
    """,
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(r"[+-]?\d+N?")
_FLOAT = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?M?")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\"}
_CHARACTERS = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "backspace": "\b",
    "formfeed": "\f",
}
_WORDS = {"nil": None, "true": True, "false": False}
_SYMBOLIC = {"##Inf": float("inf"), "##-Inf": float("-inf"), "##NaN": float("nan")}
_CLOSERS = {"(": ")", "[": "]", "{": "}", "#{": "}"}


class Keyword(str):
    """The name of a keyword: text, but told apart from a string where that matters."""

    __slots__ = ()


@dataclass(slots=True)
class _Open:
    """A collection that is being read, and the `#_` and tags that wait for its next value."""

    opener: str
    line: int
    items: list[Any] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)


def read_edn(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each top-level value with the line it starts on; raise `HistoryError`."""
    stack = [_Open(opener="", line=1)]
    line = started = 1
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise HistoryError(f"line {line}: cannot read {text[place : place + 20]!r} as EDN")
        kind, token = str(match.lastgroup), match.group()
        place = match.end()
        here, line = line, line + token.count("\n")
        if kind == "space":
            continue
        if len(stack) == 1 and not stack[0].prefixes:
            started = here
        if kind == "open":
            if len(stack) > NESTING_MAX:
                raise HistoryError(f"line {here}: nested deeper than {NESTING_MAX}")
            stack.append(_Open(opener=token, line=here))
            continue
        if kind in ("discard", "tag", "meta"):
            if len(stack[-1].prefixes) > NESTING_MAX:
                raise HistoryError(f"line {here}: more than {NESTING_MAX} prefixes of one value")
            stack[-1].prefixes.append(kind)
            continue
        value = _closed(stack, token, here) if kind == "close" else _scalar(kind, token, here)
        _place(stack[-1], value)
        if len(stack) == 1 and stack[0].items:
            yield started, stack[0].items.pop()
    last = stack[-1]
    if len(stack) > 1:
        raise HistoryError(f"line {last.line}: {last.opener!r} is never closed")
    if last.prefixes:
        raise HistoryError(f"line {line}: expected a value at the end of the file")


def _place(collection: _Open, value: Any) -> None:
    """Append a value, after what stood before it: ``#_`` drops it, ``^`` drops it and goes on."""
    prefixes = collection.prefixes
    while prefixes:
        prefix = prefixes.pop()
        if prefix in ("discard", "meta"):
            return
    collection.items.append(value)


def _closed(stack: list[_Open], token: str, line: int) -> Any:
    collection = stack[-1]
    if len(stack) == 1 or _CLOSERS[collection.opener] != token:
        wanted = f"{_CLOSERS[collection.opener]!r}" if len(stack) > 1 else "a value"
        raise HistoryError(f"line {line}: expected {wanted}, got {token!r}")
    if collection.prefixes:
        raise HistoryError(f"line {line}: expected a value before {token!r}")
    stack.pop()
    if collection.opener != "{":
        return collection.items
    names, values = collection.items[::2], collection.items[1::2]
    if len(names) != len(values):
        raise HistoryError(f"line {collection.line}: a map with a name and no value")
    named = {name if isinstance(name, str) else canonical(name): value
             for name, value in zip(names, values, strict=True)}  # fmt: skip
    if len(named) != len(names):
        raise HistoryError(f"line {collection.line}: a map with the same name twice")
    return named


def _scalar(kind: str, token: str, line: int) -> Any:
    if kind == "string":
        return _ESCAPE.sub(lambda match: _unescaped(match.group(1), line), token[1:-1])
    if kind == "char":
        return _character(token[1:], line)
    if kind == "symbolic":
        if token not in _SYMBOLIC:
            raise HistoryError(f"line {line}: cannot read {token!r} as EDN")
        return _SYMBOLIC[token]
    if token in _WORDS:
        return _WORDS[token]
    if token.startswith(":") and len(token) > 1:
        return Keyword(token[1:])
    try:
        if _INTEGER.fullmatch(token):
            return int(token.rstrip("N"))
        if _FLOAT.fullmatch(token):
            return float(token.rstrip("M"))
    except ValueError as error:  # Python reads no integer of thousands of digits
        raise HistoryError(f"line {line}: {error}") from None
    if token[0].isdigit() or token == ":":
        raise HistoryError(f"line {line}: cannot read {token[:40]!r} as EDN")
    return token


def _unescaped(escape: str, line: int) -> str:
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape[0] == "u" and len(escape) == 5:
        return chr(int(escape[1:], 16))
    if escape[0] in "01234567":
        return chr(int(escape, 8))
    raise HistoryError(f"line {line}: unknown escape \\{escape} in a string")


def _character(name: str, line: int) -> str:
    if len(name) == 1:
        return name
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    if re.fullmatch(r"u[0-9A-Fa-f]{4}", name):
        return chr(int(name[1:], 16))
    raise HistoryError(f"line {line}: unknown character \\{name}")
