"""A composed config becomes typed settings, and those give back what a run records."""

import pickle
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from diffusion_lab.config.schema import SWEEP_KEYS, SearchConfig, TrainConfig, VerifyConfig
from diffusion_lab.config.settings import read_settings, with_overrides
from diffusion_lab.config.tree import options
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.recorded_config import as_yaml


@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_run_records_its_composed_config_key_by_key(composed, experiment):
    """In the same order, and as the same text, that OmegaConf writes."""
    typed = ("ema=default", "tags=[a,'1']", "notes='yes'", "optimizer.lr=1e-5", "+trainer.max_time='00:01:00:00'")
    cfg = composed(f"experiment={experiment}", *typed)
    node = OmegaConf.to_container(cfg, resolve=True)
    expected = {key: value for key, value in node.items() if key not in SWEEP_KEYS}
    recorded = read_settings(TrainConfig, cfg).as_node()
    assert recorded == expected
    assert as_yaml(recorded) == OmegaConf.to_yaml(OmegaConf.create(expected))


@pytest.mark.parametrize(("name", "schema"), [("search", SearchConfig), ("verify_resume", VerifyConfig)])
def test_a_script_that_trains_records_no_keys_of_its_own(composed, name, schema):
    overrides = () if name == "verify_resume" else ("search=quickstart",)
    recorded = read_settings(schema, composed(*overrides, config_name=name)).as_node()
    assert recorded.keys() == read_settings(TrainConfig, composed()).as_node().keys()


def test_the_recorded_config_is_a_copy(settings):
    chosen = settings()
    chosen.as_node()["network"]["base_channels"] = 1
    assert chosen.network["base_channels"] == 32


def test_a_plain_container_is_read_without_interpolation(settings):
    node = settings().as_node() | {"notes": "${seed}"}
    assert read_settings(TrainConfig, node).notes == "${seed}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sead": 1}, "there is no key sead; did you mean seed?"),
        ({"seed": "x"}, "seed=x: it must be an integer"),
        ({"network": None}, "network has no option: choose from "),
        ({"sampling": {"num_samples": 4}}, "sampling.batch_size is missing"),
        ({"resume": "a", "init_from": "b"}, "resume and init_from exclude each other"),
    ],
)
def test_what_does_not_fit_is_named(settings, change, said):
    with pytest.raises(LabError) as refusal:
        read_settings(TrainConfig, settings().as_node() | change)
    assert str(refusal.value).startswith(said)


def test_paths_are_made_to_mean_the_same_from_elsewhere(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moved = replace(settings("paths.data_dir=data", "paths.output_dir=/runs"), init_from="a/run").with_absolute_paths()
    assert (moved.paths.data_dir, moved.paths.output_dir) == (str(tmp_path / "data"), "/runs")
    assert moved.init_from == str(tmp_path / "a" / "run")


def test_overrides_are_read_as_yaml_and_may_refer_to_other_keys():
    node = {"trainer": {"max_epochs": 2, "max_steps": -1}, "tags": []}
    changed = with_overrides(node, ["trainer.max_epochs=3", "trainer.max_steps=${trainer.max_epochs}", "tags=[a,b]"])
    assert changed == {"trainer": {"max_epochs": 3, "max_steps": 3}, "tags": ["a", "b"]}
    assert node["tags"] == []


def test_settings_go_to_other_processes(settings):
    chosen = settings("data=digits")
    assert pickle.loads(pickle.dumps(chosen)) == chosen
