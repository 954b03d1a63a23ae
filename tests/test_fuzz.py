"""Random corners of the config tree: each runs a step on tiny data, or is refused in one line. Never a traceback."""

import json
import random
import sys

import pytest

from diffusion_lab.commands import train_command
from diffusion_lab.config import cli

#: What may be typed, with values that are fine, odd, and out of the question. A case draws from some of the keys.
VALUES = {
    "seed": ["0", "7", "4294967295", "-1"],
    "data.image_size": ["8", "9", "12", "16", "7"],
    "data.batch_size": ["1", "3", "64", "1000", "0"],
    "data.limit_train": ["null", "1", "5", "100"],
    "schedule": ["linear", "cosine"],
    "schedule.steps": ["1", "2", "21", "100", "1000", "10.0"],
    "schedule.beta_end": ["0.02", "0.5", "1e-5"],
    "schedule.max_beta": ["0.999", "0.5", "2"],
    "network.base_channels": ["8", "24", "12", "0"],
    "network.channel_multipliers": ["[1]", "[1,2]", "[2,1]", "[3]", "[1,1,1]", "[]", "[0]"],
    "network.time_dim": ["4", "64", "7"],
    "sampler.variance": ["beta", "beta_tilde", "learned"],
    "sampler.num_steps": ["1", "2", "5", "50", "0"],
    "optimizer": ["adam", "adamw"],
    "optimizer.lr": ["1e-3", "0", "1", "1e30", "-1", "nan"],
    "+optimizer.amsgrad": ["true", "2"],
    "optimizer.betas": ["[0.5,0.9]", "[0.9]", "[0.9,1]"],
    "lr_schedule": ["constant", "warmup_cosine"],
    "lr_schedule.warmup_steps": ["0", "1", "10", "-1"],
    "+lr_schedule.decay_steps": ["20", "1", "soon"],
    "trainer.precision": ["32-true", "bf16-mixed", "bf16-true", "64-true", "16-mixed", "8"],
    "trainer.accumulate_grad_batches": ["1", "2", "3", "0"],
    "trainer.gradient_clip_val": ["null", "0.5", "1e-9", "-1"],
    "+trainer.gradient_clip_algorithm": ["norm", "value", "both"],
    "trainer.max_epochs": ["1", "2", "0", "null"],
    "trainer.val_check_interval": ["null", "1", "0.5", "9"],
    "trainer.check_val_every_n_epoch": ["1", "3", "null"],
    "trainer.limit_val_batches": ["1.0", "1", "0", "0.1", "2.5"],
    "trainer.limit_train_batches": ["1", "0", "0.5"],
    "trainer.log_every_n_steps": ["1", "1000", "0"],
    "trainer.num_sanity_val_steps": ["0", "2"],
    "trainer.deterministic": ["true", "false", "warn"],
    "trainer.devices": ["1", "auto", "0", "two"],
    "trainer.accelerator": ["auto", "cpu", "gpu", "mps"],
    "trainer.profiler": ["null", "simple"],
    "trainer.enable_progress_bar": ["true", "false"],
    "callbacks": ["default", "early_stopping"],
    "callbacks.samples.every_n_epochs": ["0", "1", "-1"],
    "callbacks.samples.num_samples": ["1", "3", "0"],
    "callbacks.checkpoints.every_n_steps": ["null", "1", "0"],
    "callbacks.checkpoints": ["null"],
    "~callbacks.interrupt": [""],
    "callbacks.progress": ["null"],
    "logger": ["default", "csv", "tensorboard", "none"],
    "evaluation": ["none", "recognition"],
    "+evaluation.recognition.threshold": ["0.5", "1.5"],
    "console": ["text", "quiet", "bar", "json"],
    "sampling.num_samples": ["1", "2", "5", "0"],
    "sampling.batch_size": ["1", "2", "4"],
    "clip": ["x0", "dynamic", "none"],
    "+clip.quantile": ["0.9", "2"],
    "debug": ["fast"],
    "name": ["fuzz", "'a b'", "a/b"],
    "+name2": ["x"],
    "init_from": ["null", "nowhere"],
}

#: A run of one step, unless a case says otherwise.
QUICK = (
    "data=digits", "trainer=cpu", "data.image_size=8", "data.batch_size=32", "data.limit_train=40",
    "network.base_channels=8", "network.channel_multipliers=[1]", "schedule.steps=30", "sampler.num_steps=2",
    "sampling.num_samples=2", "trainer.max_epochs=1", "+trainer.min_steps=1", "trainer.max_steps=1",
    "callbacks.samples.every_n_epochs=0",
)  # fmt: skip


def case(number):
    """The command line of a case: mostly a few odd keys, so that many cases get through."""
    draw = random.Random(number)
    keys = draw.sample(sorted(VALUES), draw.choice([1, 2, 3, 4, 6]))
    typed = [key if key.startswith("~") else f"{key}={draw.choice(VALUES[key])}" for key in keys]
    groups = [override for override in typed if "." not in override.split("=")[0]]
    return [*QUICK, *groups, *(override for override in typed if override not in groups)]


def outcome(number, tmp_path, monkeypatch, capfd):
    """'ran' or 'refused', after holding a case to its promise."""
    arguments = case(number)
    outputs = tmp_path / str(number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, f"paths.output_dir={outputs}"])
    try:
        cli.run("train", train_command.train)
        status = 0
    except SystemExit as left:
        status = left.code
    out, err = capfd.readouterr()
    told = f"{' '.join(arguments)}\n{out}\n{err}"
    assert "Traceback" not in out + err, told
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert all(line.startswith(("Error: ", "Warning: ")) for line in err.splitlines()), told
    manifests = list(outputs.rglob("manifest.json"))
    if status == 0:
        assert errors == [], told
        (manifest,) = manifests
        assert json.loads(manifest.read_text())["status"] == "finished", told
        return "ran"
    assert status == 1, told
    assert len(errors) == 1, told
    # Only a loss or samples that are no numbers show after the run has begun.
    assert manifests == [] or "not a finite number" in errors[0] or "numbers that are not finite" in errors[0], told
    assert "a traceback: " not in errors[0], told
    return "refused"


@pytest.mark.parametrize("number", range(6))
def test_a_random_config_runs_or_is_refused(number, tmp_path, monkeypatch, capfd):
    outcome(number, tmp_path, monkeypatch, capfd)


@pytest.mark.full
@pytest.mark.parametrize("number", range(6, 250))
def test_many_random_configs_run_or_are_refused(number, tmp_path, monkeypatch, capfd):
    outcome(number, tmp_path, monkeypatch, capfd)


@pytest.mark.full
def test_a_good_share_of_the_cases_runs_and_a_good_share_is_refused(tmp_path, monkeypatch, capfd):
    counts = [outcome(number, tmp_path, monkeypatch, capfd) for number in range(60)]
    assert 12 <= counts.count("ran") <= 48
