"""Models that other programs have trained: drawn from, and trained further."""

import json
import pickle

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.errors import LabError
from diffusion_lab.runs import load_run
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train
from oracles.adm_unet import adm_weights

#: The U-Net of `theirs`, as it is typed here.
NETWORK = (
    "network=unet", "network.num_blocks=1", "network.head_channels=8", "network.learned_resampling=conv",
    "network.scale_shift=false", "network.norm_groups=4", "network.freq_shift=0", "schedule=cosine",
)  # fmt: skip
FLAGS = "--image_size 16 --num_channels 32 --num_res_blocks 1 --channel_mult 1,2 --attention_resolutions 8"


@pytest.fixture(autouse=True)
def outputs(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFUSION_LAB_OUTPUT_DIR", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


@pytest.fixture
def theirs(tmp_path):
    """The folder of a DDPM pipeline of diffusers with random weights."""
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), layers_per_block=1, norm_num_groups=4,
        down_block_types=("AttnDownBlock2D",), up_block_types=("AttnUpBlock2D",),
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=20, beta_schedule="squaredcos_cap_v2")
    diffusers.DDPMPipeline(model, scheduler).save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def test_a_folder_of_diffusers_is_drawn_from(theirs, settings, outputs):
    written = sample(settings(f"run_dir={theirs}", "num_samples=3", "seed=4", config_name="sample"))
    assert written.is_relative_to(outputs / "imported")
    assert np.load(written / "samples.npy").shape == (3, 1, 8, 8)
    again = sample(
        settings(f"run_dir={theirs}", "num_samples=2", "sampler=ddim", "sampler.num_steps=5", config_name="sample")
    )
    assert again.parent == written.parent  # it is the same run
    (record,) = find_runs([outputs])
    assert (record.state, record.tags, record.notes) == ("finished", ["diffusers"], "from theirs")


def test_a_run_that_is_damaged_or_was_pruned_does_not_stand_for_the_model(theirs):
    first = load_run(theirs).folder.path
    (first / "checkpoints" / "last.ckpt").unlink()
    second = load_run(theirs).folder.path
    assert second != first
    (second / "manifest.json").write_text("{")
    third = load_run(theirs).folder.path
    assert third not in (first, second)
    assert load_run(theirs).folder.path == third


def test_a_link_of_the_hub_s_cache_is_refused(theirs):
    file = theirs / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(theirs / "blob")
    file.symlink_to(theirs / "blob")
    with pytest.raises(LabError, match=r"is a link, as in a cache of the Hub: download with `hf download"):
        load_run(theirs)


def test_its_samples_are_those_of_diffusers(theirs):
    z = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    run = load_run(
        theirs, device="cpu", changes={
            "sampler": {"_target_": "diffusion_lab.sampling.DDIM", "num_steps": 10, "eta": 0.0},
            "grid": {"_target_": "diffusion_lab.sampling.grids.Trailing"},
        },
    )  # fmt: skip
    ours = run.parts.pipeline.draw(2, start=z).samples
    pipeline = diffusers.DDPMPipeline.from_pretrained(theirs)
    scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps:
        with torch.no_grad():
            raw = pipeline.unet(z, t).sample
        z = scheduler.step(raw, t, z, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(ours, z, rtol=0, atol=1e-4)


def test_training_goes_on_from_its_weights(theirs, tiny):
    run = train(tiny(*NETWORK, "optimizer.lr=0", f"init_from={theirs}"), [])
    expected = load_run(theirs, device="cpu").parts.module.state_dict()
    for name, value in load_run(run.path, device="cpu").parts.module.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_it_may_be_trained_with_another_dropout(theirs, tiny):
    run = train(tiny(*NETWORK, "network.dropout=0.3", f"init_from={theirs}"), [])
    assert load_run(run.path).parts.network.state_dict().keys() == load_run(theirs).parts.network.state_dict().keys()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("network.freq_shift=1", r"init_from: the model has network\.freq_shift=0, and this run 1"),
        ("network.base_channels=16", r"init_from: the model has network\.base_channels=8, and this run 16"),
        ("network.norm_groups=null", r"init_from: the model has network\.norm_groups=4, and this run null"),
        ("network=simple_unet", r"init_from: the model has network=diffusion_lab\.networks\.UNet"),
        ("network.attention_sizes=[]", r"init_from: the model has network\.attention_sizes=\[8\], and this run \[\]"),
        ("init_flags='--image_size 8'", "flags are for a checkpoint of ADM"),
    ],
)
def test_another_network_does_not_take_them(theirs, tiny, typed, message, tmp_path):
    network = [] if typed == "network=simple_unet" else NETWORK
    with pytest.raises(LabError, match=message):
        train(tiny(*network, f"init_from={theirs}", typed, f"paths.output_dir={tmp_path / 'runs'}"), [])
    assert not (tmp_path / "runs").exists()


def test_images_of_another_kind_are_refused_by_the_weight(theirs, tiny):
    with pytest.raises(LabError, match=r"is of another network: network\.out\.bias"):
        train(tiny(*NETWORK, f"init_from={theirs}", "parameterization=learned_variance", "objective=hybrid"), [])


@pytest.mark.slow
def test_a_checkpoint_of_adm_is_drawn_from_and_trained_further(tmp_path, settings, tiny):
    weights, _ = adm_weights(32, [1, 2], 1, [False, True], in_channels=1, out_channels=2)
    torch.save(weights, tmp_path / "model.pt")
    flags = f"{FLAGS} --learn_sigma True --diffusion_steps 10 --rescale_timesteps False --noise_schedule cosine"
    typed = [f"run_dir={tmp_path / 'model.pt'}", f"flags='{flags}'", "num_samples=2"]
    written = sample(settings(*typed, config_name="sample"))
    assert np.load(written / "samples.npy").shape == (2, 1, 16, 16)
    run = load_run(written.parents[1], device="cpu")
    node = {key: value for key, value in run.settings.network.items() if not key.startswith("_")}
    network = [f"network.{key}={'null' if value is None else value}" for key, value in node.items()]
    more = ["parameterization=learned_variance", "objective=hybrid", "data.image_size=16", "optimizer.lr=0"]
    start = [f"init_from={tmp_path / 'model.pt'}", f"init_flags='{flags}'"]
    trained = train(tiny("network=unet", *network, *more, *start), [])
    expected = run.parts.module.state_dict()
    for name, value in load_run(trained.path, device="cpu").parts.module.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_a_checkpoint_without_flags_asks_for_them(tmp_path, door):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    status, line = door("run_dir=model.safetensors", script="sample")
    assert status == 1
    assert "it holds weights alone: say what they are of by the flags of its training" in line


class Code:
    def __reduce__(self):
        return (print, ("code in a checkpoint was run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "is damaged or not a checkpoint"),
        (Code(), "holds more than tensors and plain values: it was not loaded"),
        ({"epoch": 3}, "does not hold weights alone"),
        ({"input_blocks.0.0.weight": torch.zeros(2)}, "the weight input_blocks.0.0.weight is missing"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, content, message, capsys):
    file = tmp_path / "model.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file, pickle_module=pickle)
    with pytest.raises(LabError, match=message):
        load_run(file, flags=FLAGS)
    assert "code in a checkpoint" not in capsys.readouterr().out


def altered(folder, file, change):
    path = folder / file
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | change))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("unet/config.json", {"_class_name": "UNet1DModel"}, "is of 'UNet1DModel': UNet2DModel has a counterpart here"),
        ("unet/config.json", {"act_fn": "mish"}, "theirs: act_fn='mish'"),
        ("unet/config.json", {"sample_size": "big"}, "theirs: sample_size='big'"),
        ("unet/config.json", {"layers_per_block": 2}, "theirs: the weight .* is missing"),
        ("unet/config.json", {"block_out_channels": 7}, "theirs is damaged"),
        ("unet/config.json", {"block_out_channels": [16]}, r"is of another network: network\.after_middle"),
        ("unet/config.json", {"block_out_channels": [80000]}, r"above the [\d.]+ GB that this machine has"),
        ("scheduler/scheduler_config.json", {"_class_name": "PNDMScheduler"}, "the scheduler is 'PNDMScheduler'"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type='flow'"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "laplace"}, "beta_schedule='laplace'"),
        ("scheduler/scheduler_config.json", {"thresholding": True}, "thresholding=True: only False"),
        ("scheduler/scheduler_config.json", {"variance_type": "learned"}, "variance_type='learned'"),
        ("scheduler/scheduler_config.json", {"timestep_spacing": "linspace"}, "timestep_spacing='linspace'"),
        ("scheduler/scheduler_config.json", {"set_alpha_to_one": False}, "set_alpha_to_one=False: only True"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "from 2 to 100,000 goes here"),
        ("scheduler/scheduler_config.json", {"_class_name": "A\n\x1b[31m"}, r"is 'A\\n\\x1b"),
        (
            "scheduler/scheduler_config.json",
            {"trained_betas": [{"_target_": "os.system"}] * 20},
            r"theirs names the target 'os\.system' as schedule\.betas",
        ),
        ("unet/config.json", {"block_out_channels": [0]}, "each must be a multiple of the first"),
        ("unet/config.json", {"attention_head_dim": 0}, "attention_head_dim=0: a whole number above 0"),
        ("unet/config.json", {"layers_per_block": 10**9}, "layers_per_block=1000000000: a whole number from 1 to 64"),
        ("unet/config.json", {"in_channels": "${oc.env:SECRET}"}, r"in_channels='\$\{oc\.env:SECRET\}'"),
        ("unet/config.json", {"norm_eps": "${oc.env:SECRET}"}, r"theirs: network\.norm_eps=\$\{oc\.env:SECRET\}"),
        ("unet/config.json", {"dropout": {"_target_": "os.system", "command": "true"}}, r"theirs.*os\.system"),
    ],
)
def test_what_has_no_counterpart_is_named_with_the_folder(theirs, file, change, message, outputs, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    altered(theirs, file, change)
    with pytest.raises((LabError, MemoryError), match=message) as told:
        load_run(theirs)
    assert "hunter2" not in str(told.value)
    assert "\n" not in str(told.value)
    assert not outputs.exists()


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
def test_schedules_of_diffusers_are_read(theirs, kind):
    altered(theirs, "scheduler/scheduler_config.json", {"beta_schedule": kind, "num_train_timesteps": 30})
    scheduler = diffusers.DDPMScheduler.from_pretrained(theirs, subfolder="scheduler")
    schedule = load_run(theirs).parts.process.schedule
    t = torch.arange(1, 31, dtype=torch.float64) / 30
    torch.testing.assert_close(schedule.alpha(t) ** 2, scheduler.alphas_cumprod.double(), rtol=1e-5, atol=1e-6)


def test_without_images_nothing_is_trained(settings, tmp_path):
    small = ["data=unknown_images", "network.base_channels=8", f"paths.output_dir={tmp_path / 'runs'}"]
    with pytest.raises(LabError, match="data=unknown_images: the images of this model are not here"):
        train(settings(*small), [])
    assert not (tmp_path / "runs").exists()
