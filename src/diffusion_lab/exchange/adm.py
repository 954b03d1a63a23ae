"""Checkpoints of improved-diffusion and of ADM (guided-diffusion), the code of Nichol & Dhariwal 2021 and of Dhariwal &
Nichol 2021.

Such a file holds weights alone. What they belong to is said by the flags behind which the model was trained, as the
instructions of both projects print them: ``--image_size 64 --num_channels 128 --noise_schedule cosine …``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.exchange.diffusers_unet import with_null_label
from diffusion_lab.exchange.foreign_model import ForeignModel
from diffusion_lab.exchange.unet_layers import unet_layers
from diffusion_lab.networks.unet import UNet

#: The flags that say what weights are of, with the values that they have in both projects where they are not typed.
#: `rescale_timesteps` is false in ADM and true in improved-diffusion, which is the same for 1000 steps.
_DEFAULTS: dict[str, Any] = {
    "image_size": 64,
    "num_channels": 128,
    "num_res_blocks": 2,
    "num_heads": 4,
    "num_heads_upsample": -1,
    "num_head_channels": -1,
    "attention_resolutions": "16,8",
    "channel_mult": "",
    "dropout": 0.0,
    "class_cond": False,
    "use_scale_shift_norm": True,
    "resblock_updown": False,
    "use_new_attention_order": False,
    "learn_sigma": False,
    "sigma_small": False,
    "diffusion_steps": 1000,
    "noise_schedule": "linear",
    "predict_xstart": False,
    "rescale_timesteps": None,
}
#: Flags of training, of memory and of sampling, that change nothing of what the weights stand for.
_IDLE = frozenset(
    {"use_checkpoint", "use_fp16", "use_kl", "rescale_learned_sigmas", "timestep_respacing", "batch_size"}
    | {"num_samples", "use_ddim", "clip_denoised", "model_path", "data_dir", "schedule_sampler", "lr", "weight_decay"}
    | {"lr_anneal_steps", "microbatch", "ema_rate", "log_interval", "save_interval", "resume_checkpoint"}
    | {"fp16_scale_growth"}
)
#: The widths of the levels where `channel_mult` does not say them, by the size of the images.
_MULTIPLIERS = {256: "1,1,2,2,4,4", 128: "1,1,2,3,4", 64: "1,2,3,4", 32: "1,2,2,2"}


def read_flags(text: str) -> dict[str, Any]:
    """Return the value of each flag.

    Args:
        text: as it was typed, ``--name value`` or ``--name=value`` each.

    Raises:
        LabError: naming a flag that is not known, or whose value is of another kind.
    """
    try:
        words = shlex.split(re.sub(r"(^|\s)(--\w+)=", r"\1\2 ", text))
    except ValueError as error:
        raise LabError(f"flags: {error}, in {text!r}") from error
    found = dict(_DEFAULTS)
    if len(words) % 2:
        raise LabError(f"flags must be pairs such as --image_size 64, got {text!r}")
    for flag, value in zip(words[::2], words[1::2], strict=True):
        name = flag.removeprefix("--")
        if not flag.startswith("--") or name not in {*_DEFAULTS, *_IDLE}:
            known = [f"--{one}" for one in (*_DEFAULTS, *_IDLE)]
            raise LabError(f"flags: {flag} is no flag of improved-diffusion or ADM{did_you_mean(flag, known)}")
        if name in _DEFAULTS:
            found[name] = _value(name, value)
    return found


def adm_model(flags: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ForeignModel:
    """Return a model of improved-diffusion or ADM.

    Args:
        flags: as `read_flags` returns them.
        weights: of its checkpoint, by name.

    Raises:
        LabError: naming the flag that has no counterpart here, or does not fit the weights.
    """
    size, multipliers = flags["image_size"], flags["channel_mult"] or _MULTIPLIERS.get(flags["image_size"])
    if multipliers is None:
        raise LabError(f"flags: --image_size {size} needs --channel_mult, such as 1,2,2")
    if flags["num_heads_upsample"] not in (-1, flags["num_heads"]) and flags["num_head_channels"] == -1:
        raise LabError(
            f"flags: --num_heads_upsample {flags['num_heads_upsample']}: only that of --num_heads, "
            f"{flags['num_heads']}, has a counterpart here"
        )
    if flags["rescale_timesteps"] is None and flags["diffusion_steps"] != 1000:
        raise LabError(
            f"flags: with --diffusion_steps {flags['diffusion_steps']} it must be typed whether the network was told "
            "the time in thousandths: --rescale_timesteps is True in improved-diffusion and False in ADM by default"
        )
    for name in ("num_res_blocks", "diffusion_steps", "image_size", "num_channels"):
        if not 1 <= flags[name] <= 100_000 or (name == "num_res_blocks" and flags[name] > 64):
            raise LabError(f"flags: --{name} is {flags[name]}, which no model has")
    if "label_emb.weight" in weights and not flags["class_cond"]:
        raise LabError("the weights have label_emb, and the flags do not say --class_cond True")
    widths = _numbers("channel_mult", multipliers)
    if widths[0] != 1:
        raise LabError(f"flags: --channel_mult {multipliers}: only a first level of 1 has a counterpart here")
    heads = flags["num_head_channels"]
    network = {
        "_target_": "diffusion_lab.networks.UNet",
        "base_channels": flags["num_channels"],
        "channel_multipliers": widths,
        "num_blocks": flags["num_res_blocks"],
        "attention_sizes": _numbers("attention_resolutions", flags["attention_resolutions"]),
        **({"heads": flags["num_heads"]} if heads == -1 else {"head_channels": heads}),
        "dropout": flags["dropout"],
        "scale_shift": flags["use_scale_shift_norm"],
        "learned_resampling": True if flags["resblock_updown"] else "conv",
        "norm_groups": 32,
        "norm_eps": 1e-5,
        "time_scale": 1000 / flags["diffusion_steps"] if flags["rescale_timesteps"] else 1.0,
        "freq_shift": 0,
        "labels": flags["class_cond"],
    }
    sizes = [size // 2**level for level in range(len(widths))]
    network["attention_sizes"] = [side for side in network["attention_sizes"] if side in sizes]
    first = weights.get("input_blocks.0.0.weight")
    if first is None or first.ndim != 4:
        raise LabError("the weight input_blocks.0.0.weight is missing")
    classes = weights["label_emb.weight"].shape[0] if "label_emb.weight" in weights else None
    return ForeignModel(
        kind="ADM",
        shape=(first.shape[1], size, size),
        num_classes=classes,
        network=network,
        choices=_choices(flags),
        weights_of=lambda built: _weights(built, flags["use_new_attention_order"], weights),
    )


def _choices(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options and keys of what is trained besides the network."""
    if (schedule := flags["noise_schedule"]) not in ("linear", "cosine"):
        raise LabError(f"flags: --noise_schedule {schedule}: linear and cosine have a counterpart here")
    mean = "x0" if flags["predict_xstart"] else "eps"
    choices: dict[str, Any] = {"schedule": schedule, "schedule.steps": flags["diffusion_steps"], "clip": "x0"}
    if flags["learn_sigma"]:
        return choices | {
            "parameterization": "learned_variance",
            "parameterization.mean._target_": f"diffusion_lab.parameterizations.{mean.capitalize()}",
            "objective": "hybrid",
            "sampler": "ancestral",
            "sampler.variance": "learned",
        }
    variance = "beta_tilde" if flags["sigma_small"] else "beta"
    return choices | {"parameterization": mean, "sampler": "ancestral", "sampler.variance": variance}


def _weights(network: UNet, new_order: bool, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights by the names that they have in the module of a run."""
    found, left = {}, dict(weights)
    for layer in unet_layers(network, "adm"):
        for name in layer.module.state_dict():
            if (theirs := f"{layer.theirs[0]}.{name}") not in left:
                raise LabError(f"the weight {theirs} is missing: the flags do not fit the file")
            value = left.pop(theirs).float()
            if layer.heads and value.ndim > 1:
                value = value.flatten(1)  # a convolution of one pixel
            if layer.kind == "query_key_value" and not new_order:
                # There a head has its query, key and value together, and here all queries come before all keys.
                value = torch.cat([part.flatten(0, 1) for part in _by_head(value, layer.heads)])
            if layer.kind == "time" and name == "weight":
                value = torch.cat(value.chunk(2, dim=1)[::-1], dim=1)  # the sines come first here
            if layer.kind == "labels":
                value = with_null_label(value)
            found[f"network.{layer.ours}.{name}"] = value
    if left:
        raise LabError(f"the weight {min(left)} is left over: the flags do not fit the file")
    return found


def _by_head(value: Tensor, heads: int) -> list[Tensor]:
    """Return queries, keys and values, each [heads, width/heads, …], of [heads · 3 · width/heads, …]."""
    if len(value) % (3 * heads):
        raise LabError(f"the flags do not fit the file: {len(value) // 3} channels do not go into {heads} heads")
    return list(value.reshape(heads, 3, len(value) // (3 * heads), *value.shape[1:]).unbind(1))


def _value(name: str, text: str) -> Any:
    """Return the value of a flag as the kind that its default has."""
    default = _DEFAULTS[name]
    try:
        if default is None or isinstance(default, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError) as error:
        kind = {int: "a whole number", float: "a number"}.get(type(default), "True or False")
        raise LabError(f"flags: --{name} must be {kind}, got {text!r}") from error


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise LabError(f"flags: --{name} must be whole numbers such as 1,2,2, got {text!r}") from error
