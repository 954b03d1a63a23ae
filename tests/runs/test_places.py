"""What a run writes lies in its own folder, whatever a recorded or typed config says."""

import json
import shutil

import pytest
import yaml

from diffusion_lab.errors import LabError
from diffusion_lab.reproduction.reproduce import reproduce
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train


@pytest.fixture
def run(tiny):
    return train(tiny("console=quiet", "logger=default"), []).path


def state(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


def resumed(settings, run):
    more = "trainer.max_epochs=3"
    return train(settings(f"resume={run}", "console=quiet", more), [f"resume={run}", more])


@pytest.mark.parametrize("name", ["step_losses.f32", "checkpoints", "figures", "samples", "csv", "tensorboard"])
def test_a_link_out_of_the_folder_is_refused_and_nothing_is_written_there(run, settings, tmp_path, name):
    there = tmp_path / "there"
    shutil.move(run / name, there)
    (run / name).symlink_to(there)
    outside = tmp_path / "outside"
    (outside).mkdir()
    before = state(run), there.read_bytes() if there.is_file() else state(there)
    for door in (
        lambda: resumed(settings, run),
        lambda: sample(settings(f"run_dir={run}", "num_samples=2", "console=quiet", config_name="sample")),
    ):
        with pytest.raises(LabError, match=f"{name} is a link that leads out of"):
            door()
    assert (state(run), there.read_bytes() if there.is_file() else state(there)) == before


@pytest.mark.parametrize(
    "change",
    [
        {"csv": {"save_dir": "/elsewhere"}},
        {"tensorboard": {"save_dir": "/elsewhere"}},
        {"tensorboard": {"name": "../../x"}},
        {"tensorboard": {"version": "../../../x"}},
        {"tensorboard": {"sub_dir": "../../x"}},
        {"tensorboard": {"name": "$HOME"}},
        {"tensorboard": {"name": "~"}},
    ],
)
def test_a_recorded_logger_that_would_write_elsewhere_is_refused(run, settings, tmp_path, change):
    config = yaml.safe_load((run / "config.yaml").read_text())
    for logger, arguments in change.items():
        for name, value in arguments.items():
            config["logger"][logger][name] = value.replace("/elsewhere", f"{tmp_path}/elsewhere")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    entries = sorted(tmp_path.rglob("*"))
    with pytest.raises(LabError, match=r"logger: .* would write to|logger: .* has a name with a variable"):
        resumed(settings, run)
    assert sorted(tmp_path.rglob("*")) == entries


@pytest.fixture
def logged_elsewhere(run, settings, tmp_path):
    """The run, as if it had been logged to a database elsewhere."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["logger"] |= settings("logger=mlflow", f"paths.output_dir={tmp_path}/elsewhere").logger
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def test_a_recorded_logger_that_sends_data_elsewhere_is_used_only_if_it_is_typed(logged_elsewhere, settings, tmp_path):
    entries = sorted(tmp_path.rglob("*"))
    with pytest.raises(LabError, match=r"was logged with mlflow, which sends data out of the run folder.*logger="):
        resumed(settings, logged_elsewhere)
    assert sorted(tmp_path.rglob("*")) == entries
    typed = [
        f"resume={logged_elsewhere}",
        "trainer.max_epochs=3",
        "logger=csv",
        "logger.csv.flush_logs_every_n_steps=1",
    ]
    train(settings(*typed, "console=quiet"), typed)
    logger = yaml.safe_load((logged_elsewhere / "config.yaml").read_text())["logger"]
    assert logger.keys() == {"csv"}
    assert logger["csv"]["flush_logs_every_n_steps"] == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_reproduction_is_logged_in_its_own_folder_alone(logged_elsewhere, settings, tmp_path):
    again = (f"run_dir={logged_elsewhere}", f"paths.output_dir={tmp_path}/again", "console=quiet")
    verdict = reproduce(settings(*again, config_name="reproduce"))
    assert verdict.here.read_config()["logger"].keys() == {"csv", "tensorboard"}
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_folder_that_is_reached_through_a_link_is_resumed(run, settings, tmp_path):
    (tmp_path / "door").symlink_to(run)
    assert resumed(settings, tmp_path / "door").path == run
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"


def test_a_checkpoint_whose_path_was_typed_may_be_reached_through_a_link(run, settings, tmp_path):
    (tmp_path / "chosen.ckpt").symlink_to(run / "checkpoints" / "best.ckpt")
    typed = (f"run_dir={run}", f"checkpoint={tmp_path}/chosen.ckpt", "num_samples=2", "console=quiet")
    assert (sample(settings(*typed, config_name="sample")) / "samples.npy").is_file()
