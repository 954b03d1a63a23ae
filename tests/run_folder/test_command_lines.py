"""Paths and commands, as a shell and Hydra read them."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from diffusion_lab.run_folder import command_lines
from diffusion_lab.run_folder.folder import RunFolder


def test_a_path_is_relative_where_that_is_shorter(tmp_path, monkeypatch):
    inside = tmp_path / "outputs" / "a"
    inside.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert str(command_lines.shown(inside)) == "outputs/a"
    monkeypatch.chdir(inside)
    assert command_lines.shown(tmp_path.parents[-1] / "x") == "/x"


@pytest.mark.parametrize(
    "name",
    ["plain", "with a space", "it's, (quite) {odd} = €", 'a "quoted" one', "back\\slash", "back\\slash, twice\\\\"],
)
def test_a_command_names_its_folder_through_shell_and_hydra(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command_lines.resume(RunFolder(folder)))
    assert words[0] == "python"
    assert words[1].endswith("scripts/train.py")
    (override,) = OverridesParser.create().parse_overrides(words[2:])
    assert (override.key_or_group, override.value()) == ("resume", name)
    assert shlex.split(command_lines.sample(RunFolder(folder)))[2:] == [
        words[2].replace("resume", "run_dir"),
        "num_samples=64",
        "seed=7",
    ]


def test_tensorboard_shows_all_runs_of_the_output_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "my runs" / "train" / "a"
    run.mkdir(parents=True)
    assert command_lines.tensorboard(RunFolder(run), tmp_path / "my runs") == "tensorboard --logdir 'my runs'"
    assert command_lines.tensorboard(RunFolder(run), tmp_path / "elsewhere") == "tensorboard --logdir 'my runs/train/a'"


def test_where_the_project_is_installed_its_own_command_is_typed(monkeypatch):
    monkeypatch.setattr(command_lines, "is_installed", lambda: True)
    assert command_lines.script("train", notes="two words", seed="1") == "diffusion-lab train 'notes=two words' seed=1"
