"""What watches a running solve: a progress bar, and a monitor that may stop it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from stiffguide.caveats import Witness
from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Monitor
from stiffguide.stepping.live import Live


class Progress:
    """A context for the loop; `look` is called after every attempt."""

    def __init__(
        self,
        show: bool,
        monitor: Monitor | None,
        layout: Layout,
        t0: Tensor,
        t1: Tensor,
        *,
        witness: Witness,
    ) -> None:
        self.witness = witness
        self._monitor = monitor
        self._layout = layout
        self._t0, self._span = t0, torch.where(t1 == t0, 1.0, t1 - t0)
        self._bar: Any = None
        if show:
            try:
                from tqdm.auto import tqdm
            except ImportError as error:
                raise InputError(
                    "progress=True needs tqdm: pip install 'stiffguide[cli]'"
                ) from error
            self._bar = tqdm(total=1.0, unit="t", bar_format="{percentage:5.1f}% |{bar}| {elapsed}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def look(self, s: Live) -> Tensor | None:
        """Show the slowest row's way, ask the monitor: rows (B,) to stop, or None."""
        self.witness.look(s)
        if self._bar is not None:
            done = ((s.t - self._t0) / self._span).min().item() if s.t.numel() else 1.0
            self._bar.update(max(0.0, done - self._bar.n))
        if self._monitor is None:
            return None
        t = s.t if self._layout.batched else s.t[0]
        verdict = self._monitor(t, self._layout.unflatten(s.y))
        if verdict is None:
            return None
        try:
            stop = torch.as_tensor(verdict, dtype=torch.bool, device=s.t.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"monitor returned {verdict!r}; give a truth value") from error
        if stop.ndim > 1 or (stop.ndim == 1 and stop.shape[0] != s.t.shape[0]):
            raise InputError(
                f"monitor returned shape {tuple(stop.shape)}; give one value, or one a row"
            )
        return stop.expand(s.t.shape[0])
