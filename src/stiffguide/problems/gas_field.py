"""The field of a reacting ideal gas at constant pressure, and its exact Jacobian.

The state is y = (T, Y): a temperature in K and K mass fractions. A gram holds n = Y / W mol in the
volume v = R T sum(n) / p, at concentrations c = n / v. A reaction runs at the speed

    q = k(T, m) (x1 x2 - x3 x4 / Kc(T)),    Kc = exp(-S' mu(T)),

with reactants x1, x2 and products x3, x4 (an absent one counts as 1) and the amount m of what they
collide with: all of them are affine in c, and one matrix gives them. With the net changes S,

    n' = v S q,    Y' = W n',    T' = -T (h . n') / (cp . n),    h in R T and cp in R.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

R = 8.31446261815324  # J / (mol K)
CM3 = 1e-6  # in m3
SEAM = 1000.0  # K, where one polynomial of a species ends and another begins
LN10 = math.log(10.0)


class Tables(NamedTuple):
    """The numbers of a gas with K species and N reactions, the last L of them with falloff."""

    weights: Tensor  # (K,): g / mol
    thermo: Tensor  # (6 K, 7): cp, h and mu over `basis`, below and then above the seam
    arrhenius: Tensor  # (N + L, 3): ln A, b, -E / R, and those of the high-pressure limits
    troe: Tensor  # (4, L): A, T3, T1, T2
    factors: Tensor  # (5 N, K): x1, x2, x3, x4 and m by concentrations,
    absent: Tensor  # (5 N,): and the constant parts
    change: Tensor  # (K, N): S


class _Blend(NamedTuple):
    """What falloff makes of the low-pressure limits, each (..., L); Gilbert, Luther and Troe."""

    value: Tensor  # the factor F / (1 + Pr)
    pr: Tensor  # low over high-pressure limit
    center: Tensor  # ln Fcent
    u: Tensor  # log10 F = log10 Fcent / (1 + f^2), f = u / (w - 0.14 u)
    w: Tensor
    f: Tensor


class _Speeds(NamedTuple):
    """Speeds k net (..., N), and what their derivatives need."""

    k: Tensor
    per: Tensor  # k / m, but for the m in falloff
    net: Tensor  # x1 x2 - x3 x4 / Kc
    x: tuple[Tensor, ...]
    back: Tensor  # 1 / Kc
    blend: _Blend


def gas_field(tables: Tables, pressure: float, t: Tensor, y: Tensor) -> Tensor:
    """The field (..., 1 + K) at a pressure in Pa."""
    T, n = y[..., :1], y[..., 1:] / tables.weights
    powers = basis(T)
    cp, h, mu = thermo(tables, T, powers)
    volume = R / (pressure * CM3) * T * n.sum(-1, keepdim=True)
    s = _speeds(tables, T, powers, mu, n / volume)
    made = volume * F.linear(s.k * s.net, tables.change)
    heating = -T * _dot(h, made) / _dot(cp, n)
    return torch.cat((heating, tables.weights * made), -1)


def gas_jac(tables: Tables, pressure: float, t: Tensor, y: Tensor) -> Tensor:
    """The Jacobian (..., 1 + K, 1 + K) of `gas_field`."""
    T, n = y[..., :1], y[..., 1:] / tables.weights
    powers, slope = basis(T), basis_slope(T)
    cp, h, mu = thermo(tables, T, powers)
    cp_slope, _, mu_slope = thermo(tables, T, slope)
    moles = n.sum(-1, keepdim=True)
    volume = R / (pressure * CM3) * T * moles
    c = n / volume
    s = _speeds(tables, T, powers, mu, c)
    made = volume * F.linear(s.k * s.net, tables.change)
    by_pr, warming = _falloff_slopes(tables.troe, T, s.blend)
    by_c = _by_concentrations(tables, s, by_pr)
    by_T = volume * _by_temperature(tables, s, slope, mu_slope, (by_pr, warming))
    # v S q(T, n / v): beside what n and T do by themselves, they change the volume.
    expansion = made - volume * (by_c @ c.unsqueeze(-1)).squeeze(-1)
    by_n = by_c + (expansion / moles).unsqueeze(-1)
    made_by = torch.cat(((by_T + expansion / T).unsqueeze(-1), by_n / tables.weights), -1)
    capacity = _dot(cp, n)
    heating = -T * _dot(h, made) / capacity
    warmer = _dot(cp, made) + heating * _dot(cp_slope, n)  # since (T h)' = cp
    more = torch.cat((warmer, heating * cp / tables.weights), -1)
    top = -(T * (h.unsqueeze(-2) @ made_by).squeeze(-2) + more) / capacity
    return torch.cat((top.unsqueeze(-2), tables.weights.unsqueeze(-1) * made_by), -2)


def thermo(tables: Tables, T: Tensor, powers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Heat capacity cp / R, enthalpy h / (R T), potential mu / (R T), each (..., K)."""
    below, above = F.linear(powers, tables.thermo).chunk(2, -1)
    cp, h, mu = torch.where(T > SEAM, above, below).chunk(3, -1)
    return cp, h, mu


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def basis(T: Tensor) -> Tensor:
    """The functions (..., 7) of T (..., 1) over which thermodynamics and rates are linear."""
    square, one = T * T, torch.ones_like(T)
    return torch.cat((T, square, T * square, square * square, one, T.log(), 1 / T), -1)


def basis_slope(T: Tensor) -> Tensor:
    """The derivatives (..., 7) of `basis` by T (..., 1)."""
    square, one, r = T * T, torch.ones_like(T), 1 / T
    return torch.cat((one, 2 * T, 3 * square, 4 * T * square, 0 * one, r, -r * r), -1)


def _speeds(tables: Tables, T: Tensor, powers: Tensor, mu: Tensor, c: Tensor) -> _Speeds:
    """Speeds in mol / (cm3 s) at concentrations c (..., K) in mol / cm3."""
    falling = tables.troe.shape[-1]
    plain = tables.change.shape[-1] - falling
    logs, high = F.linear(powers[..., 4:], tables.arrhenius).split((plain + falling, falling), -1)
    x = F.linear(c, tables.factors, tables.absent).chunk(5, -1)
    back = F.linear(mu, tables.change.mT).exp()
    blend = _falloff(tables.troe, T, logs[..., plain:] - high + x[4][..., plain:].log())
    share = torch.cat((torch.ones_like(logs[..., :plain]), blend.value), -1)
    per = share * logs.exp()
    net = x[0] * x[1] - x[2] * x[3] * back
    return _Speeds(per * x[4], per, net, x, back, blend)


def _falloff(troe: Tensor, T: Tensor, ln_pr: Tensor) -> _Blend:
    """Gilbert, Luther and Troe, Ber. Bunsenges. Phys. Chem. 87 (1983) 169-177."""
    part, t3, t1, t2 = troe.unbind(0)
    center = ((1 - part) * (-T / t3).exp() + part * (-T / t1).exp() + (-t2 / T).exp()).log()
    w = 0.75 - 1.27 / LN10 * center
    u = ln_pr / LN10 - 0.4 - 0.67 / LN10 * center
    f = u / (w - 0.14 * u)
    pr = ln_pr.exp()
    return _Blend((center / (1 + f * f)).exp() / (1 + pr), pr, center, u, w, f)


def _falloff_slopes(troe: Tensor, T: Tensor, b: _Blend) -> tuple[Tensor, Tensor]:
    """The derivatives of ln(blend) by ln Pr and by T, each (..., L)."""
    part, t3, t1, t2 = troe.unbind(0)
    cold, warm, hot = (1 - part) * (-T / t3).exp(), part * (-T / t1).exp(), (-t2 / T).exp()
    center_slope = (hot * t2 / (T * T) - cold / t3 - warm / t1) / b.center.exp()
    spread = 1 + b.f * b.f
    by_f = -2 * b.f * b.center / (spread * spread)
    below = b.w - 0.14 * b.u
    f_by_u, f_by_w = b.w / (below * below), -b.u / (below * below)
    by_center = 1 / spread - by_f * (0.67 * f_by_u + 1.27 * f_by_w) / LN10
    return by_f * f_by_u / LN10 - b.pr / (1 + b.pr), by_center * center_slope


def _by_concentrations(tables: Tables, s: _Speeds, by_pr: Tensor) -> Tensor:
    """The derivatives (..., K, K) of S q by concentrations."""
    x1, x2, x3, x4, _ = s.x
    plain = s.per.shape[-1] - by_pr.shape[-1]
    k_by_m = torch.cat((s.per[..., :plain], s.per[..., plain:] * (1 + by_pr)), -1)
    back = -s.k * s.back
    slopes = torch.cat((s.k * x2, s.k * x1, back * x4, back * x3, s.net * k_by_m), -1)
    return (tables.change.repeat(1, 5) * slopes.unsqueeze(-2)) @ tables.factors


def _by_temperature(
    tables: Tables, s: _Speeds, slope: Tensor, mu_slope: Tensor, blend: tuple[Tensor, Tensor]
) -> Tensor:
    """The derivative (..., K) of S q by T; `blend` are the derivatives of ln(blend)."""
    by_pr, warming = blend
    falling = by_pr.shape[-1]
    plain = s.k.shape[-1] - falling
    logs, high = F.linear(slope[..., 4:], tables.arrhenius).split((plain + falling, falling), -1)
    low = logs[..., plain:]
    ln_k = torch.cat((logs[..., :plain], low + by_pr * (low - high) + warming), -1)
    back = s.x[2] * s.x[3] * s.back * F.linear(mu_slope, tables.change.mT)
    return F.linear(s.k * (ln_k * s.net - back), tables.change)
