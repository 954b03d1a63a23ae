"""What objectives need of the distribution of times, and which ones have it."""

from diffusion_lab import objectives
from diffusion_lab.objectives import (
    EmbeddingTerms,
    Hybrid,
    ImportanceTimes,
    Objective,
    TimeSampler,
    TokenBound,
    UniformTimes,
    VariationalBound,
)

CLASSES = [value for name in objectives.__all__ if isinstance(value := getattr(objectives, name), type)]


def having(kind, attribute):
    return {one for one in CLASSES if issubclass(one, kind) and getattr(one, attribute)}


def test_bounds_need_times_of_which_a_weighted_mean_is_one_over_uniform_times():
    assert having(Objective, "needs_uniform_times") == {Hybrid, TokenBound, VariationalBound}
    assert having(TimeSampler, "uniform") == {ImportanceTimes, UniformTimes}
    assert having(TimeSampler, "learns") == {ImportanceTimes}


def test_one_objective_trains_a_codec_and_one_trains_networks_that_see_blocks():
    assert having(Objective, "trains_codec") == {EmbeddingTerms}
    assert having(Objective, "by_blocks") == {TokenBound}
