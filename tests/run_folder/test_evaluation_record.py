"""An evaluation stands for its run, with what it chose in the place of what the run has."""

import json

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.evaluation_record import evaluated, rulers
from diffusion_lab.run_folder.run_record import RunRecord
from fake_runs import fake_evaluation, fake_run

DDIM = {"_target_": "diffusion_lab.sampling.DDIM", "num_steps": 7, "eta": 0.0}


@pytest.fixture
def path(tmp_path):
    """A run whose config has parts that an evaluation may replace, and others with names that are like theirs."""
    parts = {
        "sampler": {"_target_": "lab.Ancestral", "num_steps": 5, "noise": 1.0},
        "guidance": {"_target_": "lab.CFG", "scale": 2.0},
        "clip": "x0",
        "gridded": 1,
    }
    return fake_run(tmp_path, recognition=0.8, **parts)


def only(path, results, **asked):
    """The only evaluation of a run, when it has been recorded."""
    fake_evaluation(path, "one", results, **asked)
    (found,) = evaluated(RunRecord(path))
    return found


def test_the_parts_of_an_evaluation_replace_those_of_the_run(path):
    run = RunRecord(path).config
    asked = {
        "sampler": DDIM, "seed": 4, "weights": "ema", "precision": "32-true", "evaluation": {"quality": {"n": 9}},
        "transforms": {"thin": {"every": 2}},
    }  # fmt: skip
    found = only(path, {"quality": {"fid": 3.5, "extractor": "lenet"}}, **asked).config
    replaced = ("sampler.", "guidance.", "grid.")  # the grid is one that is meant where none is recorded
    kept = {key: value for key, value in run.items() if not key.startswith(replaced) and key != "clip"}
    assert found == kept | {
        "sampler._target_": DDIM["_target_"], "sampler.num_steps": 7, "sampler.eta": 0.0, "thin.every": 2,
        "weights": "ema", "step": 30, "precision": "32-true", "evaluation.seed": 4, "evaluation.quality.n": 9,
        "quality.extractor": "lenet",
    }  # fmt: skip
    assert {"gridded", "schedule.steps", "network.channel_multipliers"} <= kept.keys()


def test_an_evaluation_that_chose_nothing_has_no_parts_of_the_run(path):
    found = only(path, {}, transforms=None, evaluation=3).config
    assert not [key for key in found if key.startswith(("sampler", "guidance", "clip", "grid."))]
    assert (found["weights"], found["step"], found["precision"], found["evaluation.seed"]) == (None, 30, None, None)
    assert found["schedule.steps"] == 1000


def test_transforms_of_the_run_are_replaced_by_name(tmp_path):
    path = fake_run(tmp_path, thin={"every": 3}, other={"every": 4})
    found = only(path, {}, transforms={"thin": {"of": 2}}).config
    assert (found.get("thin.every"), found["thin.of"], found["other.every"]) == (None, 2, 4)


def test_the_options_of_the_parts_are_those_of_the_evaluation(path):
    manifest = json.loads((path / "manifest.json").read_text())
    options = {"schedule": "linear", "sampler": "ancestral", "clip": "x0"}
    (path / "manifest.json").write_text(json.dumps(manifest | {"options": options}))
    guidance = {"_target_": "mine.MyGuidance"}
    found = only(path, {}, sampler=DDIM, guidance=guidance, grid={"points": 3}, clip="x0").manifest
    assert found == manifest | {
        "options": {"schedule": "linear", "sampler": "ddim", "guidance": "MyGuidance", "grid": None, "clip": None}
    }
    (path / "manifest.json").write_text(json.dumps(manifest | {"options": None}))
    assert only(path, {}, grid={"_target_": 3}).manifest["options"] == dict.fromkeys(
        ("sampler", "grid", "guidance", "clip")
    )


def test_numbers_and_texts_of_an_evaluation_have_its_name(path):
    results = {
        "quality": {"fid": 3.5, "n": 9, "done": True, "extractor": "le\x1bnet", "of": [1]},
        "recognition": {"samples": 0.7},
    }
    found = only(path, results)
    numbers = {"quality.fid": 3.5, "quality.n": 9.0, "recognition.samples": 0.7}
    assert found.found == numbers
    assert found.metrics == RunRecord(path).metrics | numbers
    assert found.metrics["recognition.real"] == 0.92
    assert found.facts == {"quality.extractor": "le\N{REPLACEMENT CHARACTER}net"}
    assert type(found.found["quality.n"]) is float


def test_evaluations_are_in_the_order_of_their_names(path):
    assert evaluated(RunRecord(path)) == []
    for name in ("b", "c", "a"):
        fake_evaluation(path, name, {})
    (path / "evaluations" / "notes.txt").touch()
    found = evaluated(RunRecord(path))
    assert [evaluation.file.name for evaluation in found] == ["a.json", "b.json", "c.json"]
    assert {evaluation.path for evaluation in found} == {path}


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({}, True),
        ({"made_by": None}, True),
        ({"made_by": {}}, True),
        ({"made_by": {"argv": [3]}}, False),
        ({"made_by": {"argv": "evaluate.py"}}, False),
        ({"asked": None}, False),
        ({"results": []}, False),
        ({"results": {"quality": 3.5}}, False),
    ],
)
def test_a_file_that_is_no_record_is_damaged(path, change, read):
    content = {"asked": {}, "made_by": {"argv": ["evaluate.py"]}, "results": {"quality": {}}} | change
    (path / "evaluations").mkdir()
    (path / "evaluations" / "one.json").write_text(json.dumps(content))
    (found,) = evaluated(RunRecord(path))
    if read:
        assert found.content == content
    else:
        with pytest.raises(LabError, match=r"one\.json is damaged: it is no record of an evaluation"):
            _ = found.content


@pytest.mark.parametrize(
    ("metric", "keys"),
    [
        ("quality.fid", ("quality.extractor", "quality.fid_model")),
        ("text_quality.ngram_nll_8", ("text_quality.extractor", "text_quality.ngram_model")),
        ("val/loss", ("val/loss.extractor", "val/loss._model")),
    ],
)
def test_the_rulers_of_a_metric_are_facts_of_its_evaluation(metric, keys):
    assert rulers(metric) == keys
