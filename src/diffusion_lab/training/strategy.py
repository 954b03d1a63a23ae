"""Lightning's strategy and plugins for the settings `trainer.*`: processes, precision and SLURM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from diffusion_lab.training.fsdp import FullySharded, ShardedPrecision
from diffusion_lab.training.precision import HalfNetwork


def strategy_and_plugins(trainer: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Return arguments of Lightning's Trainer that replace settings of the config, and plugins to add.

    Args:
        trainer: the config node `trainer`, already checked.
    """
    replaced: dict[str, Any] = {}
    plugins: list[Any] = []
    precision = trainer.get("precision", "32-true")
    if trainer.get("strategy") == "fsdp":
        replaced = {"strategy": FullySharded(), "precision": None}
        plugins.append(ShardedPrecision("32-true" if precision == 32 else precision))
    elif precision == "bf16-true":
        replaced = {"precision": None}
        plugins.append(HalfNetwork())
    if not TorchElasticEnvironment.detect() and SLURMEnvironment.detect():
        # Lightning would save a checkpoint in the middle of a step; `GracefulInterrupt` saves between two steps.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return replaced, plugins
