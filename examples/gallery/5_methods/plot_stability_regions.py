r"""
Stability regions of every method
=================================

On :math:`y' = \lambda y` a step of length h multiplies by a number that depends on
:math:`z = h\lambda` alone. Where it is at most one in modulus nothing grows: the *region of
stability*. A method suits stiff problems where the region holds the left half of the plane
(A-stable), and the better where the factor goes to zero far to the left (L-stable). An explicit
method's region is bounded: that is what holds its steps short.

Nothing below is drawn by hand. For Runge-Kutta and Rosenbrock methods the factor is the
rational function R(z) that follows from the coefficients, in exact arithmetic; a check compares it
with what ``solve`` makes of such a step. For BDF and Adams methods it is the largest root of the
characteristic polynomial. Methods of one family with the same R share a picture.

The darker the blue, the smaller the factor: below 0.1, 0.5 and 1. White is unstable. Axes are the
real and the imaginary part of z.
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
import torch

import stiffguide as sg
from stiffguide import methods
from stiffguide.catalogue import TABLEAUX, adams, backward_differences
from stiffguide.methods.rkc import stages_of
from stiffguide.tableaux import stability

BLUES = ("#08519c", "#6baed6", "#c6dbef")


def rational(tableau):
    """The function R of complex arrays."""
    rows = stability.stability_function(tableau)
    p, q = ([float(c) for c in reversed(row)] for row in rows)
    return lambda z: np.polyval(p, z) / np.polyval(q, z)


def alike(names):
    """The names by their function: those that share it stand together."""
    points = 2.0 * np.exp(1j * np.arange(1, 4))
    groups = {}
    for name in names:
        values = rational(TABLEAUX[name])(points)
        groups.setdefault(tuple(np.round(values, 9)), []).append(name)
    return list(groups.values())


def panel(axis, growth, real, imaginary, count=122):
    """Growth per step of complex z; the picture is symmetric about the real axis."""
    x, y = np.linspace(*real, count), np.linspace(0.0, imaginary, count // 2)
    size = np.abs(growth(x + 1j * y[:, None]))
    size = np.concatenate((size[:0:-1], size))
    y = np.concatenate((-y[:0:-1], y))
    axis.contourf(x, y, size, [0.0, 0.1, 0.5, 1.0], colors=BLUES)
    axis.contour(x, y, size, [1.0], colors="black", linewidths=0.8)
    axis.axvline(0.0, color="0.6", linewidth=0.8)
    axis.axhline(0.0, color="0.6", linewidth=0.8)
    axis.set_aspect("equal")
    axis.grid(visible=False)


def page(title, entries, real, imaginary):
    """A figure of small pictures, three beside each other; entries are names and their growth."""
    rows = -(-len(entries) // 3)
    height = 0.5 + rows * (
        0.45 + 1.55 * min(1.0, 2 * imaginary / (real[1] - real[0]))
    )
    figure, axes = plt.subplots(
        rows, 3, figsize=(5.4, height), sharex=True, sharey=True, squeeze=False
    )
    for axis, (name, growth) in zip(axes.flat, entries, strict=False):
        panel(axis, growth, real, imaginary)
        axis.set_title(name, fontsize=9.5)
    for axis in axes.flat[len(entries) :]:
        axis.set_axis_off()
    axes[-1, 0].set(xlabel="Re z", ylabel="Im z")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)


family = {name: methods.get(name).family for name in methods.names()}


def drawn(*wanted):
    """The entries of some families."""
    names = [name for name in TABLEAUX if family[name] in wanted]
    return [
        ("\n".join(group), rational(TABLEAUX[group[0]])) for group in alike(names)
    ]


# %%
# First the check: one step of ``solve`` over h = 1, with seven values of lambda as the rows of a
# batch. Every method with a tableau is asked, and multiplies as its R says.

z = -1.5 + 1.5 * torch.exp(1j * torch.arange(7, dtype=torch.float64))
one = torch.ones(7, 1, dtype=torch.complex128)
worst = 0.0
for name, tableau in TABLEAUX.items():
    step = sg.solve(
        lambda t, y: z[:, None] * y, one, 0.0, 1.0, method=name, batched=True,
        controller=sg.Fixed(1.0), rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    gap = np.abs(
        step.raise_if_failed().y[:, -1, 0].numpy() - rational(tableau)(z.numpy())
    )
    worst = max(worst, float(gap.max()))
print(f"{len(TABLEAUX)} tableaux, 7 steps each: the factor is R(z) to {worst:.0e}")
assert worst < 1e-9

# %%
# Explicit Runge-Kutta methods. With as many stages as the order, up to 4, there is one region an
# order; from 5 on stages are to spare, and designers differ.

page("explicit Runge-Kutta", drawn("explicit RK"), (-7.5, 3.0), 7.0)

# %%
# Diagonally implicit methods: the stable part is what lies outside. ``trapezoid`` and
# ``implicit_midpoint`` are stable in the left half-plane and nowhere else, and do not damp.

page("SDIRK and ESDIRK", drawn("SDIRK", "ESDIRK"), (-12.0, 36.0), 24.0)

# %%
# Collocation: Gauss methods have the left half-plane exactly; ``radau5`` steps with ``radau_iia5``.

page("fully implicit Runge-Kutta", drawn("fully implicit RK"), (-12.0, 36.0), 24.0)

# %%
# Rosenbrock methods, as stable as implicit ones, without an iteration: ``rosenbrock23`` even has
# the function of ``sdirk2`` and ``trbdf2``.

points = np.array([-1.0, 2.0j, -3.0 + 1.0j])
for name in ("sdirk2", "trbdf2"):
    same = rational(TABLEAUX[name])(points) - rational(TABLEAUX["rosenbrock23"])(
        points
    )
    assert np.abs(same).max() < 1e-12
page("Rosenbrock", drawn("Rosenbrock"), (-12.0, 36.0), 24.0)

# %%
# Multistep methods: with y = zeta^n, a formula becomes a polynomial in zeta whose coefficients are
# a - z b. The largest of its roots is what a step multiplies by in the long run.


def largest_root(a, b):
    """The growth of complex z, for coefficients of falling powers, by companion matrices."""

    def growth(z):
        poly = np.asarray(a) - z[..., None] * np.asarray(b)
        n = len(a) - 1
        companion = np.zeros((*z.shape, n, n), complex)
        companion[..., 1:, :-1] = np.eye(n - 1)
        companion[..., 0, :] = -poly[..., 1:] / poly[..., :1]
        return np.abs(np.linalg.eigvals(companion)).max(-1)

    return growth


def bdf(order):
    """The sum of (1 - 1/zeta)^j / j up to the order, less kappa gamma (1 - 1/zeta)^(order + 1)."""
    correction = (
        -backward_differences.KAPPA[order] * backward_differences.GAMMA[order]
    )
    weights = [0, *(1 / j for j in range(1, order + 1)), float(correction)]
    a = np.poly1d([0.0])
    for j, weight in enumerate(weights):
        a = a + weight * np.poly1d([1.0, -1.0]) ** j * np.poly1d([1.0, 0.0]) ** (
            order + 1 - j
        )
    return a.coeffs, np.poly1d([1.0] + [0.0] * (order + 1)).coeffs


def adams_formula(weights, implicit):
    """zeta^n - zeta^(n-1) = z (weights of zeta^n or zeta^(n-1) and below)."""
    b = [float(w) for w in weights] if implicit else [0.0, *map(float, weights)]
    b = [*b, 0.0] if len(b) == 1 else b
    return [1.0, -1.0] + [0.0] * (len(b) - 2), b


orders = backward_differences.ORDERS
page(
    "BDF, whose order bdf chooses",
    [(f"bdf{k}", largest_root(*bdf(k))) for k in orders],
    (-12.0, 36.0),
    24.0,
)

# %%
# The slip of their regions into the left half-plane is measured by the angle of the wedge that
# stays free: 90 degrees is A-stable. Shampine and Reichelt give 90, 90, 80, 66 and 51 degrees.

radius = np.logspace(-2, 2, 400)
angles = []
for k in orders:
    growth = largest_root(*bdf(k))
    free = [
        alpha
        for alpha in range(40, 91)
        if (
            growth(radius * np.exp(1j * np.pi * (1 - alpha / 180))) < 1 + 1e-9
        ).all()
    ]
    angles.append(free[-1])
print("angles of bdf1 to bdf5, in whole degrees:", *angles)
assert np.abs(np.array(angles) - (90, 90, 80, 66, 51)).max() <= 1

# %%
# Adams methods shrink with the number of slopes they remember: ``adams_bashforth`` ends with 4,
# ``adams_moulton`` with 12, the one at the end included. (Its iteration is taken as ended; where
# h is too long for that to happen, the step is rejected.)

entries = [
    (f"Bashforth, {n}", adams_formula(adams.bashforth(n), False)) for n in (2, 3, 4)
]
entries += [
    (f"Moulton, {n}", adams_formula(adams.moulton(n), True)) for n in (3, 5, 12)
]
entries = [(name, largest_root(*formula)) for name, formula in entries]
page("Adams, and the number of slopes", entries, (-7.0, 1.5), 4.0)

# %%
# ``rkc2`` is made of Chebyshev polynomials: with s stages stable to about -0.65 s^2 on the real
# axis, and little beside it: made for diffusion, not for waves.


def chebyshev(stages):
    """The factor by the recurrence of the code, on f(y) = z y."""

    def growth(z):
        older, rise = 0.0, 0.0 * z
        for mu, nu, by_f, by_f0, _ in stages_of(stages):
            older, rise = (
                rise,
                mu * rise + nu * older + by_f * z * (1 + rise) + by_f0 * z,
            )
        return 1 + rise

    return growth


figure, axes = plt.subplots(3, 1, figsize=(5.4, 3.9))
for axis, stages in zip(axes, (3, 5, 8), strict=True):
    reach = 0.653 * (stages**2 - 1)
    assert abs(chebyshev(stages)(np.linspace(-reach, 0.0, 1000))).max() < 1 + 1e-9
    panel(axis, chebyshev(stages), (-44.0, 2.0), 6.0, 400)
    axis.set_title(f"rkc2 with {stages} stages, to -{reach:.1f}", fontsize=9.5)
axes[-1].set(xlabel="Re z", ylabel="Im z")

# %%
# ``secant_heun`` is not here: its factor depends on the steps before. All others are.

multistep = {
    "bdf",
    *(f"bdf{k}" for k in orders),
    "adams_bashforth",
    "adams_moulton",
}
shown = {*TABLEAUX, *multistep, "rkc2", "radau5"}
assert set(methods.names()) - shown == {"secant_heun"}
