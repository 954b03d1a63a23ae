import numpy as np
import pytest
import torch
from other_device import elsewhere

from diffusion_lab.metrics.inception_score import inception_score


def logits(count, classes=4, scale=3.0, seed=0):
    return scale * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def by_definition(logits, splits, seed):
    """Mean and standard deviation over splits of exp E KL(p(y|x) ‖ p(y)), by sums over probabilities."""
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    scores = []
    for part in np.split(logits[order].double().numpy(), splits):
        p = np.exp(part) / np.exp(part).sum(1, keepdims=True)
        scores.append(np.exp(np.mean([np.sum(row * np.log(row / p.mean(0))) for row in p])))
    return np.mean(scores), np.std(scores, ddof=1)


@pytest.mark.parametrize("splits", [2, 5, 10])
def test_it_is_that_of_its_definition_over_splits(splits):
    x = logits(100)
    found = inception_score(x, seed=7, splits=splits)
    mean, deviation = by_definition(x, splits, seed=7)
    assert found.value == pytest.approx(mean, rel=1e-10)
    assert found.spread == pytest.approx(deviation, rel=1e-9)


@pytest.mark.parametrize("count", [23, 29, 64])
def test_splits_are_of_one_size_whatever_the_number_of_samples(count):
    """torchmetrics makes fewer splits, or a small last one, which scores low."""
    x = logits(count)
    mean, _ = by_definition(x[: count // 10 * 10], 10, seed=0)
    assert inception_score(x).value == pytest.approx(mean, rel=1e-10)


def test_a_sure_classifier_that_sees_all_classes_scores_their_number_and_one_that_sees_one_scores_1():
    sure = 1e4 * torch.eye(5).repeat(2000, 1)  # of float32 and of float64, all other probabilities underflow
    found = inception_score(sure)
    assert 4.9 < found.value <= 5
    assert inception_score(sure[::5]).value == pytest.approx(1, abs=1e-12)
    assert inception_score(torch.zeros(100, 5)).value == pytest.approx(1, abs=1e-12)


def test_the_same_seed_gives_the_same_digits_and_torch_s_generator_stays_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = inception_score(logits(100), seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert inception_score(logits(100), seed=3) == first
    assert inception_score(logits(100), seed=4) != first


def test_it_is_computed_on_this_process_alone_in_a_run_of_several(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert inception_score(logits(100)).value > 1


@pytest.mark.parametrize(
    ("x", "splits", "message"),
    [
        (logits(19), 10, r"^the Inception score with 10 splits needs at least 20 generated items, got 19$"),
        (logits(20), 1, r"^splits must be at least 2, got 1$"),
        (logits(20) / 0, 10, r"^generated logits must be finite: 20 of 20 items"),
        (
            torch.zeros(20).long(),
            10,
            r"^generated logits must be floating point of shape \[N, D\], got 20 torch.int64$",
        ),
    ],
)
def test_logits_without_a_score_are_refused(x, splits, message):
    with pytest.raises(ValueError, match=message):
        inception_score(x, splits=splits)


def test_logits_may_lie_on_a_device_without_float64():
    assert inception_score(*elsewhere(logits(40))) == inception_score(logits(40))
