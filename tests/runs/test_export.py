"""Exports of a run: the libraries that read them compute the same, and each model card's code runs."""

import base64
import json
import math
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch

from conftest import TINY, TINY_TEXT
from diffusion_lab.config.build import build, recordable
from diffusion_lab.errors import LabError
from diffusion_lab.exchange.own_export import own_config
from diffusion_lab.noise import Noise
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import Manifest
from diffusion_lab.runs import load_run
from diffusion_lab.runs.export import export
from diffusion_lab.runs.model_card import _numbers
from diffusion_lab.runs.train import train
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO

UNET = ("network=unet", "network.num_blocks=1", "network.head_channels=8", "network.norm_groups=4")


@pytest.fixture
def trained(settings, tmp_path):
    """A function from overrides to the folder of a run, whose network's weights are random and not small.

    New networks put out zeros, which would hide what is wrong.
    """

    def of(*overrides, without=()):
        kept = [text for text in TINY if not text.startswith(without)]
        typed = recordable(settings(*kept, f"paths.output_dir={tmp_path}/runs", *overrides))
        parts = build(typed)
        torch.manual_seed(3)
        weights = {name: torch.randn_like(value) * 0.15 for name, value in parts.module.state_dict().items()}
        run = RunFolder.create(typed.paths.output_dir, typed.name)
        run.write_config(typed.as_node(), overrides)
        Manifest(run, typed.seed).end_session("finished")
        state = {"state_dict": weights, "global_step": 8}
        AtomicCheckpointIO().save_checkpoint(state, run.path / "checkpoints" / "last.ckpt")
        return run.path

    return of


@pytest.fixture
def exported(settings, tmp_path):
    """A function from a run, a format and overrides to the folder of its export."""

    def of(folder, kind, *overrides):
        out = tmp_path / kind
        return export(settings(f"run_dir={folder}", f"format={kind}", f"out={out}", *overrides, config_name="export"))

    return of


def start_of(shape, count=4):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_ddim_from_one_start_is_the_same_in_diffusers(trained, exported, prediction):
    folder = trained(*UNET, "schedule=cosine", f"parameterization={prediction}", "sampler=ddim")
    out = exported(folder, "diffusers")
    pipeline = diffusers.DDIMPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    run = load_run(folder, device="cpu")
    z = start_of((1, 8, 8))
    ours = run.parts.pipeline.draw(4, start=z).samples
    pipeline.scheduler.set_timesteps(5)
    for t in pipeline.scheduler.timesteps:
        with torch.no_grad():
            raw = pipeline.unet(z, t).sample
        z = pipeline.scheduler.step(raw, t, z, eta=0.0, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(ours, z, rtol=0, atol=1e-4)
    assert float(ours.std()) > 0.05


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_ancestral_steps_are_the_same_in_diffusers(trained, exported, monkeypatch, variance):
    schedule = ["schedule.steps=40", "sampler=ancestral", f"sampler.variance={variance}", "sampler.num_steps=null"]
    folder = trained(*UNET, *schedule)
    out = exported(folder, "diffusers")
    check_ancestral(monkeypatch, folder, diffusers.UNet2DModel.from_pretrained(out, subfolder="unet"), out)


def test_a_transformer_by_class_is_the_same_in_diffusers(trained, exported, monkeypatch):
    shape = ["network.width=16", "network.depth=1", "network.heads=2", "network.patch_size=2"]
    steps = ["schedule.steps=40", "sampler.num_steps=null"]
    choices = ["network.positions=sinusoidal_2d", "network.labels=true", *shape, *steps]
    folder = trained("network=dit", *choices, without=("network.", "sampler."))
    out = exported(folder, "diffusers")
    model = diffusers.DiTTransformer2DModel.from_pretrained(out, subfolder="transformer")
    check_ancestral(monkeypatch, folder, model, out, labels=torch.tensor([3, 1, 4, 1]))


def check_ancestral(monkeypatch, folder, model, out, labels=None):
    scheduler = diffusers.DDPMScheduler.from_pretrained(out, subfolder="scheduler")
    run = load_run(folder, device="cpu")
    states, z = [], start_of((1, 8, 8))
    run.parts.pipeline.draw(4, start=z, seed=9, condition=labels, on_step=lambda step: states.append(step.z.clone()))
    noise = Noise(torch.arange(4), 9, "sample")
    place = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
    for number, t in enumerate(scheduler.timesteps):
        with torch.no_grad():
            raw = model(z, t.expand(4), class_labels=labels).sample
        monkeypatch.setattr(place, lambda shape, n=number, **_: noise.at("step", n).normal((1, 8, 8)))
        z = scheduler.step(raw, int(t), z).prev_sample
        torch.testing.assert_close(states[number].float(), z, rtol=0, atol=1e-4)
        z = states[number].float()  # step for step
    assert len(states) == 40


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("safetensors", "samples"),
        ("diffusers", "images"),
        pytest.param("onnx", "x", marks=pytest.mark.slow),
        pytest.param("torch_export", "x", marks=pytest.mark.slow),
    ],
)
def test_the_code_of_the_model_card_draws_samples(trained, exported, monkeypatch, kind, found):
    out = exported(trained(*UNET, "schedule=cosine", "sampler=ddim"), kind, "license=mit")
    card = (out / "README.md").read_text()
    assert card.startswith("---\n")
    assert "license: mit" in card
    assert "| network | UNet | base_channels 8," in card
    monkeypatch.chdir(out.parent if kind == "safetensors" else out)
    names = {}
    exec(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1], names)
    assert len(names[found]) == (16 if kind == "safetensors" else 4)
    images = [np.asarray(image, np.float32) for image in names[found]]
    assert np.isfinite(images).all()
    assert np.std(images) > 0.05


def drawn_by_card(out, monkeypatch):
    monkeypatch.chdir(out)
    names = {}
    exec(re.search(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)[1], names)
    return names


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "choices",
    [
        ["schedule=flow", "parameterization=velocity", "sampler=euler"],
        ["schedule=edm", "parameterization=edm", "sampler=heun"],
        ["parameterization=learned_variance", "objective=hybrid", "sampler=ddim"],
        ["network.labels=true", "sampler=ddim"],
    ],
    ids=" ".join,
)
def test_the_loop_of_the_card_is_ddim(trained, exported, monkeypatch, choices):
    folder = trained(*UNET, *choices)
    names = drawn_by_card(exported(folder, "torch_export"), monkeypatch)
    run = load_run(folder, device="cpu", changes={
        "sampler": {"_target_": "diffusion_lab.sampling.DDIM", "num_steps": 50, "eta": 0.0},
        "grid": {"_target_": "diffusion_lab.sampling.grids.Trailing"},
    })  # fmt: skip
    prior = run.parts.process.schedule.prior_std
    start = torch.from_numpy((prior * np.random.default_rng(0).standard_normal((4, 1, 8, 8))).astype(np.float32))
    ours = run.parts.pipeline.draw(4, start=start).samples
    torch.testing.assert_close(torch.from_numpy(names["x"]), ours, rtol=0, atol=1e-3)


def test_what_was_exported_is_read_again(trained, exported, tiny):
    folder = trained(*UNET, "network.labels=true")
    out = exported(folder, "safetensors")
    again = load_run(out, device="cpu")
    torch.testing.assert_close(
        again.sample(3, seed=2), load_run(folder, device="cpu").sample(3, seed=2), rtol=0, atol=0
    )
    assert load_run(out).folder.path == again.folder.path
    more = train(tiny(*UNET, "network.labels=true", f"init_from={out}", "optimizer.lr=0"), [])
    trained_weights = load_run(more.path, device="cpu").parts.module.state_dict()
    for name, value in load_run(folder, device="cpu").parts.module.state_dict().items():
        torch.testing.assert_close(trained_weights[name], value, rtol=0, atol=0)


def test_the_card_says_nothing_of_the_machine(trained, exported):
    folder = trained(*UNET)
    RunFolder(folder).write_config(
        RunFolder(folder).read_config(), ["seed=3", "paths.data_dir=/secret", "data.path=/x"]
    )
    out = exported(folder, "safetensors")
    for file in ("README.md", "diffusion_lab.json"):
        text = (out / file).read_text()
        assert str(folder.parents[2]) not in text
        assert "/secret" not in text
    assert "diffusion-lab train seed=3\n" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["network=simple_unet"], "no counterpart of network=SimpleUNet; it has one of unet and dit"),
        ([*UNET, "schedule.steps=null", "schedule=cosine"], "schedule=CosineSchedule has none"),
        ([*UNET, "schedule=flow", "parameterization=velocity", "sampler=euler"], "schedule=FlowSchedule has none"),
        ([*UNET, "clip=dynamic"], "clip=DynamicThreshold has no counterpart"),
        ([*UNET, "network.norm_groups=null"], r"network\.norm_groups=8"),
    ],
)
def test_what_diffusers_has_no_counterpart_of_is_named(trained, exported, tmp_path, choices, message):
    folder = trained(*choices)
    with pytest.raises(LabError, match=message):
        exported(folder, "diffusers")
    assert not (tmp_path / "diffusers").exists()


def test_what_the_run_samples_with_and_diffusers_not_is_said_in_the_card(trained, exported):
    labels = ["network.labels=true", "guidance=cfg", "guidance.scale=2"]
    folder = trained(*UNET, *labels, "sampler=dpmpp_2m", "sampler.num_steps=7", "grid=quadratic")
    card = (exported(folder, "diffusers") / "README.md").read_text()
    assert "The run itself draws with DPMSolverPP2M; here is ancestral sampling." in card
    assert "The run itself takes the times of Quadratic" in card
    assert "The run itself draws with guidance (ClassifierFree); here there is none." in card
    assert "7 steps do not divide those of the schedule" in card


def test_the_loop_of_the_card_keeps_the_noise_of_ddim(trained, exported):
    folder = trained(*UNET, "network.labels=true", "sampler=ddim", "sampler.eta=0.5")
    assert (
        "scheduler.step(raw, t, images, eta=0.5, use_clipped"
        in (exported(folder, "diffusers") / "README.md").read_text()
    )


def test_a_model_that_was_taken_from_elsewhere_is_not_said_to_be_trained_here(trained, exported, tiny):
    folder = trained(*UNET, "sampler=ddim")
    taken = load_run(exported(folder, "diffusers")).folder.path
    card = (exported(taken, "safetensors") / "README.md").read_text()
    assert "which was not\ntrained with Diffusion Lab, but taken from diffusers." in card
    assert "How it was trained" not in card


def test_the_card_says_that_training_started_from_other_weights(trained, exported):
    folder = trained(*UNET, "init_from=/elsewhere", "init_flags='--image_size 8'")
    card = (exported(folder, "safetensors") / "README.md").read_text()
    assert "Training started from other weights (`init_from`)" in card
    assert "elsewhere" not in card
    assert "init_flags" not in card


def test_the_card_has_numbers_of_quality_alone():
    measured = {"val/loss": 0.03, "fid": 1.5, "recognition.samples": math.nan}
    others = {"train/loss": 0.1, "optimizer/gradient_norm": 1.0, "memory/peak_MiB": 9.0, "parameters": 5.0, "step": 7.0}
    assert _numbers(SimpleNamespace(metrics=measured | others)) == {"val/loss": 0.03, "fid": 1.5}


def test_only_names_are_left_of_absolute_paths():
    content = own_config(
        {"data": {"_target_": "X", "path": "/home/me/private"}, "paths": {"data_dir": "/d"}, "seed": 1}
    )
    assert content["config"] == {"data": {"_target_": "X", "path": "private"}, "seed": 1}


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("no/folder", "Error: out=no/folder: there is no folder .* to make it in"),
        ("no/..", r"Error: out=no/\.\. exists already"),
        ("link", "Error: out=link exists already: name a new folder"),
    ],
)
def test_a_place_that_cannot_be_is_refused(door, recorded, tmp_path, out, message):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    status, line = door(f"run_dir={recorded.path}", "format=safetensors", f"out={out}", script="export")
    assert status == 1
    assert re.match(message, line)
    assert not (tmp_path / "README.md").exists()


def test_a_folder_that_exists_is_left_as_it_is(door, tmp_path, recorded):
    (tmp_path / "there").mkdir()
    typed = [f"run_dir={recorded.path}", "format=safetensors", "out=there"]
    assert door(*typed, script="export") == (1, "Error: out=there exists already: name a new folder")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("format=pickle", "format"),
        ("push_to_hub=me", "push_to_hub must be the name of a repository, me/my_model, got 'me'"),
        ("license='a b'", "license must be one word"),
    ],
)
def test_bad_input_is_named(door, recorded, typed, message):
    status, line = door(f"run_dir={recorded.path}", "format=safetensors", "out=new", typed, script="export")
    assert status == 1
    assert message in line


class Hub(BaseHTTPRequestHandler):
    """A stand-in for the Hub's API: a repository is made, and files are committed to it."""

    calls: list
    files: dict

    def do_GET(self):
        self.answer({"id": "me/small", "sha": "0" * 40, "private": True, "siblings": [], "tags": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.calls.append((self.path, self.headers["Authorization"]))
        if self.path == "/api/repos/create":
            self.answer({"url": f"{self.server.address}/me/small"})
        elif self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                {"commitUrl": f"{self.server.address}/me/small/commit/1", "commitOid": "1" * 40, "success": True}
            )
        else:
            self.answer({})

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the Hub on this machine, and a user who is logged in there."""
    import huggingface_hub.constants as constants

    Hub.calls, Hub.files = [], {}
    server = HTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", server.address, raising=False)
    yield Hub
    server.shutdown()
    server.server_close()


def test_an_export_is_uploaded_by_the_user_who_is_logged_in(recorded, exported, hub, capsys):
    out = exported(recorded.path, "safetensors", "push_to_hub=me/small")
    assert hub.files == {path.name: path.read_bytes() for path in out.iterdir()}
    assert {token for _, token in hub.calls} == {"Bearer hf_secret"}
    assert "uploaded to" in capsys.readouterr().out


def test_without_a_login_nothing_is_written(recorded, exported, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(LabError, match="push_to_hub needs a login: type `hf auth login`, or set HF_TOKEN"):
        exported(recorded.path, "safetensors", "push_to_hub=me/small")
    assert not (tmp_path / "safetensors").exists()


def test_without_a_network_the_files_stay(recorded, exported, hub, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(LabError, match=r"push_to_hub=me/small: .*; the files are in .*safetensors"):
        exported(recorded.path, "safetensors", "push_to_hub=me/small")
    assert (tmp_path / "safetensors" / "model.safetensors").is_file()


def test_what_cannot_be_uploaded_stays(recorded, exported, hub, monkeypatch, tmp_path):
    monkeypatch.setattr(Hub, "do_POST", lambda self: self.answer({"error": "no room"}, 403))
    with pytest.raises(LabError, match=r"push_to_hub=me/small: .*403.*; the files are in .*safetensors"):
        exported(recorded.path, "safetensors", "push_to_hub=me/small")
    assert (tmp_path / "safetensors" / "model.safetensors").is_file()


def test_a_graph_that_computes_something_else_is_not_written(recorded, exported, monkeypatch, tmp_path):
    monkeypatch.setattr("diffusion_lab.runs.export_graph.TOLERANCE", -1.0)
    with pytest.raises(LabError, match=r"format=torch_export: the graph's output differs by .*: not written"):
        exported(recorded.path, "torch_export")
    assert not (tmp_path / "torch_export").exists()


@pytest.mark.slow
def test_text_has_a_graph_too(settings, tmp_path, exported, coarse_figures):
    folder = train(settings("experiment=quickstart_text", *TINY_TEXT, f"paths.output_dir={tmp_path}/runs"), []).path
    out = exported(folder, "torch_export")
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        exec(re.search(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)[1], names)
    assert names["raw"].shape[:2] == (1, 16)
    again = exported(folder, "safetensors")
    shutil.rmtree(folder)
    assert len(load_run(again, device="cpu").sample(2)) == 2
