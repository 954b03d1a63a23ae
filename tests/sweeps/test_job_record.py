"""By what a job is known, and how far its run has come."""

import pytest

from diffusion_lab.config.tree import options
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps.job_record import JobRecord, job_key


@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_recorded_config_is_known_again(settings, tmp_path, experiment):
    config = settings(f"experiment={experiment}", "optimizer.lr=1e-5", "init_from=elsewhere").as_node()
    folder = RunFolder.create(tmp_path, config["name"])
    folder.write_config(config, [])
    assert job_key(folder.read_config()) == job_key(config)


def test_what_decides_nothing_makes_no_other_job_and_the_rest_does(settings, tmp_path):
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
    record.write(folder=str(folder.path))
    return record, folder


def test_how_far_a_run_has_come_its_manifest_says(settings, tmp_path):
    record, folder = record_of(tmp_path, settings().as_node(), "interrupted")
    status, found = record.run()
    assert (status, found.path) == ("interrupted", folder.path)


def test_a_run_that_is_gone_or_was_trained_on_is_none(settings, tmp_path):
    config = settings().as_node()
    record, folder = record_of(tmp_path, config, "finished")
    folder.write_config({**config, "trainer": {**config["trainer"], "max_epochs": 99}}, [])
    assert record.run() == ("none", None)
    (folder.path / "config.yaml").unlink()
    assert record.run() == ("none", None)
    record.path.write_text("{")
    assert record.run() == ("none", None)
    assert JobRecord(tmp_path, "unknown").run() == ("none", None)
