"""The denoiser as samplers call it: flat states in, checked answers out, every call counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.tensors import rows


@runtime_checkable
class LevelDenoiser(Protocol):
    """A denoiser that does different work at different levels, and is told by a number of the host.

    A sigma interval can then leave out a network call without waiting for the device.
    """

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x (B, ...), sigma (B,)) -> x0."""
        ...

    def at_level(self, level: float) -> Denoiser:
        """The denoiser for rows that are all at this level."""
        ...


@runtime_checkable
class Guided(Protocol):
    """A denoiser of two branches, which tells the estimate of the weak one, too."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x (B, ...), sigma (B,)) -> x0."""
        ...

    def branches_at(self, level: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What gives D and the weak estimate, each (B, ...), of rows that are all at this level."""
        ...


class Kept(NamedTuple):
    """The known part of an inpainting: x is `image` plus noise wherever mask is 0."""

    image: Tensor  # (B, ...)
    mask: Tensor  # broadcastable to (B, ...), 1 where something new is wanted
    noise: Tensor  # (B, ...)

    def surround(self, x: Tensor, level: float) -> Tensor:
        """The state with its known part as it must be at this level."""
        return torch.lerp(torch.add(self.image, self.noise, alpha=level), x, self.mask)

    def surround_rows(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The same with a level for each row (B,)."""
        noise = self.noise * rows(sigma, self.noise).to(self.noise.dtype)
        return torch.lerp(self.image + noise, x, self.mask)

    def fill(self, x0: Tensor) -> Tensor:
        """The estimate with its known part."""
        return torch.lerp(self.image, x0, self.mask)


class Evaluation(NamedTuple):
    """One evaluation, for the report."""

    step: int
    level: float
    peak: Tensor  # (B,) largest absolute value; not finite where something is not


def peak(x: Tensor) -> Tensor:
    """The largest absolute value of each row (B,) of x (B, F); not finite where one is not.

    As `vector_norm` of infinite order, which torch computes without vector instructions.
    """
    return torch.maximum(x.amax(-1), -x.amin(-1))


class Evaluator:
    """D(x (B, F), sigma) around a user's denoiser; casts, checks, counts, and remembers."""

    def __init__(
        self,
        denoiser: Denoiser,
        shape: tuple[int, ...],
        dtype: torch.dtype | None = None,
        kept: Kept | None = None,
    ) -> None:
        if not callable(denoiser):
            raise InputError(f"denoiser must be callable, not {type(denoiser).__name__}")
        self._denoiser, self._shape, self._dtype, self._kept = denoiser, shape, dtype, kept
        self._by_level = denoiser.at_level if isinstance(denoiser, LevelDenoiser) else None
        self.evaluations: list[Evaluation] = []
        self.step = 0

    def __call__(self, x: Tensor, level: float) -> Tensor:
        """The estimate of x0 (B, F) at one level."""
        given, told = self._given(x, level)
        chosen = self._denoiser
        if self._by_level is not None:
            chosen = self._by_level(level)
        x0 = self._taken(chosen(given, told), given, x)
        self.evaluations.append(Evaluation(self.step, level, peak(x0.detach())))
        return x0

    def branches(self, x: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """The estimate of x0 and that of the weak branch, each (B, F), as one evaluation."""
        if not isinstance(self._denoiser, Guided):
            raise UnsupportedError(
                "CFG++ needs the two branches of a guided model: make the denoiser by "
                "classifier_free, classifier_free_batched or autoguidance"
            )
        given, told = self._given(x, level)
        both = self._denoiser.branches_at(level)(given, told)
        x0, weak = (self._taken(part, given, x) for part in both)
        largest = torch.maximum(peak(x0.detach()), peak(weak.detach()))
        self.evaluations.append(Evaluation(self.step, level, largest))
        return x0, weak

    def by_rows(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The estimate of x0 (B, F), each row at its own sigma (B,); not counted."""
        given, told = self._given(x, sigma)
        return self._taken(self._denoiser(given, told), given, x)

    def _given(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """What the denoiser is given and told, (B, ...) and (B,), for a state (B, F)."""
        shaped = x.reshape(self._shape)
        if isinstance(sigma, float):
            if self._kept is not None:
                shaped = self._kept.surround(shaped, sigma)
            sigma = torch.full((len(x),), sigma, dtype=torch.float64, device=x.device)
        elif self._kept is not None:
            shaped = self._kept.surround_rows(shaped, sigma)
        given = shaped if self._dtype is None else shaped.to(self._dtype)
        # half precision holds two or three digits of a level: it comes in float32 at least
        return given, sigma.to(torch.promote_types(given.dtype, torch.float32))

    def _taken(self, x0: Tensor, given: Tensor, x: Tensor) -> Tensor:
        """A checked answer, with what is kept, in the shape and dtype of the state x (B, F)."""
        found = self._checked(x0, given, x.dtype)
        if self._kept is not None:
            found = self._kept.fill(found)
        return found.reshape(x.shape)

    def _checked(self, x0: Tensor, given: Tensor, dtype: torch.dtype) -> Tensor:
        if not isinstance(x0, Tensor):
            raise InputError(f"the denoiser returned {type(x0).__name__}, not a tensor")
        if x0.shape != given.shape:
            raise InputError(
                f"the denoiser was given {tuple(given.shape)} and returned {tuple(x0.shape)}: it "
                "must return x0 in the shape of x"
            )
        if x0.dtype not in (given.dtype, dtype):
            raise InputError(
                f"the denoiser was given {given.dtype} and returned {x0.dtype}; pass "
                f"model_dtype={x0.dtype} if that is what it computes in"
            )
        return x0.to(dtype)

    @property
    def nfe(self) -> int:
        """Calls so far."""
        return len(self.evaluations)

    def first_bad(self) -> Tensor:
        """The number of the first call with values that are not finite, or -1: (B,)."""
        peaks = torch.stack([e.peak for e in self.evaluations])
        bad = ~torch.isfinite(peaks)
        return torch.where(bad.any(0), bad.to(torch.int64).argmax(0), -1)
