r"""
Flow matching: who errs, the network or the solver?
===================================================

Flow matching trains a network to say with which velocity a point on the way from data to noise
moves: straight lines are drawn from data to noise, and the network learns their mean velocity at
every place and time. Samples are then made by solving :math:`\dot x = v(x, t)` from noise, t = 1,
to data, t = 0.

The data here are a mixture of eight Gaussians in the plane, for which that mean velocity is known
in closed form. So there is an exact flow beside the learned one, and two errors can be told apart:
what the *solver* misses of the network's flow, and what the *network* misses of the exact one. The
first falls with every evaluation that is paid; the second was settled in training, here a few
seconds of it.

Once the solver's error is well below the network's, more evaluations buy nothing. How soon that
is, is the solver's doing: Euler's method, with which flows are usually sampled, takes several times
as many as EMG.
"""

# %%
# The data, and their velocity. Along :math:`x_t = (1 - t) x_0 + t \varepsilon` the mean of
# :math:`\varepsilon - x_0` given :math:`x_t` is :math:`(x_t - D)/t`, where D is the mean of
# :math:`x_0`: a denoiser, which for a mixture has a formula.

import matplotlib.pyplot as plt
import torch
from torch import nn

import stiffguide as sg
from stiffguide.adapters.diffusion import RectifiedFlow, as_denoiser, grid, sample
from stiffguide.adapters.diffusion.mixture import GaussianMixture

torch.manual_seed(0)
angle = torch.arange(8, dtype=torch.float64) * torch.pi / 4
radius = torch.tensor([0.6, 1.0] * 4, dtype=torch.float64)
ring = GaussianMixture(
    torch.stack((radius * angle.cos(), radius * angle.sin()), -1), s0=0.08
)


def exact(t, x):
    """v (B, 2) of points x (B, 2) at times t (B,)."""
    t = t.unsqueeze(-1)
    return (x - ring(x / (1 - t), (t / (1 - t)).squeeze(-1))) / t


# %%
# The network and its training: the square of what is missing to the velocity of a straight line.


class Velocity(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(22, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )  # fmt: skip
        self.register_buffer("rates", torch.tensor([1.0, 2.0, 3.0]) * torch.pi)

    def forward(self, x, t):
        y = torch.cat((x, t.unsqueeze(-1)), -1).float()
        waves = (y.unsqueeze(-1) * self.rates).flatten(1)
        told = torch.cat((y, waves.sin(), waves.cos(), y[:, :1] * 0), -1)
        return self.layers(told).to(x.dtype)


random = torch.Generator().manual_seed(0)
net, rounds = Velocity(), 2500
adam = torch.optim.AdamW(net.parameters(), lr=4e-3)
slower = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, rounds)
for _ in range(rounds):
    x0 = ring.sample(512, random).float()
    noise = torch.randn(x0.shape, generator=random)
    t = torch.sigmoid(1.2 * torch.randn(512, generator=random) - 0.5)
    x = torch.lerp(x0, noise, t.unsqueeze(-1))
    adam.zero_grad()
    loss = (net(x, t) - (noise - x0)).square().mean()
    loss.backward()
    adam.step()
    slower.step()
net.requires_grad_(False)
print(f"loss {loss:.3f}")

# %%
# Both flows, from the same noise, by an adaptive method whose own error does not count here.

noise = torch.randn(
    400, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64
)
START, END = 80 / 81, 0.002 / 1.002  # where the samplers below begin and end
times = torch.linspace(START, END, 30, dtype=torch.float64)
given = {"method": "tsit5", "rtol": 1e-6, "atol": 1e-8, "batched": True}
paths = (
    sg.solve(exact, START * noise, START, END, save_at=times, **given)
    .raise_if_failed()
    .y
)
flow = (
    sg.solve(lambda t, x: net(x, t), START * noise, START, END, **given)
    .raise_if_failed()
    .y
)


def off(x, reference):
    return (x - reference).norm(dim=-1).median().item()


learned = flow[:, -1]
of_network = off(learned, paths[:, -1])
print(f"the network's flow is {of_network:.4f} from the exact one (median)")

# %%
# Two samplers on the network. Euler's method takes equal steps in t; EMG has the grid ``mix``.

path = RectifiedFlow()
denoiser = as_denoiser(net, "velocity", path)
CALLS = (4, 6, 8, 12, 16, 24, 48, 96)
WAYS = {
    "Euler, equal steps in t": ("euler", lambda n: grid.scheduled(n, path)),
    "EMG": ("emg", grid.mix),
}
errors = {
    name: [
        off(sample(denoiser, noise, levels(n), method).x * (1 - END), learned)
        for n in CALLS
    ]
    for name, (method, levels) in WAYS.items()
}
for name, line in errors.items():
    print(
        f"{name}, with 8, 16 and 96 evaluations: {line[2]:.4f} {line[4]:.4f} {line[7]:.6f}"
    )

euler, emg = errors.values()
assert emg[CALLS.index(16)] < of_network / 5 < euler[CALLS.index(24)]

# %%

figure, (above, below) = plt.subplots(
    2, 1, figsize=(5.4, 7.4), height_ratios=(1.5, 1)
)
for line in paths[:60]:
    above.plot(*line.T, color="0.8", linewidth=0.7)
above.plot(*(START * noise[:60]).T, "o", color="0.6", markersize=2.5, label="noise")
above.plot(*paths[:, -1].T, "o", color="C0", markersize=3, label="exact flow")
above.plot(*learned.T, "x", color="C1", markersize=3.5, label="network's flow")
above.set(
    xlim=(-2.2, 2.2), ylim=(-1.8, 1.8), aspect="equal", xlabel="x", ylabel="y"
)
above.set_title("from noise to eight clusters")
above.legend(loc="upper right", handletextpad=0.1)
for (name, line), marker in zip(errors.items(), "os", strict=True):
    below.loglog(CALLS, line, marker=marker, label=f"the solver's: {name}")
below.axhline(of_network, color="black", linestyle="--", label="the network's")
below.set(
    xlabel="evaluations of the network",
    ylabel="median distance",
    title="the two errors",
)
below.set_xticks(CALLS, [str(n) for n in CALLS])
below.minorticks_off()
below.legend()
