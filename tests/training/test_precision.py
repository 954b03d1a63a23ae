"""In every precision, the schedule, the noise and the loss are float32 or better: only the network is narrower."""

from collections import defaultdict

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision

from diffusion_lab.config.build import build
from diffusion_lab.errors import LabError
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.runs import load_run
from diffusion_lab.runs.train import train
from diffusion_lab.training.finite_loss import FiniteLoss
from diffusion_lab.training.precision import HalfNetwork

#: trainer.precision → dtypes of (the weights, the output of a convolution, the noised state).
DTYPES = {
    "32-true": (torch.float32, torch.float32, torch.float32),
    "bf16-mixed": (torch.float32, torch.bfloat16, torch.float32),
    "bf16-true": (torch.bfloat16, torch.bfloat16, torch.float32),
    "64-true": (torch.float64, torch.float64, torch.float64),
}
EXACT = (torch.float32, torch.float64)


@pytest.fixture(autouse=True)
def calmed():
    silence_library_warnings()


@pytest.fixture
def dtypes(monkeypatch):
    """The dtypes of quantities, by their names, in all runs of a test."""
    from diffusion_lab.noise import Noise
    from diffusion_lab.objectives import Simple, UniformTimes
    from diffusion_lab.parameterizations import Denoiser, Eps
    from diffusion_lab.processes import Gaussian
    from diffusion_lab.processes.gaussian import Normal
    from diffusion_lab.schedules import VariancePreserving

    seen = defaultdict(set)

    def watch(cls, method, **parts):
        original = getattr(cls, method)

        def watched(self, *arguments, **keywords):
            result = original(self, *arguments, **keywords)
            for name, part in parts.items():
                seen[name].add(part(result, arguments).dtype)
            return result

        monkeypatch.setattr(cls, method, watched)

    watch(VariancePreserving, "log_snr", log_snr=lambda r, _: r)
    watch(VariancePreserving, "alpha", alpha=lambda r, _: r)
    watch(VariancePreserving, "sigma", sigma=lambda r, _: r)
    watch(Noise, "normal", noise=lambda r, _: r)
    watch(Gaussian, "mix", z0=lambda r, _: r.z0, eps=lambda r, _: r.eps, z_t=lambda r, _: r.z_t)
    watch(Eps, "target", target=lambda r, _: r)
    watch(Denoiser, "raw", raw=lambda r, _: r, state=lambda _, a: a[0], time=lambda _, a: a[1])
    watch(Simple, "__call__", sample_loss=lambda r, _: r["loss"])
    watch(UniformTimes, "__call__", t=lambda r, _: r)
    watch(Normal, "sample", drawn=lambda r, _: r)
    watch(Gaussian, "posterior", posterior_mean=lambda r, _: r.mean)
    watch(torch.nn.Conv2d, "forward", convolved=lambda r, _: r)
    loss = lambda name, value: value if "loss" in name and isinstance(value, torch.Tensor) else torch.zeros(())  # noqa: E731
    watch(pl.LightningModule, "log", logged=lambda _, a: loss(*a[:2]))
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("precision", DTYPES)
def test_only_the_network_computes_in_low_precision(tiny, dtypes, precision):
    weight, convolved, state = DTYPES[precision]
    folder = train(tiny(f"trainer.precision={precision}", "callbacks.samples.every_n_epochs=1"), [])
    stored = torch.load(folder.path / "checkpoints" / "last.ckpt", weights_only=True)
    assert {value.dtype for value in stored["state_dict"].values()} == {weight}
    assert convolved in dtypes.pop("convolved")
    assert dtypes["z_t"] == {torch.float32, state}  # of the forward strip's figure, and of training
    for name in ("log_snr", "alpha", "sigma", "t", "time"):
        assert dtypes.pop(name) == {torch.float64}, name
    for name, used in dtypes.items():
        assert used <= set(EXACT), name
    assert torch.get_default_dtype() == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_a_run_in_bfloat16_is_sampled_in_float32(tiny, dtypes):
    folder = train(tiny("trainer.precision=bf16-true"), [])
    dtypes.clear()
    samples = load_run(folder.path).sample(4, seed=3)
    assert samples.dtype == torch.float32
    assert dtypes["posterior_mean"] == dtypes["state"] == dtypes["raw"] == {torch.float32}
    assert not torch.equal(samples, samples.bfloat16().float())


def test_the_images_are_not_rounded_to_bfloat16(tiny):
    rounded = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            rounded.append(torch.equal(batch.x, batch.x.bfloat16().float()))

    cfg = tiny("trainer.precision=bf16-true")
    parts = build(cfg)
    trainer = pl.Trainer(
        accelerator="cpu", plugins=[HalfNetwork()], callbacks=[Watch()], max_steps=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(parts.module, datamodule=parts.data)
    assert rounded == [False, False]


class Overflow(torch.autograd.Function):
    """The identity, with a gradient that overflows in half precision."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


def half_trainer(steps, **settings):
    """16-mixed as on a GPU, but on the CPU, which also has autocast and a gradient scaler."""
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**10))
    return pl.Trainer(
        accelerator="cpu", plugins=[plugin], callbacks=[FiniteLoss()], max_steps=steps, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        **settings,
    )  # fmt: skip


@pytest.mark.parametrize("first_overflows", [False, True])
def test_gradients_that_overflow_in_half_precision_are_skipped_and_end_nothing(tiny, first_overflows):
    torch.manual_seed(0)
    parts = build(tiny())
    raw = parts.module.denoiser.raw
    calls = []

    def overflowing(z_t, t, condition=None):
        calls.append(len(calls))
        out = raw(z_t, t, condition)
        return Overflow.apply(out) if len(calls) == (1 if first_overflows else 2) else out

    parts.module.denoiser.raw = overflowing
    before = [p.detach().clone() for p in parts.module.parameters()]
    trainer = half_trainer(3, gradient_clip_val=1.0)
    trainer.fit(parts.module, datamodule=parts.data)
    assert len(calls) == 3
    assert trainer.scaler.get_scale() == 2.0**9  # halved once
    after = list(parts.module.parameters())
    assert all(torch.isfinite(p).all() for p in after)
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_gradients_are_clipped_after_they_are_unscaled(tiny):
    """Otherwise a threshold of 1e-3 would have the effect of one of 1e-6."""
    norms = []

    class Watch(pl.Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            if grads:
                norms.append(float(torch.nn.utils.get_total_norm(grads)))

    parts = build(tiny())
    trainer = half_trainer(3, gradient_clip_val=1e-3)
    trainer.callbacks.append(Watch())
    trainer.fit(parts.module, datamodule=parts.data)
    assert norms
    assert norms == pytest.approx([1e-3] * len(norms), rel=1e-2)


def test_a_forward_pass_that_overflows_in_half_precision_names_the_other_precision(tiny):
    parts = build(tiny())
    with torch.no_grad():
        parts.network.out.weight.fill_(1e6)  # past 65504
    with pytest.raises(LabError, match=r"not a finite number at step 1.*trainer\.precision=bf16-mixed"):
        half_trainer(3).fit(parts.module, datamodule=parts.data)
