"""Schedules of T steps, and what the network predicts, as schedulers of the library diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diffusion_lab.errors import LabError
from diffusion_lab.sampling.grids.base import MOST_STEPS
from diffusion_lab.schedules import VariancePreserving

#: What the network predicts, there and here.
_PREDICTIONS = {"epsilon": "Eps", "sample": "X0", "v_prediction": "V"}
_VARIANCES = {"fixed_small": "beta_tilde", "fixed_large": "beta", "learned_range": "learned"}
#: The spacings of time steps, by the class of the grid. That of `linspace` takes other steps there.
_SPACINGS = {"Trailing": "trailing", "Leading": "leading"}
#: Settings that have no other value here.
_PLAIN = {"thresholding": False, "rescale_betas_zero_snr": False, "clip_sample_range": 1.0, "set_alpha_to_one": True}


def scheduler_config(config: Mapping[str, Any], schedule: Any) -> dict[str, Any]:
    """Return the config of a scheduler of diffusers for the process of a run, and for its sampler where it has one.

    That is `DDIMScheduler` for DDIM, and else `DDPMScheduler`, ancestral sampling. It holds the betas one by one,
    whatever the schedule. `scheduler_differences` says what the run samples with that is not in it.

    Args:
        config: of the run.
        schedule: built from it.

    Raises:
        LabError: naming the option that has no counterpart there.
    """
    if not isinstance(schedule, VariancePreserving) or schedule.steps is None:
        raise LabError(
            f"format=diffusers: its schedulers have T steps that preserve variance, and schedule="
            f"{class_of(config['schedule'])} has none: train with schedule=linear or cosine and schedule.steps=1000"
        )
    learned = class_of(config["parameterization"]) == "LearnedVariance"
    predicts = class_of(config["parameterization"]["mean"] if learned else config["parameterization"])
    kinds = {here: there for there, here in _PREDICTIONS.items()}
    if predicts not in kinds:
        raise LabError(f"format=diffusers: its schedulers know no parameterization={predicts}, but {', '.join(kinds)}")
    t = torch.arange(schedule.steps + 1, dtype=torch.float64) / schedule.steps
    alpha_bar = schedule.alpha(t) ** 2
    sampler, clips = config["sampler"], class_of(config["clip"] or {})
    if clips not in ("", "ClipX0"):
        raise LabError(f"format=diffusers: clip={clips} has no counterpart there; take clip=x0 or none")
    is_ddim = class_of(sampler) == "DDIM"
    variance = {here: there for there, here in _VARIANCES.items()}[
        "learned" if learned else sampler.get("variance", "beta_tilde")
    ]
    if learned and is_ddim:
        raise LabError("format=diffusers: its DDIM knows no parameterization=learned_variance; take sampler=ancestral")
    common = {
        "num_train_timesteps": schedule.steps,
        "trained_betas": (1 - alpha_bar[1:] / alpha_bar[:-1]).tolist(),
        "prediction_type": kinds[predicts],
        "clip_sample": clips == "ClipX0",
        "timestep_spacing": _SPACINGS.get(class_of(config["grid"]), "trailing"),
        "steps_offset": 0,
    }
    if is_ddim:
        return {"_class_name": "DDIMScheduler", **common, "set_alpha_to_one": True}
    return {"_class_name": "DDPMScheduler", **common, "variance_type": variance}


def scheduler_differences(config: Mapping[str, Any]) -> list[str]:
    """Return a sentence about each thing that a run samples with and the scheduler does not have."""
    sampler, grid, guidance = (class_of(config[group] or {}) for group in ("sampler", "grid", "guidance"))
    found = []
    if sampler not in ("Ancestral", "DDIM"):
        found.append(
            f"The run itself draws with {sampler}; here is ancestral sampling. Other schedulers of diffusers are made "
            "from this one's config."
        )
    if grid not in _SPACINGS:
        found.append(f"The run itself takes the times of {grid}; here they are evenly spaced (trailing).")
    if guidance:
        found.append(f"The run itself draws with guidance ({guidance}); here there is none.")
    return found


def scheduler_choices(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options and keys here that a scheduler's config stands for.

    Raises:
        LabError: naming the setting that has no counterpart here.
    """
    name = config.get("_class_name")
    if name not in ("DDPMScheduler", "DDIMScheduler"):
        raise LabError(f"the scheduler is {name!r}: DDPMScheduler and DDIMScheduler have a counterpart here")
    for key, value in _PLAIN.items():
        if (there := config.get(key, value)) != value:
            raise LabError(f"{key}={there!r}: only {value!r} has a counterpart here")
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in _PREDICTIONS:
        raise LabError(f"prediction_type={prediction!r}: {', '.join(_PREDICTIONS)} have a counterpart here")
    spacing = config.get("timestep_spacing", "leading")
    grids = {there: here.lower() for here, there in _SPACINGS.items()}
    if spacing not in grids or config.get("steps_offset", 0) not in (0, None):
        raise LabError(f"timestep_spacing={spacing!r}: {', '.join(grids)} have a counterpart here, with steps_offset=0")
    choices = {
        **_schedule(config),
        "clip": "x0" if config.get("clip_sample", True) else "none",
        "grid": grids[spacing],
    }
    parameterization, variance = _PREDICTIONS[prediction], config.get("variance_type", "fixed_small")
    if name == "DDIMScheduler":
        return choices | {"parameterization": parameterization.lower(), "sampler": "ddim"}
    if variance not in _VARIANCES:
        raise LabError(f"variance_type={variance!r}: {', '.join(_VARIANCES)} have a counterpart here")
    choices |= {"sampler": "ancestral", "sampler.variance": _VARIANCES[variance]}
    if variance != "learned_range":
        return choices | {"parameterization": parameterization.lower()}
    mean = f"diffusion_lab.parameterizations.{parameterization}"
    more = {"parameterization": "learned_variance", "parameterization.mean._target_": mean, "objective": "hybrid"}
    return choices | more


def _schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    steps, betas = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    if type(steps) is not int or not 2 <= steps <= MOST_STEPS:
        raise LabError(f"num_train_timesteps={steps!r}: a whole number from 2 to {MOST_STEPS:,} goes here")
    if betas is not None:
        if not isinstance(betas, list) or len(betas) != steps:
            raise LabError(f"trained_betas must be a list of num_train_timesteps={steps} numbers")
        return {"schedule": "given_betas", "schedule.betas": list(betas)}
    kind = config.get("beta_schedule", "linear")
    first, last = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    if kind == "squaredcos_cap_v2":
        return {"schedule": "cosine", "schedule.steps": steps}
    if kind == "linear":
        ends = {"schedule.beta_start": first * steps / 1000, "schedule.beta_end": last * steps / 1000}
        return {"schedule": "linear", "schedule.steps": steps, **ends}
    if kind == "scaled_linear":
        betas = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64) ** 2
        return {"schedule": "given_betas", "schedule.betas": betas.tolist()}
    raise LabError(f"beta_schedule={kind!r}: linear, scaled_linear and squaredcos_cap_v2 have a counterpart here")


def class_of(node: Mapping[str, Any]) -> str:
    """Return the name of the class of a node; an empty text for a node without one."""
    return str(node.get("_target_", "")).rpartition(".")[2]
