"""The solution as a function of time: polynomials, one for every step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.stepping.interpolate import evaluate
from stiffguide.tensors import real_dtype

NOTHING = 1e-6  # of a piece: one so short shows rounding where it goes on beyond its end


class Trajectory(NamedTuple):
    """Piecewise polynomials: N attempts, B rows, degree D."""

    before: Tensor  # (N, B)
    after: Tensor  # (N, B)
    y0: Tensor  # (N, B, F)
    y1: Tensor  # (N, B, F)
    coefficients: Tensor  # (N, D, B, F)
    sign: Tensor  # (B,)
    nonnegative: Tensor | None = None  # (F,) bool, entries that are 0 where a piece is below

    def at(self, t: Tensor) -> Tensor:
        """States (B, M, F) at the times t (B, M); nan outside of what a row covered."""
        first, last = self._ends()
        ahead = t * self.sign.unsqueeze(1)
        inside = (ahead >= first) & (ahead <= last)
        return torch.where(inside.unsqueeze(-1), self.extended(t), float("nan"))

    def extended(self, t: Tensor) -> Tensor:
        """States (B, M, F) at any times t (B, M): the pieces at the ends go on beyond them."""
        key = (self.after * self.sign).T.contiguous()
        first, last = self._ends()
        # clipped, so that the piece found has a length wherever a row has one that has
        after_first = torch.nextafter(first, torch.full_like(first, float("inf")))
        wanted = torch.minimum(torch.maximum(t * self.sign.unsqueeze(1), after_first), last)
        attempt = torch.searchsorted(key, wanted.contiguous())  # the first to end there or later
        attempt = torch.clamp(attempt, max=key.shape[1] - 1)
        final = self._last_of_length()
        attempt = torch.where(t * self.sign.unsqueeze(1) > last, final.unsqueeze(1), attempt)
        row = torch.arange(t.shape[0], device=t.device).unsqueeze(1).expand_as(t)
        begin, end = self.before[attempt, row], self.after[attempt, row]
        length = torch.where(end == begin, float("inf"), end - begin)
        theta = (t - begin) / length
        flat = (attempt.reshape(-1), row.reshape(-1))
        pieces = self.coefficients.movedim(1, -1)[flat].movedim(-1, 0)
        value = evaluate(pieces, theta.reshape(-1), self.y0[flat], self.y1[flat])
        # at the start of a piece, and all over one of no length, nothing is interpolated
        start = self.y0[flat]
        if theta.requires_grad:
            start = start + theta.reshape(-1, 1).to(real_dtype(start.dtype)) * pieces[0]
        value = torch.where((theta.reshape(-1) == 0).unsqueeze(-1), start, value)
        if self.nonnegative is not None:
            value = torch.where(self.nonnegative & (value < 0), 0.0, value)
        return value.reshape(*t.shape, -1)

    def _last_of_length(self) -> Tensor:
        """The last piece (B,) of each row that is more than rounding beside the one before it."""
        length = (self.after - self.before).abs()
        place = torch.arange(len(length), device=length.device).unsqueeze(1)
        last = torch.where(length > 0, place, 0).amax(0, keepdim=True)
        earlier = torch.where((length > 0) & (place < last), place, 0).amax(0, keepdim=True)
        short = length.gather(0, last) < NOTHING * length.gather(0, earlier)
        return torch.where(short, earlier, last).squeeze(0)

    def piece(self, i: int) -> Trajectory:
        """The trajectory of attempt i alone."""
        return self._replace(**{name: getattr(self, name)[i : i + 1] for name in self._fields[:5]})

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Where each row started and how far it came (B, 1), counted in its own direction."""
        sign = self.sign.unsqueeze(1)
        return self.before[0].unsqueeze(1) * sign, self.after[-1].unsqueeze(1) * sign
