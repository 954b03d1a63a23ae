"""The key that identifies a job, and the run that its record leads to."""

import pytest
from omegaconf import OmegaConf

from diffusion_lab.config.tree import options
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps.job_record import JobRecord, job_key


@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_recorded_config_has_the_key_of_the_composed_one(composed, tmp_path, experiment):
    cfg = composed(f"experiment={experiment}", "optimizer.lr=1e-5", "init_from=elsewhere")
    folder = RunFolder.create(tmp_path, cfg.name)
    folder.write_config(cfg, [])
    assert job_key(folder.read_config()) == job_key(cfg)


def test_only_settings_that_affect_the_result_change_the_key(composed, tmp_path):
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
    record.update(folder=str(folder.path))
    return record, folder


def test_the_status_of_a_run_is_read_from_its_manifest(composed, tmp_path):
    record, folder = record_of(tmp_path, composed(), "interrupted")
    status, found = record.find_run()
    assert (status, found.path) == ("interrupted", folder.path)


def test_a_run_that_is_gone_or_has_another_config_is_not_found(composed, tmp_path):
    cfg = composed()
    record, folder = record_of(tmp_path, cfg, "finished")
    folder.write_config(OmegaConf.merge(cfg, {"trainer": {"max_epochs": 99}}), [])
    assert record.find_run() == ("none", None)
    (folder.path / "config.yaml").unlink()
    assert record.find_run() == ("none", None)
    record.path.write_text("{")
    assert record.find_run() == ("none", None)
    assert JobRecord(tmp_path, "unknown").find_run() == ("none", None)
