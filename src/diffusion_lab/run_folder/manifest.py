"""What a run was made with: `manifest.json`."""

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
from omegaconf import DictConfig

from diffusion_lab.config.build import Parts
from diffusion_lab.machine.atomic_write import write_bytes
from diffusion_lab.run_folder.environment import computing, hardware, versions
from diffusion_lab.run_folder.fingerprint import fingerprint
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.git_patch import GitError, working_tree
from diffusion_lab.training.graceful_interrupt import slurm_job


class Manifest:
    """Keeps `manifest.json` true while a run goes on.

    Args:
        folder: the run's.
        seed: the experiment's.

    Each start, the first and every resumption, is a session with its own argv, code, versions, hardware and
    fingerprint.
    """

    def __init__(self, folder: RunFolder, seed: int) -> None:
        self.folder = folder
        self._start = time.monotonic()
        self.content: dict[str, Any] = folder.read_json("manifest.json")
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

    def identify(self, cfg: DictConfig, parts: Parts, trainer: pl.Trainer) -> None:
        """Note, before training, what tells whether another run is the same: see `fingerprint`.

        The weights are those that the session starts from.
        """
        data, environment = parts.data.fingerprint(), {"versions": versions(), **computing(trainer)}
        session = self.content["sessions"][-1]
        session["computing"] = computing(trainer)
        session["weights"] = weights_hash(parts.module.state_dict())
        session["fingerprint"] = fingerprint(cfg, data, environment)
        parameters = sum(parameter.numel() for parameter in parts.network.parameters())
        self.note(data=data, fingerprint=session["fingerprint"], parameters=parameters)

    def note(self, **facts: Any) -> None:
        """Add facts about the run."""
        self.content |= facts
        self._write()

    def end(self, status: str, **facts: Any) -> None:
        """The session is over: ``finished``, ``interrupted``, ``pruned`` or ``failed``."""
        self.content["status"] = status
        self.content["sessions"][-1] |= {
            "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "status": status,
            "wall_time_s": round(time.monotonic() - self._start, 1),
        }
        self.note(**facts)

    def wall_time(self) -> float:
        """Seconds so far, of this session and of those before it that told their end."""
        earlier = sum(session.get("wall_time_s", 0.0) for session in self.content["sessions"][:-1])
        return earlier + time.monotonic() - self._start

    def _write(self) -> None:
        self.folder.write_json("manifest.json", self.content)

    def _git(self) -> dict[str, Any]:
        """Of the code that runs; what differs from the commit is in the patch, but for what is `left_out` of it."""
        outputs = self.folder.path.parents[1]
        try:
            tree = working_tree(Path(__file__).parent, without=outputs)
        except GitError as error:
            return {"error": str(error)}
        if tree is None:
            return {}
        told: dict[str, Any] = {"commit": tree.commit, "dirty": bool(tree.patch or tree.left_out)}
        if tree.patch:
            told["patch"] = f"code_{len(self.content['sessions'])}.patch"
            write_bytes(self.folder.path / told["patch"], tree.patch)
        if tree.left_out:
            told["left_out"] = list(tree.left_out)
        return told


def weights_hash(weights: Mapping[str, torch.Tensor]) -> str:
    """A hash of every tensor, by name and bit."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        values = tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        digest.update(values.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
