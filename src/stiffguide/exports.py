"""Public names that a package imports when somebody first asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any


class Package(ModuleType):
    """A package whose names stay what they are where a module of it is called the same."""

    _homes: dict[str, str]  # the module that each public name comes from

    def __setattr__(self, name: str, value: Any) -> None:
        # the import system binds every module to its package, and would put the module `solve` in
        # the place of the function
        if name in self._homes and getattr(value, "__name__", "") == f"{self.__name__}.{name}":
            return
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        # whoever pickles modules by their exact type does not know this one
        return import_module, (self.__name__,)


def lazily(
    package: str, homes: Mapping[str, Sequence[str]], foreign: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package, given the names that each module has for it.

    Modules of the package itself are found without being listed. `foreign` is a module whose
    function `public` knows what to write instead of some names that are missing.
    """
    module = sys.modules[package]
    known = {name: home for home, names in homes.items() for name in names}
    vars(module)["_homes"] = known
    module.__class__ = Package
    for name in known:
        vars(module).pop(name, None)  # of a package that is loaded again

    def find(name: str) -> Any:
        """The value of a name, kept: the next time nobody calls this."""
        if name in known:
            value = getattr(__import__(known[name], fromlist=[name]), name)
            return vars(module).setdefault(name, value)
        if name.isidentifier() and not name.startswith("_"):  # `__main__` would run
            try:
                return import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        message = f"module {package!r} has no attribute {name!r}"
        instead = import_module(foreign).public(name) if foreign else ""
        # `from package import name` would say nothing of an AttributeError
        imported = instead and sys._getframe(1).f_code.co_name == "_handle_fromlist"
        raise (ImportError if imported else AttributeError)(message + (instead and f": {instead}"))

    return find, lambda: sorted({*vars(module), *vars(module)["__all__"]})
