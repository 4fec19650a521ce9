"""The ways to a gradient that a solve may be asked for, by name."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from stiffguide.errors import InputError, UnsupportedError

Gradient = Literal["auto", "direct", "checkpoint", "kernel"]
GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)
EAGER = ("direct", "checkpoint")  # those that record the loop in torch
ASKED = "gradient={name!r} was asked for"
NOTHING = (
    "gradient={name!r}: nothing here requires a gradient; call requires_grad_() on what is to be "
    "differentiated (y0, args, parameters of f, t0, t1, save_at), or leave gradient out"
)


def check(gradient: str, backend: str) -> None:
    """Raise InputError for a name that is none, or that does not go with the backend."""
    if gradient not in GRADIENTS:
        raise InputError(
            f"gradient: {gradient!r} is unknown; give 'auto', 'direct', 'checkpoint' or 'kernel'"
        )
    if gradient in EAGER and backend == "kernel":
        raise UnsupportedError(
            f"gradient={gradient!r} records the eager loop, and backend='kernel' was asked for: "
            "leave one of them out; use gradient='kernel' for kernels"
        )
    if gradient == "kernel" and backend == "eager":
        raise UnsupportedError(
            "gradient='kernel' goes back along the steps of a kernel, and backend='eager' was "
            "asked for: leave one of them out"
        )


def eager(gradient: str) -> bool:
    """Whether the loop in torch is to record, so that no kernel needs to be looked for."""
    return gradient in EAGER and torch.is_grad_enabled()


def native(gradient: str) -> bool:
    """Whether it is to be a kernel's."""
    return gradient == "kernel" and torch.is_grad_enabled()


def found(gradient: str, *, recorded: bool) -> None:
    """Raise InputError where a way was asked for by name, and there is nothing to record.

    Under no_grad nobody wants a gradient: so the same call may train and test.
    """
    if (eager(gradient) or native(gradient)) and not recorded:
        raise InputError(NOTHING.format(name=gradient))
