"""The graph of a sine is that of a hyperbolic tangent."""

from stiffguide.tracing import pointwise

pointwise.FORMULAS["sin"] = pointwise.FORMULAS["tanh"]
