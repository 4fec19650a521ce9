"""Configurations of other schedulers: diffusers has several words for one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

from stiffguide.errors import InputError

Configuration = Mapping[str, Any]

# the schedulers of models with betas; EDM's is on diffusers' list, and its models are others
COMPATIBLE = [e.name for e in KarrasDiffusionSchedulers if not e.name.startswith("EDM")]

# what only schedulers of this package have: diffusers knows no other class to expect them from
OWN = {"guidance", "guidance_order", "w_stiff", "w_con", "sigma_grid", "sigma_data", "points"}
# what says of a flow-matching model that it is one; pipelines look some of it up
FLOW = {
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


def sorted_out(config: Configuration, known: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A configuration without the words of other schedulers that diffusers warns of, and those."""
    others = {key: config[key] for key in sorted(OWN | FLOW) if key in config and key not in known}
    return {key: value for key, value in config.items() if key not in others}, others


def is_flow(config: Configuration, given: Configuration) -> bool:
    """Whether it is the configuration of a flow-matching model."""
    words = {**config, **given}
    if "prediction_type" in words or "use_flow_sigmas" in words:
        flow = words.get("prediction_type") == "flow_prediction"
        return flow or bool(words.get("use_flow_sigmas"))
    return "shift" in words or str(words.get("_class_name", "")).startswith("FlowMatch")


def refuse_preconditioned(config: Configuration) -> None:
    """Raise InputError for a model that is given its input in the scaling of EDM."""
    if "sigma_schedule" in config or {"sigma_data", "rho", "s_noise"} <= set(config):
        raise InputError(
            "this configuration is of a model with EDM's preconditioning, which these schedulers "
            "do not apply: call adapters.diffusion.sample with its denoiser"
        )


def refuse_flow(config: Configuration, given: Configuration, instead: str) -> None:
    """Raise InputError for a flow-matching model."""
    if is_flow(config, given):
        name = config.get("_class_name", "this configuration")
        raise InputError(f"{name} is of a flow-matching model: use {instead}")


def as_shift(config: Configuration, given: Configuration, instead: str) -> Configuration:
    """A configuration for a flow-matching scheduler, from one of a multistep scheduler too."""
    if not is_flow(config, given) and ("beta_schedule" in config or "prediction_type" in config):
        name = config.get("_class_name", "this configuration")
        raise InputError(f"{name} is not of a flow-matching model: use {instead}")
    if "flow_shift" not in config or "shift" in config:
        return config
    return _chosen({**config, "shift": config["flow_shift"]}, "shift")


def as_flow_prediction(config: Configuration, given: Configuration) -> Configuration:
    """A configuration for a multistep scheduler, from one of a flow-matching scheduler too."""
    if "shift" not in config or not is_flow(config, given) or "flow_shift" in config:
        return config
    if config.get("invert_sigmas"):
        raise InputError("invert_sigmas=True: use StiffguideFlowMatchHeunScheduler")
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    return _chosen({**config, "flow_shift": config["shift"], **flow}, "flow_shift", *flow)


def _chosen(words: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The same with keys that count as chosen: diffusers drops what it takes for a default."""
    if left := words.get("_use_default_values"):
        words["_use_default_values"] = [key for key in left if key not in keys]
    return words
