"""Each pair of options of diffusion of vectors of tokens trains and samples a step."""

import pytest
import torch

from covering import covering_array
from diffusion_lab.config.tree import options
from diffusion_lab.noise import Noise
from diffusion_lab.runs.validate import validated
from option_recipes import of_tokens
from test_combinations import SMALL

TYPED = {
    "schedule": {
        **{name: (f"schedule={name}",) for name in ("sqrt", "linear", "cosine", "sigmoid", "flow")},
        **{f"{name}, continuous": (f"schedule={name}", "schedule.steps=null") for name in ("sqrt", "cosine")},
        "sqrt, no signal": ("schedule=sqrt", "schedule.zero_terminal_snr=true"),
    },
    "sampler": {name: (f"sampler={name}",) for name in options("sampler") if not of_tokens(f"sampler={name}")},
    "clip": {name: (f"clip={name}",) for name in ("none", "x0", "nearest_embedding")},
    "grid": {name: (f"grid={name}",) for name in ("trailing", "linspace", "quadratic", "uniform_log_snr")},
    "time_sampling": {name: (f"time_sampling={name}",) for name in ("uniform", "stratified", "importance")},
}
EVERY = {group: list(values) for group, values in TYPED.items()}
#: It needs a slope where the signal ends.
FORBIDDEN = {(("schedule", "sqrt, no signal"), ("sampler", "euler"))}
ROWS, _ = covering_array(EVERY, 2, FORBIDDEN)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_options_that_go_together_train_and_sample_a_step(settings, number):
    chosen = [override for group, values in TYPED.items() for override in values[ROWS[number][group]]]
    groups = [override for override in chosen if "." not in override.split("=")[0]]
    parts = validated(settings(
        "data=python_docs", "data.length=12", "data.batch_size=8", "codec=embedding", "codec.dim=4",
        "parameterization=x0", "objective=embedding", "network=text_transformer", *groups,
        *[override for override in chosen if override not in groups], "network.time=true", "sampler.num_steps=4",
        "trainer=cpu", *SMALL["text_transformer"],
    ))  # fmt: skip
    rows = torch.arange(3)
    parts.data.prepare_data()
    z0 = parts.module.codec.encode(parts.data.split("train", 3)[0])
    noise = Noise(rows, 0, "train")
    before = [weight.clone() for weight in parts.module.parameters()]
    terms = parts.module.objective(parts.module.denoiser, z0, parts.module.time_sampling(noise.at("time")), noise)
    terms["loss"].mean().backward()
    parts.module.optimizer(parts.module.parameters()).step()
    after = dict(parts.module.named_parameters())
    assert all(bool(weight.isfinite().all()) for weight in after.values())
    assert not torch.equal(before[list(after).index("codec.vectors")], after["codec.vectors"])
    samples = parts.pipeline.draw(2).samples
    assert (samples.shape, samples.dtype) == ((2, 12), torch.int64)
