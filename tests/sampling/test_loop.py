import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.codecs import Pixels
from diffusion_lab.networks import SimpleUNet
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import ClipX0, Constraint, Sampler, State, draw
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Exploding

PROCESS = Gaussian(LinearSchedule(1000))
SHAPE = (1, 16, 16)


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    return Denoiser(SimpleUNet(1, 1, 16, base_channels=8, time_dim=16).eval(), Eps(PROCESS))


def sample(denoiser, rows, num_steps=5, **arguments):
    noise = Noise(rows, 0, "sample")
    start = PROCESS.prior(SHAPE, noise.at("start"))
    sampler = ancestral(PROCESS, "beta", num_steps)
    return draw(ClipX0(Pixels())(denoiser), sampler, start, noise, **arguments)


def test_sample_i_does_not_depend_on_the_batch_it_is_drawn_in(denoiser):
    of_3, of_64 = sample(denoiser, torch.arange(3)), sample(denoiser, torch.arange(64))
    torch.testing.assert_close(of_3, of_64[:3], rtol=0, atol=1e-4)
    assert not torch.allclose(of_64[0], of_64[1], atol=0.1)
    assert bool(of_64.isfinite().all())


def test_on_step_is_told_of_every_step(denoiser):
    told, before = [], denoiser.evaluations
    samples = sample(denoiser, torch.arange(2), on_step=told.append)
    assert [(step.t, step.s) for step in told] == ancestral(PROCESS, num_steps=5).steps
    assert [(step.number, step.total) for step in told] == [(n, 5) for n in range(5)]
    assert all(step.z.shape == (2, *SHAPE) for step in told)
    assert torch.equal(told[-1].z, samples)
    assert len({float(step.z.sum()) for step in told}) == 5
    assert denoiser.evaluations - before == 2 * 5  # of two samples


def test_an_exception_of_on_step_ends_the_draw(denoiser):
    before = denoiser.evaluations

    def stop(step):
        if step.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(denoiser, torch.arange(1), on_step=stop)
    assert denoiser.evaluations - before == 2


class Recorder(Sampler):
    """Adds its noise to the state, and notes down what it was given."""

    def __init__(self):
        super().__init__([(1.0, 0.6), (0.6, 0.5), (0.5, 0.0)])
        self.process = Gaussian(LinearSchedule())
        self.seen = []

    def step(self, state, t, s, denoiser, noise):
        self.seen.append((t.tolist(), s.tolist(), noise.normal((1,))))
        return State(state.z + noise.normal((1,)), {"count": state.history.get("count", torch.zeros(1)) + 1})


def test_a_constraint_has_noise_of_its_own_before_the_first_step_and_after_each():
    drawn = []

    class Draws(Constraint):
        def __call__(self, state, s, noise):
            drawn.append(noise.normal((1,)))
            return state

        def walk(self, sampler):
            return sampler

    sampler, noise = Recorder(), Noise(torch.arange(2), 0, "x")
    steps = []
    draw(None, sampler, torch.zeros(2, 1), noise, constraint=Draws(), on_step=steps.append)
    drawn += [noise.normal((1,)), *(normal for *_, normal in sampler.seen)]
    assert len({float(normal[0]) for normal in drawn}) == 4 + 1 + 3
    assert [step.prediction for step in steps] == [None] * 3  # nothing was asked


def test_a_step_that_asks_nothing_is_told_without_what_was_predicted_before():
    class AsksFirst(Recorder):
        def step(self, state, t, s, denoiser, noise):
            if not self.seen:
                denoiser(state.z, t)
            return super().step(state, t, s, denoiser, noise)

    steps, noise = [], Noise(torch.arange(2), 0)
    draw(lambda *_: "predicted", AsksFirst(), torch.zeros(2, 1), noise, on_step=steps.append)
    assert [step.prediction for step in steps] == ["predicted", None, None]


def test_each_step_gets_its_times_its_own_noise_and_the_state_that_was_left():
    sampler, noise = Recorder(), Noise(torch.arange(2), 0, "x")
    start = torch.ones(2, 1)
    end = draw(None, sampler, start, noise)
    assert [seen[:2] for seen in sampler.seen] == [([t] * 2, [s] * 2) for t, s in [(1.0, 0.6), (0.6, 0.5), (0.5, 0.0)]]
    noises = [seen[2] for seen in sampler.seen]
    assert all(torch.equal(noises[n], noise.at("step", n).normal((1,))) for n in range(3))
    assert len(torch.cat(noises).unique()) == 6
    assert torch.equal(end, start + noises[0] + noises[1] + noises[2])
    assert torch.equal(start, torch.ones(2, 1))


def test_from_the_noise_that_is_left_at_time_0_a_last_step_leads_to_the_predicted_data():
    process = Gaussian(Exploding())
    denoiser = Denoiser(lambda z, c_noise, labels: torch.full_like(z, 0.25), Eps(process))
    sampler = Recorder()
    sampler.steps = [(1.0, 0.0), (0.0, 0.0)]
    start, noise = torch.ones(2, 1), Noise(torch.arange(2), 0, "x")
    left = start + noise.at("step", 0).normal((1,))
    assert torch.allclose(draw(denoiser, sampler, start, noise), left - 0.002 * 0.25)


def test_what_is_drawn_carries_no_gradient(denoiser):
    assert not sample(denoiser, torch.arange(1), num_steps=1).requires_grad


def test_the_condition_of_the_draw_reaches_every_evaluation():
    seen, labels = [], torch.tensor([3, 4])

    def denoiser(z_t, t, condition):
        seen.append(condition)
        return Eps(PROCESS).prediction(z_t, z_t, t)

    draw(denoiser, ancestral(PROCESS, num_steps=3), torch.zeros(2, 1), Noise(torch.arange(2), 0), labels)
    assert len(seen) == 3
    assert all(condition is labels for condition in seen)


class Doubled(Constraint):
    """Doubles the state, and notes at which time."""

    def __init__(self):
        self.times, self.noises = [], []

    def __call__(self, state, s, noise):
        self.times.append(None if s is None else s.tolist())
        self.noises.append(noise.normal((1,)))
        return State(2 * state.z)


def test_a_constraint_acts_on_the_start_and_after_each_step_with_noise_of_its_own():
    sampler, constraint = Recorder(), Doubled()
    sampler.steps = [(1.0, 0.6), (0.6, 0.0), (0.0, 0.0)]
    denoiser = Denoiser(lambda z, c_noise, labels: torch.zeros_like(z), Eps(Gaussian(Exploding())))
    noise = Noise(torch.arange(2), 0, "x")
    end = draw(denoiser, sampler, torch.ones(2, 1), noise, constraint=constraint)
    assert constraint.times == [[1.0] * 2, [0.6] * 2, [0.0] * 2, None]
    steps = [noise.at("step", n).normal((1,)) for n in range(2)]
    torch.testing.assert_close(end, 2 * (2 * (2 * (2 + steps[0]) + steps[1])))
    assert len(torch.cat([*constraint.noises, *steps]).unique()) == 12


def test_without_one_the_history_of_the_solver_is_passed_on_and_a_changed_state_has_none():
    class Counts(Recorder):
        def step(self, state, t, s, denoiser, noise):
            self.seen.append(float(state.history.get("count", torch.zeros(1))))
            return super().step(state, t, s, denoiser, noise)

    for constraint, counts in ((None, [0, 1, 2]), (Doubled(), [0, 0, 0])):
        sampler = Counts()
        draw(None, sampler, torch.ones(1, 1), Noise(torch.arange(1), 0), constraint=constraint)
        assert [seen for seen in sampler.seen if isinstance(seen, float)] == counts
