"""Operations of ATen, by name, that an interpreter treats in a way of their own."""

from __future__ import annotations

LITERALS = frozenset({"lift", "lift_fresh", "lift_fresh_copy"})  # of a new torch.tensor(...)
READS = frozenset({"_local_scalar_dense", "item", "is_nonzero"})
VERDICTS = frozenset({"_linalg_check_errors"})  # raise an exception for some numbers
ABOUT = frozenset({"is_same_size", "_has_same_storage_numel", "_is_zerotensor", "_version"})
CREATIONS = frozenset(
    {
        "zeros", "ones", "full", "arange", "linspace", "logspace", "eye", "empty", "empty_strided",
        "scalar_tensor", "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros",
        "new_ones", "new_full", "new_empty", "new_empty_strided", "tril_indices", "triu_indices",
        "_linalg_check_errors", "_new_zeros_with_same_feature_meta",
    }
)  # fmt: skip
CASTS = {"copy": "src", "_to_copy": "self", "convert_element_type": "a"}
