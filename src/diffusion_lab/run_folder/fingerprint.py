"""Fingerprints that tell whether two runs are the same experiment: short hashes of config, code, data, environment.

Runs with the same `experiment` (a hash of config, code and data) are the same experiment. If their `environment` is the
same too, they are expected to agree bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from diffusion_lab.run_folder.own_code import own_code

#: The keys that do not affect a run's losses, weights, samples and metrics, each with the reason.
DECIDES_NOTHING = {
    "callbacks.checkpoints": "when weights are saved",
    "callbacks.progress": "what the terminal shows while training",
    "console": "what the terminal shows",
    "data.data_dir": "where the data lies; its content has a hash of its own",
    "data.in_memory": "both ways give the same batches",
    "data.path": "where the data lies; its content has a hash of its own",
    "data.workers": "any number gives the same batches",
    "launcher": "where the jobs of a sweep run",
    "logger": "where numbers and pictures go besides the run folder",
    "name": "the folder of runs",
    "notes": "for people",
    "paths": "where the data lies and runs are written; the content of the data has a hash of its own",
    "rerun": "which jobs of a sweep are run again",
    "resume": "a run that was resumed ends as it would have ended without the stop",
    "tags": "for people",
    "trainer.enable_model_summary": "a table on the terminal",
    "trainer.enable_progress_bar": "what the terminal shows while training",
    "trainer.profiler": "measures time",
}

#: The installed package.
PACKAGE = Path(__file__).parents[1]


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the hash of a training run's config without the keys of `DECIDES_NOTHING`, as 16 hexadecimal digits.

    The order of keys does not change it. ``1`` and ``1.0`` differ, as they do for Lightning's limits. ``init_from``
    counts as the path that it is.

    Args:
        config: resolved, as a plain container.
    """
    return _hash(without_idle_keys(config))


def code_hash(config: Mapping[str, Any]) -> str:
    """Return the hash of the code that a run with this config is made with, as 16 hexadecimal digits.

    That is the package, and the user's own modules that the config names (see `own_code`). The files of `conf/` and of
    the user's own config folders are no part of it, since what they choose is in the config.
    """
    own = own_code(config)
    return _hash({"package": package_hash(), **own}) if own else package_hash()


@cache
def package_hash() -> str:
    """Return the hash of every source file of the installed package, by name and content, as 16 hexadecimal digits.

    The files are read once in a process: what is edited later is not what the process runs.
    """
    files = sorted((path.relative_to(PACKAGE).as_posix(), path) for path in PACKAGE.rglob("*.py"))
    return _hash({name: hashlib.blake2b(path.read_bytes()).hexdigest() for name, path in files})


def fingerprint(config: Mapping[str, Any], data: Mapping[str, str], environment: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each part, and ``experiment``, the hash of config, code and data together.

    Args:
        config: the resolved config of a training run, as a plain container.
        data: the data module's `fingerprint()`.
        environment: whatever else affects the bits of a result, as plain values.
    """
    parts = {"config": config_hash(config), "code": code_hash(config), "data": _hash(data)}
    return {"experiment": _hash(parts), **parts, "environment": _hash(environment)}


def without_idle_keys(node: Any, prefix: str = "") -> Any:
    """Return a run's config, or the part of it below `prefix`, without the keys of `DECIDES_NOTHING`."""
    if not isinstance(node, Mapping):
        return node
    paths = {key: f"{prefix}{key}" for key in node}
    return {
        str(key): without_idle_keys(node[key], f"{path}.") for key, path in paths.items() if path not in DECIDES_NOTHING
    }


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
