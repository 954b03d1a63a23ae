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
def run(copy):
    return copy.path


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
    with pytest.raises(LabError, match=r"config\.yaml: logger\."):
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


@pytest.mark.parametrize(
    ("logger", "name", "value"),
    [
        ("tensorboard", "save_dir", "file:///tmp/elsewhere"),
        ("tensorboard", "save_dir", "ftp://127.0.0.1:1/x"),
        pytest.param("tensorboard", "save_dir", ".", marks=pytest.mark.full),
        ("tensorboard", "name", "../../../elsewhere/a"),
        pytest.param("tensorboard", "version", "../../x", marks=pytest.mark.full),
        ("tensorboard", "filename_suffix", "x" * 400),
        pytest.param("tensorboard", "_partial_", True, marks=pytest.mark.full),
        ("tensorboard", "comment", {"_target_": "pytorch_lightning.loggers.MLFlowLogger"}),
        pytest.param("csv", "save_dir", "elsewhere", marks=pytest.mark.full),
        pytest.param("csv", "flush_logs_every_n_steps", [1], marks=pytest.mark.full),
    ],
)
def test_a_logger_s_place_is_not_for_a_run_folder_to_say(run, settings, tmp_path, monkeypatch, logger, name, value):
    """It is refused before the logger is made, which may open an address."""
    monkeypatch.setattr("lightning_fabric.utilities.cloud_io.url_to_fs", None)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["logger"][logger][name] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    entries = sorted(tmp_path.rglob("*"))
    again = (f"run_dir={run}", f"paths.output_dir={tmp_path}/again", "console=quiet")
    for door in (
        lambda: resumed(settings, run),
        lambda: reproduce(settings(*again, config_name="reproduce")),
    ):
        with pytest.raises(LabError, match=rf"config\.yaml.*logger\.{logger}\.{name}|config\.yaml names the target"):
            door()
    assert sorted(tmp_path.rglob("*")) == entries


def test_a_list_in_the_place_of_a_logger_is_refused(run, settings):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["logger"]["x"] = [dict(config["logger"]["csv"])]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(LabError, match=r"config\.yaml: logger\.x must be one logger"):
        resumed(settings, run)


@pytest.mark.parametrize("name", ["csv/hparams.yaml", "figures/loss.png", "csv/metrics.csv", "step_losses.f32"])
def test_a_file_with_a_second_name_is_not_overwritten(run, settings, tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_bytes((run / name).read_bytes() if (run / name).is_file() else b"theirs")
    (run / name).unlink(missing_ok=True)
    (run / name).hardlink_to(outside)
    before = outside.read_bytes()
    with pytest.raises(LabError, match=r"has a second name \(a hard link\).*copy the run folder"):
        resumed(settings, run)
    assert outside.read_bytes() == before


def test_no_more_processes_are_started_than_the_machine_has_cores(run, settings):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"] |= {"devices": 4096, "strategy": "ddp"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(LabError, match=r"config\.yaml: trainer\.devices=4096: the run had 4096 processes"):
        resumed(settings, run)
