"""The copy of a module of the user, of which an attribute is copied when it is asked for."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any


class ModuleCopy(types.ModuleType):
    """Reads and writes `space`, which is shared with the copied functions of the module."""

    def __init__(
        self, module: types.ModuleType, space: dict[str, Any], fetch: Callable[[str], None]
    ) -> None:
        super().__init__(module.__name__)
        vars(self).clear()
        vars(self)["__copied__"] = (module, space, fetch)

    def __getattr__(self, name: str) -> Any:
        module, space, fetch = vars(self)["__copied__"]
        if name in vars(module):
            fetch(name)
        return space[name] if name in space else getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _, space, fetch = vars(self)["__copied__"]
        fetch(name)  # or it would be copied over the new value
        space[name] = value


def original(copy: ModuleCopy) -> types.ModuleType:
    """The module that was copied."""
    module: types.ModuleType = vars(copy)["__copied__"][0]
    return module
