"""Every option of the config tree composes and builds; no data is read for it."""

import pytest
import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from diffusion_lab.config.build import build
from diffusion_lab.config.cli import one_line
from diffusion_lab.config.instantiate import make
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from option_recipes import choices, every_option, groups, recipe


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFUSION_LAB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DIFFUSION_LAB_OUTPUT_DIR", str(tmp_path / "outputs"))


def test_the_tree_has_the_groups_that_a_run_is_made_of():
    expected = {"data", "schedule", "process", "codec", "parameterization", "network", "objective", "sampler"}
    assert expected | {"guidance", "clip"} <= set(groups())
    assert len(every_option()) >= 30


@pytest.mark.parametrize("option", every_option())
def test_every_option_composes_builds_and_has_a_loss(settings, option):
    config_name = "search" if option.startswith("search=") else "train"
    cfg = settings(*recipe(option), config_name=config_name)
    parts = build(cfg)
    module, noise = parts.module.eval(), Noise(torch.zeros(1, dtype=torch.int64), 0)
    condition = None if parts.pipeline.labels is None else torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        z0 = module.codec.encode(parts.data.example())
        t = module.time_sampling(noise.at("time"))
        terms = module.objective(module.denoiser, z0, t, noise, condition)
    assert z0.shape[1:] == parts.pipeline.shape
    assert terms["loss"].shape == t.shape == module.time_sampling.weight(t).shape == (1,)
    assert bool(terms["loss"].isfinite())
    assert set(terms) <= set(module.objective.units)
    assert module.seed == cfg.seed


@pytest.mark.parametrize("option", [option for option in every_option() if option.split("=")[0] == "callbacks"])
def test_every_callback_takes_the_arguments_it_is_given(settings, option):
    """Some need parts that only a run has, so they stay partial here; their names and arguments are checked."""
    for name, node in settings(*recipe(option)).callbacks.items():
        callback = make({**node, "_partial_": True}, f"callbacks.{name}", {})
        assert callback.keywords == {key: value for key, value in node.items() if not key.startswith("_")}


def test_an_option_that_is_chosen_is_what_is_built(settings):
    parts = build(settings("data=digits", "schedule=cosine", "schedule.steps=50", "network.base_channels=8"))
    assert type(parts.data).__name__ == "Digits"
    assert type(parts.process.schedule).__name__ == "CosineSchedule"
    assert parts.process.schedule.steps == 50
    assert parts.pipeline.shape == (1, 16, 16)


def test_ddpm_mnist_is_the_recipe_of_the_tutorial(settings):
    cfg = settings("experiment=ddpm_mnist")
    parts = build(cfg)
    assert sum(p.numel() for p in parts.network.parameters()) == 130_305
    optimizer = parts.module.optimizer(parts.module.parameters())
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["lr"] == 2e-4
    assert tuple(optimizer.defaults["betas"]) == (0.9, 0.999)
    assert (optimizer.defaults["eps"], optimizer.defaults["weight_decay"]) == (1e-8, 0)
    assert {parts.module.lr_schedule.factor(step) for step in (0, 1, 100, 5000)} == {1.0}
    schedule = parts.process.schedule
    betas = schedule.betas
    assert (type(schedule).__name__, schedule.steps) == ("LinearSchedule", 1000)
    assert torch.equal(betas, torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
    assert (type(parts.data).__name__, parts.data.batch_size, parts.data.validation) == ("MNIST", 128, "test")
    assert parts.data.limit_train is None
    assert parts.data.seed == parts.module.seed == cfg.seed == 42
    sampler = parts.pipeline.sampler
    assert (type(sampler).__name__, sampler.variance, len(sampler.steps)) == ("Ancestral", "beta", 1000)
    assert cfg.clip == cfg.guidance == {}
    assert cfg.trainer["max_epochs"] == 10
    assert cfg.trainer["max_steps"] == -1
    assert cfg.trainer["gradient_clip_val"] is None
    assert cfg.trainer["accumulate_grad_batches"] == 1
    assert cfg.trainer["precision"] == "32-true"


def test_the_seed_of_the_config_is_that_of_the_data_and_of_the_noise(settings):
    parts = build(settings("seed=9"))
    assert parts.data.seed == parts.module.seed == 9


def test_a_cosine_decay_without_its_horizon_is_refused(settings):
    with pytest.raises((LabError, OmegaConfBaseException), match=r"lr_schedule\.decay_steps"):
        build(settings("lr_schedule=warmup_cosine"))


def error_line(composed, *overrides):
    with pytest.raises(HydraException) as caught:
        composed(*overrides)
    line = one_line(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("network.base_chanels", "base_channels"), ("netwrok", "network"), ("data.batchsize", "batch_size"),
        ("base_channels", "network.base_channels"), ("trainer.lr", "optimizer.lr"),
    ],
)  # fmt: skip
def test_a_misspelled_key_is_named_in_one_line_with_the_nearest(composed, key, meant):
    assert error_line(composed, f"{key}=64").startswith(f"there is no key {key}; did you mean {meant}?")


def test_a_misspelled_option_is_named_in_one_line_with_the_choices(composed):
    assert error_line(composed, "schedule=cosin") == (
        f"schedule=cosin: there is no such option; did you mean cosine? choose from {choices('schedule')}"
    )


def test_a_misspelled_recipe_is_named_in_one_line_with_the_choices(composed):
    assert error_line(composed, "experiment=quickstrat") == (
        f"experiment=quickstrat: there is no such option; did you mean quickstart? choose from {choices('experiment')}"
    )
