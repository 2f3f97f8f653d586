"""The models by name.

Rules of this file:
- `MODELS` is the one list of models; error messages, help texts and tests read it.
- A model is built from its name and an initial value given as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checker.models.key_value import KeyValue
from checker.models.model import Action, Merge, Model, ModelError, State
from checker.models.multi_register import MultiRegister, registers_from_json
from checker.models.mutex import FREE, HELD, Mutex
from checker.models.register import Register
from checker.values import canonical

__all__ = ["DEFAULT", "MODELS", "Action", "Merge", "Model", "ModelError", "State", "model_named"]


class Default:
    """The type of `DEFAULT`: an initial value that nobody gave. `None` is JSON's null."""


DEFAULT = Default()


def _register(initial: Any) -> Model:
    value = None if isinstance(initial, Default) else initial
    return Register(name="register", has_cas=False, initial=canonical(value))


def _cas_register(initial: Any) -> Model:
    value = None if isinstance(initial, Default) else initial
    return Register(name="cas-register", has_cas=True, initial=canonical(value))


def _key_value(initial: Any) -> Model:
    value = "" if isinstance(initial, Default) else initial
    if not isinstance(value, str):
        raise ModelError(f"key-value starts as {value!r}, expected a string")
    return KeyValue(initial=value)


def _multi_register(initial: Any) -> Model:
    value = {} if isinstance(initial, Default) else initial
    if not isinstance(value, dict):
        raise ModelError(f'multi-register starts as {value!r}, expected an object like {{"x":0}}')
    return MultiRegister(initial=registers_from_json(value))


def _mutex(initial: Any) -> Model:
    value = FREE if isinstance(initial, Default) else initial
    if value not in (FREE, HELD):
        raise ModelError(f'mutex starts as {value!r}, expected "{FREE}" or "{HELD}"')
    return Mutex(initial=value)


MODELS: dict[str, Callable[[Any], Model]] = {
    "register": _register,
    "cas-register": _cas_register,
    "key-value": _key_value,
    "multi-register": _multi_register,
    "mutex": _mutex,
}
# Other names for the same models, in collections of histories that people have.
_ALIASES = {"kv-append": "key-value"}


def model_named(name: str, initial: Any = DEFAULT) -> Model:
    """Build the model of this name, starting as the JSON value `initial`.

    Raises `ModelError` for a name nobody knows or an initial value the model cannot have.
    """
    build = MODELS.get(_ALIASES.get(name, name))
    if build is None:
        raise ModelError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    return build(initial)
