"""Initial states, given as JSON.

Rules of this file:
- A wrong one is a `ModelError` that says which model, what was given and what it expects.
- Pure.
"""

from __future__ import annotations

from typing import Any

from checker.models.model import ModelError
from checker.values import canonical


class Default:
    """The type of `DEFAULT`: an initial value that nobody gave. `None` is JSON's null."""


DEFAULT = Default()


def given(initial: Any, default: Any) -> Any:
    """Return the initial value, or `default` if nobody gave one."""
    return default if isinstance(initial, Default) else initial


def refuse(name: str, initial: Any, expected: str) -> ModelError:
    """Return the error that says what a model can start as."""
    return ModelError(f"{name} starts as {initial!r:.60}, expected {expected}")


def texts_of(name: str, initial: Any, *, null: bool = True) -> tuple[str, ...]:
    """Return the canonical texts of a list's elements, none by default; `null` may be refused."""
    listed = given(initial, [])
    if not isinstance(listed, list | tuple) or (not null and None in listed):
        raise refuse(name, listed, "a list of its elements" + ("" if null else ", none of it null"))
    return tuple(map(canonical, listed))


def integer_of(name: str, initial: Any, *, default: int, least: int | None = None) -> int:
    """Return a whole number that is not below `least`."""
    number = whole(given(initial, default))
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" of at least {least}"
        raise refuse(name, initial, f"a whole number{bound}")
    return number


def whole(value: Any) -> int | None:
    """Return a JSON value as a whole number, `None` if it is something else; 1.0 is 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None
