"""The key that identifies a job, and the run that its record leads to."""

import pytest

from diffusion_lab.config.tree import options
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps.job_record import JobRecord, job_key


@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_recorded_config_has_the_key_of_the_composed_one(settings, tmp_path, experiment):
    config = settings(f"experiment={experiment}", "optimizer.lr=1e-5", "init_from=elsewhere").as_node()
    folder = RunFolder.create(tmp_path, config["name"])
    folder.write_config(config, [])
    assert job_key(folder.read_config()) == job_key(config)


def test_only_settings_that_affect_the_result_change_the_key(settings, tmp_path):
    def key_of(*overrides):
        return job_key(settings(*overrides).as_node())

    key = key_of()
    session = ("console=json", "launcher=joblib", "rerun=true", f"paths.output_dir={tmp_path}", "notes=again")
    assert key_of(*session) == key
    assert len({key, *(key_of(typed) for typed in ("seed=7", "schedule=cosine", "name=other"))}) == 4


def record_of(tmp_path, config, status):
    folder = RunFolder.create(tmp_path, config["name"])
    folder.write_config(config, [])
    folder.write_json("manifest.json", {"status": status})
    record = JobRecord(tmp_path, job_key(config))
    assert record.lock() is not None  # makes the folder
    record.update(folder=str(folder.path))
    return record, folder


def test_the_status_of_a_run_is_read_from_its_manifest(settings, tmp_path):
    record, folder = record_of(tmp_path, settings().as_node(), "interrupted")
    status, found = record.find_run()
    assert (status, found.path) == ("interrupted", folder.path)


def test_a_run_that_is_gone_or_has_another_config_is_not_found(settings, tmp_path):
    config = settings().as_node()
    record, folder = record_of(tmp_path, config, "finished")
    folder.write_config({**config, "trainer": {**config["trainer"], "max_epochs": 99}}, [])
    assert record.find_run() == ("none", None)
    (folder.path / "config.yaml").unlink()
    assert record.find_run() == ("none", None)
    record.path.write_text("{")
    assert record.find_run() == ("none", None)
    assert JobRecord(tmp_path, "unknown").find_run() == ("none", None)
