"""By what a job is known, and how far its run has come."""

import pytest
from omegaconf import OmegaConf

from diffusion_lab.config.tree import options
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps.job_record import JobRecord, job_key


@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_recorded_config_is_known_again(composed, tmp_path, experiment):
    cfg = composed(f"experiment={experiment}", "optimizer.lr=1e-5", "init_from=elsewhere")
    folder = RunFolder.create(tmp_path, cfg.name)
    folder.write_config(cfg, [])
    assert job_key(folder.read_config()) == job_key(cfg)


def test_what_decides_nothing_makes_no_other_job_and_the_rest_does(composed, tmp_path):
    key = job_key(composed())
    session = ("console=json", "launcher=joblib", "rerun=true", f"paths.output_dir={tmp_path}", "notes=again")
    assert job_key(composed(*session)) == key
    assert len({key, *(job_key(composed(typed)) for typed in ("seed=7", "schedule=cosine", "name=other"))}) == 4


def record_of(tmp_path, cfg, status):
    folder = RunFolder.create(tmp_path, cfg.name)
    folder.write_config(cfg, [])
    folder.write_json("manifest.json", {"status": status})
    record = JobRecord(tmp_path, job_key(cfg))
    assert record.lock() is not None  # makes the folder
    record.write(folder=str(folder.path))
    return record, folder


def test_how_far_a_run_has_come_its_manifest_says(composed, tmp_path):
    record, folder = record_of(tmp_path, composed(), "interrupted")
    status, found = record.run()
    assert (status, found.path) == ("interrupted", folder.path)


def test_a_run_that_is_gone_or_was_trained_on_is_none(composed, tmp_path):
    cfg = composed()
    record, folder = record_of(tmp_path, cfg, "finished")
    folder.write_config(OmegaConf.merge(cfg, {"trainer": {"max_epochs": 99}}), [])
    assert record.run() == ("none", None)
    (folder.path / "config.yaml").unlink()
    assert record.run() == ("none", None)
    record.path.write_text("{")
    assert record.run() == ("none", None)
    assert JobRecord(tmp_path, "unknown").run() == ("none", None)
