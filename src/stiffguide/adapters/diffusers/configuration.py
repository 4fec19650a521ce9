"""Configurations of other schedulers: diffusers has several words for one thing."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import diffusers
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

from stiffguide.adapters.diffusers.source_keys import (
    BEHIND,
    CLASSES,
    FLOW,
    GRID,
    MODEL,
    OWN,
    SOLVER,
    WITH_BETAS,
    is_neutral,
)
from stiffguide.errors import InputError, StiffguideWarning

Configuration = Mapping[str, Any]

# the schedulers of models with betas; EDM's is on diffusers' list, and its models are others
COMPATIBLE = [e.name for e in KarrasDiffusionSchedulers if not e.name.startswith("EDM")]


def name_of(config: Configuration) -> str:
    """The scheduler that a configuration is of."""
    return str(config.get("_class_name", "this configuration"))


def completed(config: Configuration) -> dict[str, Any]:
    """With what the old scheduler took for granted of its model, as if it had been chosen.

    diffusers leaves a scheduler's defaults out, for those of the new one to hold; a model was
    trained with the old ones, and a file need not name them.
    """
    words = dict(config)
    made = getattr(diffusers, name_of(config), None)
    parameters = inspect.signature(made.__init__).parameters if inspect.isclass(made) else {}
    for key in (*WITH_BETAS, *MODEL):
        if key in parameters and parameters[key].default is not inspect.Parameter.empty:
            words.setdefault(key, parameters[key].default)
    return chosen(words, *WITH_BETAS)


def chosen(words: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The same with keys that count as chosen: diffusers drops what it takes for a default."""
    if left := words.get("_use_default_values"):
        words["_use_default_values"] = [key for key in left if key not in keys]
    return words


def sorted_out(
    config: Configuration, known: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A configuration without the words of other schedulers that diffusers warns of, and those."""
    defaults = config.get("_use_default_values") or ()
    others = {
        key: value
        for key, value in config.items()
        if key not in known
        and not key.startswith("_")
        and (key in OWN or key in FLOW or key not in defaults)
    }
    return {key: value for key, value in config.items() if key not in others}, others


def is_flow(words: Configuration) -> bool:
    """Whether it is the configuration of a flow-matching model."""
    if "prediction_type" in words or "use_flow_sigmas" in words:
        flow = words.get("prediction_type") == "flow_prediction"
        return flow or bool(words.get("use_flow_sigmas"))
    return "shift" in words or name_of(words).startswith("FlowMatch")


def refuse_options(ours: str, given: Collection[str], known: Collection[str]) -> None:
    """Raise InputError for an option that none of these schedulers has."""
    for key in sorted(given):
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        why = ", which says how another solver works" if key in SOLVER else ""
        raise InputError(f"{ours} has no option {key!r}{why}{hint or '; leave it out'}")


def refuse_model(words: Configuration, ours: str, known: Collection[str]) -> None:
    """Raise InputError for a model that the scheduler `ours`, of these keys, cannot sample."""
    name = name_of(words)
    if "sigma_schedule" in words or {"sigma_data", "rho", "s_noise"} <= set(words):
        raise InputError(
            "this configuration is of a model with EDM's preconditioning, which these schedulers "
            "do not apply: call adapters.diffusion.sample with its denoiser"
        )
    if name in CLASSES:
        raise InputError(
            f"{name} cannot be replaced: {CLASSES[name]}; keep it, or call "
            "adapters.diffusion.sample with a denoiser made of the model"
        )
    strange = {
        key: neutral[0] if neutral else None
        for key, (neutral, _) in MODEL.items()
        if key in words and key not in known and not is_neutral(words[key], neutral)
    }
    if strange:
        key = next(iter(strange))
        way_out = ", ".join(f"{key}={value!r}" for key, value in strange.items())
        raise InputError(
            f"{key} = {words[key]!r} of {name} says that {MODEL[key].means}, which {ours} does not "
            f"follow: keep the old scheduler, or pass {way_out} for a model that is another"
        )
    if not {"beta_start", "beta_end", "beta_schedule"} & set(words) and not is_flow(words):
        raise InputError(
            f"{name} names neither betas nor a flow, so that its noise levels are not known: give "
            "beta_start, beta_end and beta_schedule, or prediction_type='flow_prediction'"
        )
    if {key for key in words if not key.startswith("_")} == {"shift"}:
        raise InputError(
            f"{name} names a shift, but not num_train_timesteps: what the model is told at which "
            "level is not known; give num_train_timesteps for a flow that is told sigma times that"
        )


def warn_of_left_out(words: Configuration, ours: str, known: Collection[str]) -> None:
    """Warn of keys that `ours` leaves out though they are not neutral."""
    silent = {*known, *MODEL, *SOLVER, *BEHIND, *OWN, *FLOW, *WITH_BETAS}
    silent.update(words.get("_use_default_values") or ())
    left = [
        f"{key} = {value!r}"
        for key, value in words.items()
        if key not in silent
        and not key.startswith("_")
        and not is_neutral(value, GRID.get(key, (False,)))
    ]
    if left:
        warnings.warn(
            f"{ours} does not know, and leaves out, {', '.join(left)} of {name_of(words)}",
            StiffguideWarning,
            stacklevel=3,
        )


def refuse_flow(words: Configuration, instead: str) -> None:
    """Raise InputError for a flow-matching model."""
    if is_flow(words):
        raise InputError(f"{name_of(words)} is of a flow-matching model: use {instead}")


def as_shift(words: dict[str, Any], given: Configuration, instead: str) -> dict[str, Any]:
    """A configuration for a flow-matching scheduler, from one of a multistep scheduler too."""
    if not is_flow({**words, **given}):
        raise InputError(f"{name_of(words)} is not of a flow-matching model: use {instead}")
    if "flow_shift" not in words or "shift" in words:
        return words
    return chosen({**words, "shift": words["flow_shift"]}, "shift")


def as_flow_prediction(words: dict[str, Any], given: Configuration) -> dict[str, Any]:
    """A configuration for a multistep scheduler, from one of a flow-matching scheduler too."""
    if "shift" not in words or not is_flow({**words, **given}) or "flow_shift" in words:
        return words
    if words.get("invert_sigmas"):
        raise InputError("invert_sigmas=True: use StiffguideFlowMatchHeunScheduler")
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    return chosen({**words, "flow_shift": words["shift"], **flow}, "flow_shift", *flow)
