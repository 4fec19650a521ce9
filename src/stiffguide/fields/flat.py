"""The user's f and jac, which know the shape of y0, as functions of (B,) and (B, F)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError, StiffguideError, UnsupportedError
from stiffguide.fields import parts
from stiffguide.fields.layout import Layout
from stiffguide.tensors import real_dtype, transformed

Flat = Callable[[Tensor, Tensor], Tensor]


def first_value(flat: Flat, t0: Tensor, y0: Tensor, layout: Layout) -> Tensor:
    """f(t0, y0) (B, F); raises InputError if f changes t or y in place, or mixes dtypes.

    f gets copies: the user's own tensors are left as they are, come what may.
    """
    t, y = t0.clone(), y0.clone()
    try:
        f0 = flat(t, y)
    except RuntimeError as error:
        refuse_mixed_dtypes(error, layout.dtype)
        if transformed() and not isinstance(error, StiffguideError):
            raise UnsupportedError(f"torch.func does not go through f: {error}") from error
        raise
    for name, before, after in (("y", y0, y), ("t", t0, t)):
        # in inference mode a tensor keeps no count of its changes
        if not _alike(before, after) if after.is_inference() else after._version > 0:
            raise InputError(
                f"f changes {name} in place; return a new tensor instead ({name}.clone() first)"
            )
    return f0


def _alike(x: Tensor, y: Tensor) -> bool:
    return bool(((x == y) | ((x != x) & (y != y))).all())


def refuse_mixed_dtypes(error: RuntimeError, dtype: torch.dtype) -> None:
    """Raise InputError if that is what torch complains of, as of a float32 module and float64 y."""
    if "dtype" in str(error) and not isinstance(error, StiffguideError):
        raise InputError(
            f"f mixes dtypes ({error}), and y0 is {dtype}: convert the parameters that f uses to "
            "it, such as model.double() for float64, or give y0.float()"
        ) from error


def field(f: Callable[..., Any], args: tuple[Any, ...], layout: Layout) -> Flat:
    """The user's f(t, y, *args), checked at every call; t comes in the precision of y."""
    if not callable(f):
        raise InputError(f"f must be callable, not {type(f).__name__}")
    if not isinstance(args, tuple):
        raise InputError(f"args must be a tuple such as args=(k,), not {type(args).__name__}")
    for i, value in enumerate(args):
        if isinstance(value, Tensor) and value.ndim and value.device != layout.device:
            raise InputError(f"args[{i}] is on {value.device}, y0 on {layout.device}: move one")
    dtype = real_dtype(layout.dtype)
    what = "the value of f"
    if layout.single and not layout.split:
        return _single(f, args, layout, what)

    def flat(t: Tensor, y: Tensor) -> Tensor:
        t = t.to(dtype)
        value = f(t if layout.batched else t[0], layout.unflatten(y), *args)
        return layout.flatten(value, what)

    return flat


def _single(f: Callable[..., Any], args: tuple[Any, ...], layout: Layout, what: str) -> Flat:
    """The same where a state is one tensor: a value that is as it should be is seen at a glance."""
    batched, dtype, device = layout.batched, layout.dtype, layout.device
    real, rows, features = real_dtype(dtype), layout.rows, layout.features
    shape = (rows, *layout.feature_shape) if batched else layout.feature_shape
    if not shape:
        return lambda t, y: layout.flatten(f(t.to(real)[0], y.reshape(shape), *args), what)

    def flat(t: Tensor, y: Tensor) -> Tensor:
        if t.dtype != real:
            t = t.to(real)
        # torch reads numbers faster than a tuple of them
        value: Any = f(t if batched else t[0], y.reshape(*shape), *args)
        fits = type(value) is Tensor and value.shape == shape
        if fits and value.dtype == dtype and value.device == device:
            found: Tensor = value.reshape(rows, features)
            return found
        return layout.flatten(value, what)

    return flat


def jacobian(
    jac: Callable[..., Tensor] | Tensor | str | None, args: tuple[Any, ...], layout: Layout
) -> Flat | str | None:
    """The user's jac as (B, F, F), checked at every call; a name or None is handed on.

    Where flat states hold the parts of complex numbers jac is dw/dz of these, and what comes of it
    (B, 2F, 2F).
    """
    if jac is None or isinstance(jac, str):
        return jac
    n, b = layout.features, layout.rows
    dtype = real_dtype(layout.dtype)
    if isinstance(jac, Tensor) or hasattr(jac, "toarray"):
        constant: Any = jac
        jac = lambda t, y, *args: constant  # noqa: E731 - the same path as a function
    if not callable(jac):
        raise InputError(f"jac must be a function, a tensor or a name, not {type(jac).__name__}")

    def flat(t: Tensor, y: Tensor) -> Tensor:
        value: Any = jac(
            t.to(dtype) if layout.batched else t[0].to(dtype), layout.unflatten(y), *args
        )
        if hasattr(value, "toarray"):  # sparse, where nobody can use that
            value = value.toarray()
        if isinstance(value, Tensor) and value.layout != torch.strided:
            value = value.to_dense()
        if isinstance(value, np.ndarray):
            value = torch.as_tensor(value, device=layout.device)
        if not isinstance(value, Tensor):
            raise InputError(f"jac returned a {type(value).__name__}, not a tensor")
        if value.device != layout.device:
            raise InputError(f"jac is on {value.device}, y0 on {layout.device}: move one of them")
        if value.numel() not in (n * n, b * n * n) or (n > 1 and value.shape[-2:] != (n, n)):
            raise InputError(
                f"jac returned shape {tuple(value.shape)}; y0 has {n} components"
                + (f" in {b} rows: return ({b}, {n}, {n})" if layout.batched else f": ({n}, {n})")
            )
        table = value.to(layout.dtype).reshape(-1, n, n).expand(b, n, n)
        return parts.blocks(table) if layout.split else table

    return flat
