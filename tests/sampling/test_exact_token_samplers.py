"""Each sampler of tokens, found in the config tree, against the exact distribution of what it draws, and the data's."""

import itertools
import runpy
import sys
from pathlib import Path

import pytest
import torch
from scipy import stats

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from diffusion_lab.config.tree import options  # noqa: E402
from diffusion_lab.processes import Absorbing, Uniform  # noqa: E402
from diffusion_lab.schedules import LogLinearSchedule  # noqa: E402
from exact_text import sampler_distances as measure  # noqa: E402
from exact_text.exact_steps import STEPS  # noqa: E402
from exact_text.hidden_markov import ExactDenoiser, HiddenMarkov  # noqa: E402
from option_recipes import of_tokens  # noqa: E402
from oracles.markov_text import Joint  # noqa: E402

CASES = measure.cases()
#: Samplers that do not draw from the network's process, however many steps they take.
BIASED = {"confidence"}
DRAWS = 4000


def chain(length=3):
    move = torch.tensor([[0.1, 0.9], [0.8, 0.2]], dtype=torch.float64)
    emit = torch.tensor([[0.85, 0.1, 0.05], [0.05, 0.15, 0.8]], dtype=torch.float64)
    return HiddenMarkov(torch.tensor([0.7, 0.3], dtype=torch.float64), move, emit, length)


def by_name(case):
    return str(case)


def test_the_chain_is_the_sum_over_all_hidden_paths():
    found = chain()
    for sequence, prob in zip(found.sequences.tolist(), found.probs.tolist(), strict=True):
        total = 0.0
        for path in itertools.product(range(2), repeat=3):
            term = float(found.initial[path[0]])
            for one, other in itertools.pairwise(path):
                term *= float(found.move[one, other])
            for hidden, token in zip(path, sequence, strict=True):
                term *= float(found.emit[hidden, token])
            total += term
        assert prob == pytest.approx(total, rel=1e-12)
    assert float(found.probs.sum()) == pytest.approx(1)


@pytest.mark.parametrize("kind", [Absorbing, Uniform])
def test_the_denoiser_is_bayes_over_all_sequences(kind):
    found = chain()
    process = kind(LogLinearSchedule(), 3)
    joint = Joint(found.probs, 3, 3)
    z = torch.tensor(list(itertools.product(range(process.num_states), repeat=3)))
    t = torch.full((len(z),), 0.6, dtype=torch.float64)
    probs = ExactDenoiser(found, process)(z, 1000 * t).exp()
    same = (z[:, None] == joint.sequences).double()  # [B, N, L]
    each = 0.4 * same + 0.6 * process.limit[z][:, None]
    for here in range(3):
        others = torch.cat([each[..., :here], each[..., here + 1 :]], -1).prod(-1)
        torch.testing.assert_close(probs[:, here], joint.conditionals(others)[:, here])


def test_every_sampler_of_tokens_is_found():
    samplers = {case.sampler for case in CASES}
    of_tokens_alone = {name for name in options("sampler") if of_tokens(f"sampler={name}")}
    assert samplers >= of_tokens_alone - {"blocks"}  # which consists of the others
    assert {case.process for case in CASES if case.sampler == "ancestral"} >= {"absorbing", "uniform"}
    assert samplers & set(STEPS) == set(STEPS)


@pytest.mark.parametrize("case", [case for case in CASES if case.sampler in STEPS], ids=by_name)
def test_what_is_drawn_has_the_exact_distribution(case):
    for num_steps in (1, 2, 3):
        expected = measure.exact_distribution(case, chain(), num_steps)
        left = 1 - float(expected.sum())  # masks that did not open
        counts = DRAWS * measure.drawn_distribution(case, chain(), num_steps, DRAWS).double()
        expected, counts = (torch.cat([a, b[None]]) for a, b in
                            ((expected, torch.tensor(left)), (counts, DRAWS - counts.sum())))  # fmt: skip
        likely = DRAWS * expected > 5
        rest = torch.stack([counts[~likely].sum(), DRAWS * expected[~likely].sum()])
        found, wanted = counts[likely], DRAWS * expected[likely]
        if float(rest[1]) > 5:
            found, wanted = torch.cat([found, rest[:1]]), torch.cat([wanted, rest[1:]])
        else:
            assert float(rest[0]) < 25
        wanted = wanted * found.sum() / wanted.sum()
        assert stats.chisquare(found.numpy(), wanted.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("case", [case for case in CASES if measure.takes_steps(case)], ids=by_name)
def test_the_distance_shrinks_with_the_number_of_steps(case):
    distances = [measure.exact_distance(case, chain(), n) for n in (1, 4, 16, 64)]
    floor = 0.0
    if None in distances:  # a sampler whose step is not written out here
        distances = [measure.drawn_distance(case, chain(), n, DRAWS) for n in (1, 64)]
        floor = measure.sampling_error(chain(), DRAWS)[1]
    if case.sampler in BIASED:
        assert distances[-1] > 0.05
        return
    assert distances[0] > 0.1 + floor
    assert distances[-1] < 0.015 + floor
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize("case", [case for case in CASES if not measure.takes_steps(case)], ids=by_name)
def test_a_token_at_a_time_is_exact(case):
    if case.sampler in STEPS:
        assert measure.exact_distance(case, chain(), 3) < 1e-6
    assert measure.drawn_distance(case, chain(), 3, DRAWS) < 1.2 * measure.sampling_error(chain(), DRAWS)[1]


def test_the_error_of_sampling_is_that_of_more_draws_times_the_root_of_their_number():
    few, many = (measure.sampling_error(chain(), count) for count in (500, 8000))
    assert few[0] / many[0] == pytest.approx(4, rel=0.25)
    assert many[0] < many[1]


@pytest.mark.slow
def test_the_script_draws_a_figure_and_prints_every_sampler(tmp_path, capsys):
    out = tmp_path / "new" / "samplers.png"
    runpy.run_path(str(SCRIPTS / "token_samplers.py"))["main"](
        ["--steps", "1", "2", "--samples", "100", "--out", str(out)]
    )
    printed = capsys.readouterr().out
    assert all(str(case) in printed for case in CASES)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--steps", "0"], "--steps"), (["--samples", "1"], "--samples"), (["--out", "figure.jpg"], ".png")],
)
def test_bad_input_ends_in_one_line_and_status_2(arguments, says, capsys):
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(SCRIPTS / "token_samplers.py"))["main"](arguments)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
