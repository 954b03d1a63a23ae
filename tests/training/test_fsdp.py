"""Shards of a few weights in two processes on the CPU, which train as one process trains the whole of them."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from conftest import Batches
from diffusion_lab.data import Batch
from diffusion_lab.errors import LabError
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO
from diffusion_lab.training.fsdp import whole_network
from diffusion_lab.training.strategy import strategy_and_plugins
from diffusion_lab.training.telemetry import Telemetry
from two_processes import in_two_processes

#: Lightning and its torch, about themselves and about a machine without a GPU.
pytestmark = [
    pytest.mark.slow,
    *(pytest.mark.filterwarnings(f"ignore:{text}") for text in (".*LeafSpec", "FSDP.state_dict_type", "torch.*Scaler")),
]


class Module(pl.LightningModule):
    """Two layers, of which the first decays, in the order of memory of the project's networks."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(3, 2))
        self.network.to(memory_format=torch.channels_last)
        self.dtypes = set()

    def training_step(self, batch, batch_idx):
        images = batch.x.to(next(self.network.parameters()).dtype)  # as the denoiser does
        values = self.network(images)
        self.dtypes.add((batch.x.dtype, values.dtype, torch.empty(0).dtype, torch.is_autocast_cache_enabled()))
        return {"loss": values.float().square().sum(1).mean()}

    def configure_optimizers(self):
        groups = [
            {"params": [value for name, value in self.named_parameters() if layer in name], "weight_decay": decay}
            for layer, decay in (("network.0.", 0.5), ("network.2.", 0.0))
        ]
        return torch.optim.AdamW(groups, lr=0.1, eps=1.0)


def trainer_of(rank, folder, precision="32-true", **arguments):
    """A trainer of rank 0 or 1 of two, or, with the rank None, of the only process."""
    settings = {"strategy": "auto" if rank is None else "fsdp", "precision": precision}
    replaced, plugins = strategy_and_plugins(settings)
    return pl.Trainer(
        **settings | {"devices": 1 if rank is None else 2, "accelerator": "cpu", "default_root_dir": folder} | replaced,
        plugins=[*plugins, AtomicCheckpointIO()], log_every_n_steps=1, gradient_clip_val=0.1,
        logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False, **arguments,
    )  # fmt: skip


def batches(rank):
    """Three batches of four samples, or those of them that a rank sees."""
    images = torch.randn(3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(4) if rank is None else torch.arange(2 * rank, 2 * rank + 2)
    return Batches([Batch(part[rows], torch.zeros(len(rows)), rows, 0, i, 4) for i, part in enumerate(images)])


def trained(rank, folder, precision="32-true", epochs=2, resumed=None):
    """Train, write ``<epochs>.ckpt``, and return the norms that were logged last."""
    trainer = trainer_of(rank, folder, precision, max_epochs=epochs, callbacks=[Telemetry()])
    trainer.fit(Module(), batches(rank), ckpt_path=resumed, weights_only=True)
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.endswith("_norm")}


def state(path):
    """The weights and the optimizer's state in a checkpoint."""
    checkpoint = torch.load(path, weights_only=True)
    return {name: checkpoint[name] for name in ("state_dict", "optimizer_states", "global_step")}


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-6), ("bf16-mixed", 1e-3), ("bf16-true", 1e-2)])
def test_the_weights_the_state_and_the_norms_are_those_of_one_process(tmp_path, precision, tolerance):
    """The gradient is clipped by its whole norm, which is above the limit."""
    alone, sharded = tmp_path / "alone", tmp_path / "sharded"
    alone.mkdir()
    sharded.mkdir()
    norms = trained(None, alone, precision)
    assert norms["optimizer/gradient_norm"] > 0.1
    for of_rank in in_two_processes(trained, sharded, precision):
        assert of_rank == pytest.approx(norms, rel=tolerance)
    torch.testing.assert_close(state(sharded / "2.ckpt"), state(alone / "2.ckpt"), rtol=0, atol=tolerance)


def stopped_and_resumed(rank, folder):
    trained(rank, folder, epochs=1)
    trained(rank, folder, epochs=2, resumed=folder / "1.ckpt")


def test_a_resumed_run_ends_as_one_that_went_on(tmp_path):
    (tmp_path / "whole").mkdir()
    in_two_processes(trained, tmp_path / "whole")
    in_two_processes(stopped_and_resumed, tmp_path)
    torch.testing.assert_close(state(tmp_path / "2.ckpt"), state(tmp_path / "whole" / "2.ckpt"), rtol=0, atol=0)


class Code:
    def __reduce__(self):
        return print, ("this code was run",)


def refused(rank, folder):
    with pytest.raises(LabError) as error:
        trained(rank, folder, resumed=folder / "code.ckpt")
    return str(error.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path, capfd):
    trained(None, tmp_path)
    torch.save({**torch.load(tmp_path / "2.ckpt", weights_only=True), "more": Code()}, tmp_path / "code.ckpt")
    for said in in_two_processes(refused, tmp_path):
        assert "holds more than tensors and plain values" in said
    assert "this code was run" not in capfd.readouterr().out


class Validated(Module):
    def validation_step(self, batch, batch_idx):
        self.training_step(batch, batch_idx)


def computed(rank, folder, precision):
    module = Validated()
    trainer_of(rank, folder, precision).validate(module, batches(rank), verbose=False)
    return module.dtypes


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("32-true", torch.float32),
        ("bf16-mixed", torch.bfloat16),
        ("16-mixed", torch.float16),
        ("bf16-true", torch.bfloat16),
    ],
)
def test_the_network_alone_computes_in_low_precision(tmp_path, precision, dtype):
    """Neither the images nor new tensors are cast; casts of weights, which are there for a step, are not kept."""
    cached = "mixed" not in precision  # which says nothing without autocast
    for dtypes in in_two_processes(computed, tmp_path, precision):
        assert dtypes == {(torch.float32, dtype, torch.float32, cached)}


class Look(pl.Callback):
    """Counts the weights that a rank holds before, in and after the block for work with the whole network."""

    def __init__(self):
        self.held, self.shapes = [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self._look(pl_module)
        with whole_network(trainer):
            self._look(pl_module)
            if trainer.is_global_zero:
                self.shapes = [tuple(value.shape) for value in pl_module.network.parameters()]
                with torch.no_grad():
                    for value in pl_module.network.parameters():
                        value.zero_()
        self._look(pl_module)

    def _look(self, module):
        self.held.append(sum(value.numel() for value in module.network.parameters()))


def looked(rank, folder):
    look, module = Look(), Module()
    trainer = trainer_of(rank, folder, max_epochs=1, callbacks=[look])
    trainer.fit(module, batches(rank))
    gather, gathered = FullyShardedDataParallel.optim_state_dict, []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(
            FullyShardedDataParallel, "optim_state_dict", lambda *a: gathered.append(gather(*a)) or gathered[0]
        )
        optimizer_state = trainer.strategy.optimizer_state(trainer.optimizers[0])
    weights = dict(trainer.strategy.whole_weights())
    return look.held, look.shapes, weights, optimizer_state, [len(state) for state in gathered]


def test_rank_0_alone_is_given_what_is_whole(tmp_path):
    """What is done to the whole network is not kept."""
    alone = Module()
    trainer_of(None, tmp_path, max_epochs=1).fit(alone, batches(None))
    count = sum(value.numel() for value in alone.parameters())
    (first, shapes, weights, of_optimizer, _), (second, *nothing) = in_two_processes(looked, tmp_path)
    part = first[0]
    assert first == [part, count, part]
    assert second == [count - part] * 3
    assert shapes == [tuple(value.shape) for value in alone.parameters()]
    torch.testing.assert_close(dict(weights), dict(alone.state_dict()))
    assert len(of_optimizer["state"]) == 4
    assert nothing == [[], {}, {}, [0]]
