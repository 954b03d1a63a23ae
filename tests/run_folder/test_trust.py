"""A run folder may come from anyone: a target that the config tree does not know is not run."""

from pathlib import Path

import pytest

from diffusion_lab.config.targets import known_targets
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs import load_run
from diffusion_lab.runs.load import recorded_settings

WHERE = Path("run/config.yaml")


@pytest.fixture
def config(settings):
    return settings("data=digits").as_node()


def refusal(config):
    with pytest.raises(LabError) as caught:
        trusted(config, WHERE)
    message = str(caught.value)
    assert message.startswith(f"{WHERE} names the target ")
    assert "it is not run" in message
    assert "\n" not in message
    return message


def test_the_config_of_a_run_is_trusted(config):
    assert trusted(config, WHERE) == config


def test_every_known_target_is_a_class_of_the_lab_or_of_what_it_is_built_on():
    assert "diffusion_lab.schedules.LinearSchedule" in known_targets()["schedule"]
    roots = {target.split(".")[0] for names in known_targets().values() for target in names}
    assert roots == {"diffusion_lab", "torch", "pytorch_lightning"}


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "subprocess.Popen", "torch.load", ""])
@pytest.mark.parametrize("key", ["network._target_", "callbacks.progress._target_", "anything.deep.down._target_"])
def test_a_target_that_the_config_tree_does_not_know_is_refused_by_name(config, key, target):
    *parents, last = key.split(".")
    node = config
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = target
    assert repr(target) in refusal(config)


@pytest.mark.parametrize(("group", "other"), [("network", "logger"), ("schedule", "optimizer"), ("trainer", "data")])
def test_a_target_in_another_place_than_its_own_is_refused(config, group, other):
    for target in known_targets()[other]:
        config[group] = {"_target_": target}
        assert f"as {group}._target_" in refusal(config)


@pytest.mark.parametrize("target", [["os.system"], {"a": 1}, None, 3])
def test_a_target_that_is_no_text_is_refused(config, target):
    config["network"] = {"_target_": target}
    refusal(config)


def test_a_target_inside_a_list_is_refused(config):
    config["optimizer"]["betas"] = [{"_target_": "os.system", "command": "true"}]
    assert "'os.system'" in refusal(config)


def test_a_misspelled_target_is_named_with_the_nearest(config):
    config["schedule"]["_target_"] = "diffusion_lab.schedules.LinearShedule"
    assert "; did you mean diffusion_lab.schedules.LinearSchedule?" in refusal(config)


def test_loading_a_run_that_names_a_command_does_not_run_it(config, tmp_path):
    mark = tmp_path / "it ran"
    config["network"] = {"_target_": "os.system", "command": f"touch '{mark}'"}
    folder = RunFolder.create(tmp_path, "x")
    folder.write_config(config, [])
    with pytest.raises(LabError, match=r"os\.system.*it is not run"):
        load_run(folder.path)
    assert not mark.exists()


def test_what_a_folder_recorded_is_built_by_its_allow_list_alone_even_past_the_first_check(config, tmp_path):
    """As if `trusted` had missed the target: each place that builds parts of recorded settings holds the list too."""
    from diffusion_lab.runs.validate import validated

    folder = RunFolder.create(tmp_path, "x")
    mark = tmp_path / "it ran"
    command = {"_target_": "os.system", "command": f"touch '{mark}'"}
    places = ["data", "schedule", "network", "sampler", "optimizer", "callbacks.x", "evaluation.x", "ema", "clip"]
    for place in places:
        group, _, name = place.partition(".")
        node = config | {group: config[group] | {name: command} if name else command}
        settings = recorded_settings(folder, node)
        with pytest.raises(LabError, match=r"_target_=os\.system: no such class or function is known under [a-z]+$"):
            validated(settings)
    assert not mark.exists()
