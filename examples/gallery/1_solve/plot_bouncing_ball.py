r"""
A bouncing ball, and how Zeno's bounces end
===========================================

A ball that keeps four fifths of its speed bounces infinitely often in a finite time: every flight
takes 0.8 of the time of the one before, and the sum converges. The event "the ground is met"
finds each bounce to the accuracy of the solve, and its ``jump`` turns the speed round.

What should a solver do at the limit, which no finite number of bounces reaches? It must not loop
for ever, and it must not let the ball fall through the floor. Here the solve ends with a status
of its own and a sentence, after some 150 bounces, where floating-point time can tell no more of
them apart. And a second model, in which a ball that is slow enough comes to rest, goes on.
"""

import math

import matplotlib.pyplot as plt
import torch

import stiffguide as sg

G, KEPT = 9.81, 0.8


def fall(t, s):  # height and speed
    return torch.stack((s[1], -G + 0 * s[1]))


def bounce(t, s):
    return torch.stack((s[0], -KEPT * s[1]))


ground = sg.Event(lambda t, s: s[0], direction=-1, jump=bounce)
start = torch.tensor([1.0, 0.0], dtype=torch.float64)
ball = sg.solve(fall, start, 0.0, 10.0, method="tsit5", events=ground, dense=True)
bounces = ball.events[0].t
print(ball.message)

# %%
# The first fall takes sqrt(2 h / g), each flight after it 0.8 of the one before, from twice that.
# So the limit is known, and so is the time of every bounce.

first = math.sqrt(2 / G)
limit = first * (1 + KEPT) / (1 - KEPT)
n = torch.arange(1, len(bounces) + 1, dtype=torch.float64)
exact = limit - 2 * first * KEPT**n / (1 - KEPT)
print(f"the limit {limit:.15f}, the last bounce {float(bounces[-1]):.15f}")
print(f"no bounce is off by more than {float((bounces - exact).abs().max()):.1e} s")

# %%
# A ball of rubber does not bounce at a millionth of a metre per second. A third component, the
# mode, is 1 in flight and 0 at rest; the jump decides, and nothing moves once it is 0.


def fall_or_rest(t, s):
    return torch.stack((s[2] * s[1], -G * s[2], 0 * s[2]))


def bounce_or_rest(t, s):
    flies = (s[1] < -1e-6).to(s.dtype)
    return torch.stack((s[0], -KEPT * flies * s[1], flies))


ground = sg.Event(lambda t, s: s[0], direction=-1, jump=bounce_or_rest)
start = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
rest = sg.solve(fall_or_rest, start, 0.0, 10.0, method="tsit5", events=ground)
print(f"{len(rest.events[0].t)} bounces, then at rest; {rest.message}")

# %%
# Every bounce leaves 0.8 of the time that was left, down to the resolution of time.

times = torch.linspace(0.0, float(bounces[-1]), 2000, dtype=torch.float64)
figure, (above, below) = plt.subplots(2, figsize=(5.4, 5))
above.plot(times, ball.at(times)[:, 0])
above.plot(bounces, 0 * bounces, "o", color="C1", clip_on=False)
above.set(
    xlabel="time, s", ylabel="height, m", title="A ball that keeps 4/5 of its speed"
)
below.semilogy(n, limit - bounces, "o", color="C1", label="found")
below.semilogy(n, limit - exact, color="0.35", linewidth=1, label="exact")
below.set(xlabel="bounce", ylabel="time left to the limit, s", ylim=(1e-16, 10))
below.legend()

assert sg.Status(int(ball.status)) is sg.Status.CHATTERING
assert (bounces - exact).abs().max() < 1e-11
assert rest.success
assert rest.y[-1].abs().max() < 1e-9
