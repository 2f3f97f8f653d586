"""The models by name.

Rules of this file:
- `MODELS` is the one list of models; error messages, help texts, docs/models.md and tests read it.
- A model is built from its name and an initial value given as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checker.models.counter import Counter
from checker.models.custom import UNKNOWN, Custom, Frozen, model_from
from checker.models.fenced_mutex import FencedMutex
from checker.models.fifo_queue import FifoQueue
from checker.models.key_value import KeyValue
from checker.models.list_append import ListAppend
from checker.models.model import (
    Action,
    Coarse,
    Elementwise,
    Merge,
    Model,
    ModelError,
    Startable,
    State,
)
from checker.models.multi_register import MultiRegister
from checker.models.mutex import Mutex
from checker.models.owner_mutex import OwnerMutex
from checker.models.reentrant_mutex import ReentrantMutex
from checker.models.register import Register
from checker.models.semaphore import Semaphore
from checker.models.set import Set
from checker.models.stack import Stack
from checker.models.start import DEFAULT, Default
from checker.models.unordered_queue import UnorderedQueue

__all__ = [
    "ALIASES",
    "DEFAULT",
    "MODELS",
    "UNKNOWN",
    "Action",
    "Coarse",
    "Custom",
    "Default",
    "Elementwise",
    "Frozen",
    "Merge",
    "Model",
    "ModelError",
    "Startable",
    "State",
    "initial_of",
    "model_from",
    "model_named",
]

MODELS: dict[str, Callable[[Any], Model]] = {
    "register": Register.plain,
    "cas-register": Register.with_cas,
    "key-value": KeyValue.starting,
    "multi-register": MultiRegister.starting,
    "set": Set.starting,
    "list-append": ListAppend.starting,
    "counter": Counter.starting,
    "fifo-queue": FifoQueue.starting,
    "unordered-queue": UnorderedQueue.starting,
    "stack": Stack.starting,
    "mutex": Mutex.starting,
    "owner-mutex": OwnerMutex.starting,
    "reentrant-mutex": ReentrantMutex.starting,
    "fenced-mutex": FencedMutex.starting,
    "semaphore": Semaphore.starting,
}
# Other names for the same models, in collections of histories and tools that people have. There is
# no plain "queue": to some it is the ordered one, to Jepsen the unordered one.
ALIASES = {
    "kv-append": "key-value",
    "bag": "unordered-queue",
    "owner-aware-mutex": "owner-mutex",
}


def model_named(name: str, initial: Any = DEFAULT) -> Model:
    """Build the model of this name, starting as the JSON value `initial`.

    Raises `ModelError` for a name nobody knows or an initial value the model cannot have.
    """
    build = MODELS.get(ALIASES.get(name, name))
    if build is None:
        raise ModelError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    return build(initial)


def initial_of(model: Model) -> Any:
    """Return the JSON value to give `model_named` with the model's name to get it again.

    `DEFAULT` if it starts as usual, and for a model of somebody's own, which has no JSON.
    """
    if not isinstance(model, Startable) or model == model_named(model.name):
        return DEFAULT
    return model.starts_as()
