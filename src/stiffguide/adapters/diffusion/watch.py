"""What looks on while a sampler runs: the callback, the progress bar, and the trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from stiffguide.errors import InputError

Keep = Literal["end", "states", "denoised"]
KEEP: tuple[str, ...] = get_args(Keep)
Callback = Callable[[dict[str, Any]], Any]


class Watch:
    """Told of every interval; `keep` says what becomes the trajectory."""

    def __init__(
        self, callback: Callback | None, progress: bool, keep: str, shape: tuple[int, ...]
    ) -> None:
        if keep not in KEEP:
            raise InputError(f"keep is one of {', '.join(map(repr, KEEP))}, not {keep!r}")
        self._callback, self._progress, self._keep = callback, progress, keep
        self.shape = shape
        self._kept: list[Tensor] = []
        self._bar: Any = None

    @contextmanager
    def over(self, steps: int) -> Iterator[None]:
        """Show the way through so many steps."""
        if self._progress:
            try:
                from tqdm.auto import tqdm
            except ImportError as error:
                message = "progress=True needs tqdm: pip install 'stiffguide[cli]'"
                raise InputError(message) from error
            self._bar = tqdm(total=steps, unit="step")
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.close()

    def saw(self, i: int, sigma: float, sigma_hat: float, x: Tensor, denoised: Tensor) -> None:
        """One interval is done; x and denoised are at its start."""
        if self._keep != "end":
            self._kept.append(x if self._keep == "states" else denoised)
        if self._bar is not None:
            self._bar.update(1)
        if self._callback is None:
            return
        self._callback(
            {
                "x": x.reshape(self.shape),
                "i": i,
                "sigma": torch.tensor(sigma, dtype=torch.float64),
                "sigma_hat": torch.tensor(sigma_hat, dtype=torch.float64),
                "denoised": denoised.reshape(self.shape),
            }
        )

    def trajectory(self, x: Tensor) -> Tensor | None:
        """What was kept, (T, B, ...)."""
        if self._keep == "end":
            return None
        kept = [*self._kept, x] if self._keep == "states" else self._kept
        return torch.stack(kept).reshape(len(kept), *self.shape)
