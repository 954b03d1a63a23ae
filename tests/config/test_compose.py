"""Every option of the config tree composes and builds; no data is read for it."""

import pytest
import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from diffusion_lab.config.build import build
from diffusion_lab.config.cli import one_line
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError

NAMES = sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())
NEEDS = {"lr_schedule=warmup_cosine": ["lr_schedule.decay_steps=1000"]}


def options():
    return [f"{name}={file.stem}" for name in NAMES for file in sorted((conf_dir() / name).glob("*.yaml"))]


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFUSION_LAB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DIFFUSION_LAB_OUTPUT_DIR", str(tmp_path / "outputs"))


def test_the_tree_has_the_groups_that_a_run_is_made_of():
    expected = {"data", "schedule", "process", "codec", "parameterization", "network", "objective", "sampler"}
    assert expected <= set(NAMES)
    assert len(options()) >= 30


@pytest.mark.parametrize("option", options())
def test_every_option_composes_and_builds(settings, option):
    config_name = "search" if option.startswith("search=") else "train"
    chosen = settings(option, *NEEDS.get(option, []), config_name=config_name)
    parts = build(chosen)
    shape = (2, parts.data.channels, parts.data.image_size, parts.data.image_size)
    with torch.no_grad():
        raw = parts.network(torch.zeros(shape), torch.zeros(2))
    assert raw.shape == shape
    assert parts.pipeline.shape == shape[1:]
    assert parts.module.seed == chosen.seed


@pytest.mark.parametrize("option", [option for option in options() if option.split("=")[0] == "callbacks"])
def test_every_callback_takes_the_arguments_it_is_given(composed, option):
    """Some need parts that only a run has, so they stay partial here; their names and arguments are checked."""
    for name, node in composed(option).callbacks.items():
        make({**node, "_partial_": True}, f"callbacks.{name}", {})


def test_an_option_that_is_chosen_is_what_is_built(settings):
    parts = build(settings("data=digits", "schedule=cosine", "schedule.steps=50", "network.base_channels=8"))
    assert type(parts.data).__name__ == "Digits"
    assert type(parts.process.schedule).__name__ == "CosineSchedule"
    assert parts.process.schedule.steps == 50
    assert parts.pipeline.shape == (1, 16, 16)


def test_ddpm_mnist_is_the_recipe_of_the_tutorial(settings):
    chosen = settings("experiment=ddpm_mnist")
    parts = build(chosen)
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
    assert parts.data.seed == parts.module.seed == chosen.seed == 42
    sampler = parts.pipeline.sampler
    assert (type(sampler).__name__, sampler.variance, sampler.num_steps) == ("Ancestral", "beta", 1000)
    assert chosen.sampling.clip_x0 is False
    assert chosen.trainer["max_epochs"] == 10
    assert chosen.trainer["max_steps"] == -1
    assert chosen.trainer["gradient_clip_val"] is None
    assert chosen.trainer["accumulate_grad_batches"] == 1
    assert chosen.trainer["precision"] == "32-true"


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
        "schedule=cosin: there is no such option; did you mean cosine? choose from cosine, linear"
    )


def test_a_misspelled_recipe_is_named_in_one_line_with_the_choices(composed):
    recipes = sorted(file.stem for file in (conf_dir() / "experiment").glob("*.yaml"))
    assert error_line(composed, "experiment=quickstrat") == (
        f"experiment=quickstrat: there is no such option; did you mean quickstart? choose from {', '.join(recipes)}"
    )
