"""How often each sampler evaluates the network: counted at the network itself."""

import pytest

from diffusion_lab.config.build import build
from diffusion_lab.config.tree import options
from option_recipes import of_tokens, recipe

NETWORK = (
    "data=digits", "data.image_size=8", "network=dit", "network.width=8", "network.depth=1", "network.heads=1",
    "network.labels=true",
)  # fmt: skip
#: Evaluations in a draw of 20 steps; the second-order method of Heun has two in each but the last.
EVALUATIONS = {name: 39 if name == "heun" else 20 for name in options("sampler") if not of_tokens(f"sampler={name}")}


def counted(pipeline, **options):
    """A draw of five samples, and how many states the network was given."""
    given = []
    hook = pipeline.network.register_forward_pre_hook(lambda module, arguments: given.append(len(arguments[0])))
    drawn = pipeline.draw(5, batch_size=2, **options)
    hook.remove()
    return drawn, sum(given)


@pytest.mark.parametrize("sampler", EVALUATIONS)
def test_a_draw_of_20_steps_costs_no_hidden_evaluations(sampler, settings):
    parts = build(settings(*NETWORK, *recipe(f"sampler={sampler}"), "sampler.num_steps=20"))
    drawn, states = counted(parts.pipeline)
    assert states == 5 * EVALUATIONS[sampler]
    assert drawn.evaluations == EVALUATIONS[sampler]


@pytest.mark.parametrize("sampler", EVALUATIONS)
def test_a_guided_sample_costs_two_for_each(sampler, settings):
    guided = ("guidance=cfg", "guidance.scale=3", "sampler.num_steps=4")
    parts = build(settings(*NETWORK, *recipe(f"sampler={sampler}"), *guided))
    drawn, states = counted(parts.pipeline, condition=[3, 1, 4, 1, 5])
    expected = 2 * (7 if sampler == "heun" else 4)
    assert states == 5 * expected
    assert drawn.evaluations == expected
