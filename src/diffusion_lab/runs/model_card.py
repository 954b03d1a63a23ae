"""The model card: what a model is, what it was trained with, what it reaches, and how it is loaded."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from diffusion_lab.exchange.diffusers_scheduler import class_of
from diffusion_lab.exchange.own_export import without_machine
from diffusion_lab.processes import Gaussian
from diffusion_lab.run_folder.run_record import RunRecord, leaves, plain
from diffusion_lab.runs.load import Run

#: The largest difference of outputs, as a share of the largest output, at which an export is right.
TOLERANCE = 1e-4

#: Groups of the config that say what the model is, in the order of the card.
_SHOWN = ("data", "codec", "schedule", "process", "parameterization", "objective", "network", "sampler", "guidance")

#: An absolute path, or one from the home folder, as a value or in a list of them.
_PATH = re.compile(r"[=,\[:{(]\s*['\"]?(/|~|[A-Za-z]:\\|file:)")


@dataclass(frozen=True)
class Loading:
    """How a model is read.

    Attributes:
        library: that reads it, as the Hugging Face Hub names it.
        install: what is to be installed, behind ``pip install``.
        code: Python that loads it and draws samples.
        notes: what else there is to know; each is a paragraph.
        place: where the code is run.
        difference: the largest difference of the output of what was written, read again, to that of the run's network,
            as a share of the largest output; None where nothing was computed.
    """

    library: str
    install: str
    code: str
    notes: tuple[str, ...] = ()
    place: str = "In the folder of this file"
    difference: float | None = None


def model_card(run: Run, loading: Loading, license: str | None, picture: bool) -> str:
    """Return the text of a model card, in Markdown with the header of the Hugging Face Hub.

    Args:
        run: whose model it is.
        loading: how it is read.
        license: of the weights; None: the card says that none is given.
        picture: whether there is a ``samples.png`` beside it.
    """
    config, record = run.settings.as_node(), RunRecord(run.folder.path)
    manifest = run.folder.read_manifest()
    shown = without_machine(config)
    nodes = {group: shown[group] for group in _SHOWN if shown.get(group)}
    return _TEMPLATE.render(
        name=config["name"],
        library=loading.library,
        license=license,
        text=run.parts.data.vocabulary is not None,
        data=class_of(config["data"]),
        picture=picture,
        parts=[(group, class_of(node), _arguments(node)) for group, node in nodes.items()],
        gaussian=isinstance(run.parts.process, Gaussian),
        parameters=sum(parameter.numel() for parameter in run.parts.network.parameters()),
        shape=list(run.parts.pipeline.shape),
        step=run.step,
        weights=run.weights,
        metrics=[(key, f"{value:.4g}") for key, value in sorted(_numbers(record).items())],
        loading=loading,
        imported=_kind(manifest),
        origin=config.get("init_from") is not None,
        command=plain(shlex.join(["diffusion-lab", "train", *_told(run.folder.read_overrides())]), 2000),
        fingerprint=(manifest.get("fingerprint") or {}).get("experiment"),
        versions=_versions(manifest),
    )


def _numbers(record: RunRecord) -> dict[str, float]:
    """Return the run's numbers that say how good the model is: losses of held-out data, and evaluations."""
    left_out = ("train/", "optimizer/", "memory/", "parameters", "wall_time_s", "step")
    return {
        key: value for key, value in record.metrics.items() if not key.startswith(left_out) and math.isfinite(value)
    }


def _kind(manifest: Mapping[str, Any]) -> str | None:
    """Return which program has trained a model that was imported; None for one that was trained here."""
    imported = manifest.get("imported")
    return plain(imported.get("kind")) if isinstance(imported, Mapping) else None


def _told(overrides: list[str]) -> list[str]:
    """Return the overrides without those that speak of the machine that the run was trained on."""
    left_out = ("paths.", "resume=", "init_", "logger", "launcher", "console", "notes=", "hydra")
    return [text for text in overrides if not text.lstrip("+~").startswith(left_out) and not _PATH.search(text)]


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    sessions = manifest.get("sessions") or [{}]
    versions = sessions[0].get("versions") or {}
    return {name: str(versions[name]) for name in ("python", "torch", "diffusion-lab") if name in versions}


def _arguments(node: Mapping[str, Any]) -> str:
    """Return the keys of a node that say what it is, without folders and long lists."""
    values = [
        (key, value)
        for key, value in leaves(dict(node))
        if not key.endswith("_target_") and not (isinstance(value, list) and len(value) > 16)
    ]
    hidden = ("path", "data_dir", "workers", "in_memory")
    return ", ".join(f"{key} {_word(value)}".replace("|", "\\|") for key, value in values if key not in hidden)


def _word(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_TEMPLATE = jinja2.Environment(
    loader=jinja2.PackageLoader("diffusion_lab", "runs"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
).get_template("model_card.md.jinja")
