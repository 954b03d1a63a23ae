"""What a recorded config or checkpoint claims and cannot be: too large sizes, and states of another kind."""

import contextlib

import pytest
import torch

from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.errors import LabError
from diffusion_lab.runs import load_run
from diffusion_lab.runs.prepare import new_start, prepare, resumed_start
from diffusion_lab.runs.train import train

MORE = ["trainer.max_epochs=3"]


@pytest.mark.parametrize("size", [1600, pytest.param(10**6, marks=pytest.mark.full), 10**9])
@pytest.mark.parametrize("key", ["network.base_channels", "network.time_dim", "schedule.steps"])
def test_a_recorded_size_that_does_not_go_with_the_weights_is_refused(copy, key, size):
    group, name = key.split(".")
    config = copy.read_config()
    size = size * 100_000 if key == "schedule.steps" else size
    config[group][name] = size
    copy.write_config(config, [])
    for door in (lambda: load_run(copy.path, device="cpu"), lambda: prepare(resumed_start(copy, MORE), ())):
        with pytest.raises(LabError, match=rf"config\.yaml: {group}: .* GB .*go with|of another network") as refusal:
            door()
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["network.base_channels", "schedule.steps"])
def test_a_typed_size_that_no_machine_has_is_refused_before_the_run_has_a_folder(tiny, tmp_path, key):
    settings: TrainConfig = tiny(f"{key}=1000000000000", f"paths.output_dir={tmp_path}/o")
    with pytest.raises(LabError, match=rf"{key.split('.')[0]}.*that this machine has"):
        prepare(new_start(settings, [], {}), ())
    assert not (tmp_path / "o").exists()


def spoil(content, *keys, to):
    *parents, last = keys
    for key in parents:
        content = content[key]
    content[last] = to


@pytest.mark.parametrize(
    "spoiled",
    [
        (("optimizer_states", 0, "state", 0), torch.zeros(3, dtype=torch.int8)),
        (("optimizer_states", 0, "state", 0, "exp_avg"), torch.zeros(3)),
        (("optimizer_states", 0, "state", 0, "exp_avg_sq"), "abc"),
        (("optimizer_states", 0, "param_groups"), {}),
        (("optimizer_states", 0, "param_groups", 0, "lr"), float("nan")),
        (("optimizer_states", 0, "param_groups", 0, "betas"), ("a", "b")),
        (("optimizer_states", 0, "param_groups", 0, "lr"), torch.zeros(3, 3)),
        (("state_dict", "network.out.bias"), torch.zeros(1, device="meta")),
        (("state_dict", "network.out.bias"), torch.zeros(1, dtype=torch.complex64)),
        (("time_sampling",), {"losses": torch.zeros(2, 2)}),
        (("lr_schedulers", 0), 5),
        (("loops", "fit_loop"), "abc"),
        (("loops", "fit_loop", "epoch_progress"), -1),
        (("callbacks",), {"EMA": 5}),
    ],
    ids=lambda value: "-".join(map(str, value[0])),
)
def test_a_checkpoint_that_cannot_be_restored_is_said_to_be_damaged(copy, settings, spoiled):
    keys, value = spoiled
    path = copy.path / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    spoil(content, *keys, to=value)
    path.unlink()
    torch.save(content, path)
    for earlier in path.parent.glob("step_*.ckpt"):
        earlier.unlink()
    with pytest.raises(LabError, match=r"last\.ckpt is damaged"):
        train(settings(f"resume={copy.path}", "console=quiet"), [f"resume={copy.path}", *MORE])


def test_a_tensor_that_stands_often_in_a_checkpoint_is_refused_before_it_is_copied(copy):
    path = copy.path / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    one = torch.zeros(2**20)
    content["optimizer_states"][0]["state"][0] |= {f"x{n}": one for n in range(800)}
    path.unlink()
    torch.save(content, path)
    with pytest.raises(LabError, match=r"last\.ckpt is damaged: tensors in it share so much memory"):
        load_run(copy.path, device="cpu")


@pytest.mark.slow
def test_a_network_of_millions_of_blocks_is_refused_before_it_is_built(copy):
    config = copy.read_config()
    config["network"] = {"_target_": "diffusion_lab.networks.DiT", "depth": 10_000_000, "width": 8, "heads": 1}
    copy.write_config(config, [])
    with pytest.raises(LabError, match=r"config\.yaml: network: it makes more than 50,000 tensors"):
        load_run(copy.path, device="cpu")


@pytest.mark.parametrize(
    ("cell", "outcome"),
    [
        ("9" * 5000, contextlib.nullcontext()),
        ("x" * 200_000, pytest.raises(LabError, match=r"metrics\.csv is damaged: field larger than")),
    ],
)
def test_a_cell_that_is_no_step_does_not_break_a_resumed_run(copy, settings, cell, outcome):
    path = copy.path / "csv" / "metrics.csv"
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index("step")
    fields = lines[1].split(",")
    fields[column] = cell
    path.write_text("\n".join([lines[0], ",".join(fields), *lines[2:]]) + "\n")
    with outcome:
        resumed = train(settings(f"resume={copy.path}", "console=quiet"), [f"resume={copy.path}", *MORE])
        assert resumed.read_manifest()["status"] == "finished"
