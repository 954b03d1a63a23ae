"""A run on text by the doors that people use: it trains, is drawn from with prompts, evaluated and resumed."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from conftest import read_typed, save_coarsely
from diffusion_lab.catalogue.comparison.compare_runs import compare_runs
from diffusion_lab.config.reader_schema import CompareConfig, CompareDrawsConfig
from diffusion_lab.errors import LabError
from diffusion_lab.runs import load_run, run_figures
from diffusion_lab.runs.compare_draws import compare_draws
from diffusion_lab.runs.evaluate import evaluate
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train
from diffusion_lab.runs.validate import validated
from diffusion_lab.training.step_losses import read_step_losses
from diffusion_lab.vocabulary import BytePairs
from tensorboard_runs import events

TEXT = (
    "experiment=quickstart_text", "data.length=16", "data.limit_train=64", "network.width=16", "network.depth=1",
    "network.heads=2", "trainer=cpu", "trainer.max_steps=4", "sampler.num_steps=4", "sampling.num_samples=3",
    "evaluation.bound.num_times=2", "evaluation.masked_count.num_times=2", "evaluation.bound.num_items=8",
    "evaluation.masked_count.num_items=8", "console=quiet",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run on text."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        save_coarsely(monkeypatch)
        return train(read_typed(*TEXT, f"paths.output_dir={tmp_path_factory.mktemp('outputs')}"), ["name=text"])


@pytest.fixture(scope="module")
def in_blocks(tmp_path_factory):
    """The folder of a finished run in blocks."""
    own = [one for one in TEXT if not one.startswith("sampler.")]
    typed = ("sampler=blocks", "~sampler.num_steps", "network.block_size=4")
    return train(read_typed(*own, *typed, f"paths.output_dir={tmp_path_factory.mktemp('outputs')}"), ["name=text"])


@pytest.fixture
def drawn(run):
    """A function from overrides to the record of a draw, its tokens and its texts."""

    def of(*overrides, folder=run):
        typed = read_typed(
            f"run_dir={folder.path}", "device=cpu", "console=quiet", "num_samples=2", *overrides, config_name="sample"
        )
        place = sample(typed)
        record = json.loads((place / "draw.json").read_text())
        texts = (place / "samples.txt").read_text(encoding="utf-8")
        return record, np.load(place / "samples.npy"), texts.removeprefix("[0]\n").split("\n\n[1]\n")

    return of


@pytest.mark.slow
def test_the_figure_of_its_schedule_has_the_name_that_is_typed(monkeypatch, tmp_path, coarse_figures):
    titles = []
    curves_figure = run_figures.curves_figure
    monkeypatch.setattr(run_figures, "curves_figure", lambda *given: titles.append(given[1]) or curves_figure(*given))
    train(read_typed(*TEXT, f"paths.output_dir={tmp_path}"), ["name=text"])
    assert titles == ["Schedule: log_linear"]


def test_its_figures_are_texts_and_its_metrics_nats_and_bits(run):
    names = {path.name for path in run.figures.iterdir()}
    assert {"samples.txt", "forward.txt", "real_and_generated.txt", "loss.png"} <= names
    assert {f"denoising.{form}" for form in ("txt", "png", "html")} <= names
    assert {f"reconstruction.{form}" for form in ("txt", "png")} <= names
    strip = (run.figures / "denoising.txt").read_text(encoding="utf-8")
    assert f"text/{run.path.name} after 4 steps: Ancestral, 4 steps, temperature 1" in " ".join(strip.split())
    assert "▒" in strip
    last = " ".join((run.figures / "reconstruction.txt").read_text(encoding="utf-8").split("ratio ")[-1].split())
    assert last.startswith("1.00 " + "▒" * 16)
    assert "clean blocks" not in (run.figures / "reconstruction.txt").read_text(encoding="utf-8")
    metrics = json.loads((run.path / "metrics.json").read_text())
    nats = metrics["bound"]["nats_per_character"]
    assert metrics["bound"]["bits_per_character"] == pytest.approx(nats / math.log(2))
    assert nats == pytest.approx(metrics["masked_count"]["nats_per_character"], rel=0.3)
    assert 2 < nats < 5  # an untrained network says log 103 or so


def test_tensorboard_shows_the_strip_as_picture_and_as_text(run):
    told = events(run)
    assert {"samples/denoising", "samples/reconstruction"} <= set(told.Tags()["images"])
    texts = {"samples/denoising", "samples/reconstruction", "samples/grid"}
    assert {f"{tag}/text_summary" for tag in texts} <= set(told.Tags()["tensors"])


def test_a_draw_has_its_strip_and_a_sentence_that_is_filled_in(run):
    typed = read_typed(
        f"run_dir={run.path}", "device=cpu", "console=quiet", "num_samples=2", "trajectory=true", "reconstruction=true",
        "clip=nucleus", "clip.temperature=0.5", config_name="sample",
    )  # fmt: skip
    place = sample(typed)
    names = {path.name for path in place.iterdir()}
    assert {"denoising.html", "denoising.png", "denoising.txt", "reconstruction.png", "reconstruction.txt"} <= names
    assert "temperature 0.5" in (place / "denoising.html").read_text(encoding="utf-8")


def test_samples_begin_with_a_prompt(drawn):
    record, tokens, texts = drawn("prompt='The class'")
    assert record["prompt"] == "The class"
    assert tokens.shape == (2, 16)
    assert all(text.startswith("The class") for text in texts)


@pytest.mark.parametrize("sampler", ["first_hitting", "confidence", "remasking", "ancestral"])
def test_blanks_are_filled_in_and_given_text_comes_back(drawn, run, sampler):
    steps = [] if sampler == "first_hitting" else ["sampler.num_steps=4"]
    record, tokens, texts = drawn("infill='To be @@@@ be.'", f"sampler={sampler}", *steps)
    assert (record["infill"], record["blank"]) == ("To be @@@@ be.", "@")
    assert int(tokens.max()) < load_run(run.path, device="cpu").parts.data.vocabulary.size  # a mask has this number
    for text in texts:
        assert text[:6] == "To be "
        assert text[10:14] == " be."
        assert "█" not in text


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["prompt='This prompt is too long.'"], "prompt has 24 tokens"), (["infill=nothing"], "some @"),
        (["prompt=a", "infill='a@'"], "exclude each other"),
        (["prompt='Ж'"], "Ж"), (["infill='a@'", "blank=''"], "blank"),
        (["prompt=a", "inpaint.resamplings=2"], "inpaint.resamplings: the run's states are tokens"),
    ],
)  # fmt: skip
def test_texts_that_do_not_fit_are_refused(drawn, typed, message):
    with pytest.raises((LabError, ValueError), match=message):
        drawn(*typed)


def test_a_run_on_images_shows_no_sentence(copy):
    with pytest.raises(LabError, match="reconstruction=true: it is for tokens"):
        sample(read_typed(f"run_dir={copy.path}", "device=cpu", "reconstruction=true", config_name="sample"))


@pytest.mark.parametrize("within", ["first_hitting", "confidence"])
def test_a_run_in_blocks_is_drawn_from_for_any_length_with_prompts_and_blanks(drawn, in_blocks, within):
    steps, kind = (["sampler.within.num_steps=2"], "Confidence") if within == "confidence" else ([], "FirstHitting")
    typed = ["sampler=blocks", f"sampler@sampler.within={within}", *steps]
    record, tokens, texts = drawn("length=38", "prompt='A prompt of more than 16.'", *typed, folder=in_blocks)
    assert record["length"] == 38
    assert record["sampler"]["within"]["_target_"] == f"diffusion_lab.sampling.{kind}"
    assert tokens.shape == (2, 38)
    assert all(text.startswith("A prompt of more than 16.") and "█" not in text for text in texts)
    _, tokens, texts = drawn("length=38", "infill='a@@@ and so on @@@ later'", *typed, folder=in_blocks)
    assert all(text.startswith("a") and text[4:15] == " and so on " for text in texts)


def test_draws_of_a_length_of_their_own_are_compared_by_their_prompts(in_blocks, tmp_path, capsys):
    typed = (f"run_dir={in_blocks.path}", "device=cpu", "console=quiet", "num_samples=2", "length=38")
    more = (*typed, "trajectory=true")
    folders = [sample(read_typed(*more, f"prompt='{word}'", config_name="sample")) for word in ("The", "A class")]
    strip = (folders[0] / "denoising.txt").read_text(encoding="utf-8")
    steps = 10 * len(load_run(in_blocks.path, device="cpu").parts.pipeline.sampler.within.steps)
    assert f"Blocks, {steps} steps" in " ".join(strip.split())  # of ten blocks of four tokens
    capsys.readouterr()
    found = compare_draws([str(folder) for folder in folders], CompareDrawsConfig(str(tmp_path / "draws"), 2))
    assert found.read_text(encoding="utf-8").startswith("Samples by prompt and ")
    said = capsys.readouterr().out
    assert said.index("A class ") < said.index("The ")
    np.save(folders[0] / "samples.npy", np.zeros((2, 16), np.int64))
    with pytest.raises(LabError, match=r"it begins with \[1, 16\] of torch.int64, and it should with \[1, 38\]"):
        compare_draws([str(folders[0])], CompareDrawsConfig(None, 2))


def test_a_run_in_blocks_is_measured_by_both_estimators(in_blocks):
    shown = (in_blocks.figures / "reconstruction.txt").read_text(encoding="utf-8")
    assert "it sees the clean blocks before each" in " ".join(shown.split())
    metrics = json.loads((in_blocks.path / "metrics.json").read_text())
    assert metrics["bound"]["nats_per_token"] == pytest.approx(metrics["masked_count"]["nats_per_token"], rel=0.3)


def test_another_length_and_another_sampler_are_refused_in_one_line(drawn, in_blocks):
    with pytest.raises(LabError, match=r"length=30: .* as in training; for any length, train with network\.block_size"):
        drawn("length=30")
    with pytest.raises(LabError, match=r"sampler=Ancestral draws whole sequences, and network\.block_size=4"):
        drawn("sampler=ancestral", "sampler.num_steps=4", folder=in_blocks)
    with pytest.raises(LabError, match=r"sampler=blocks needs a network that sees blocks"):
        drawn("sampler=blocks")
    with pytest.raises(LabError, match="prompt has 11 tokens"):
        drawn("length=8", "prompt='hello world'", folder=in_blocks)


def test_a_run_on_images_takes_no_prompt(copy):
    with pytest.raises(LabError, match="prompt: it is for runs on text, and this run has codec=Pixels"):
        sample(read_typed(f"run_dir={copy.path}", "device=cpu", "prompt=a", config_name="sample"))


def test_it_is_evaluated_by_both_estimators(run):
    typed = read_typed(
        f"run_dir={run.path}", "device=cpu", "console=quiet", "split=test", "evaluation=token_likelihood",
        "evaluation.bound.num_times=2", "evaluation.masked_count.num_times=2", "evaluation.bound.num_items=8",
        "evaluation.masked_count.num_items=8", config_name="evaluate",
    )  # fmt: skip
    results = json.loads(evaluate(typed).read_text())["results"]
    assert set(results) == {"bound", "masked_count"}
    assert results["bound"]["perplexity"] == pytest.approx(math.exp(results["bound"]["nats_per_token"]))


BYTE_PAIRS = (
    *(typed for typed in TEXT if not typed.startswith("evaluation.")), "evaluation=none", "data.tokens=bpe",
    "data.vocab_size=700", "data.in_memory=false", "data.limit_train=96",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_on_byte_pairs_goes_on_exactly_with_the_vocabulary_that_it_learned(tmp_path, drawn, monkeypatch):
    save_coarsely(monkeypatch)
    paths = [f"paths.data_dir={tmp_path / 'data'}", f"paths.output_dir={tmp_path / 'outputs'}"]
    whole = train(read_typed(*BYTE_PAIRS, *paths), ["name=whole"])
    half = train(read_typed(*BYTE_PAIRS, *paths, "trainer.max_steps=2"), ["trainer.max_steps=2"])
    learned = json.loads((half.path / "data.vocabulary.json").read_text())["data.vocabulary"]

    def learn(*_):
        pytest.fail("it learns another vocabulary")

    monkeypatch.setattr(BytePairs, "found_in", learn)
    train(read_typed(f"resume={half.path}", "console=quiet"), [f"resume={half.path}", "trainer.max_steps=4"])
    one, other = (torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, half))
    assert all(torch.equal(weight, other["state_dict"][name]) for name, weight in one["state_dict"].items())
    assert np.array_equal(*(read_step_losses(run.path) for run in (whole, half)))

    data = load_run(half.path).parts.data
    assert (data.vocabulary.entries(), data.vocabulary.size) == (learned, 700)
    _, tokens, texts = drawn("infill='To be — @@@ be.'", "sampler=first_hitting", folder=half)
    assert int(tokens.max()) < 700
    assert all(text.startswith("To be — ") and " be." in text[8:] for text in texts)


QUALITY = (
    "evaluation=text_quality", "evaluation.text_quality.num_samples=4", "evaluation.text_quality.seeds=2",
    "evaluation.text_quality.overlap=[4]",
)  # fmt: skip


def test_its_samples_are_measured_and_compared_as_a_frontier(run, tmp_path):
    for temperature in (0.5, 1.0):
        typed = read_typed(
            f"run_dir={run.path}", "device=cpu", "console=quiet", "clip=nucleus", f"clip.temperature={temperature}",
            *QUALITY, config_name="evaluate",
        )  # fmt: skip
        results = json.loads(evaluate(typed).read_text())["results"]["text_quality"]
        assert {"ngram_nll_per_character_spread", "entropy_floor_spread", "overlap_4_floor"} <= set(results)
    metrics = ["text_quality.ngram_nll_per_token", "text_quality.entropy"]
    picture = tmp_path / "frontier.png"
    compare_runs([str(run.path)], CompareConfig(metrics, None, [], "metric", False, [str(picture)]))
    assert picture.stat().st_size > 10_000
    three = CompareConfig([*metrics, "text_quality.distinct_2"], None, [], "metric", False, [str(picture)])
    with pytest.raises(LabError, match="and not 3"):
        compare_runs([str(run.path)], three)


@pytest.mark.slow
def test_samples_are_measured_while_it_trains_and_at_its_end(tmp_path):
    few = ("callbacks.evaluation.every_n_epochs=1", "callbacks.evaluation.num_samples=3", "data.batch_size=32")
    quality = [*TEXT[:9], *few, *QUALITY, "console=quiet", f"paths.output_dir={tmp_path}", "sampling.num_samples=3"]
    folder = train(read_typed(*quality), [])
    rows = list(csv.DictReader((folder.path / "csv" / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["evaluation/text_quality/ngram_perplexity"]] == ["2"]
    found = json.loads((folder.path / "metrics.json").read_text())["text_quality"]
    assert (found["num_samples"], found["num_seeds"]) == (4, 2)
    assert (folder.figures / "text_quality_typicality.txt").is_file()


def test_a_callback_that_wants_more_real_text_than_there_is_is_refused_before_training(tmp_path):
    many = ("callbacks.evaluation.every_n_epochs=1", "callbacks.evaluation.num_samples=100000")
    with pytest.raises(LabError, match=r"evaluation\.text_quality: 100,000 samples are measured beside as many real"):
        train(read_typed(*TEXT[:9], *QUALITY, *many, "console=quiet", f"paths.output_dir={tmp_path}"), [])
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("process=uniform", "parameterization=logits"), "needs a process of the kind Absorbing, got Uniform"),
        (("schedule.steps=8", "parameterization=logits"), "the schedule has 8 steps"),
    ],
)
def test_a_bound_that_a_process_does_not_have_is_refused_before_training(typed, said):
    with pytest.raises(LabError, match=rf"{said}.*take evaluation=token_bound") as caught:
        validated(read_typed(*TEXT, *typed))
    assert "\n" not in str(caught.value)
