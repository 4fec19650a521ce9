"""
A stiff neural ODE: learning one rate law
=========================================

Robertson's reaction has three steps: A becomes B, two B make a C, and B with the help of C falls
back to A. Say that two of them are known and the third is not. A network of 33 weights takes its
place inside the right-hand side and is trained on 30 noisy states; mass is conserved whatever it
says, as it decides about the speed of one exchange alone.

What makes it hard is stiffness: the rates differ by nine powers of ten, and the data go from 1e-4
to 1e4 units of time. An implicit method walks through that in under a hundred steps, and the
gradient goes back along the same steps. A kernel of the field is built once, in a second or two;
after that a loss and its gradient take a few milliseconds.

The network is never shown a rate. That it finds the law where the data depend on it, and only
there, is what the last picture looks at.
"""

# %%
# The field. Its third rate is B times a factor that the network says, for without B there is
# nothing to fall back. Concentrations are seen by their logarithms, and the factor is an
# exponential, so that the weights need not span powers of ten. The truth is 1e4 C.

import matplotlib.pyplot as plt
import torch
from torch import nn

import stiffguide as sg

F64 = torch.float64
END, NOISE = 1e4, 0.02
START = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
TIMES = torch.logspace(-4, 4, 30, dtype=F64)
SIZE = torch.tensor([1.0, 3.6e-5, 1.0], dtype=F64)  # by which the states are judged
SOLVE = {"method": "rodas5p", "rtol": 1e-5, "atol": 1e-5 * SIZE}


def known(y, back):
    a, b, _ = y.unbind(-1)
    there, on = 0.04 * a, 3e7 * b * b
    return torch.stack((back - there, there - back - on, on), -1)


class Reaction(nn.Module):
    def __init__(self):
        super().__init__()
        self.law = nn.Sequential(
            nn.Linear(2, 8, dtype=F64), nn.Tanh(), nn.Linear(8, 1, dtype=F64)
        )

    def factor(self, y):
        seen = torch.log(y[..., 1:].clamp(min=0.0) / SIZE[1:] + 1e-8) / 10
        return 100 * torch.exp(10 * self.law(seen).squeeze(-1))

    def forward(self, t, y):
        return known(y, self.factor(y) * y[..., 1])


def true_factor(y):
    return 1e4 * y[..., 2]


def true_field(t, y):
    return known(y, true_factor(y) * y[..., 1])


# %%
# The data: the true reaction with 2 % of noise.

exact = sg.solve(
    true_field, START, 0.0, END, save_at=TIMES, rtol=1e-9, atol=1e-9 * SIZE
).y
random = torch.Generator().manual_seed(0)
data = exact + NOISE * SIZE * torch.randn(exact.shape, generator=random, dtype=F64)

# %%
# Training is what it is for any network: solve, compare, go backward.

torch.manual_seed(0)
net = Reaction()
rounds = 600
adam = torch.optim.Adam(net.parameters(), lr=1e-2)
slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, rounds, 1e-4)
losses = []
for _ in range(rounds):
    adam.zero_grad()
    found = sg.solve(
        net, START, 0.0, END, save_at=TIMES, gradient="kernel", **SOLVE
    )
    loss = ((found.raise_if_failed().y - data) / SIZE).square().mean()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    adam.step()
    slower.step()
    losses.append(loss.item())
floor = ((exact - data) / SIZE).square().mean().item()
print(f"{sum(p.numel() for p in net.parameters())} weights, {rounds} gradients")
print(
    f"loss {losses[0]:.3g}, then {losses[-1]:.3g}; that of the truth is {floor:.3g}"
)
assert losses[-1] < 1.2 * floor

# %%
# What was learned, along the solution. The factor is right within a fifth from t = 1 on, where most
# of B falls back. Before that next to none does: the data say nothing, and so the network is wrong.

times = torch.logspace(-4, 4, 200, dtype=F64)
with torch.no_grad():
    run = sg.solve(net, START, 0.0, END, save_at=times, **SOLVE)
    learned = net.factor(run.y)
true = true_factor(run.y)
late = times > 1
print(f"{run.stats.accepted.item()} steps with {run.method}")
print(
    f"factor over its true value: {(learned / true)[late].min():.2f} to "
    f"{(learned / true)[late].max():.2f} after t = 1, {(learned / true)[0]:.0f} at t = 1e-4"
)
assert (learned / true - 1)[late].abs().max() < 0.3

# %%

figure, axes = plt.subplot_mosaic(
    [["states", "states"], ["losses", "law"]],
    figsize=(5.4, 5.2),
    height_ratios=(1.1, 1),
)
states, training, law = axes.values()
for i, name in enumerate("ABC"):
    states.semilogx(times, run.y[:, i] / SIZE[i], color=f"C{i}", label=name)
    states.semilogx(TIMES, data[:, i] / SIZE[i], "o", color=f"C{i}")
states.set(
    xlabel="time", ylabel="concentration / largest", title="data and trained model"
)
states.legend()
training.loglog(range(1, rounds + 1), losses, color="black")
training.axhline(floor, color="C3", linestyle="--", label="of the truth")
training.set(xlabel="gradient steps", ylabel="loss", title="training")
training.legend()
law.loglog(times, learned, color="black", label="network")
law.loglog(times, true, color="C3", linestyle="--", label="truth")
law.set(xlabel="time", ylabel="factor of B", title="the law that it learned")
law.legend()
