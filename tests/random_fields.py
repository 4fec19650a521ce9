"""Fields f(t, y) made of random operations of torch, each on what others have given."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

F64 = torch.float64
Step = Callable[[Tensor, Tensor], Tensor]  # (B, n) and another (B, n), of the same field


def numbers(dice: random.Random, *shape: int, zeros: float = 0.0) -> Tensor:
    """Of no relation to each other, so that no two terms cancel."""
    count = torch.Size(shape).numel()
    made = [0.0 if dice.random() < zeros else dice.uniform(0.3, 1.3) for _ in range(count)]
    return torch.tensor(made, dtype=F64).reshape(shape)


def permutation(dice: random.Random, n: int) -> Tensor:
    return torch.tensor(dice.sample(range(n), n))


def moved(dice: random.Random, n: int) -> Step:
    k, order = dice.randrange(n), permutation(dice, n)
    cut = dice.randrange(1, n)
    return dice.choice(
        [
            lambda x, z: x.roll(k, -1),
            lambda x, z: x.flip(-1),
            lambda x, z: x[:, order],
            lambda x, z: x.index_select(1, order),
            lambda x, z: x.gather(1, order.expand(x.shape)),
            lambda x, z: torch.cat((x[:, cut:], z[:, :cut]), 1),
            lambda x, z: F.pad(x[:, 1:-1], (1, 1), value=0.5),
            lambda x, z: F.pad(x[:, None], (k, k), mode="circular")[:, 0, k // 2 :][:, :n],
            lambda x, z: torch.stack((x, z), -1).flatten(1)[:, cut : cut + n],
            lambda x, z: x.reshape(-1, 2, n // 2).mT.reshape(x.shape),
            lambda x, z: torch.where(order % 2 == 0, x, z),
            lambda x, z: x.unfold(1, 2, 2).flip(-1).flatten(1),
            lambda x, z: x.take_along_dim(order[None].expand(x.shape), 1),
        ]
    )


def entrywise(dice: random.Random, n: int) -> Step:
    a, mask = numbers(dice, n), numbers(dice, n, zeros=0.5)
    return dice.choice(
        [
            lambda x, z: torch.sin(x * a),
            lambda x, z: torch.exp(-(x**2)),
            lambda x, z: x * z,
            lambda x, z: x + a * torch.cos(z),
            lambda x, z: x * mask,
            lambda x, z: torch.addcmul(x, z, mask),
            lambda x, z: x / (2 + z**2),
            lambda x, z: F.softplus(x) - 0.3 * z,
            lambda x, z: x.masked_fill(mask == 0, 0.25),
        ]
    )


def reduced(dice: random.Random, n: int) -> Step:
    pair = dice.choice([2, n // 2])
    return dice.choice(
        [
            lambda x, z: x.reshape(-1, n // pair, pair).sum(-1).repeat_interleave(pair, 1),
            lambda x, z: x * z.reshape(-1, n // pair, pair).mean(-1).repeat(1, pair),
            lambda x, z: x.cumsum(1),
            lambda x, z: torch.softmax(x.reshape(-1, n // pair, pair), -1).flatten(1),
            lambda x, z: x / (1 + z[:, :3].norm(dim=1, keepdim=True)),
            lambda x, z: x.reshape(-1, pair, n // pair).logsumexp(1).repeat(1, pair),
        ]
    )


def indexed(dice: random.Random, n: int) -> Step:
    to, back = torch.tensor([dice.randrange(n) for _ in range(n)]), permutation(dice, n)
    return dice.choice(
        [
            lambda x, z: x.index_add(1, to, torch.sin(z)),
            lambda x, z: torch.zeros_like(x).scatter_add(1, to.expand(x.shape), z),
            lambda x, z: x.scatter(1, back[:3].expand(len(x), 3), z[:, :3]),
            lambda x, z: x.index_copy(1, back[: n // 2], z[:, : n // 2]),
            lambda x, z: x.mT.index_put((to,), z.mT, accumulate=True).mT,
        ]
    )


def multiplied(dice: random.Random, n: int) -> Step:
    matrix, kernel = numbers(dice, n, n, zeros=0.8), numbers(dice, 1, 1, 5, zeros=0.4)
    grid = numbers(dice, 2, 2, zeros=0.4)
    return dice.choice(
        [
            lambda x, z: x @ matrix.T,
            lambda x, z: torch.einsum("ij,bj->bi", matrix, x),
            lambda x, z: torch.sparse.mm(matrix.to_sparse(), x.T).T,
            lambda x, z: F.conv1d(x[:, None], kernel, padding=2)[:, 0],
            lambda x, z: F.conv_transpose1d(x[:, None], kernel, padding=2)[:, 0],
            lambda x, z: (grid @ x.reshape(-1, 2, n // 2)).flatten(1),
            lambda x, z: (
                x.reshape(-1, 2, n // 2) @ torch.sin(z).reshape(-1, n // 2, 2)
            ).flatten(1).repeat(1, n)[:, :n],
        ]
    )  # fmt: skip


def written(dice: random.Random, n: int) -> Step:
    cut = dice.randrange(1, n - 1)

    def slices(x, z):
        o = torch.empty_like(x)
        o[:, :cut] = x[:, -cut:]
        o[:, cut:] = z[:, cut:] ** 2
        return o

    def views(x, z):
        o = x.clone()
        o.view(-1, 2, n // 2)[:, 1].add_(z[:, : n // 2])
        o[:, ::3] *= 0.5
        return o

    def diagonal(x, z):
        o = torch.diag_embed(x)
        o.diagonal(1, 1, 2).copy_(z[:, 1:])
        return o.sum(-1)

    def filled(x, z):
        o = x * z
        o[:, cut] = 1.0
        o[:, 0].zero_()
        return o

    return dice.choice([slices, views, diagonal, filled])


def switched(dice: random.Random, n: int) -> Step:
    """Where a point shows less than there is."""
    return dice.choice(
        [
            lambda x, z: torch.maximum(x, z),
            lambda x, z: torch.where(x > 0.5, x, z),
            lambda x, z: x.clamp(0.2, 0.9),
            lambda x, z: torch.relu(x - 0.4),
            lambda x, z: x.reshape(-1, 2, n // 2).amax(1).repeat(1, 2),
            lambda x, z: x.sort(-1).values,
            lambda x, z: x * (z > 0.5),
            lambda x, z: x.abs().sqrt() * torch.sign(z),
        ]
    )


SMOOTH = (moved, moved, entrywise, reduced, indexed, multiplied, written)


@dataclass(frozen=True)
class RandomField:
    """A field of n components."""

    seed: int
    n: int = 12
    smooth: bool = True  # its derivatives show wherever it is looked at
    steps: list[tuple[Step, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        dice = random.Random(self.seed)
        kinds = SMOOTH if self.smooth else (*SMOOTH, switched, switched)
        for k in range(dice.randrange(2, 6)):
            step = dice.choice(kinds)(dice, self.n)
            self.steps.append((step, k - dice.randrange(min(k + 1, 2)), dice.randrange(k + 1)))

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        known = [y]
        for step, first, second in self.steps:
            known.append(step(known[first], known[second]))
        return known[-1]
