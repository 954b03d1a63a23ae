import torch

from diffusion_lab.codecs import TokenEmbedding
from diffusion_lab.parameterizations import X0
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, Ancestral, NearestEmbedding, Pipeline
from diffusion_lab.sampling.grids.trailing import Trailing
from diffusion_lab.schedules import SqrtSchedule
from diffusion_lab.vocabulary import Characters
from oracles.embedded_text import ExactEmbedded
from oracles.markov_text import Joint


def codec():
    made = TokenEmbedding(3, Characters("abc"), 2, noise=0.1)
    made.vectors.data.copy_(torch.tensor([[3.0, 0.0], [-1.5, 2.6], [-1.5, -2.6]]))
    return made


def test_predicted_codes_become_the_nearest_vectors():
    process, made = Gaussian(SqrtSchedule(10)), codec()
    predicted = torch.tensor([[[2.0, 0.5], [-0.1, 0.4], [-9.0, -1.0]]])
    z, t = torch.randn(1, 3, 2), torch.tensor([0.5], dtype=torch.float64)
    clamped = NearestEmbedding(made)(lambda z, t, condition: X0(process).prediction(predicted, z, t))(z, t)
    assert torch.equal(clamped.x0, made.vectors[torch.tensor([[0, 1, 2]])])
    alpha, sigma = process.schedule.alpha(t), process.schedule.sigma(t)
    torch.testing.assert_close(clamped.eps, ((z - alpha * clamped.x0) / sigma).float())
    assert NearestEmbedding(made).clips


def drawn(make, clamp, count=4000):
    """The distribution of what is drawn with the exact denoiser of two tokens, and the true one."""
    joint = Joint.random(3, 2, seed=1)
    schedule, made = SqrtSchedule(100), codec().double()
    process = Gaussian(schedule)
    told = lambda c: (c + 1) / 100  # noqa: E731
    network = ExactEmbedded(joint, made.vectors.detach(), 0.1, told, schedule.alpha, schedule.sigma, 0.015)
    transforms = [NearestEmbedding(made)] if clamp else []
    pipeline = Pipeline(network, X0(process), process, made, make(process), transforms, (2, 2))
    tokens = pipeline.draw(count, batch_size=count).samples
    return torch.bincount((tokens * torch.tensor([3, 1])).sum(1), minlength=9) / count, joint.probs


def test_samples_of_the_exact_denoiser_have_the_distribution_of_the_texts():
    for make in (
        lambda process: Ancestral(process, Trailing(process.schedule)),
        lambda process: DDIM(process, Trailing(process.schedule), num_steps=50),
    ):
        found, exact = drawn(make, clamp=False)
        assert float((found - exact).abs().sum()) / 2 < 0.035  # 9 frequencies of 4000 draws: about 0.015 by chance


def test_clamped_samples_are_texts_too_if_not_of_the_same_distribution():
    found, exact = drawn(lambda process: Ancestral(process, Trailing(process.schedule)), clamp=True, count=1000)
    assert float(found.sum()) == 1
    assert 0.03 < float((found - exact).abs().sum()) / 2 < 0.6  # it decides early, as the paper wants it to
