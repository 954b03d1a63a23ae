import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from diffusion_lab.figures.search_figures import Slice, search_history, search_importances, search_pareto, search_slices


def drawn(figure):
    """Draw the figure, and return it."""
    FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize(("minimize", "best"), [(True, [3.0, 1.0, 1.0, 1.0]), (False, [3.0, 3.0, 4.0, 4.0])])
def test_the_history_shows_the_best_value_so_far(minimize, best):
    (axes,) = drawn(search_history({0: 3.0, 2: 1.0, 5: 4.0}, {3: 9.0}, [4, 7], "loss", minimize)).axes
    step, failed = axes.lines
    assert list(step.get_xdata()) == [0, 2, 5, 7]
    assert list(step.get_ydata()) == best
    assert list(failed.get_xdata()) == [4, 7]
    finished, pruned = (np.asarray(points.get_offsets()).tolist() for points in axes.collections)
    assert finished == [[0, 3], [2, 1], [5, 4]]
    assert pruned == [[3, 9]]


def test_a_history_of_one_trial_can_be_drawn():
    (axes,) = drawn(search_history({0: 1.0}, {}, [], "loss", True)).axes
    assert axes.collections[0].get_offsets().tolist() == [[0, 1]]


@pytest.mark.parametrize(("minimize", "place"), [(True, (1e-2, 0.5)), (False, (1e-4, 2.0))])
def test_slices_ring_the_best_trial_in_each_panel(minimize, place):
    slices = [
        Slice("lr", [1e-4, 1e-2, 1e-3], log=True, bounds=(1e-5, 1e-1)),
        Slice("kind", ["b", "a", "b"], choices=["a", "b"]),
    ]
    figure = drawn(search_slices(slices, [2.0, 0.5, 1.0], "loss", minimize))
    lr, kind = figure.axes[:2]
    points, ring = lr.collections
    assert np.asarray(ring.get_offsets()).tolist() == [list(place)]
    assert len(points.get_offsets()) == 3
    assert lr.get_xscale() == "log"
    assert lr.get_xlim()[0] <= 1e-5 < 1e-1 <= lr.get_xlim()[1]
    assert [label.get_text() for label in kind.get_xticklabels()] == ["a", "b"]
    places = np.asarray(kind.collections[0].get_offsets())[:, 0]
    assert np.abs(places - [1, 0, 1]).max() < 0.3


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_each_key_has_one_visible_panel(count):
    slices = [Slice(f"key{index}", [1, 2]) for index in range(count)]
    figure = drawn(search_slices(slices, [1.0, 2.0], "loss", True))
    shown = [axes.get_xlabel() for axes in figure.axes if axes.axison and axes.get_xlabel()]
    assert shown == [f"key{index}" for index in range(count)]


def test_importances_are_bars_from_the_most_important_down():
    (axes,) = drawn(search_importances({"loss": {"a": 0.2, "b": 0.8}, "size": {"a": 0.1, "b": 0.9}})).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]  # from below
    assert [[bar.get_width() for bar in bars] for bars in axes.containers] == [[0.2, 0.8], [0.1, 0.9]]


def test_the_pareto_front_is_highlighted_for_every_pair():
    points = {0: (1.0, 5.0, 1.0), 1: (2.0, 2.0, 2.0), 2: (3.0, 6.0, 3.0)}
    figure = drawn(search_pareto(points, [1, 0], ["loss", "size", "time"]))
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [
        ("size", "loss"),
        ("time", "loss"),
        ("time", "size"),
    ]
    beaten, front = figure.axes[0].collections
    assert np.asarray(beaten.get_offsets()).tolist() == [[6, 3]]
    assert np.asarray(front.get_offsets()).tolist() == [[2, 2], [5, 1]]
    assert {text.get_text() for text in figure.axes[0].texts} == {"0", "1"}
