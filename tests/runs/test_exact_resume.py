"""A run that was killed at any moment and resumed is the run that was never stopped, bit for bit."""

import signal

import pytest
from killed import Kill, differences, run

from conftest import TINY, TINY_TEXT

pytestmark = pytest.mark.timeout(300)

#: What a run can be like. An epoch has 4 steps.
KINDS = {
    "plain": [],
    "ema": ["ema=default", "ema.decay=0.9"],
    "accumulation": ["trainer.accumulate_grad_batches=3", "data.batch_size=62"],
    "dropout": ["network.dropout=0.2"],
    "importance": ["time_sampling=importance", "time_sampling.buckets=8", "time_sampling.history=4"],
    "steps": ["trainer.max_epochs=null", "trainer.max_steps=10"],
    "everything": [
        "ema=default", "network.dropout=0.2", "trainer.accumulate_grad_batches=3", "trainer.max_epochs=null",
        "trainer.max_steps=10", "trainer.val_check_interval=6", "lr_schedule=warmup_cosine",
        "lr_schedule.warmup_steps=3", "lr_schedule.decay_steps=9",
        "callbacks=early_stopping", "trainer.gradient_clip_val=1", "optimizer=adamw",
        "callbacks.samples.every_n_epochs=1", "callbacks.samples.num_samples=2",
        "time_sampling=importance", "time_sampling.buckets=8", "time_sampling.history=4",
    ],
    "conditional": [
        "network=unet", "network.base_channels=8", "network.num_blocks=1", "network.attention_sizes=[8]",
        "network.head_channels=8", "network.labels=true", "guidance=cfg", "time_sampling=stratified",
        "parameterization=v", "weight=min_snr", "sampler=dpmpp_2m",
    ],
    "averages": ["ema=default", "ema.decay=[0.9,0.99]"],
    "widths": ["ema=power", "ema.store_every_n_updates=1", "ema.max_stored=4"],
    "learned variance": ["parameterization=learned_variance", "objective=hybrid", "sampler.variance=learned"],
}  # fmt: skip

#: Of each family of text its recipe, which `TINY_TEXT` makes small.
TEXTS = {
    "masked": ["experiment=mdlm_shakespeare", "sampler.num_steps=4"],
    "independent times": ["experiment=llada_shakespeare", "sampler.num_steps=4"],
    "scores": ["experiment=sedd_shakespeare", "sampler.num_steps=4"],
    "scores of random tokens": ["experiment=sedd_uniform_shakespeare", "sampler.num_steps=4"],
    "random tokens": ["experiment=udlm_shakespeare", "sampler.num_steps=4"],
    "masked in steps": ["experiment=d3pm_shakespeare", "sampler.num_steps=4"],
    "blocks": ["experiment=bd3lm_shakespeare"],
    "embedding": ["experiment=diffusion_lm_shakespeare", "sampler.num_steps=4", "~evaluation.bound"],
}
#: Of these a few moments are enough: what they have of their own is saved in a checkpoint, like all else.
FEW = ("conditional", "learned variance", "averages", "widths", *TEXTS)
FEW_MOMENTS = [("in a step", 2), ("between steps", 3), ("writing a checkpoint", 4), ("in a step", 5)]

#: When it is killed: the moment, and after how many steps.
MOMENTS = [
    ("in a step", 0),
    ("in a step", 2),
    ("after a step", 3),
    ("between steps", 4),
    ("at an epoch's end", 4),
    ("in a validation", 4),
    ("after a validation", 4),
    ("writing a checkpoint", 2),
    ("writing a checkpoint", 4),
    ("after a checkpoint", 2),
    ("after a checkpoint", 4),
    ("in a step", 5),
    ("at the end", 8),
]

#: What CI looks at besides `make test`; the rest of the matrix is in `make test-full`.
SHORT = {
    ("everything", "writing a checkpoint", 4, 2): pytest.mark.slow,
    ("steps", "between steps", 4, None): pytest.mark.slow,
    ("masked", "writing a checkpoint", 4, 2): pytest.mark.slow,
    ("embedding", "in a step", 5, None): pytest.mark.slow,
}

MATRIX = [
    pytest.param(
        kind, moment, step, every,
        marks=SHORT.get((kind, moment, step, every), pytest.mark.full),
        id=f"{kind}-{moment}-{step}-{every}",
    )
    for kind in (*KINDS, *TEXTS) for moment, step in (FEW_MOMENTS if kind in FEW else MOMENTS) for every in (None, 2)
    if not (kind in ("steps", "everything") and moment == "at the end")  # which comes later there
]  # fmt: skip


def typed(kind):
    """What is typed for a kind, and the tiny config that it changes."""
    return (KINDS[kind], TINY) if kind in KINDS else (TEXTS[kind][1:], (TEXTS[kind][0], *TINY_TEXT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A function from a kind to the folder of a run that was never stopped."""
    folders = {}

    def of(kind):
        if kind not in folders:
            overrides, base = typed(kind)
            status, folders[kind], error = run(tmp_path_factory.mktemp(kind), *overrides, base=base)
            assert (status, error) == (0, "")
        return folders[kind]

    return of


@pytest.mark.parametrize(("kind", "moment", "step", "every"), MATRIX)
def test_a_killed_run_goes_on_exactly(whole, tmp_path, kind, moment, step, every):
    saving = [f"callbacks.checkpoints.every_n_steps={every or 'null'}"]
    overrides, base = typed(kind)
    status, folder, _ = run(tmp_path / "runs", *overrides, *saving, callbacks=[Kill(moment, step)], base=base)
    assert status == -signal.SIGKILL, "the moment does not come"
    status, resumed, error = run(tmp_path / "runs", f"resume={folder}")
    assert (status, error) == (0, "")
    assert resumed == folder
    assert differences(whole(kind), resumed) == []
