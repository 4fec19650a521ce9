"""The scalars of EMG: C of every sample, and the weights that it gives to the vectors.

Letters and forms are those of `emg`. Scalars are (B,) in float64. They are so few that on a CPU the
call of an operation is what they cost, and numpy's calls cost a third of torch's: the formulas are
written once, for functions that the two share, and `maths` is the one or the other.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from stiffguide.tensors import lasting, tangles, transformed

LOW, HIGH = 1e-4, 1e4  # C lies between LOW a^2 and HIGH p^2
CUTS = 2**14  # of the bracket of log C: 14 bisections
TINY = 1e-300
BLOCK = 4096
PART = 0.5  # of the slope C/(C + a^2) by which the evaluation follows the correction
Scalars = Any  # (B,) or (K, B): a tensor, or numpy's array
PLACES = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))  # of the levels of the pairs ba, bp, ap, aq, pq


class Numbers(NamedTuple):
    """What the levels b, a, p and q alone decide; q is missing at first."""

    squares: Scalars  # (L, 1)
    ways: Scalars  # (6, 2, 1), see `_ways`
    gaps: Scalars  # (5, 1), y^2 - x^2 of the pairs; None without q
    firsts: Scalars  # (5,) places of x in these pairs
    seconds: Scalars  # (5,) of y
    falling: Scalars  # (CUTS - 1,), see `_falling`


class Products(NamedTuple):
    """Inner products (B,) of the rise of D, the noise left x - D, and what there was."""

    rise: Scalars  # <rise, rise>
    left: Scalars  # <rise, noise left>
    before: Scalars = None  # <rise before, rise before>
    bend: Scalars = None  # <rise, bend>
    along: Scalars = None  # <rise before, bend>
    size: Scalars = None  # <bend, bend>


class Shape(NamedTuple):
    """What C makes of the levels: weights of the differences of D, all (B,)."""

    near: Scalars  # predictor, of D_a - D_p
    follow: Scalars  # corrector, of D_a - D_p
    bend: Scalars  # predictor, of the second divided difference; None with two points
    bend_back: Scalars  # corrector, of the same
    inverse: Scalars  # (5, B), 1/(g_x - g_y) of the pairs; None with two points
    slope: Scalars  # C/(C + a^2)


def followed(*tensors: Tensor) -> bool:
    """Whether something follows what is done to one of these: autograd, a transform, a tracer.

    Where nothing does, numpy may count, and memory of one's own be written over.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or tangles(*tensors)
        or transformed()
        or torch._C._len_torch_dispatch_stack() > 0  # of fake tensors, and of those who trace
        or any(type(x) is not Tensor for x in tensors)
    )


def counts_on_host(x: Tensor) -> bool:
    """Whether numpy can count for a state that nothing follows."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def dots_on_host(pairs: list[tuple[Tensor, Tensor]]) -> list[Scalars]:
    """<x, y> of each pair (B, F), vectors that nothing follows, in float64 (B,).

    In one pass and without a product in memory: numpy's dot of blocks of so few numbers that
    their sum in float32 is as exact as they are, and that BLAS takes no second thread for it.
    """
    vectors = {id(x): x for pair in pairs for x in pair}
    arrays = {key: x.detach().numpy() for key, x in vectors.items()}
    rows, size = pairs[0][0].shape
    length = min(BLOCK, size)
    whole = size // length * length
    blocks = {key: x[:, :whole].reshape(rows, -1, 1, length) for key, x in arrays.items()}
    parts = [np.matmul(blocks[id(x)], blocks[id(y)].swapaxes(2, 3)) for x, y in pairs]
    sums = np.array(parts).sum((2, 3, 4), dtype=np.float64)
    if whole < size:
        ends = {key: x[:, None, whole:] for key, x in arrays.items()}
        rest = [np.matmul(ends[id(x)], ends[id(y)].swapaxes(1, 2)) for x, y in pairs]
        sums += np.array(rest)[..., 0, 0]
    return list(sums)


def dots(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """<x, y> of each pair (B, F), in float64 (K, B).

    Sums are in the dtype of the state, or in float32 for half precision: torch adds in a tree, so
    that they are as exact as what they add, and sums in float64 would take a copy of it each.
    """
    dtype = torch.promote_types(pairs[0][0].dtype, torch.float32)
    return torch.stack([(x * y).sum(-1, dtype=dtype) for x, y in pairs]).to(torch.float64)


@lru_cache(maxsize=512)
def numbers_for(levels: tuple[float, ...], device: torch.device | None) -> Numbers:
    """The numbers of the levels b, a, p and q, on a device, or for numpy."""

    def made(values: Any) -> Scalars:
        array = np.array(values)
        return array if device is None else torch.from_numpy(array).to(device)

    with lasting(), _disable_current_modes():  # of fake tensors: real ones are kept
        squares, ways = made([[x * x] for x in levels]), made(_ways(*levels[:3]))
        if len(levels) < 4:
            return Numbers(squares, ways, None, None, None, None)
        pairs = [(levels[i], levels[j]) for i, j in PLACES]
        gaps = made([[(y - x) * (y + x)] for x, y in pairs])
        firsts, seconds = (made(places) for places in zip(*PLACES, strict=True))
        return Numbers(squares, ways, gaps, firsts, seconds, made(_falling(*levels[1:])))


def _ways(b: float, a: float, p: float) -> list[list[list[float]]]:
    """For the predictor a -> b and the corrector p -> a, x -> y: numbers of the formulas."""
    ways = ((a, b), (p, a))
    columns = (
        [x * y for x, y in ways],
        [(a - b) ** 2 / ((p - a) * (p + a)), (p - a) / (p + a)],
        [x - y for x, y in ways],
        [y for _, y in ways],
        [y / x for x, y in ways],
        [1 - y / x for x, y in ways],
    )
    return [[[value] for value in column] for column in columns]


def _bracket(a: float, q: float) -> tuple[float, float]:
    """The lower end of log C, and how far it reaches."""
    low = math.log(LOW * a * a)
    return low, math.log(HIGH * q * q) - low


def _falling(a: float, p: float, q: float) -> Scalars:
    """(g_a - g_p)/(g_p - g_q), negated so that it rises, at the inner points of the cut bracket."""
    low, span = _bracket(a, q)
    c = np.exp(np.arange(1, CUTS) * (span / CUTS) + low)
    sa, sp, sq = (np.sqrt(c + x * x) for x in (a, p, q))
    factor = ((p - a) * (p + a)) / ((q - p) * (q + p))
    return sq * (sp + sq) / (sa * (sa + sp)) * -factor


def _log_c3(maths: Any, ratio: Scalars, table: Scalars, a: float, q: float) -> Scalars:
    """log C (B,) at which (g_a - g_p)/(g_p - g_q) equals the ratio (B,).

    The left side falls with C, and depends on nothing but the levels: 14 bisections of log C in
    [LOW a^2, HIGH q^2] are one search in the table of all that they could try.
    """
    low, span = _bracket(a, q)
    return maths.searchsorted(table, -ratio) * (span / CUTS) + (low + 0.5 * span / CUTS)


def variance(
    maths: Any, levels: tuple[float, ...], numbers: Numbers, products: Products
) -> Scalars:
    """C (B,): from how D rose against the noise left, and against its rise before."""
    a, p = levels[1:3]
    t = products.rise / products.left
    u = t * ((a / p) ** 2 / 2)
    c1 = t * (a * a) / (1 - u - maths.sqrt(u * u + (1 + t) * (a / p) ** 2))
    low, high = LOW * a * a, HIGH * p * p
    usable = (products.left > 0) & (c1 >= 0)
    c1 = maths.where(usable, c1.clip(low, high), high)
    if products.before is None or numbers.falling is None:
        return c1
    ratio = maths.sqrt(products.rise / (products.before + TINY))
    log_c3 = _log_c3(maths, ratio, numbers.falling, a, levels[3])
    return maths.exp(log_c3 + (maths.log(c1) - log_c3) * (2 / 3))


def shape(maths: Any, numbers: Numbers, c: Scalars, third: bool) -> Shape:
    """The weights of the levels b, a, p and, for third differences, q, where C is c (B,)."""
    s = maths.sqrt(numbers.squares + c)
    product, gain, span, end, ratio, zeroth = numbers.ways
    ends, starts = s[0:2], s[1:3]
    both, pair = s[1] + s[2], s[1] * s[2]
    base = product + c
    near, follow = both * pair * gain / (starts * (starts * ends + base))
    slope = c / (s[1] * s[1])
    if not third or numbers.gaps is None:
        return Shape(near, follow, None, None, None, slope)
    root = maths.sqrt(c)
    turn = maths.arctan2(root * span, base) * end / root
    rest = zeroth * c - both * (ends - ratio * starts)
    second = zeroth - turn + rest / pair
    x, y = s[numbers.firsts], s[numbers.seconds]
    inverse = x * y * (x + y) / (numbers.gaps * root)
    bend, bend_back = second * inverse[3]
    return Shape(near, follow, bend, bend_back, inverse, slope)


class StepScalars(NamedTuple):
    """What a step does to its vectors."""

    weights: list[Scalars]  # in the order of `scalars`
    scales: list[Scalars]  # empty without a bend, see `Guess`


def scalars(
    maths: Any,
    levels: tuple[float, ...],
    numbers: Numbers,
    products: Products,
    guess: Scalars | None,
    third: bool,
) -> StepScalars:
    """From C to the weights (B,) of all vectors.

    Of the rise in the way that the corrector finds; of this way in x and in D; of the rise in the
    predictor. With three points also: of the rise before in the way; of the bend in the predictor;
    of the rise and of the rise before in the bend. guess: the scales (2, B) of the step before.
    """
    b, a, p = levels[:3]
    s = shape(maths, numbers, variance(maths, levels, numbers, products), third)
    mu = s.slope * (PART / (1 + (math.log(p / a) / 2) ** 2))
    if s.bend_back is None:
        part = 1 / (1 - s.follow * mu)
        return StepScalars([s.follow, part, part * mu, s.near], [])
    ba, bp, ap, aq, pq = s.inverse
    follow = s.follow + s.bend_back * ap
    part = 1 / (1 - follow * mu)
    weights = [follow, part, part * mu, s.near, s.bend_back * pq]
    if b == 0:
        return StepScalars(weights, [])
    share = 0.0 if guess is None else hindsight(products, *guess)
    weights += [share * s.bend / (1 + math.log(a / b) ** 4), ap, pq]
    return StepScalars(weights, [ap / ba, aq / (ba * bp)])


def hindsight(products: Products, on: Scalars, up: Scalars) -> Scalars:
    """How much of the bend would have been right for the last step (B,)."""
    size = up * (products.size + TINY)
    return ((products.bend - on * products.along) / size).clip(0.0, 1.0)
