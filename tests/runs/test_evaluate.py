"""Evaluating a run from its folder: nothing is drawn twice, and no number depends on how it came about."""

import io
import json
import signal
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from killed import evaluated as evaluated_until_end
from PIL import Image
from pixel_moments import MOMENTS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffusion_lab.catalogue.comparison.compare_runs import compare_runs
from diffusion_lab.config.reader_schema import CompareConfig
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.evaluation_record import evaluated
from diffusion_lab.run_folder.run_record import RunRecord
from diffusion_lab.runs import draw_processes, load_run
from diffusion_lab.runs import evaluate as evaluate_module
from diffusion_lab.runs.draw_processes import DrawOrder
from diffusion_lab.runs.evaluate import evaluate
from diffusion_lab.runs.evaluation_options import split_warning
from diffusion_lab.sampling import Pipeline

BOUND = {"bound": {"_target_": "diffusion_lab.likelihood.VariationalBoundNLL", "num_items": 2}}


@pytest.fixture
def evaluation(copy, settings, monkeypatch):
    """A function from overrides to the file that an evaluation of the run writes, and its content."""
    composed = settings(f"run_dir={copy.path}", config_name="evaluate")
    schema = type(composed)

    def of(*overrides, evaluation=MOMENTS):
        typed = settings(
            f"run_dir={copy.path}", "device=cpu", "batch_size=4", "console=quiet", *overrides, config_name="evaluate"
        )
        file = evaluate(schema(**{**vars(typed), "evaluation": evaluation}))
        return file, json.loads(file.read_text())

    return of


def test_a_result_says_what_it_was_made_by_and_stands_in_a_file_of_its_own(evaluation, copy):
    file, content = evaluation()
    assert file.parent == copy.path / "evaluations"
    assert content["results"]["moments"]["evaluations"] == 5
    assert content["asked"]["seed"] == 0
    assert content["asked"]["weights_hash"] == copy.read_manifest()["weights"]
    assert content["made_by"]["versions"]["torch"] == str(torch.__version__)
    other, _ = evaluation("++sampler.num_steps=2")
    assert other != file
    assert [path.name for path in sorted(file.parent.iterdir())] == sorted([file.name, other.name])


@pytest.mark.slow
def test_an_evaluation_without_samples_can_be_the_first_of_a_run(evaluation, copy):
    assert not (copy.path / "evaluations").exists()
    file, content = evaluation("split=val", evaluation={"bound": {**BOUND["bound"], "split": "val"}})
    assert file.is_file()
    assert content["results"]["bound"]["num_items"] == 2


def test_other_data_than_that_of_the_training_is_refused(evaluation, copy):
    manifest = json.loads((copy.path / "manifest.json").read_text())
    manifest["data"]["val"] = "0" * 32
    (copy.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LabError, match=r"the val data differs from the data that .* was trained on"):
        evaluation()
    assert not (copy.path / "evaluations").exists()


def test_what_cannot_be_written_is_said_before_it_is_computed(evaluation, copy):
    (copy.path / "evaluations").write_text("")
    with pytest.raises(LabError, match=r"cannot make the folder .*evaluations"):
        evaluation()


def test_a_validation_split_that_is_the_test_split_is_said():
    same, other = object(), object()
    nodes = {"quality": {"split": "val"}, "memorization": {"split": "test"}, "none": None}
    said = split_warning(nodes, SimpleNamespace(val=same, test=same))
    assert said == "split=val (quality): this run validates on its test split, so what is chosen by it has no test left"
    assert split_warning(nodes, SimpleNamespace(val=same, test=other)) is None
    assert split_warning({"quality": {"split": "test"}}, SimpleNamespace(val=same, test=same)) is None


def test_each_evaluation_is_a_series_of_its_own_in_tensorboard(evaluation, copy):
    for overrides in ((), ("++sampler.num_steps=2",)):
        file, content = evaluation(*overrides)
        logs = EventAccumulator(str(copy.path / "tensorboard" / file.stem)).Reload()
        (point,) = logs.Scalars("evaluation/moments/loss")
        assert (point.step, point.value) == (8, pytest.approx(content["results"]["moments"]["loss"]))
        assert "evaluation/moments/extractor" not in logs.Tags()["scalars"]


def test_the_samples_are_those_of_the_run(evaluation, copy):
    _, content = evaluation()
    run = load_run(copy.path, device="cpu")
    samples = torch.cat([run.sample(10, seed=seed, batch_size=4) for seed in (0, 1)]).double()
    assert content["results"]["moments"]["loss"] == float(samples.mean())


def test_what_was_evaluated_is_not_evaluated_again_unless_asked(evaluation, monkeypatch):
    file, content = evaluation()
    monkeypatch.setattr(evaluate_module, "run_evaluations", None)
    assert evaluation() == (file, content)
    monkeypatch.undo()
    _, again = evaluation("again=true")
    assert again["results"] == content["results"]
    assert again["made_by"]["time"] >= content["made_by"]["time"]


def test_a_feature_network_that_was_replaced_is_another_question(evaluation, tmp_path):
    weights, files = tmp_path / "weights.safetensors", []
    for content in (b"one", b"two", b"one"):
        weights.write_bytes(content)
        files.append(evaluation("num_samples=2", "seeds=1", f"features.path={weights}")[0])
    assert files[0] == files[2] != files[1]


def test_an_evaluation_that_was_stopped_goes_on_and_gives_the_same_numbers(evaluation, copy, monkeypatch):
    _, whole = evaluation("again=true")
    next((copy.path / "evaluations").glob("*.json")).unlink()
    take, taken = load_run(copy.path).parts.pipeline.__class__.draw, []

    def stopped(pipeline, *arguments, **options):
        taken.append(options["first"])
        if len(taken) == 3:
            raise KeyboardInterrupt
        return take(pipeline, *arguments, **options)

    monkeypatch.setattr("diffusion_lab.sampling.Pipeline.draw", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluation()
    assert taken == [0, 4, 8]
    _, content = evaluation()
    assert taken[3:] == [8, 0, 4, 8]  # the rest of the first seed, and the second
    assert content["results"] == whole["results"]
    assert [path.suffix for path in (copy.path / "evaluations").iterdir()] == [".json"]


def stop_after(batches, monkeypatch):
    """Let a draw stop before it has drawn its next batch."""
    take, taken = Pipeline.draw, []

    def stopped(pipeline, *arguments, **options):
        taken.append(options["first"])
        if len(taken) > batches:
            raise KeyboardInterrupt
        return take(pipeline, *arguments, **options)

    monkeypatch.setattr(Pipeline, "draw", stopped)


def test_an_evaluation_that_was_stopped_keeps_its_samples_while_others_are_made(evaluation, copy, monkeypatch):
    """Another one that draws with the same settings removes those samples alone that it asked for itself."""
    with monkeypatch.context() as context:
        stop_after(5, context)
        with pytest.raises(KeyboardInterrupt):
            evaluation()
    evaluation("num_samples=4", "seeds=1")
    stored = sorted(path.stem for path in (copy.path / "evaluations").rglob("*.npy"))
    assert stored == [
        "seed0_0000004_0000008",
        "seed0_0000008_0000010",
        "seed1_0000000_0000004",
        "seed1_0000004_0000008",
    ]
    evaluation()
    assert not list((copy.path / "evaluations").glob("draws_*"))


@pytest.mark.parametrize("written", ["write_array", "write_text"])
def test_an_evaluation_goes_on_that_was_stopped_between_the_two_files_of_a_batch(evaluation, monkeypatch, written):
    def stop(*_):
        raise KeyboardInterrupt

    few = ("num_samples=4", "seeds=1")  # a batch
    with monkeypatch.context() as context:
        context.setattr(f"diffusion_lab.runs.stored_draws.{written}", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluation(*few)
    _, content = evaluation(*few)
    assert content["results"]["moments"]["evaluations"] == 5


def test_evaluations_are_those_of_all_samples_where_batches_differ(evaluation, monkeypatch):
    """A network that is not told the time is asked as often as a state changes."""
    take = Pipeline.draw

    def counted(pipeline, count, seed, *arguments, **options):
        return replace(take(pipeline, count, seed, *arguments, **options), evaluations=10.0 * count + seed)

    monkeypatch.setattr(Pipeline, "draw", counted)
    _, content = evaluation("num_samples=5", "seeds=2")  # batches of four and of one
    assert content["results"]["moments"]["evaluations"] == pytest.approx((4 * 40 + 10) / 5 + 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in a batch", "writing a batch"])
def test_an_evaluation_that_was_killed_goes_on_and_gives_the_same_numbers(copy, moment):
    folder = copy.path / "evaluations"
    typed = [f"run_dir={copy.path}", "device=cpu", "batch_size=4"]
    assert evaluated_until_end(*typed) == 0
    file = next(folder.glob("*.json"))
    whole = json.loads(file.read_text())["results"]
    file.unlink()
    assert evaluated_until_end(*typed, moment=moment, count=3) == -signal.SIGKILL
    assert len(list(folder.rglob("seed*.npy"))) == 2
    assert evaluated_until_end(*typed) == 0
    assert json.loads(file.read_text())["results"] == whole
    assert not list(folder.rglob("*.npy"))


@pytest.mark.slow
def test_several_processes_share_the_samples(evaluation, copy, monkeypatch):
    _, alone = evaluation()
    for file in (copy.path / "evaluations").iterdir():
        file.unlink()
    take, taken = load_run(copy.path).parts.pipeline.__class__.draw, []

    def counted(pipeline, *arguments, **options):
        taken.append(options["first"])
        return take(pipeline, *arguments, **options)

    monkeypatch.setattr("diffusion_lab.sampling.Pipeline.draw", counted)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        _, shared = evaluation("processes=2")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert taken == [0, 8, 4]  # every second batch of the two seeds
    assert shared["results"]["moments"]["loss"] == pytest.approx(alone["results"]["moments"]["loss"], abs=1e-5)


def test_a_process_that_finds_other_weights_draws_nothing(copy, monkeypatch, tmp_path):
    """A run that is being trained replaces its last checkpoint."""
    order = DrawOrder(str(copy.path), "last", "ema", "cpu", {}, 4, "32-true", False, str(tmp_path / "draws"), "0" * 32)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asdict(replace(order, num_samples=1, seeds=(0,))))))
    monkeypatch.setattr(draw_processes, "end_with_parent", lambda: None)
    with pytest.raises(LabError, match="checkpoint=last has other weights than a moment ago"):
        draw_processes._draw()
    assert not (tmp_path / "draws").exists()


def test_a_process_that_fails_is_named(evaluation, monkeypatch):
    monkeypatch.setenv("DIFFUSION_LAB_DEBUG", "")
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(LabError, match=r"process 2 of 2 failed: it ended with status 1"):
        evaluation("processes=2")


def test_damaged_batches_are_named(evaluation, copy, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("diffusion_lab.runs.stored_draws.StoredDraws.read", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluation()
    monkeypatch.undo()
    file = next((copy.path / "evaluations").glob("*/seed1_*"))

    def of_texts():
        np.save(file, np.full(np.load(file).shape, "1"))

    def larger_than_it_is():
        with file.open("r+b") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (2**40,)})

    for damage in (of_texts, larger_than_it_is, lambda: file.write_bytes(b"?")):
        damage()
        with pytest.raises(LabError, match=rf"{file.name} is damaged: .*; remove it"):
            evaluation()


@pytest.mark.parametrize(
    ("overrides", "evaluations", "said"),
    [
        (["split=test"], None, r"split=test: none of the evaluations \(moments\) has it"),
        ([], {}, "evaluation=none leaves nothing to do"),
        (["checkpoint=other"], None, "checkpoint=other: the run has no"),
        (["processes=0"], None, "processes must be at least 1, got 0"),
        (["++sampler.num_steps=2", "precision=bf16-mixed"], BOUND, "sampler=, precision=bf16-mixed would change noth"),
    ],
)
def test_what_cannot_be_evaluated_is_said(evaluation, overrides, evaluations, said):
    with pytest.raises(LabError, match=said):
        evaluation(*overrides, **({} if evaluations is None else {"evaluation": evaluations}))


def test_options_typed_for_all_reach_the_evaluations_that_have_them(evaluation):
    _, few = evaluation("num_samples=3", "seeds=1")
    assert few["asked"]["evaluation"]["moments"] == {**MOMENTS["moments"], "num_samples": 3, "seeds": 1}


def test_each_evaluation_is_a_row_of_a_comparison(evaluation, copy, capsys):
    for steps in (2, 3):
        evaluation(f"++sampler.num_steps={steps}")
    capsys.readouterr()
    compare_runs([str(copy.path)], CompareConfig(["moments.loss"], None, [], "sampler.num_steps", False, []))
    rows = capsys.readouterr().out.splitlines()
    assert "sampler.num_steps" in rows[0]
    assert [row.split()[0] for row in rows[1:3]] == ["2", "3"]
    (row, _) = evaluated(RunRecord(copy.path))
    assert row.metrics["moments.std"] > 0
    assert row.config["moments.extractor"] == "pixels@0"
    assert row.metrics["train/loss"] == RunRecord(copy.path).metrics["train/loss"]


def test_numbers_of_different_feature_networks_never_stand_in_one_column(evaluation, copy, capsys):
    for steps in (2, 3):
        file, content = evaluation(f"++sampler.num_steps={steps}")
    content["results"]["moments"]["extractor"] = "pixels@1"
    newest = file.with_name("z.json")
    newest.write_text(json.dumps(content))
    capsys.readouterr()
    compare_runs([str(copy.path)], CompareConfig(["moments.loss"], None, [], "metric", False, []))
    said = capsys.readouterr().out
    assert "Left out, since it was measured by pixels@0 and not by pixels@1: copy, copy." in said
    assert len(said.partition("\n\n")[0].splitlines()) == 2


def test_a_comparison_has_a_picture_over_network_evaluations(evaluation, copy, tmp_path):
    def compared(metric):
        compare_runs([str(copy.path)], CompareConfig([metric], "lower", [], "metric", False, [str(tmp_path / "a.png")]))

    for steps in (2, 3):
        evaluation(f"++sampler.num_steps={steps}")
    compared("moments.loss")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
    with pytest.raises(LabError, match=r"out=….png shows a measure with a floor .*; moments\.std is none"):
        compared("moments.std")
    evaluation("num_samples=3")
    with pytest.raises(LabError, match=r"the rows have different ones: 3, 10"):
        compared("moments.loss")


def test_a_damaged_record_is_named(evaluation, copy):
    file, _ = evaluation()
    file.write_text("[]")
    with pytest.raises(LabError, match=rf"{file.name} is damaged"):
        compare_runs([str(copy.path)], CompareConfig(["moments.loss"], None, [], "metric", False, []))
