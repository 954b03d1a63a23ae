"""FSDP (Zhao et al. 2023): weights, gradients and the optimizer's state are divided among all processes.

This is Lightning's strategy with four changes: it computes in the same dtypes as `ddp`, so that the losses are those
of a single process; it clips by the norm of the whole gradient; it reads a checkpoint without running code in it,
where Lightning's lazy reader unpickles; and it can give the complete weights to rank 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import FSDPPrecision
from pytorch_lightning.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
    OptimStateKeyType,
    StateDictType,
)


class ShardedPrecision(FSDPPrecision):
    """Autocast for mixed precision, without casting data or new tensors.

    Args:
        precision: ``32-true``, ``bf16-mixed``, ``16-mixed`` or ``bf16-true``.

    Attributes:
        root: the wrapped module, from when it is set up.
    """

    root: FullyShardedDataParallel

    def __init__(self, precision: str) -> None:
        super().__init__(precision)  # type: ignore[arg-type]

    def convert_input(self, data: Any) -> Any:
        return data

    def forward_context(self) -> AbstractContextManager[Any]:
        if "mixed" not in self.precision:
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16
        assert self.root.compute_device is not None
        return torch.autocast(self.root.compute_device.type, dtype=dtype, cache_enabled=False)

    def clip_grad_by_norm(self, optimizer: torch.optim.Optimizer, clip_val: float) -> None:
        self.root.clip_grad_norm_(clip_val)


class FullySharded(FSDPStrategy):
    """Shards the network as one unit: each process stores its part, and a step gathers all parts."""

    @property
    def mixed_precision_config(self) -> None:
        """None, since FSDP would otherwise cast the images to bfloat16 as well."""
        return None

    def _setup_model(self, model: nn.Module) -> nn.Module:
        # With weights in channels-last order, PyTorch saves the optimizer's state in another order than it loads it.
        model.to(memory_format=torch.contiguous_format)
        root = FullyShardedDataParallel(model, device_id=self.root_device, use_orig_params=True)
        assert isinstance(self.precision_plugin, ShardedPrecision)
        self.precision_plugin.root = root
        return root

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        checkpoint = self.checkpoint_io.load_checkpoint(Path(checkpoint_path))
        model: Any = self.model
        with self._whole_state(rank0_only=False):
            model.load_state_dict(checkpoint.pop("state_dict"))
            for optimizer, state in zip(self.optimizers, checkpoint.get("optimizer_states", []), strict=False):
                named = FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_NAME, model)
                optimizer.load_state_dict(FullyShardedDataParallel.optim_state_dict_to_load(model, optimizer, named))
        return checkpoint

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        model: Any = self.model
        optimizer = getattr(optimizer, "optimizer", optimizer)  # inside Lightning's wrapper
        with self._whole_state(rank0_only=True):
            state = FullyShardedDataParallel.optim_state_dict(model, optimizer)
            if self.global_rank:
                return {}
            return FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_ID, model)

    def whole_weights(self) -> Mapping[str, Tensor]:
        """Return the complete weights by name, on the CPU, on rank 0; an empty mapping on other ranks.

        All processes must call it.
        """
        return self.lightning_module_state_dict()

    def _whole_state(self, rank0_only: bool) -> AbstractContextManager[Any]:
        # Offloading does not copy what is on the CPU already, and the next gathering would overwrite it.
        offload = self.root_device.type != "cpu"
        return FullyShardedDataParallel.state_dict_type(
            self.model,  # type: ignore[arg-type]
            StateDictType.FULL_STATE_DICT,
            FullStateDictConfig(offload_to_cpu=offload, rank0_only=rank0_only),
            FullOptimStateDictConfig(offload_to_cpu=offload, rank0_only=rank0_only),
        )


def whole_network(trainer: pl.Trainer) -> AbstractContextManager[None]:
    """Let the network on rank 0 hold its complete weights in the block. All processes must enter it."""
    if not isinstance(trainer.strategy, FullySharded):
        return nullcontext()
    root = trainer.strategy.model
    return FullyShardedDataParallel.summon_full_params(root, writeback=False, rank0_only=True)  # type: ignore[arg-type]
