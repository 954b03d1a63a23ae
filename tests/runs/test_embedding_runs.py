"""A run on embeddings by the doors that people use; what its codec learns is trained, averaged, stored and resumed."""

import json

import numpy as np
import pytest
import torch

from conftest import read_typed, save_coarsely
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.runs.draw_plans import make_plan
from diffusion_lab.runs.evaluate import evaluate
from diffusion_lab.runs.load import load_run
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train
from diffusion_lab.sampling.base import State

EMBEDDING = (
    "experiment=diffusion_lm_shakespeare", "data=python_docs", "data.length=16", "data.limit_train=64", "codec.dim=8",
    "network.width=16", "network.depth=1", "network.heads=2", "trainer=cpu", "trainer.max_steps=4", "ema.decay=0.5",
    "trainer.check_val_every_n_epoch=1", "lr_schedule.decay_steps=8", "lr_schedule.warmup_steps=1",
    "sampler.num_steps=4", "sampling.num_samples=3", "evaluation.bound.num_times=2", "evaluation.bound.num_items=8",
    "schedule.steps=50", "console=quiet", "name=embedding",
)  # fmt: skip


def trained(place, *typed):
    return train(read_typed(*EMBEDDING, f"paths.output_dir={place}", *typed), ["name=embedding"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run of four steps over two epochs."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        save_coarsely(monkeypatch)
        return trained(tmp_path_factory.mktemp("outputs"))


def stored(run):
    return torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)


def test_what_the_codec_learns_is_trained_averaged_stored_and_counted(run):
    state = stored(run)
    for name in ("codec.vectors", "codec.bias"):
        weights, average = state["state_dict"][name], state["ema"]["weights"][name]
        assert not torch.equal(weights, average)
        for key, expected in (("raw", weights), ("ema", average)):
            loaded = load_run(run.path, device="cpu", weights=key).parts
            assert torch.equal(loaded.module.state_dict()[name], expected)
            assert torch.equal(loaded.pipeline.codec.state_dict()[name.removeprefix("codec.")], expected)
    assert bool(state["state_dict"]["codec.bias"].any())
    parts = load_run(run.path, device="cpu").parts
    assert len(state["optimizer_states"][0]["state"]) == len(list(parts.module.parameters()))
    manifest = json.loads((run.path / "manifest.json").read_text())
    of_codec = parts.module.codec.vectors.numel() + parts.module.codec.bias.numel()
    assert manifest["parameters"] == of_codec + sum(p.numel() for p in parts.network.parameters())


@pytest.mark.slow
def test_a_resumed_run_is_the_run_that_was_never_stopped(run, tmp_path, monkeypatch):
    save_coarsely(monkeypatch)
    half = trained(tmp_path, "trainer.max_steps=2")
    typed = (f"resume={half.path}", "trainer.max_steps=4")
    whole, resumed = stored(run), stored(train(read_typed(*typed, "console=quiet"), list(typed)))
    for content in (lambda state: state["state_dict"], lambda state: state["ema"]["weights"]):
        for name, value in content(whole).items():
            assert torch.equal(content(resumed)[name], value), name


def test_its_figures_are_texts_and_its_terms_and_its_bound_are_logged(run):
    names = {path.name for path in run.figures.iterdir()}
    assert {"samples.txt", "denoising.txt", "forward.txt", "real_and_generated.txt", "loss.png"} <= names
    metrics = json.loads((run.path / "metrics.json").read_text())
    bound = metrics["bound"]
    assert 2 < bound["nats_per_character"] < 100
    terms = sum(bound[f"{name}_nats_per_token"] for name in ("prior", "steps", "decoder"))
    assert bound["nats_per_token"] == pytest.approx(terms)
    header = (run.path / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert all(f"val/{name}" in header for name in ("loss", "mse", "rounding", "end"))


@pytest.fixture
def drawn(run):
    """A function from overrides to the record of a draw, its tokens and its texts."""

    def of(*overrides):
        typed = (f"run_dir={run.path}", "device=cpu", "console=quiet", "num_samples=2", *overrides)
        place = sample(read_typed(*typed, config_name="sample"))
        record = json.loads((place / "draw.json").read_text())
        texts = (place / "samples.txt").read_text(encoding="utf-8")
        return record, np.load(place / "samples.npy"), texts.removeprefix("[0]\n").split("\n\n[1]\n")

    return of


@pytest.mark.parametrize("more", [(), ("sampler=ddim", "sampler.num_steps=3"), ("clip=nearest_embedding",)])
def test_prompts_come_back_to_the_letter(drawn, more):
    record, tokens, texts = drawn("prompt='The class'", "inpaint.resamplings=2", *more)
    assert (record["prompt"], record["resamplings"]) == ("The class", 2)
    assert (tokens.shape, tokens.dtype) == ((2, 16), np.int64)
    assert all(text.startswith("The class") for text in texts)
    assert texts[0] != texts[1]


def test_a_prompt_has_the_noise_that_codes_have_in_training(run):
    """x0 ~ N(E, r²) becomes N(alpha E, sigma² + alpha² r²); in clean data, there is E to the bit."""
    loaded = load_run(run.path, device="cpu")
    typed = read_typed(f"run_dir={run.path}", "prompt='T'", config_name="sample")
    constraint = make_plan(loaded, typed, progress=False).options["constraint"]
    pipeline, count = loaded.parts.pipeline, 20_000
    vector = pipeline.codec.vectors[int(loaded.parts.data.vocabulary.encode("T"))].detach()
    state, noise = State(torch.zeros(count, *pipeline.shape)), Noise(torch.arange(count), 0)
    schedule, t = pipeline.process.schedule, torch.full((count,), 0.02, dtype=torch.float64)
    alpha, sigma = float(schedule.alpha(t[0])), float(schedule.sigma(t[0]))
    known = constraint(state, t, noise).z[:, 0]
    assert known.std(dim=0).mean() == pytest.approx((sigma**2 + (alpha * 0.1) ** 2) ** 0.5, rel=0.01)
    torch.testing.assert_close(known.mean(dim=0), alpha * vector, atol=0.02, rtol=0)
    assert torch.equal(constraint(state, None, noise).z[:, 0], vector.expand(count, -1))


def test_blanks_are_filled_in_and_given_text_comes_back(drawn):
    _, _, texts = drawn("infill='To be @@@@ be.'")
    assert all((text[:6], text[10:14]) == ("To be ", " be.") for text in texts)


def test_the_values_of_tokens_are_not_turned_into_noise(drawn):
    with pytest.raises(LabError, match="invert: it is for data of values"):
        drawn("invert=val", "sampler=ddim", "sampler.num_steps=3")


def test_the_bound_starts_from_the_noise_that_is_typed(run):
    typed = (f"run_dir={run.path}", "device=cpu", "console=quiet", "evaluation=embedding_bound")
    small = ("evaluation.bound.num_times=2", "evaluation.bound.num_items=4")
    results = json.loads(evaluate(read_typed(*typed, *small, config_name="evaluate")).read_text())["results"]
    later = ("evaluation.bound.min_noise=0.7",)
    others = json.loads(evaluate(read_typed(*typed, *small, *later, config_name="evaluate")).read_text())["results"]
    assert others["bound"]["steps_nats_per_token"] < results["bound"]["steps_nats_per_token"]
    with pytest.raises(LabError, match=r"min_noise=0\.01 is no sigma/alpha of the schedule SqrtSchedule"):
        evaluate(read_typed(*typed, *small, "evaluation.bound.min_noise=0.01", config_name="evaluate"))
