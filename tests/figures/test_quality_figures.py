import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from diffusion_lab.figures.quality_figures import (
    FrontierPoint,
    QualityPoint,
    nearest_distance_histogram,
    quality_frontier,
    quality_over_evaluations,
)


def drawn(figure):
    """Draw the figure, and return its axes."""
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    return axes


def legend(axes):
    (shown,) = [*axes.figure.legends, *filter(None, [axes.get_legend()])]
    return [text.get_text() for text in shown.get_texts()]


def test_each_sampler_is_a_line_with_bars_and_the_floor_is_dashed():
    points = {
        "ddim": [QualityPoint(20, 2.0, 0.5), QualityPoint(5, 8.0, 1.0)],
        "heun": [QualityPoint(19, 1.0, 0.25)],
    }
    axes = drawn(quality_over_evaluations(points, 0.5, "FID", 1000))
    ddim, heun = (container.lines for container in axes.containers)
    assert ddim[0].get_xdata().tolist() == [5, 20]
    assert ddim[0].get_ydata().tolist() == [8, 2]
    (bars,) = ddim[2]
    assert [sorted(segment[:, 1].tolist()) for segment in bars.get_segments()] == [[7, 9], [1.5, 2.5]]
    assert heun[0].get_xdata().tolist() == [19]
    assert heun[0].get_color() != ddim[0].get_color()
    assert heun[0].get_marker() != ddim[0].get_marker()
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata() for line in dashed] == [[0.5, 0.5]]
    assert legend(axes) == ["ddim", "heun", "1,000 real items"]
    assert axes.get_ylabel() == "FID (bars: standard deviation over seeds)"
    assert (axes.get_yscale(), axes.get_xscale()) == ("log", "linear")


def test_no_two_of_twenty_samplers_look_the_same():
    points = {f"sampler {number}": [QualityPoint(10, 1.0 + number)] for number in range(20)}
    axes = drawn(quality_over_evaluations(points, 0.5, "FID", 1000))
    looks = {(container.lines[0].get_color(), container.lines[0].get_marker()) for container in axes.containers}
    assert len(looks) == 20


def test_without_a_spread_there_is_no_word_of_bars_and_measures_below_zero_have_a_linear_scale():
    axes = drawn(quality_over_evaluations({"ddim": [QualityPoint(5, 8.0), QualityPoint(50, 1.0)]}, -0.1, "KID", 100))
    assert axes.get_ylabel() == "KID"
    assert (axes.get_yscale(), axes.get_xscale()) == ("linear", "log")


def test_every_one_of_many_samplers_has_a_style_of_its_own():
    points = {f"sampler {i}": [QualityPoint(5, 1.0 + i), QualityPoint(9, 2.0)] for i in range(20)}
    axes = drawn(quality_over_evaluations(points, 0.5, "FID", 1000))
    lines = [container.lines[0] for container in axes.containers]
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == 20


def test_a_frontier_has_a_line_for_each_sampler_and_real_items_as_a_star():
    points = {
        "warm": [FrontierPoint(64, 3.0, 2.0, 0.1, 0.2), FrontierPoint(16, 3.2, 2.5, 0.1, 0.2)],
        "cool": [FrontierPoint(16, 2.5, 1.5, 0.1, 0.2)],
    }
    axes = drawn(quality_frontier(points, FrontierPoint(0, 3.1, 1.8, 0.05, 0.1), "entropy", "NLL", 30))
    warm, cool, real = (container.lines[0] for container in axes.containers)
    assert warm.get_xydata().tolist() == [[3.2, 2.5], [3.0, 2.0]]
    assert cool.get_xydata().tolist() == [[2.5, 1.5]]
    assert (real.get_xydata().tolist(), real.get_marker()) == ([[3.1, 1.8]], "*")
    assert [text.get_text() for text in axes.texts] == ["16", "64", "16"]
    assert legend(axes) == ["warm", "cool", "30 real items"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("entropy", "NLL")
    assert "numbers: network evaluations for each; bars: standard deviation over seeds" in axes.get_title()


def test_the_histogram_has_shares_of_each_set_and_the_threshold():
    samples, held_out = torch.linspace(0, 4, 50), torch.linspace(2, 6, 1000)
    axes = drawn(nearest_distance_histogram(samples, held_out, 2.04, "image"))
    assert legend(axes) == ["held-out (1,000)", "generated (50)", "1 % of held-out images are nearer"]
    outlines = [patch.get_data() for patch in axes.patches if not patch.get_fill()]
    assert [outline.values.sum() for outline in outlines] == pytest.approx([1, 1])
    assert np.array_equal(outlines[0].edges, outlines[1].edges)
    held_out_values, sample_values = (outline.values for outline in outlines)
    assert held_out_values[0] == 0 < sample_values[0]
    assert [line.get_xdata() for line in axes.lines] == [[2.04, 2.04]]
    assert axes.get_title() == "Distance from the nearest training image"


def test_a_few_far_samples_are_in_the_last_bin():
    far = torch.cat([torch.linspace(0, 1, 999), torch.tensor([1e6])])
    axes = drawn(nearest_distance_histogram(far, torch.linspace(0, 1, 1000), 0.01, "image"))
    assert axes.get_xlim()[1] < 2
    assert [patch.get_data().values.sum() for patch in axes.patches] == pytest.approx([1] * 4)


def test_copies_alone_have_a_histogram():
    axes = drawn(nearest_distance_histogram(torch.zeros(5), torch.zeros(5), 0.0, "image"))
    assert sum(patch.get_data().values.sum() for patch in axes.patches) > 0
