"""A recorded config that asks for far more memory than the run had is refused before the memory is taken."""

import pytest

from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.errors import LabError
from diffusion_lab.runs import load_run
from diffusion_lab.runs.prepare import new_start, prepare, resumed_start
from diffusion_lab.runs.train import train

MORE = ["trainer.max_epochs=3"]


@pytest.fixture
def run(tiny):
    return train(tiny("console=quiet"), [])


@pytest.mark.parametrize("size", [1600, 10**6, 10**9])
@pytest.mark.parametrize("key", ["network.base_channels", "network.time_dim", "schedule.steps"])
def test_a_recorded_size_that_does_not_go_with_the_weights_is_refused(run, key, size):
    group, name = key.split(".")
    config = run.read_config()
    size = size * 100_000 if key == "schedule.steps" else size
    config[group][name] = size
    run.write_config(config, [])
    for door in (lambda: load_run(run.path, device="cpu"), lambda: prepare(resumed_start(run, MORE), ())):
        with pytest.raises(LabError, match=rf"config\.yaml: {group}: .* GB .*go with|of another network") as refusal:
            door()
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["network.base_channels", "schedule.steps"])
def test_a_typed_size_that_no_machine_has_is_refused_before_the_run_has_a_folder(tiny, tmp_path, key):
    settings: TrainConfig = tiny(f"{key}=1000000000000", f"paths.output_dir={tmp_path}/o")
    with pytest.raises(LabError, match=rf"{key.split('.')[0]}.*that this machine has"):
        prepare(new_start(settings, [], {}), ())
    assert not (tmp_path / "o").exists()
