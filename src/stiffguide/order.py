"""What a tableau proves about itself: order, stability, and a continuous extension, in one place.

`trees` grows the rooted trees, `conditions` decides the order conditions, `stability` finds R(z)
and what follows from it, `continuous` derives dense output.
"""

from stiffguide.conditions import (
    AnyTableau,
    continuous_residuals,
    dense_weights,
    elementary_weights,
    embedded_weights,
    main_weights,
    prove,
    proven_dense_order,
    proven_error_order,
    proven_order,
    residuals,
    stage_order,
)
from stiffguide.continuous import Extension, continuous_extension
from stiffguide.stability import (
    StabilityFunction,
    expansion,
    imaginary_stability_limit,
    is_a_stable,
    is_l_stable,
    negative_real_stability_limit,
    r_infinity,
    stability_function,
)
from stiffguide.trees import Tree, condition, trees

__all__ = [
    "AnyTableau",
    "Extension",
    "StabilityFunction",
    "Tree",
    "condition",
    "continuous_extension",
    "continuous_residuals",
    "dense_weights",
    "elementary_weights",
    "embedded_weights",
    "expansion",
    "imaginary_stability_limit",
    "is_a_stable",
    "is_l_stable",
    "main_weights",
    "negative_real_stability_limit",
    "prove",
    "proven_dense_order",
    "proven_error_order",
    "proven_order",
    "r_infinity",
    "residuals",
    "stability_function",
    "stage_order",
    "trees",
]
