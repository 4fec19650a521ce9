"""Which objects are what lies in them: the kinds that a fingerprint can follow to the end.

Whatever is not listed here may give other numbers tomorrow without looking any different.
"""

from __future__ import annotations

import abc
import argparse
import collections
import decimal
import enum
import fractions
import functools
import re
import sys
import types
import typing

import numpy as np
import torch
from torch import nn

VALUES = frozenset({int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device})
SETTLED = sys.stdlib_module_names | {"torch", "numpy", "scipy"}
# of these, modules whose functions are functions of their arguments
PURE = frozenset(
    {
        *("_abc", "_collections", "_functools", "_operator", "abc", "builtins", "cmath"),
        *("collections", "copy", "dataclasses", "enum", "fractions", "functools"),
        *("itertools", "math", "numbers", "numpy", "operator", "scipy", "statistics"),
        *("string", "torch", "types", "typing", "unicodedata"),
    }
)
# they cannot change: themselves is all there is to compare
CONSTANTS: frozenset[typing.Any] = frozenset(
    {
        *(range, slice, type(...), type(NotImplemented), fractions.Fraction, decimal.Decimal),
        *(re.Pattern, np.ufunc, np.dtype, torch.memory_format, torch.layout),
        *(types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType),
        *(types.MemberDescriptorType, types.ClassMethodDescriptorType),
        *(torch._ops.OpOverload, torch._ops.OpOverloadPacket, torch.finfo, torch.iinfo),
        type(vars(collections.namedtuple("_", "field"))["field"]),
        *(types.GenericAlias, types.UnionType, typing.TypeVar),
    }
)
ATTRIBUTES = frozenset({types.SimpleNamespace, *argparse.Namespace.__mro__, abc.ABC, enum.Enum})
ATTRIBUTES |= {typing.Generic, typing.Protocol, enum.IntEnum, int, torch.autograd.Function}
METACLASSES = frozenset(
    {type, abc.ABCMeta, enum.EnumMeta, type(typing.Protocol), type(torch.autograd.Function)}
)

# of a torch module: tensors and submodules; what torch itself puts there, empty mostly
CONTENTS = frozenset({"_parameters", "_buffers", "_modules"})
INTERNALS = frozenset(vars(nn.Module())) - CONTENTS - {"training"}
# of a class: what makes its objects; what describes and prints them
BUILDING = frozenset(["__init__", "__new__", "__post_init__", "__init_subclass__"])
SPEAKING = frozenset(
    {
        *("__annotations__", "__dataclass_fields__", "__dataclass_params__", "__dict__"),
        *("__doc__", "__format__", "__match_args__", "__module__", "__orig_bases__"),
        *("__parameters__", "__qualname__", "__reduce__", "__repr__", "__slots__", "__str__"),
        *("__weakref__", "__abstractmethods__", "_abc_impl", "__getstate__", "__setstate__"),
        *("__firstlineno__", "__static_attributes__", "__type_params__"),
    }
)


def settled(module: str | None) -> bool:
    """Whether a module is taken to stay as it is: torch, numpy, scipy, the standard library."""
    return module is None or module.split(".", 1)[0] in SETTLED


def pure(module: types.ModuleType) -> bool:
    """Whether what the functions of a module return depends on their arguments alone."""
    return module.__name__.split(".", 1)[0] in PURE


@functools.cache
def ordinary(kind: type) -> bool:
    """Whether the objects of a class are their attributes, and those of its classes."""
    if type(kind) not in METACLASSES:
        return False
    foreign = nn.Module if issubclass(kind, nn.Module) else object
    if issubclass(kind, int) and not issubclass(kind, enum.Enum):
        return False
    for base in kind.__mro__:
        if base in ATTRIBUTES or base is foreign:
            continue
        layer = base.__module__.startswith("torch.nn.") and foreign is nn.Module
        if not layer and (settled(base.__module__) or _answers_itself(base)):
            return False
    return True


def _answers_itself(kind: type) -> bool:
    """Whether a class makes up attributes."""
    return "__getattr__" in vars(kind) or "__getattribute__" in vars(kind)
