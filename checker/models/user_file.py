"""A model from a user's own file: ``path/to/file.py:NAME``.

Rules of this file:
- IT EXECUTES THE FILE, with all rights of whoever runs the check. Only for files one trusts.
- It reads a file, so nothing pure imports it.
- Whatever is wrong with the file is a `ModelError` that says where and what to do.
"""

from __future__ import annotations

import runpy
import traceback
from dataclasses import replace
from typing import Any

from checker.models.custom import Custom, state_from
from checker.models.model import Model, ModelError
from checker.models.start import DEFAULT, Default

_SHAPE = "path/to/file.py:NAME"


def is_user_file(text: str) -> bool:
    """Whether a model is named like one in a file, and not by the name of a known one."""
    return ".py:" in text or text.endswith(".py")


def model_from_file(text: str, initial: Any = DEFAULT) -> Model:
    """Execute the file and return the model that it calls NAME.

    `initial`, a JSON value, replaces the state that it starts in. Raises `ModelError`.
    """
    path, colon, name = text.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise ModelError(f"{text}: expected {_SHAPE}, NAME being a variable in that file")
    try:
        names = runpy.run_path(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in where if frame.filename == path]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        place = path if line is None else f"{path}:{line}"
        raise ModelError(f"{place}: {type(error).__name__}: {error}") from error
    model = names.get(name)
    if name not in names:
        known = [known for known, value in names.items() if isinstance(value, Model)]
        there = f"; there are the models {', '.join(known)}" if known else ""
        raise ModelError(f"{path} has no {name}{there}")
    if not isinstance(model, Model) or isinstance(model, type):
        raise ModelError(
            f"{text} is {model!r:.60}, expected a model: {name} = model_from(name, step, initial)"
        )
    if isinstance(initial, Default):
        return model
    if not isinstance(model, Custom):
        raise ModelError(f"{text}: only a model built by model_from can start as something else")
    return replace(model, initial=state_from(model.name, initial))
