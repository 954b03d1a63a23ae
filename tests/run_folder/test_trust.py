"""A run folder may come from anyone: a target that the config tree does not know is not run."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from diffusion_lab.config.targets import known_targets
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs import load_run

WHERE = Path("run/config.yaml")


@pytest.fixture
def cfg(composed):
    return composed("data=digits")


def refusal(cfg):
    with pytest.raises(LabError) as caught:
        trusted(cfg, WHERE)
    message = str(caught.value)
    assert message.startswith(f"{WHERE} names the target ")
    assert "it is not run" in message
    assert "\n" not in message
    return message


def test_the_config_of_a_run_is_trusted(cfg):
    assert trusted(cfg, WHERE) == cfg


def test_every_known_target_is_a_class_of_the_lab_or_of_what_it_is_built_on():
    assert "diffusion_lab.schedules.LinearSchedule" in known_targets()
    roots = {target.split(".")[0] for target in known_targets()}
    assert roots == {"diffusion_lab", "torch", "pytorch_lightning"}


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "subprocess.Popen", "torch.load", ""])
@pytest.mark.parametrize("key", ["network._target_", "callbacks.progress._target_", "anything.deep.down._target_"])
def test_a_target_that_the_config_tree_does_not_know_is_refused_by_name(cfg, key, target):
    OmegaConf.set_struct(cfg, False)
    OmegaConf.update(cfg, key, target)
    assert repr(target) in refusal(cfg)


@pytest.mark.parametrize("target", [["os.system"], {"a": 1}, None, 3])
def test_a_target_that_is_no_text_is_refused(cfg, target):
    OmegaConf.set_struct(cfg, False)
    cfg.network = {"_target_": target}
    refusal(cfg)


def test_a_target_inside_a_list_is_refused(cfg):
    cfg.optimizer.betas = [{"_target_": "os.system", "command": "true"}]
    assert "'os.system'" in refusal(cfg)


def test_a_misspelled_target_is_named_with_the_nearest(cfg):
    cfg.schedule._target_ = "diffusion_lab.schedules.LinearShedule"
    assert "; did you mean diffusion_lab.schedules.LinearSchedule?" in refusal(cfg)


def test_loading_a_run_that_names_a_command_does_not_run_it(cfg, tmp_path):
    mark = tmp_path / "it ran"
    OmegaConf.set_struct(cfg, False)
    cfg.network = {"_target_": "os.system", "command": f"touch '{mark}'"}
    folder = RunFolder.create(tmp_path, "x")
    folder.write_config(cfg, [])
    with pytest.raises(LabError, match=r"os\.system.*it is not run"):
        load_run(folder.path)
    assert not mark.exists()
