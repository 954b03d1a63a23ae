"""Whether two runs are the same experiment: short hashes of config, code, data and environment.

Equal `experiment` (config, code and data) is the same experiment; equal `environment` besides, and the same bits are
to be expected of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import diffusion_lab

#: The keys that decide nothing of a run's losses, weights, samples and metrics, and why.
DECIDES_NOTHING = {
    "callbacks.checkpoints": "when weights are saved",
    "callbacks.progress": "what the terminal shows while training",
    "console": "what the terminal is told",
    "data.data_dir": "where the data lies; what it is, its own hash says",
    "launcher": "where the jobs of a sweep run",
    "logger": "where numbers and pictures go besides the run folder",
    "name": "the folder of runs",
    "notes": "for people",
    "paths": "where data lies and runs are written; what the data is, `data` says",
    "rerun": "which jobs of a sweep are run again",
    "resume": "a run that was stopped and went on is the run that it would have been",
    "tags": "for people",
    "trainer.enable_model_summary": "a table on the terminal",
    "trainer.enable_progress_bar": "what the terminal shows while training",
    "trainer.profiler": "measures time",
}


def config_hash(cfg: DictConfig) -> str:
    """16 hexadecimal digits: of the resolved config of a training run, without what `DECIDES_NOTHING`.

    Neither the order of keys nor how a number was typed changes it (``1e-3`` is ``0.001``, but ``1`` is not ``1.0``,
    which Lightning tells apart). ``init_from`` counts as the path that it is.

    Args:
        cfg: composed, or read from a run folder. It is not changed.
    """
    node = OmegaConf.to_container(cfg, resolve=True)
    return _hash(deciding(node))


@cache
def code_hash() -> str:
    """16 hexadecimal digits: of every source file of the installed package, by name and content.

    `conf/` is no part of it: what it decided stands in the config. The files are read once: what is edited after a
    process has begun is not what it runs.
    """
    package = Path(diffusion_lab.__file__).parent
    files = sorted((path.relative_to(package).as_posix(), path) for path in package.rglob("*.py"))
    return _hash({name: hashlib.blake2b(path.read_bytes()).hexdigest() for name, path in files})


def fingerprint(cfg: DictConfig, data: Mapping[str, str], environment: Mapping[str, Any]) -> dict[str, str]:
    """What the manifest says under ``fingerprint``: each part's hash, and ``experiment`` of the first three together.

    Args:
        cfg: of a training run.
        data: of the data module's `fingerprint()`.
        environment: what else decides bits, as plain values.
    """
    parts = {"config": config_hash(cfg), "code": code_hash(), "data": _hash(data)}
    return {"experiment": _hash(parts), **parts, "environment": _hash(environment)}


def deciding(node: Any, prefix: str = "") -> Any:
    """A run's config, or what is in it under `prefix`, as a plain container without the keys that decide nothing."""
    if not isinstance(node, Mapping):
        return node
    keys = {key: f"{prefix}{key}" for key in node}
    return {str(key): deciding(node[key], f"{path}.") for key, path in keys.items() if path not in DECIDES_NOTHING}


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
