"""The picture of a comparison: which points it has, of which lines, and with which words."""

import io

import pytest
from matplotlib.figure import Figure
from PIL import Image

from diffusion_lab.catalogue.comparison.comparison import build_comparison
from diffusion_lab.catalogue.comparison.quality_curves import quality_picture
from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.evaluation_record import evaluated
from fake_runs import fake_evaluation, fake_run


def picture(outputs, *metrics):
    """The picture of all evaluations of the runs in a folder."""
    rows = [evaluation for run in find_runs([outputs]) for evaluation in evaluated(run)]
    return quality_picture(build_comparison(rows, [], metrics, "lower"))


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function from metrics to the axes of the picture of the runs in tmp_path."""

    def of(*metrics):
        saved = []
        with monkeypatch.context() as patched:
            patched.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
            picture(tmp_path, *metrics)
        ((axes,),) = [figure.axes for figure in saved]
        return axes

    return of


def measured(run, sampler="DDIM", steps=5, *, eta=None, guidance=None, **numbers):
    """Record an evaluation of a run by a sampler that evaluates the network twice in each of its steps."""
    numbers = {"evaluations": 2 * steps, "num_samples": 1000, **numbers}
    node = {"_target_": f"lab.{sampler}", "num_steps": steps} | ({} if eta is None else {"eta": eta})
    others = {} if guidance is None else {"guidance": {"_target_": f"lab.{guidance}"}}
    name = f"{len(list(run.glob('evaluations/*')))}"
    fake_evaluation(run, name, {"quality": numbers}, sampler=node, **others)


def lines(axes):
    """The points of each line by its name."""
    return {drawn.get_label(): drawn.lines[0].get_xydata().tolist() for drawn in axes.containers}


def bars(axes):
    """How far the bars of each line's points reach from them."""
    segments = [drawn.lines[2][-1].get_segments() for drawn in axes.containers]
    return [[(high - low) / 2 for low, high in (ends[:, 1] for ends in line)] for line in segments]


def dashed(axes):
    return [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]


def test_rows_that_differ_only_in_the_number_of_steps_are_a_line(drawn, tmp_path):
    run = fake_run(tmp_path)
    for sampler, steps, fid in (("DDIM", 10, 4.0), ("Heun", 5, 3.0), ("DDIM", 5, 8.0), ("Heun", 10, 2.0)):
        measured(run, sampler, steps, fid=fid, fid_spread=fid / 8, fid_floor=1.5)
    axes = drawn("quality.fid")
    assert lines(axes) == {"DDIM": [[10, 8], [20, 4]], "Heun": [[10, 3], [20, 2]]}
    assert bars(axes) == [[0.375, 0.25], [1.0, 0.5]]
    assert dashed(axes) == [1.5]
    assert axes.get_title() == "FID of 1,000 samples over network evaluations"


def test_one_sampler_s_line_is_of_samples_and_the_floor_is_the_mean_of_all_floors(drawn, tmp_path):
    run = fake_run(tmp_path)
    for steps, floor in ((5, 1.0), (10, 2.0)):
        measured(run, steps=steps, fid=20 / steps, fid_floor=floor, num_samples=30)
    axes = drawn("quality.fid")
    assert lines(axes) == {"samples": [[10, 4], [20, 2]]}
    assert dashed(axes) == [1.5]
    assert axes.get_title() == "FID of 30 samples over network evaluations"


def test_the_runs_of_a_row_are_averaged(drawn, tmp_path):
    for seed, fid in ((1, 3.0), (2, 5.0)):
        measured(fake_run(tmp_path, seed=seed), fid=fid, fid_spread=seed / 2, fid_floor=1.0)
    axes = drawn("quality.fid")
    assert lines(axes) == {"samples": [[10, 4]]}
    assert bars(axes) == [[0.75]]


def test_a_line_is_named_by_all_in_which_it_differs_from_others(drawn, tmp_path):
    run = fake_run(tmp_path)
    for steps in (5, 10):
        measured(run, "DDIM", steps, eta=0.0, fid=4.0, fid_floor=1.0)
        measured(run, "DDIM", steps, eta=0.5, guidance="Constant", fid=3.0, fid_floor=1.0)
        measured(run, "Heun", steps, guidance="Constant", fid=2.0, fid_floor=1.0)
    named = lines(drawn("quality.fid"))
    assert set(named) == {"DDIM, eta 0", "DDIM, eta 0.5, Constant", "Heun, Constant"}
    assert all(len(points) == 2 for points in named.values())


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ("fid", "FID"),
        ("ngram_nll_per_token", "n-gram NLL (nats per token)"),
        ("inception_score", "inception score"),
        ("recall", "recall"),
    ],
)
def test_measures_are_named_in_words(drawn, tmp_path, measure, said):
    measured(fake_run(tmp_path), **{measure: 4.0, f"{measure}_floor": 3.0})
    assert drawn(f"quality.{measure}").get_ylabel() == said


def test_the_first_of_two_measures_is_drawn_over_the_second(drawn, tmp_path):
    run = fake_run(tmp_path)
    real = {"fid_floor": 1.0, "fid_floor_spread": 0.125, "recall_floor": 0.9, "recall_floor_spread": 0.0625}
    measured(run, "DDIM", 5, fid=4.0, fid_spread=0.5, recall=0.5, recall_spread=0.25, **real)
    measured(run, "DDIM", 10, fid=3.0, fid_spread=0.5, recall=0.6, recall_spread=0.25, **real)
    measured(run, "Heun", 10, fid=2.0, fid_spread=0.75, recall=0.7, recall_spread=0.125, **real)
    axes = drawn("quality.fid", "quality.recall")
    assert lines(axes) == {"Heun": [[0.7, 2]], "DDIM": [[0.5, 4], [0.6, 3]], "1,000 real items": [[0.9, 1]]}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "FID")
    assert [text.get_text() for text in axes.texts] == ["20", "10", "20"]
    wide, high = ([drawn.lines[2][which].get_segments()[0] for drawn in axes.containers] for which in (0, 1))
    assert [segment[:, 0].tolist() for segment in wide] == [
        pytest.approx(ends) for ends in ([0.575, 0.825], [0.25, 0.75], [0.8375, 0.9625])
    ]
    assert [segment[:, 1].tolist() for segment in high] == [[1.25, 2.75], [3.5, 4.5], [0.875, 1.125]]


def test_rows_that_lack_one_of_two_measures_are_left_out(drawn, tmp_path):
    run = fake_run(tmp_path)
    measured(run, "DDIM", fid=4.0, fid_floor=1.0, recall=0.5, recall_floor=0.9)
    measured(run, "Heun", fid=4.0, fid_floor=1.0)
    assert set(lines(drawn("quality.fid", "quality.recall"))) == {"DDIM", "1,000 real items"}
    assert set(lines(drawn("quality.fid"))) == {"DDIM", "Heun"}


@pytest.mark.parametrize("lacking", ["fid_floor", "evaluations"])
def test_a_measure_without_a_floor_or_without_network_evaluations_has_no_picture(tmp_path, lacking):
    numbers = {"fid": 4.0, "fid_floor": 1.0, "evaluations": 10}
    measured(fake_run(tmp_path), **(numbers | {lacking: None}))
    with pytest.raises(LabError, match=r"shows a measure with a floor .*; quality\.fid is none, or no run has been"):
        picture(tmp_path, "quality.fid")


def test_measures_of_different_numbers_of_samples_are_refused(tmp_path):
    run = fake_run(tmp_path)
    for sampler, number in (("DDIM", 1000), ("Heun", 300), ("Euler", 1000)):
        measured(run, sampler, fid=4.0, fid_floor=1.0, num_samples=number)
    with pytest.raises(LabError, match=r"quality\.fid depends on the number of samples, .* different ones: 300, 1000$"):
        picture(tmp_path, "quality.fid")


def test_three_measures_are_refused(tmp_path):
    measured(fake_run(tmp_path), fid=4.0, kid=1.0, recall=1.0)
    with pytest.raises(LabError, match=r"shows one metric, or the first of two over the second, and not 3$"):
        picture(tmp_path, "quality.fid", "quality.kid", "quality.recall")


def test_the_picture_is_a_png(tmp_path):
    measured(fake_run(tmp_path), fid=4.0, fid_floor=1.0)
    with Image.open(io.BytesIO(picture(tmp_path, "quality.fid"))) as found:
        assert found.format == "PNG"
        assert found.size == (1350, 675)  # 9 by 4.5 inches of 150 pixels
