"""Averages of the weights whose width can be chosen after training (Karras et al. 2024, EDM2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO
from diffusion_lab.training.ema import KEY, WeightAverages
from diffusion_lab.training.power_profile import NARROWEST, WIDEST, gamma_of

#: Where the stored averages lie, beside the checkpoints.
FOLDER = "averages"

#: The most copies there may be.
MOST_STORED = 1000


class PowerEMA(WeightAverages):
    """Power-function averages, with the decay d_n = (1 − 1/n)^(γ+1) (EDM2, eq. 127), and copies of them on the way.

    Their memory grows with the training: the relative width σ_rel is the standard deviation of the times that an
    average remembers, as a share of the time so far. From the copies, ``weights=power_<width>`` of scripts/sample.py
    makes the average of another width, for the end of training or any checkpoint before. The key of each average that
    is kept is ``power_<width>``.

    Copies are stored every `store_every_n_updates` updates. When there would be more than `max_stored`, the distance is
    doubled and every other copy removed: from half of `max_stored` on they take between a half and all of `max_stored`
    times the size of the averages.

    Args:
        widths: σ_rel of the averages that are kept; validation and sampling use the first.
        every_n_steps: number of optimizer steps between two updates.
        store_every_n_updates: number of updates between two copies at first.
        max_stored: the largest number of copies, from 2 to 1000.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(
        self,
        widths: list[float],
        every_n_steps: int = 1,
        store_every_n_updates: int = 50,
        max_stored: int = 32,
    ) -> None:
        for width in widths:
            if not NARROWEST <= width < WIDEST:
                raise ValueError(f"ema.widths must lie between {NARROWEST} and {WIDEST:.4f}, got {width}")
        if not widths or len(set(widths)) < len(widths):
            raise ValueError(f"ema.widths must be one or several different numbers, got {widths}")
        if store_every_n_updates < 1:
            raise ValueError(f"ema.store_every_n_updates must be at least 1, got {store_every_n_updates}")
        if not 2 <= max_stored <= MOST_STORED:
            raise ValueError(f"ema.max_stored must lie between 2 and {MOST_STORED}, got {max_stored}")
        super().__init__([f"power_{width}" for width in widths], every_n_steps)
        self.gammas = [gamma_of(width) for width in widths]
        self.store_every_n_updates = store_every_n_updates
        self.max_stored = max_stored
        self._io = AtomicCheckpointIO()

    def decays_at(self, update: int) -> list[float]:
        return [(1 - 1 / update) ** (gamma + 1) for gamma in self.gammas]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        before = self.updates
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.updates > before and self.updates % self.store_every_n_updates == 0 and trainer.is_global_zero:
            self._store(Path(trainer.default_root_dir) / "checkpoints" / FOLDER)

    def distance_at(self, update: int) -> int:
        """Return the number of updates between two copies that are kept after so many updates."""
        distance = self.store_every_n_updates
        while update // distance > self.max_stored:
            distance *= 2
        return distance

    def _store(self, folder: Path) -> None:
        distance = self.distance_at(self.updates)
        if self.updates % distance == 0:
            content = {"state_dict": {}, KEY: self.content()}
            self._io.save_checkpoint(content, folder / f"update_{self.updates:08d}.ckpt")
        for path in folder.glob("update_*.ckpt"):
            number = path.stem.removeprefix("update_")
            if number.isdecimal() and int(number) <= self.updates and int(number) % distance:
                path.unlink()
