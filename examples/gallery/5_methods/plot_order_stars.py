r"""
Order stars of every method
===========================

Colour the plane of :math:`z = h\lambda` by whether a method grows faster than the solution does,
where :math:`|R(z)| > |e^z|`: what appears is the *order star* of Wanner, Hairer and Nørsett (Order
stars and stability theorems, BIT 18, 1978). Since :math:`R(z) - e^z \approx -C z^{p+1}` at the
origin, p + 1 fingers meet there with p + 1 gaps between them; since :math:`|e^z| = 1` on the
imaginary axis, a method is unstable at just those frequencies where a finger crosses it; and each
bounded finger holds a pole of R, each bounded gap a zero.

So order, stability and cost are read off one picture. An explicit method has no poles: its fingers
go to infinity, those on the right across the axis, and it cannot be A-stable. An implicit one can,
where its poles lie to the right and no finger touches the axis; and as every finger on the right
asks for a pole, its order is bounded by what it pays in implicit stages. That is how the authors
proved Ehle's conjecture and the barrier of Daniel and Moore.

Fingers are orange here, poles are crosses, zeros are circles.
"""

# sphinx_gallery_thumbnail_number = 3

from fractions import Fraction
from math import factorial

import matplotlib.pyplot as plt
import numpy as np

from stiffguide import methods
from stiffguide.catalogue import TABLEAUX
from stiffguide.tableaux import stability


def polynomials(name):
    """Numerator and denominator of R."""
    rows = stability.stability_function(TABLEAUX[name])
    return tuple(np.poly1d([float(c) for c in reversed(row)]) for row in rows)


def star(name, z):
    """log |R(z) / e^z|, positive in the fingers."""
    p, q = polynomials(name)
    return np.log(np.abs(p(z) / q(z))) - z.real


# %%
# First in numbers. The Taylor coefficients of R(z) are known exactly, and so is by what it differs
# from exp near the origin. Signs along a small circle count the fingers; where there are more than
# p + 1, the method is more exact on linear problems with constant coefficients than on others.


def rest(name, terms=20):
    """The first power in which R and exp differ, and the differences from there on."""
    series = stability.expansion(
        stability.stability_function(TABLEAUX[name]), terms
    )
    gaps = [float(c - Fraction(1, factorial(k))) for k, c in enumerate(series)]
    first = next(k for k, gap in enumerate(gaps) if abs(gap) * factorial(k) > 1e-9)
    return first, np.array(gaps[first:])


def fingers(name):
    """Half of the sign changes of Re((R - e^z) e^-z) around the origin."""
    first, gaps = rest(name)
    radius = 0.1 * min(1.0, abs(gaps[0] / gaps[1]))
    z = radius * np.exp(2j * np.pi * (np.arange(2000) + 0.5) / 2000)
    sign = np.sign(
        ((z / radius) ** first * np.polyval(gaps[::-1], z) * np.exp(-z)).real
    )
    return int((sign != np.roll(sign, 1)).sum()) // 2


order = {name: methods.get(name).order for name in TABLEAUX}
count = {name: fingers(name) for name in TABLEAUX}
more = [name for name in TABLEAUX if count[name] > order[name] + 1]
assert all(count[name] >= order[name] + 1 for name in TABLEAUX)
assert more == ["rodas5p"]
print(f"{len(TABLEAUX)} methods; p + 1 fingers, but for", end=" ")
print(
    *(f"{name} (order {order[name]}, {count[name]} fingers)" for name in more),
    sep=", ",
)

# %%
# And what they do at the imaginary axis: A-stable methods keep off it, as far as it was looked at.

axis = 1j * np.linspace(0.01, 60.0, 6000)
for name, tableau in TABLEAUX.items():
    off = (star(name, axis) < 1e-9).all()
    assert off == stability.is_a_stable(tableau), name
print("fingers keep off the imaginary axis for the", end=" ")
print(
    sum(stability.is_a_stable(tableau) for tableau in TABLEAUX.values()),
    "A-stable methods",
)

# %%
# The pictures, a family each. Methods of a family that share R share one.


def alike(names):
    points = 2.0 * np.exp(1j * np.arange(1, 4))
    groups = {}
    for name in names:
        groups.setdefault(tuple(np.round(star(name, points), 9)), []).append(name)
    return list(groups.values())


def page(families, half):
    names = [name for name in TABLEAUX if methods.get(name).family in families]
    groups = alike(names)
    rows = -(-len(groups) // 3)
    figure, axes = plt.subplots(
        rows,
        3,
        figsize=(5.4, 0.5 + 2.0 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    x, y = np.linspace(-half, half, 242), np.linspace(0.0, half, 121)
    z = x + 1j * y[:, None]
    for axis, group in zip(axes.flat, groups, strict=False):
        size = star(group[0], z)
        size, up = (
            np.concatenate((size[:0:-1], size)),
            np.concatenate((-y[:0:-1], y)),
        )
        axis.contourf(x, up, size, [-1e3, 0.0, 1e3], colors=["white", "#E69F00"])
        axis.axvline(0.0, color="0.3", linewidth=0.8)
        p, q = polynomials(group[0])
        axis.plot(
            p.r.real, p.r.imag, "o", color="C0", fillstyle="none", markersize=4
        )
        axis.plot(q.r.real, q.r.imag, "x", color="black", markersize=5)
        axis.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
        axis.grid(visible=False)
        axis.set_title("\n".join(group), fontsize=9.5)
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    axes[-1, 0].set(xlabel="Re z", ylabel="Im z")
    figure.suptitle(" and ".join(families), x=0.01, ha="left", fontsize=10.5)


page(["explicit RK"], 8.0)

# %%

page(["SDIRK", "ESDIRK"], 8.0)

# %%
# Gauss methods show the star as symmetric as it can be: the imaginary axis is its border.

page(["fully implicit RK"], 8.0)

# %%

page(["Rosenbrock"], 8.0)

# %%
# Multistep methods have stars on Riemann surfaces, a sheet for every root. They are left out, so
# are ``rkc2``, whose number of stages varies, and ``secant_heun``, which has no R.
