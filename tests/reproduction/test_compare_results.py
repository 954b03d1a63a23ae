"""Two runs' results are compared, and the first difference of each kind is found."""

import json
import math

import numpy as np
import pytest
import torch

from diffusion_lab.reproduction.compare_results import ResultDifference, compare_results
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO
from diffusion_lab.training.step_losses import write_step_losses


@pytest.fixture
def two(tmp_path):
    """A function from what the new and the recorded run hold to the comparison of their results."""

    def comparison(here, there):
        folders = []
        for number, run in enumerate((here, there)):
            folder = RunFolder.create(tmp_path / str(number), "run")
            folder.write_json("manifest.json", {"status": "finished"} | run.get("manifest", {}))
            folder.write_json("metrics.json", run.get("metrics", {}))
            if "losses" in run:
                write_step_losses(folder.path, 0, np.array(run["losses"], np.float32))
            if "logged" in run:  # the values of one metric by the number of steps
                ((name, values),) = run["logged"].items()
                rows = "".join(f"{step - 1},{value}\n" for step, value in values.items())
                (folder.path / "csv").mkdir()
                (folder.path / "csv" / "metrics.csv").write_text(f"step,{name}\n{rows}")
            if "checkpoint" in run:
                step, weight = run["checkpoint"]
                state = {"state_dict": {"w": torch.tensor(weight)}, "global_step": step}
                AtomicCheckpointIO().save_checkpoint(state, folder.path / "checkpoints" / "last.ckpt")
            if "samples" in run:
                folder.samples.mkdir()
                np.save(folder.samples / "final.npy", run["samples"])
            folders.append(folder)
        return compare_results(*folders)

    return comparison


def found(comparison):
    """The first differences, each as its metric, its step and both values."""
    return [(d.metric, d.step, d.here, d.there) for d in comparison.first_differences]


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (ResultDifference("a", None, None, 0.5), "in the final a: none here, 0.5 there"),
        (ResultDifference("a", 3, 0.5, None), "at step 3 in a: 0.5 here, none there"),
        (ResultDifference("a", 1, -1.0, 3.0), "at step 1 in a: -1.0 here, 3.0 there (relative 1.3e+00)"),
        (ResultDifference("a", 0, 4, 3), "at step 0 in a: 4 here, 3 there (relative 2.5e-01)"),
        (ResultDifference("a", 1, math.nan, 3.0), "at step 1 in a: nan here, 3.0 there"),
        (ResultDifference("a", 1, 3.0, math.inf), "at step 1 in a: 3.0 here, inf there"),
        (ResultDifference("weights", None, "ab", "cd"), "in the final weights: ab here, cd there"),
        (
            ResultDifference("a", 1, np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1))),
            "at step 1 in a: 0.1 here, 0.10000001 there (relative 7.5e-08)",
        ),
    ],
)
def test_a_difference_is_said_with_both_values_and_its_size(difference, said):
    assert str(difference) == said


def test_runs_that_recorded_nothing_have_nothing_to_compare(two):
    comparison = two({}, {})
    assert (comparison.steps, comparison.compared, found(comparison)) == (0, [], [])
    assert (comparison.differing_steps, comparison.largest_difference) == (0, None)


def test_the_steps_that_both_runs_recorded_are_counted_and_compared(two):
    comparison = two({"losses": [1.0, 2.0, math.nan, 4.0, 8.0]}, {"losses": [1.0, 2.5, 3.0, 5.0]})
    assert (comparison.steps, comparison.differing_steps) == (3, 2)
    assert found(comparison) == [("train/loss_step", 2, 2.0, 2.5)]
    assert comparison.largest_difference is comparison.first_differences[0]
    comparison = two({"losses": [1.0]}, {"losses": [1.5]})
    assert (comparison.steps, comparison.differing_steps, comparison.largest_difference.step) == (1, 1, 1)


def test_a_loss_that_is_infinite_in_one_run_differs(two):
    comparison = two({"losses": [1.0, math.inf, 2.0]}, {"losses": [1.0, 1.0, 2.5]})
    assert found(comparison) == [("train/loss_step", 2, math.inf, 1.0)]
    assert comparison.largest_difference.step == 3  # of the other one there is no size


def test_without_losses_of_each_step_the_logged_ones_are_counted_and_compared(two):
    logged = {"train/loss_step": {2: 0.5, 4: 0.25, 6: 0.125}}
    comparison = two({"logged": logged}, {"logged": {"train/loss_step": {2: 0.5, 4: 0.75, 8: 1.0}}})
    assert (comparison.steps, comparison.differing_steps) == (2, 1)
    assert found(comparison) == [("train/loss_step", 4, 0.25, 0.75)]
    assert two({"logged": logged}, {"logged": {"val/loss": {2: 0.5}}}).steps == 0
    unknown = {"losses": [math.nan, math.nan]}
    comparison = two({"logged": logged} | unknown, {"logged": {"train/loss_step": {2: 0.5, 4: 0.75}}} | unknown)
    assert found(comparison) == [("train/loss_step", 4, 0.25, 0.75)]
    assert comparison.steps == 2


@pytest.mark.parametrize("flip", [False, True])
def test_a_logged_number_and_nan_differ_and_two_nan_do_not(two, flip):
    one, other = ({"logged": {"val/loss": {2: "nan", 4: value}}} for value in (0.5, "nan"))
    ((metric, step, *values),) = found(two(*((other, one) if flip else (one, other))))
    assert (metric, step) == ("val/loss", 4)
    assert [math.isnan(value) for value in values] == [flip, not flip]
    assert found(two(other, other)) == []


@pytest.mark.parametrize("flip", [False, True])
def test_a_final_number_and_nan_differ_and_two_nan_do_not(two, flip):
    one, other = ({"metrics": {"a": math.nan, "b": value}} for value in (0.5, math.nan))
    ((metric, step, *values),) = found(two(*((other, one) if flip else (one, other))))
    assert (metric, step) == ("b", None)
    assert [math.isnan(value) for value in values] == [flip, not flip]
    assert found(two(other, other)) == []


def test_final_results_that_one_run_does_not_have(two):
    here = {"manifest": {"weights": "ab", "steps": 8}, "metrics": {"a": 1, "c": 2}, "samples": np.zeros(2)}
    comparison = two(here, {"manifest": {"steps": 8}, "metrics": {"a": 1, "b": 2}})
    assert comparison.compared == ["metrics"]
    assert found(comparison) == [("weights", None, "ab", None), ("b", None, None, 2)]
    assert found(two(here, {"manifest": {"weights": "ab", "steps": 9}})) == [("steps", None, 8, 9)]
    assert found(two(here, {"manifest": {"weights": "cd", "steps": 9}})) == [("steps", None, 8, 9)]
    assert found(two(here, {"manifest": {"weights": "ab", "steps": 8, "ema_weights": "e"}})) == [
        ("ema_weights", None, None, "e")
    ]


@pytest.mark.parametrize("flip", [False, True])
def test_a_sample_and_nan_differ_and_two_nan_do_not(two, flip):
    one, other = ({"samples": np.array([[math.nan, 1.0], [value, 2.0]])} for value in (0.5, math.nan))
    ((metric, step, *values),) = found(two(*((other, one) if flip else (one, other))))
    assert (metric, step) == ("samples[1, 0]", None)
    assert [math.isnan(value) for value in values] == [flip, not flip]
    assert found(two(other, other)) == []
    assert two(one, other).compared == ["samples"]


def test_equal_samples_of_another_kind_differ(two):
    single, double = ({"samples": np.zeros(2, kind)} for kind in (np.float32, np.float64))
    assert found(two(single, double)) == [("samples", None, "[2] float32", "[2] float64")]
    assert found(two(single, {"samples": np.zeros((2, 1), np.float32)})) == [
        ("samples", None, "[2] float32", "[2, 1] float32")
    ]


def test_weights_of_unfinished_runs_are_compared_where_both_were_saved_at_one_step(two):
    def unfinished(*checkpoint):
        return {"manifest": {"status": "running", "weights": "ab"}, "checkpoint": checkpoint}

    assert two(unfinished(4, 1.0), unfinished(6, 2.0)).compared == []
    equal = two(unfinished(4, 1.0), unfinished(4, 1.0) | {"manifest": {"status": "finished"}})
    assert (equal.compared, found(equal)) == (["weights"], [])
    ((metric, step, here, there),) = found(two(unfinished(4, 1.0), unfinished(4, 2.0)))
    assert (metric, step) == ("weights", None)
    assert here != there
    assert json.dumps([here, there])  # both are texts
    no_checkpoint = {"manifest": {"status": "running"}}
    for pair in ((no_checkpoint, unfinished(4, 1.0)), (unfinished(4, 1.0), no_checkpoint)):
        assert two(*pair).compared == []
