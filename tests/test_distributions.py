import pytest
import torch
from scipy import stats

from diffusion_lab.distributions import Categorical, Normal
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise


def test_categories_come_as_often_as_their_probabilities_say():
    probs = torch.tensor([0.5, 0.0, 0.2, 0.3])
    drawn = Categorical(probs.log().expand(20_000, 1, 4)).sample(Noise(torch.arange(20_000), 0))
    assert drawn.dtype == torch.int64
    assert drawn.shape == (20_000, 1)
    counts = torch.bincount(drawn.flatten(), minlength=4)
    assert counts[1] == 0
    kept = probs > 0
    assert stats.chisquare(counts[kept].numpy(), (20_000 * probs[kept]).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("certain", range(5))
def test_a_certain_category_is_always_drawn(certain):
    log_probs = torch.full((100, 3, 5), -torch.inf)
    log_probs[..., certain] = 0.0
    assert bool((Categorical(log_probs).sample(Noise(torch.arange(100), 1)) == certain).all())


def test_probabilities_that_sum_to_a_little_less_than_1_never_lead_beyond_the_last_possible_category():
    log_probs = torch.tensor([0.999, 0.0]).log().expand(50_000, 2)[:, None]
    assert bool((Categorical(log_probs).sample(Noise(torch.arange(50_000), 2)) == 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_category_that_is_too_rare_for_float32_noise_is_drawn(dtype):
    """Gumbel noise in float32 ends near 16.6, and would never find a category of 1e-9 beside one of nearly 1."""
    rare, rows = 1e-9, torch.arange(2)
    log_probs = torch.tensor([1 - rare, rare], dtype=torch.float64).log().to(dtype).expand(2, 1, 2)

    class Late(Noise):
        def uniform(self, shape):
            return torch.tensor([[1 - 2e-9], [1 - 0.5e-9]], dtype=torch.float64)

    assert Categorical(log_probs).sample(Late(rows, 0)).tolist() == [[0], [1]]
    fine = Noise(torch.arange(100_000), 4).uniform((10,))
    assert fine.dtype == torch.float64
    assert len(fine.flatten().unique()) == 1_000_000  # float32 has a collision in thirty


@pytest.mark.parametrize("value", [torch.nan, -torch.inf, -800.0, 800.0])
def test_probabilities_that_are_none_are_refused(value):
    """They would become category 0, or one that does not exist."""
    log_probs = torch.zeros(2, 3, 4).log_softmax(-1)
    log_probs[1, 2] = value
    with pytest.raises(LabError, match="probabilities of categories are not finite, or all 0"):
        Categorical(log_probs).sample(Noise(torch.arange(2), 0))


def test_a_row_is_drawn_alike_in_any_batch():
    log_probs = torch.rand(64, 7, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    some = Categorical(log_probs[8:10]).sample(Noise(torch.arange(8, 10), 3))
    assert torch.equal(some, Categorical(log_probs).sample(Noise(torch.arange(64), 3))[8:10])


def test_a_normal_has_its_mean_and_its_standard_deviation():
    normal = Normal(torch.tensor([[1.0, -2.0]]).expand(20_000, 2), torch.tensor([0.5, 3.0]))
    drawn = normal.sample(Noise(torch.arange(20_000), 0))
    assert drawn.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.1)
    assert drawn.std(0).tolist() == pytest.approx([0.5, 3.0], rel=0.03)
