"""Fields as people write them: each is followed, derivatives included, or refused by name."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from agreement import assert_same, both
from cached import needs_compiler
from torch import Tensor, nn
from traces import assert_follows, traced, values

from stiffguide.tracing.tracer import UntraceableError

D = torch.float64
Y4 = torch.tensor([1.0, 0.4, 0.7, 0.2], dtype=D)
Y6 = torch.linspace(0.1, 1.1, 6, dtype=D)
A4 = (torch.arange(16, dtype=D) ** 2).sin().reshape(4, 4) - torch.eye(4, dtype=D)
SPARSE = A4.to_sparse()
MADE = torch.tensor([[-1, 0, 0, 1], [1, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]])
RATES = torch.tensor([0.5, 2.0, 10.0, 0.1], dtype=D)
ORDERS = torch.tensor([[1, 0, 0, 0], [0, 2, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=D)
TABLE = torch.linspace(0, 2, 20, dtype=D).reshape(4, 5) ** 2
PAIRS = torch.tensor([0, 0, 1, 1, 2, 2])
FIRST, SECOND = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1])

# chemistry, grids, indexing ----------------------------------------------------------------------


def masked_write(t: Tensor, y: Tensor) -> Tensor:
    mask = torch.tensor([True, False, True, False, True, False])
    dy = -y.clone()
    dy[mask] = y[~mask] * 0.5
    return dy


def triangle(t: Tensor, y: Tensor) -> Tensor:
    a, (i, j) = torch.zeros(3, 3, dtype=D), torch.triu_indices(3, 3)
    a[i, j] = y
    return -(a @ a.T)[i, j]


def n_body(t: Tensor, y: Tensor) -> Tensor:
    x = y.view(3, 2)
    apart = x[:, None] - x[None]
    return -(apart / ((apart**2).sum(-1) + 0.1)[..., None] ** 1.5).sum(1).reshape(-1)


SIX: dict[str, Any] = {
    "masked write": masked_write,
    "triangle": triangle,
    "n-body": n_body,
    "several indices": lambda t, y: torch.cat((y.view(2, 3)[FIRST, SECOND], y.view(2, 3)[1, :])),
    "scatter_reduce sum": lambda t, y: -torch.zeros_like(y).scatter_reduce(0, PAIRS, y, "sum"),
    "scatter_reduce mean": lambda t, y: y.scatter_reduce(0, PAIRS, y**2, "mean"),
    "scatter_reduce alone": lambda t, y: y.scatter_reduce(
        0, PAIRS, y**2, "prod", include_self=False
    ),
    "scatter_reduce amax": lambda t, y: y.scatter_reduce(0, PAIRS, 2 * y, "amax"),
    "running extremes": lambda t, y: y.cummax(0).values - y.cummin(0).values * y,
    "running logsumexp": lambda t, y: -torch.logcumsumexp(y, 0),
    "average pool": lambda t, y: F.avg_pool1d(y[None, None], 3, 1, 1)[0, 0] - 2 * y,
    "largest pool": lambda t, y: F.max_pool1d(y[None, None], 3, 1, 1)[0, 0] - 2 * y,
    "dilated pool": lambda t, y: F.max_pool1d(y[None], 2, 1, dilation=2)[0].sum() * y,
    "pool to a size": lambda t, y: F.adaptive_avg_pool1d(y[None], 2)[0].repeat(3) - y,
    "planes": lambda t, y: -F.conv2d(y.view(1, 1, 2, 3), torch.ones(1, 1, 3, 3, dtype=D), padding=1)
    .reshape(-1),
    "interpolated": lambda t, y: F.interpolate(
        y[None, None, ::2], scale_factor=2, mode="linear"
    )[0, 0] - y,
    "reflected": lambda t, y: F.pad(y[None], (1, 1), "reflect")[0].unfold(0, 3, 1).std(-1) - y,
    "gathered": lambda t, y: y.view(2, 3).gather(1, torch.tensor([[2, 1, 0], [0, 0, 1]])).ravel(),
    "gradient": lambda t, y: -torch.gradient(y, spacing=0.5)[0] - y * torch.trapezoid(y, dx=0.1),
    "distances": lambda t, y: torch.cdist(y.view(3, 2), 2 * y.view(3, 2)).sum(1).repeat(2) - y,
    "cross": lambda t, y: torch.cat((torch.linalg.cross(y[:3], y[3:]), torch.kron(y[:1], y[:3]))),
    "blocks": lambda t, y: -torch.block_diag(y[:3, None] @ y[None, :3], y[3:].diag()) @ y,
}  # fmt: skip

# networks ----------------------------------------------------------------------------------------


def network(middle: nn.Module) -> Any:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 6), middle, nn.Linear(6, 4)).double().eval()
    return lambda t, y: net(y[None])[0] - y


ACTIVATIONS = (
    nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.ELU(), nn.LeakyReLU(), nn.Softplus(),
    nn.Softsign(), nn.Hardtanh(), nn.Hardsigmoid(), nn.Mish(), nn.CELU(), nn.SELU(), nn.PReLU(),
    nn.RReLU(), nn.LogSigmoid(), nn.Tanhshrink(), nn.Softshrink(0.1), nn.Hardshrink(0.1),
    nn.ReLU6(), nn.Softmin(-1), nn.LogSoftmax(-1), nn.Threshold(0.1, -0.2), nn.LayerNorm(6),
    nn.Dropout(), nn.BatchNorm1d(6), nn.GroupNorm(2, 6), nn.RMSNorm(6),
)  # fmt: skip
ATTENTION = nn.MultiheadAttention(2, 1, batch_first=True).double().eval()
CELL = nn.GRUCell(4, 4).double()
BILINEAR = nn.Bilinear(4, 4, 4).double()

# functions ---------------------------------------------------------------------------------------


def lagrangian(t: Tensor, y: Tensor) -> Tensor:
    def action(q: Tensor, v: Tensor) -> Tensor:
        return 0.5 * (v * v * (1 + q * q)).sum() - (q**4).sum()

    q, v = y[:2], y[2:]
    by_v = torch.func.grad(action, argnums=1)
    mass = torch.func.hessian(action, argnums=1)(q, v)
    return torch.cat(
        (
            v,
            torch.linalg.solve(
                mass, torch.func.grad(action)(q, v) - torch.func.jacrev(by_v)(q, v) @ v
            ),
        )
    )


def cholesky(t: Tensor, y: Tensor) -> Tensor:
    m = y.view(2, 2) @ y.view(2, 2).T + torch.eye(2, dtype=D)
    factor = torch.linalg.cholesky(m)
    return -torch.linalg.solve_triangular(factor, factor.mH @ y.view(2, 2), upper=False).ravel()


def written_out(t: Tensor, y: Tensor) -> Tensor:
    z = y.clone()
    z *= 2
    z += y.flip(0)
    z[0] -= 1
    z.neg_().sin_().add_(y, alpha=-2).clamp_(-2, 2)
    return z


def looked_up(t: Tensor, y: Tensor) -> Tensor:
    i, j = (y.clamp(0, 0.99) * 4).long(), (y.clamp(0, 0.99) * 5).long()
    k = (t.clamp(0, 0.99) * 4).long()
    return -y * TABLE[i, j] - y * TABLE[k, k - 5] - y * TABLE[k, 2] - TABLE[:, k]


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * g


class Lazy:
    """Makes its table at the first call."""

    table: Tensor | None = None

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.arange(1.0, 5.0, dtype=D) / 3
        return -self.table * y


@functools.cache
def levels(n: int) -> Tensor:
    return torch.arange(n, dtype=D)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch deprecates its script

    @torch.jit.script
    def scripted(t: Tensor, y: Tensor) -> Tensor:
        return -y * torch.sin(t) - y**3

    @torch.jit.script
    def scripted_branch(t: Tensor, y: Tensor) -> Tensor:
        if bool(y[0] > 0.5):
            return -y
        return y


FOUR: dict[str, Any] = {
    "law of mass action": lambda t, y: MADE.double() @ (RATES * torch.prod(y[None] ** ORDERS, 1)),
    "integer orders": lambda t, y: MADE.to(y) @ (RATES * (y ** ORDERS.long()).prod(-1)),
    "in logarithms": lambda t, y: MADE.to(y) @ (RATES * torch.exp(ORDERS @ y.log())),
    "Hill": lambda t, y: (y.abs() ** 2.7 / (0.3**2.7 + y.abs() ** 2.7)).roll(1) - y,
    "negative bases": lambda t, y: (y - 0.5) ** 3 + (y - 2) ** torch.tensor([1, 2, 3, 4]),
    **{f"{m}": network(m) for m in ACTIVATIONS},
    "attention": lambda t, y: ATTENTION(*[y.view(1, 2, 2)] * 3, need_weights=False)[0].ravel() - y,
    "cell": lambda t, y: CELL(torch.sin(t).expand(1, 4), y[None])[0] - y,
    "bilinear": lambda t, y: BILINEAR(y, y) * 0.1 - y,
    "lagrangian": lagrangian,
    "hessian": lambda t, y: -torch.func.hessian(lambda x: (x**4).sum() + x.prod())(y) @ y,
    "divergence": lambda t, y: torch.func.jacfwd(lambda x: torch.tanh(A4 @ x))(y).trace() * -y,
    "tangent": lambda t, y: -torch.func.jvp(lambda x: x**3, (y,), (torch.ones_like(y),))[1],
    "cholesky": cholesky,
    "in place": written_out,
    "table in two places": looked_up,
    "folds of one number": lambda t, y: y[0].sum() * y[1].mean() * y[2].amax() - y * y[3].cumsum(0),
    "own derivative": lambda t, y: Square.apply(y) - 2 * y,
    "cached table": lambda t, y: -levels(4) * y,
    "scripted": scripted,
    "scripted branch": scripted_branch,
    "sparse": lambda t, y: torch.sparse.mm(SPARSE, y[:, None])[:, 0],
    "losses": lambda t, y: -y * F.mse_loss(y, y.flip(0)) - y * F.huber_loss(y, 0 * y, delta=0.5),
    "logarithms of sums": lambda t, y: torch.logaddexp(y, y.flip(0)) - torch.xlogy(y, 1 + y) * 3,
    "casts": lambda t, y: (y > 0.5).to(D) * 0.3 - y * torch.tensor(0.5) + (y > 0.2).sum() * y,
    "steps of t": lambda t, y: torch.where(t < 0.3, -y, torch.where(t < 0.6, -2 * y, -3 * y)),
    "orthogonal": lambda t, y: torch.linalg.matrix_power(y.view(2, 2) * 0.3, 3).ravel() - y,
}  # fmt: skip

# autograd cannot go there by t, or twice, or has seven digits only
NO_AUTOGRAD = {"in place", "own derivative", "Hardsigmoid()"}


@pytest.mark.parametrize("name", [*SIX, *FOUR])
def test_a_field_is_followed(name: str) -> None:
    f, y0 = (SIX[name], Y6) if name in SIX else (FOUR[name], Y4)
    at = y0.flip(0) * 0.9 + 0.013
    if name in NO_AUTOGRAD:
        t = torch.tensor([0.77], dtype=D)
        torch.testing.assert_close(values(traced(f, y0), t, at[None])[0][0], f(t[0], at))
    else:
        assert_follows(f, y0, at=at)


def test_a_table_made_at_the_first_call() -> None:
    assert traced(Lazy(), Y4).features == 4


@pytest.mark.filterwarnings("ignore:.torch.jit")  # of torch, while it compiles
def test_a_compiled_function_is_followed_as_it_was_written() -> None:
    inner = torch.compile(lambda x: -(x**3), backend="eager")
    g = traced(lambda t, y: inner(y) * t, Y4)
    found = values(g, torch.tensor([0.5], dtype=D), Y4[None])[0]
    torch.testing.assert_close(found[0], -(Y4**3) * 0.5)


def test_both_ways_of_a_conditional_are_followed() -> None:
    f = lambda t, y: torch.cond(y.sum() > 1, torch.neg, torch.sin, (y,))  # noqa: E731
    g = traced(f, Y4)
    both = torch.stack((Y4, 0.1 * Y4))
    found = values(g, torch.zeros(2, dtype=D), both)[0]
    torch.testing.assert_close(found, torch.stack((-Y4, torch.sin(0.1 * Y4))))


class Keeps:
    """Remembers a state."""

    def __init__(self, *, last: bool) -> None:
        self.last, self.state = last, None

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        kept, self.state = self.state, y * 1.5 if self.last or self.state is None else self.state
        return -y * (1 if kept is None else kept)


REFUSED: dict[str, tuple[Any, str]] = {
    "the first state": (Keeps(last=False), "keeps values from call to call"),
    "the last state": (Keeps(last=True), "keeps values from call to call"),
    "bessel": (lambda t, y: torch.special.bessel_j0(y), "aten.special_bessel_j0"),
    "eigenvalues": (lambda t, y: torch.linalg.eigvalsh(y.view(2, 2)).repeat(2), "eigh"),
    "exponential": (lambda t, y: torch.linalg.matrix_exp(y.view(2, 2)).ravel(), "matrix_exp"),
    "dropout in attention": (
        lambda t, y: F.scaled_dot_product_attention(*[y.view(1, 2, 2)] * 3, dropout_p=0.5).ravel(),
        "random numbers",
    ),
    "place of a pool": (
        lambda t, y: F.max_pool1d(y[None], 2, return_indices=True)[1].repeat(1, 2)[0] * y,
        "places of extremes",
    ),
    "places apart": (lambda t, y: TABLE.view(4, 5, 1)[y.long(), :, y.long()][:, 0], "at once"),
    "a graph too large": (
        lambda t, y: (y[:, None] + torch.arange(30_000) / 7).sin().sum(1),
        "scalar operations",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_field_is_refused_by_name(name: str) -> None:
    f, words = REFUSED[name]
    with pytest.raises(UntraceableError, match=words):
        traced(f, Y4)


def test_a_jacobian_that_takes_too_long_to_compile_is_refused_where_one_is_needed() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 96), nn.Tanh(), nn.Linear(96, 24)).double()
    net.requires_grad_(requires_grad=False)
    g = traced(lambda t, y: net(y), torch.ones(24, dtype=D))
    with pytest.raises(UntraceableError, match=r"Jacobian.*scalar operations.*needs no Jacobian"):
        assert g.derived


# whole solves ------------------------------------------------------------------------------------


SMOOTH = (
    "law of mass action", "Hill", "n-body", "triangle", "attention", "lagrangian", "cholesky",
    "cell", "running logsumexp", "GELU(approximate='none')", "Softplus(beta=1.0, threshold=20.0)",
)  # fmt: skip


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_a_kernel_takes_the_steps_of_the_eager_loop(name: str) -> None:
    f, y0 = (SIX[name], Y6) if name in SIX else (FOUR[name], Y4)
    with torch.no_grad():
        assert_same(*both(f, y0, 0.0, 1.0, method="rodas4", first_step=1.0))
