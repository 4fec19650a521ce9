r"""
Which way the error points, and what guidance makes of it
=========================================================

An embedded pair makes two results of a step. Their difference E is a vector that points somewhere,
as does the true error e of the step. Error-direction guidance moves the result along E, as far as
the eigenvalue that E shows tells it to. That is sound where e lies along E, which one expects of
stiff problems, where both should lie along the dominant eigenvector v of the Jacobian.

Here is a problem in the plane whose solutions, eigenvectors (not orthogonal) and errors are all
known: :math:`y' = J (y - g(t)) + g'(t)` with g(t) = (cos t, sin t) and the eigenvalues -1 and -40.
Off the slow solution g, in the transient, the expectation holds to a tenth of a degree, and
guidance takes off all but a thousandth of the error. On the slow solution e still lies along v, but
E does not.

There guidance makes the error of a single step smaller, and that of the whole solve four to seven
times *larger*, unless the steps are too long for Heun's method. Heun's error lies where the problem
damps it: it is forgotten forty times faster than the solution moves. What guidance moves along E
has a part in the slow direction, where nothing is forgotten, and it adds up. So guidance is for
transients and for steps at the limit of stability, not for smooth stretches in small steps.
(Diffusion models are another matter, measured in :doc:`/alignment`.)
"""

import matplotlib.pyplot as plt
import torch

import stiffguide as sg
from stiffguide.guidance import ErrorDirection

F64 = torch.float64
FAST = 40.0
slow, v = torch.tensor([[1.0, 0.5], [1.0, -1.0]], dtype=F64)
vectors = torch.stack((slow, v), 1)
J = (
    vectors
    @ torch.diag(torch.tensor([-1.0, -FAST], dtype=F64))
    @ torch.linalg.inv(vectors)
)


def g(t):
    return torch.stack((torch.cos(t), torch.sin(t)), -1)


def field(t, y):
    return (y - g(t)) @ J.T + torch.stack((-torch.sin(t), torch.cos(t)), -1)


def exact(t, off):
    """The solution (..., 2) that starts at g(0) + off v."""
    return g(t) + off * torch.exp(-FAST * t).unsqueeze(-1) * v


def heun(t1, dt, off, rule=None, method="heun"):
    start = exact(torch.zeros((), dtype=F64), off)
    given = {"method": method, "controller": sg.Fixed(dt), "guidance": rule}
    return sg.solve(field, start, 0.0, t1, **given).raise_if_failed().y[-1]


# %%
# One step of h = 1/40, from off the slow solution and from on it.

h = 1 / FAST
ends = {}
for name, off in (("in the transient", 0.5), ("on the slow solution", 0.0)):
    plain, guided = heun(h, h, off), heun(h, h, off, ErrorDirection())
    e, left = (y - exact(torch.tensor(h, dtype=F64), off) for y in (plain, guided))
    E = plain - heun(h, h, off, method="euler")
    ends[name] = e, E, left
    cosines = [abs(x @ v) / (x.norm() * v.norm()) for x in (e, E)]
    angles = [torch.rad2deg(torch.acos(c.clamp(max=1.0))).item() for c in cosines]
    share = (left.norm() / e.norm()).item()
    print(
        f"{name}: to v, e has {angles[0]:.2f} and E {angles[1]:.2f} degrees;",
        end=" ",
    )
    print(f"guidance leaves {share:.3f} of the error")

e, E, left = ends["on the slow solution"]
parts = [
    abs(torch.linalg.solve(vectors, x)[0]).item() for x in (e, left)
]  # slow and fast part
print(
    f"slow part of the error of a step on the slow solution: {parts[0]:.1e}, guided {parts[1]:.1e}"
)
assert parts[1] > 4 * parts[0]

# %%
# Whole solves on the slow solution to t = 2, and through the transient to t = 0.1.

SIZES = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125)  # of h times 40
errors = {}
for name, off, t1 in (("transient", 0.5, 0.1), ("slow solution", 0.0, 2.0)):
    for way, rule in (("Heun", None), ("guided", ErrorDirection())):
        finals = [heun(t1, size / FAST, off, rule) for size in SIZES]
        errors[name, way] = [
            (y - exact(torch.tensor(t1, dtype=F64), off)).norm().item()
            for y in finals
        ]
for (name, way), line in errors.items():
    print(f"{name:14} {way:7}" + "".join(f"{error:9.1e}" for error in line))

for plain, guided in zip(
    errors["transient", "Heun"], errors["transient", "guided"], strict=True
):
    assert guided < 0.1 * plain
plain, guided = errors["slow solution", "Heun"], errors["slow solution", "guided"]
assert guided[0] < 1e-6 * plain[0]
assert all(g > 3 * p for p, g in zip(plain[2:], guided[2:], strict=True))

# %%
# Above, directions: E and e are drawn at one length, what guidance leaves at its share of e. It is
# shorter, and turned towards the slow direction, which is dotted.

figure, axes = plt.subplot_mosaic(
    [["in the transient", "on the slow solution"], ["all", "all"]],
    figsize=(5.4, 5.6),
    height_ratios=(1, 1.1),
)
for name, (e, E, left) in ends.items():
    axis = axes[name]
    axis.axline((0, 0), tuple(v.tolist()), color="0.6", linewidth=1)
    axis.axline(
        (0, 0), tuple(slow.tolist()), color="0.6", linewidth=1, linestyle=":"
    )
    axis.text(-0.78, 0.92, "v", color="0.4")
    arrows = {"E": (E / E.norm(), "C0", 0.024), "e": (e / e.norm(), "C1", 0.012)}
    arrows["left by guidance"] = (left / e.norm(), "C2", 0.016)
    for label, (x, colour, width) in arrows.items():
        look = {"angles": "xy", "scale_units": "xy", "scale": 1, "headwidth": 3.5}
        axis.quiver(
            0, 0, *x.tolist(), color=colour, width=width, label=label, **look
        )
    axis.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", title=name)
    axis.set(xticks=[], yticks=[])
axes["in the transient"].legend(loc="lower left")

below = axes["all"]
for (name, way), line in errors.items():
    look = "o-" if way == "Heun" else "s--"
    colour = "C3" if name == "transient" else "black"
    below.loglog(SIZES, line, look, label=f"{name}, {way}", color=colour)
below.set(xlabel="h |lambda|", ylabel="error at the end", ylim=(1e-7, 10))
below.set_xticks(SIZES, ["4", "2", "1", "1/2", "1/4", "1/8"])
below.minorticks_off()
below.legend()
