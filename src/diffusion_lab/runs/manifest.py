"""What a run was made with: `manifest.json`."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from diffusion_lab.runs.folder import RunFolder, write_text

_PACKAGES = (
    "diffusion-lab",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
    "scikit-learn",
)


class Manifest:
    """Keeps `manifest.json` true while a run goes on.

    Args:
        folder: the run's.
        seed: the experiment's.

    Each start, the first and every resumption, is a session with its own argv, code, versions and hardware.
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
            }
        )
        self._write()

    def note(self, **facts: Any) -> None:
        """Add facts about the run."""
        self.content |= facts
        self._write()

    def end(self, status: str, **facts: Any) -> None:
        """The session is over: ``finished``, ``interrupted`` or ``failed``."""
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
        commit = _git("rev-parse", "HEAD")
        if commit is None:
            return {}
        patch = _git("diff", "HEAD", "--binary") or ""
        if patch:
            number = len(self.content["sessions"])
            write_text(self.folder.path / f"code_{number}.patch", patch)
        return {"commit": commit.strip(), "dirty": bool(patch)}


def _git(*arguments: str) -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def versions() -> dict[str, str]:
    """Of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """Of this machine, as far as it can change a result."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
    }


def weights_hash(module: torch.nn.Module) -> str:
    """A hash of every parameter and stored buffer, by name and bit."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format).flatten().view(torch.uint8).numpy()
        )
    return digest.hexdigest()
