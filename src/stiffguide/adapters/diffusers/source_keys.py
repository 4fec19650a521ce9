"""What the configurations of diffusers' schedulers say of a model, and what of it can be followed.

A key that a scheduler here has in its own configuration is honoured. Any other key of `MODEL` is
refused unless it has a neutral value; `None`, or no such key, is always neutral. Keys of `SOLVER`
have no meaning here, whatever they say. All that is left, unless neutral, is named in a warning.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any, NamedTuple


class Key(NamedTuple):
    """A word of a configuration that changes the schedule, or what a model is given."""

    neutral: tuple[Any, ...]  # the values with which it changes nothing
    means: str  # what any other value says


FEW_STEPS = "the model was distilled for a few steps of its own"
STAGED = "the model is sampled in stages of growing resolution, with new noise between them"
POLICY = "the model returns a policy for a whole segment, not one velocity"

MODEL: dict[str, Key] = {
    "rescale_betas_zero_snr": Key((False,), "the schedule was rescaled to end in pure noise"),
    "snr_shift_scale": Key((1.0,), "the signal-to-noise ratio of the schedule was divided by it"),
    "timestep_type": Key(("discrete",), "the model is told a quarter of log sigma"),
    "stochastic_sampling": Key((False,), "new noise is put in after every step"),
    "original_inference_steps": Key((), FEW_STEPS),
    "timestep_scaling": Key((), FEW_STEPS),
    "upscale_mode": Key((), FEW_STEPS),
    "scale_factors": Key((), FEW_STEPS),
    "stages": Key((1,), STAGED),
    "stage_range": Key((), STAGED),
    "gamma": Key((), STAGED),
    "num_policy_substeps": Key((), POLICY),
    "n_grid": Key((), POLICY),
    "final_step_size_scale": Key((), POLICY),
}

# words of a model with betas: what the old scheduler knew counts, even if it was its own default
WITH_BETAS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "snr_shift_scale",
    "timestep_type",
)

TOKENS = "its model samples tokens, not numbers"
CLASSES: dict[str, str] = {  # whose keys do not say what their models are
    "AmusedScheduler": TOKENS,
    "BlockRefinementScheduler": TOKENS,
    "DiscreteDDIMScheduler": TOKENS,
    "EntropyBoundScheduler": TOKENS,
    "VQDiffusionScheduler": TOKENS,
    "DDPMWuerstchenScheduler": "its schedule is a cosine without entries, told as a share of it",
    "FlowMapEulerDiscreteScheduler": "its model is told where a step ends, too",
    "IPNDMScheduler": "its levels are sines of time, which no betas describe",
    "KarrasVeScheduler": "its model is told levels, and given its input unscaled",
    "LTXEulerAncestralRFScheduler": "it puts new noise into a rectified flow after every step",
    "MiniMaxH3Scheduler": "its model is told 1 - sigma, and returns the velocity of that time",
    "PiflowScheduler": POLICY,
    "RFD4ProteinaScheduler": "it rescales the score of a flow that runs beside another",
    "SCMScheduler": "its model predicts in the trigonometric form of consistency models",
    "ScoreSdeVeScheduler": "its model returns the score, and is told levels",
}

SOLVER = frozenset(
    {
        "algorithm_type",
        "corrector_order",
        "disable_corrector",
        "eta",
        "euler_at_final",
        "lower_order_final",
        "noise_sampler_seed",
        "predict_x0",
        "predictor_order",
        "set_alpha_to_one",
        "skip_prk_steps",
        "solver_order",
        "solver_p",
        "solver_type",
        "tau_func",
    }
)

# of grid and output; those behind a switch count no more than it does
GRID: dict[str, tuple[Any, ...]] = {
    "thresholding": (False,),
    "clip_sample": (False,),
    "use_karras_sigmas": (False,),
    "use_exponential_sigmas": (False,),
    "use_beta_sigmas": (False,),
    "use_lu_lambdas": (False,),
    "use_dynamic_shifting": (False,),
    "final_sigmas_type": ("zero",),
    "interpolation_type": ("linear",),
    "lambda_min_clipped": (-math.inf,),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
}
BEHIND = frozenset(
    {
        "dynamic_thresholding_ratio",
        "sample_max_value",
        "clip_sample_range",
        "time_shift_type",
        "steps_offset",
        "timestep_spacing",
        "sigma_min",  # found in the configuration by grids that have ends
        "sigma_max",
    }
)

# what only schedulers of this package have: diffusers knows no other class to expect them from
OWN = frozenset(
    {
        "guidance",
        "guidance_order",
        "w_stiff",
        "w_con",
        "sigma_grid",
        "sigma_data",
        "center",
        "points",
    }
)
# what says of a flow-matching model that it is one; pipelines look some of it up
FLOW = frozenset(
    {
        "flow_shift",
        "prediction_type",
        "use_flow_sigmas",
        "shift",
        "base_shift",
        "max_shift",
        "base_image_seq_len",
        "max_image_seq_len",
        "invert_sigmas",
        "stochastic_sampling",
    }
)

# what a caller may say of a model in words that are not the scheduler's own; a shift has one name
ASIDES = (FLOW - {"shift", "flow_shift"}) | MODEL.keys()


def is_neutral(value: Any, neutral: tuple[Any, ...] = (False,)) -> bool:
    """Whether a value says nothing: nothing at all, or one of the neutral ones."""
    if isinstance(value, (bool, int, float, str)):
        return value in neutral
    return value is None or (isinstance(value, Sized) and len(value) == 0)
