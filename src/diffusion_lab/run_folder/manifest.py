"""The manifest of a run, `manifest.json`: its code, environment, data and seed, and how it ended."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from diffusion_lab.config.build import Parts
from diffusion_lab.machine.atomic_write import write_bytes
from diffusion_lab.run_folder.environment import compute_environment, hardware, versions
from diffusion_lab.run_folder.fingerprint import fingerprint
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.git_patch import GitError, working_tree
from diffusion_lab.run_folder.layout import LAYOUT_VERSION
from diffusion_lab.run_folder.own_code import own_code
from diffusion_lab.training.graceful_interrupt import slurm_job


class Manifest:
    """The manifest of a run that is trained in this process. Each change is written to the file at once.

    Each start of the run, the first one and every resumption, is a session with its own argv, code, versions, hardware
    and fingerprint; making a `Manifest` adds one.

    Args:
        folder: the run's folder.
        seed: the run's seed.
    """

    def __init__(self, folder: RunFolder, seed: int) -> None:
        self.folder = folder
        self._start = time.monotonic()
        # config.yaml has been written by this code, also where an older version began the run.
        self.content: dict[str, Any] = folder.read_manifest() | {"layout_version": LAYOUT_VERSION}
        self.content.setdefault("seed", seed)
        self.content.setdefault("sessions", [])
        self.content["status"] = "running"
        self.content["sessions"].append(
            {
                "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "argv": sys.argv,
                "git": self._git(),
                "versions": versions(),
                "hardware": hardware(),
                "process_id": os.getpid(),
                "host": platform.node(),
                "slurm_job": slurm_job(),
            }
        )
        self._write()

    def add_fingerprint(self, config: Mapping[str, Any], parts: Parts, trainer: pl.Trainer) -> None:
        """Record, before training, the fingerprint and the weights that the session starts from.

        Args:
            config: the resolved config, as a plain container.
            parts: built from it; the data must be there.
            trainer: that will train them.
        """
        data, environment = parts.data.fingerprint(), {"versions": versions(), **compute_environment(trainer)}
        session = self.content["sessions"][-1]
        session["computing"] = compute_environment(trainer)
        session["weights"] = weights_hash(parts.module.state_dict())
        session["own_code"] = own_code(config)
        session["fingerprint"] = fingerprint(config, data, environment)
        parameters = sum(parameter.numel() for parameter in parts.module.parameters())
        self.add(data=data, fingerprint=session["fingerprint"], parameters=parameters)

    def add(self, **values: Any) -> None:
        """Record values about the run, by name."""
        self.content |= values
        self._write()

    def end_session(self, status: str, **values: Any) -> None:
        """Record how the session ended (``finished``, ``interrupted``, ``pruned`` or ``failed``), and other values."""
        self.content["status"] = status
        self.content["sessions"][-1] |= {
            "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "status": status,
            "wall_time_s": round(time.monotonic() - self._start, 1),
        }
        self.add(**values)

    def wall_time(self) -> float:
        """Return the seconds of this session and the earlier ones, without those of sessions that were killed."""
        earlier = sum(session.get("wall_time_s", 0.0) for session in self.content["sessions"][:-1])
        return earlier + time.monotonic() - self._start

    def _write(self) -> None:
        self.folder.write_json("manifest.json", self.content)

    def _git(self) -> dict[str, Any]:
        """Return the commit of the running code; what differs from it is written to a patch, or named as `left_out`."""
        outputs = self.folder.path.parents[1]
        try:
            tree = working_tree(Path(__file__).parent, without=outputs)
        except GitError as error:
            return {"error": str(error)}
        if tree is None:
            return {}
        state: dict[str, Any] = {"commit": tree.commit, "dirty": bool(tree.patch or tree.left_out)}
        if tree.patch:
            state["patch"] = f"code_{len(self.content['sessions'])}.patch"
            write_bytes(self.folder.path / state["patch"], tree.patch)
        if tree.left_out:
            state["left_out"] = list(tree.left_out)
        return state


def weights_hash(weights: Mapping[str, torch.Tensor]) -> str:
    """Return a hash of the names and bits of all tensors, as 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode(errors="surrogatepass"))  # a checkpoint may have any names
        values = tensor.detach().cpu().contiguous()
        digest.update(values.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
