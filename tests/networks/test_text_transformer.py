import pytest
import torch

from diffusion_lab.config.tree import read_option
from diffusion_lab.networks import TextTransformer, text_transformer
from network_checks import awaken, bfloat16_by_default

#: The overrides that make it small, for the tests of all options together.
SMALL = ("network.width=16", "network.depth=1", "network.heads=2")


def small(**arguments):
    torch.manual_seed(0)
    sizes = {"num_states": 6, "num_outputs": 5, "width": 16, "depth": 2, "heads": 2}
    return awaken(TextTransformer(**sizes | arguments)).eval()


def inputs():
    return torch.tensor([[0, 1, 2, 5], [3, 4, 5, 5], [5, 5, 5, 5]]), torch.tensor([10.0, 500.0, 990.0])


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("convolution", [0, 5])
def test_every_position_sees_every_other_in_its_own_sample_alone(norm, mlp, time, convolution):
    network = small(norm=norm, mlp=mlp, time=time, convolution=convolution)
    x, t = inputs()
    before = network(x, t)
    assert before.shape == (3, 4, 5)
    changed = x.clone()
    changed[1, 3] = 0
    moved = (network(changed, t) - before).abs().amax(-1)
    assert moved[1].min() > 1e-6  # to the left and to the right
    assert moved[[0, 2]].max() < 1e-6


def test_it_is_told_the_time_where_it_says_so():
    x, t = inputs()
    for time in (False, True):
        network = small(time=time)
        assert network.takes_time is time
        assert bool((network(x, t) != network(x, t + 100)).any()) is time


def test_labels_modulate_it():
    network, (x, t) = small(labels=True, num_classes=3), inputs()
    one, other = network(x, t, torch.tensor([0, 1, 2])), network(x, t, torch.tensor([0, 3, 2]))
    moved = (one - other).abs().amax((1, 2))
    assert moved[1] > 1e-6
    assert moved[[0, 2]].max() < 1e-6
    with pytest.raises(ValueError, match=r"network\.labels=true"):
        small()(x, t, torch.tensor([0, 1, 2]))


def test_order_matters_and_a_shift_does_not(monkeypatch):
    """Rotary positions: what two tokens see of each other depends on how far apart they are."""
    network = small(depth=2)
    x = torch.tensor([[1, 2, 3, 4]])
    here = network(x, None)
    assert (here[0, 0] - network(x[:, [0, 2, 1, 3]], None)[0, 0]).abs().max() > 1e-6
    turn = text_transformer._turn
    for distance, same in ((2, False), (1, True)):  # twice as far apart, and five positions later

        def elsewhere(head, tokens, first=0, distance=distance):
            return turn(head, tokens.repeat(1, 4, 1), first)[:, 5 : 5 + distance * tokens.shape[1] : distance]

        monkeypatch.setattr(text_transformer, "_turn", elsewhere)
        assert torch.allclose(network(x, None), here, atol=1e-5) is same


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("convolution", [0, 5])
def test_it_starts_with_no_opinion_and_every_weight_is_trained(time, convolution):
    torch.manual_seed(0)
    asleep = TextTransformer(6, 5, width=16, depth=2, heads=2, time=time, convolution=convolution)
    x, t = inputs()
    assert not bool(asleep(x, t).any())
    network = small(time=time, convolution=convolution).train()
    network(x, t).square().sum().backward()
    assert all(bool(p.grad is not None and p.grad.any()) for p in network.parameters())


@pytest.mark.parametrize(
    ("wrong", "key"),
    [({"width": 18, "heads": 4}, "width"), ({"width": 0}, "width"), ({"heads": 0}, "width"),
     ({"depth": 0}, "depth"), ({"dropout": 1.0}, "dropout"),
     ({"convolution": 4}, "convolution"), ({"convolution": -3}, "convolution")],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(wrong, key):
    with pytest.raises(ValueError, match=rf"network\.{key}"):
        TextTransformer(**{"num_states": 6, "num_outputs": 5, "width": 16, "depth": 2, "heads": 2} | wrong)


def test_weights_start_with_variances_that_keep_those_of_the_values():
    """Those of tokens are 1, those of matrices 1/inputs, and where a branch ends less by the number of branches."""
    network = TextTransformer(100, 5, num_classes=2, width=64, depth=3, heads=2, time=True, labels=True)
    swiglu = TextTransformer(num_states=100, num_outputs=5, width=64, depth=3, heads=2, mlp="swiglu")
    vectors = TextTransformer(code_dim=64, width=64, depth=3, heads=2)
    block = network.blocks[1]
    expected = {
        network.tokens: 1, vectors.tokens: 64**-0.5, block.query_key_value: 64**-0.5, block.mlp[0]: 64**-0.5,
        network.time_embedding[0]: 256**-0.5, network.time_embedding[2]: 64**-0.5,
        swiglu.blocks[0].mlp.gate_and_hidden: 64**-0.5,
        block.attended: (64 * 6) ** -0.5, block.mlp[2]: (64 * 6) ** -0.5, swiglu.blocks[0].mlp.out: (64 * 6) ** -0.5,
    }  # fmt: skip
    for layer, deviation in expected.items():
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.05)
    for layer in (network.out, network.modulation, *(block.modulation for block in network.blocks)):
        assert not bool(layer.weight.any())
    linear = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    assert not any(bool(layer.bias.any()) for layer in linear)
    assert all(bool((block.norm_1.weight == 1).all()) for block in swiglu.blocks)


def test_rotary_positions_are_angles_whose_waves_get_longer_by_powers_of_10000():
    head, tokens = 8, torch.zeros(1, 5, 16)
    angles = torch.tensor([[place / 10**k for k in range(4)] for place in range(3, 8)])
    expected = torch.stack([angles.cos(), angles.sin()])
    torch.testing.assert_close(text_transformer._turn(head, tokens, 3), expected, rtol=0, atol=1e-5)
    with bfloat16_by_default():
        torch.testing.assert_close(text_transformer._turn(head, tokens, 3), expected, rtol=0, atol=1e-5)
    assert text_transformer._turn(head, tokens.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("given", [{}, {"num_states": 6}, {"num_outputs": 5},
                                   {"num_states": 6, "num_outputs": 5, "code_dim": 4}])  # fmt: skip
def test_it_takes_either_tokens_or_vectors(given):
    with pytest.raises(ValueError, match="network=text_transformer needs a process of tokens"):
        TextTransformer(**given, width=16, depth=1, heads=2)


def test_vectors_become_vectors_of_as_many_numbers():
    network, (_, t) = small(num_states=None, num_outputs=None, code_dim=7, time=True), inputs()
    x = torch.randn(3, 4, 7)
    assert network(x, t).shape == (3, 4, 7)


def in_blocks(block_size=2, **arguments):
    return small(block_size=block_size, length=6, **arguments)


def sequences(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, (3, 6), generator=generator), torch.randint(6, (3, 6), generator=generator)


def moved(network, one, other):
    """Which positions [L] of the output differ for two pairs of noisy and clean sequences."""
    raws = [network(noisy, None, clean=clean) for noisy, clean in (one, other)]
    return ((raws[0] - raws[1]).abs().amax((0, 2)) > 1e-6).tolist()


#: None, one that reaches no further than a block, and one that reaches beyond several.
CONVOLUTIONS = [0, 5, 9]


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize(("size", "length"), [(1, 2), (1, 6), (2, 4), (2, 6), (3, 6)])
def test_a_later_token_changes_no_earlier_block(convolution, size, length):
    network, x = in_blocks(size, convolution=convolution), sequences()[1][:, :length]
    before = network(x, None)
    for place in range(length):
        changed = x.clone()
        changed[:, place] = (x[:, place] + 1) % 6
        differs = (network(changed, None) - before).abs().amax((0, 2)) > 1e-6
        assert differs.tolist() == [n // size >= place // size for n in range(length)]


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_noisy_block_sees_the_clean_blocks_before_it_and_itself(convolution):
    network, (clean, noisy) = in_blocks(convolution=convolution), sequences()
    for place in range(6):
        here = [n // 2 == place // 2 for n in range(6)]
        later = [n // 2 > place // 2 for n in range(6)]
        other = clean.clone()
        other[:, place] = (clean[:, place] + 1) % 5
        assert moved(network, (noisy, clean), (noisy, other)) == later  # never its own clean block
        other = noisy.clone()
        other[:, place] = (noisy[:, place] + 1) % 6
        assert moved(network, (noisy, clean), (other, clean)) == here


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_all_blocks_at_once_are_as_each_by_itself_after_the_clean_ones(labels, convolution):
    classes = 3 if labels else None
    network = in_blocks(labels=labels, num_classes=classes, convolution=convolution)
    clean, noisy = sequences()
    condition = torch.tensor([0, 3, 2]) if labels else None
    at_once = network(noisy, None, condition, clean=clean)
    seen = []
    for first in range(0, 6, 2):
        alone = network(torch.cat([clean[:, :first], noisy[:, first : first + 2]], 1), None, condition)
        torch.testing.assert_close(at_once[:, first : first + 2], alone[:, first:], atol=1e-5, rtol=1e-5)
        # With what was computed of the blocks before, a block need be passed through alone.
        before = [part.part(slice(None), first) for part in seen]
        again = network(noisy[:, first : first + 2], None, condition, seen=before)
        torch.testing.assert_close(again, alone[:, first:], atol=1e-5, rtol=1e-5)
        network(clean[:, first : first + 2], None, condition, seen=seen)
        assert seen[0].count == first + 2


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_one_block_is_the_network_without_blocks(convolution):
    clean, noisy = sequences()
    network, plain = in_blocks(6, convolution=convolution), small(convolution=convolution)
    torch.testing.assert_close(network(noisy, None, clean=clean), plain(noisy, None), atol=1e-5, rtol=1e-5)
    assert torch.equal(network(noisy, None), plain(noisy, None))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"block_size": 4}, r"network\.block_size must divide the length 6, got 4"),
        ({"block_size": 0}, r"network\.block_size"),
        ({"time": True}, r"network\.time=false"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        in_blocks(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("convolution", [0, 5])
def test_in_blocks_it_is_one_graph_for_a_compiler(convolution):
    network = in_blocks(dropout=0.1, convolution=convolution).train()
    (clean, noisy), seen = sequences(), []
    with torch.no_grad():
        network(clean, None, seen=seen)
    for given in ({"clean": clean}, {"seen": seen}):
        torch._dynamo.reset()
        found = torch._dynamo.explain(network)(noisy, None, **given)
        assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons
    torch._dynamo.reset()


def test_what_modulates_it_has_a_width_of_its_own_and_says_which():
    x, t = inputs()
    sizes = {"time": True, "labels": True, "num_classes": 3}
    label = torch.tensor([0, 1, 2])
    wide, narrow = small(**sizes), small(**sizes, condition_width=4)
    assert wide.told == 16
    assert narrow.told == 4
    spared = sum(p.numel() for p in wide.parameters()) - sum(p.numel() for p in narrow.parameters())
    modulations = (16 - 4) * (2 * 6 + 2) * 16  # two blocks and the last norm
    embeddings = (16 - 4) * (256 + 1 + 4) + (16 * 17 - 4 * 5)  # of three labels and none; of the time
    assert spared == modulations + embeddings
    moved = (narrow(x, t, label) - narrow(x, t + 100, torch.tensor([0, 1, 1]))).abs().amax((1, 2))
    assert moved.min() > 1e-6
    with pytest.raises(ValueError, match=r"network\.condition_width must be 1 or more, got 0"):
        small(**sizes, condition_width=0)
    with pytest.raises(ValueError, match=r"network\.condition_width goes with network\.time=true or"):
        small(condition_width=4)


@pytest.mark.parametrize(("size", "millions"), [("text_transformer_s", 21.2), ("text_transformer_b", 84.9)])
def test_the_named_sizes_are_those_of_dit_with_the_parameters_of_gpt_2(size, millions):
    """12 · depth · width² weights besides embeddings (Kaplan et al. 2020, table 1): 84.9M are those of GPT-2 small."""
    node, dit = read_option("network", size), read_option("network", size.replace("text_transformer", "dit"))
    assert all(node[key] == dit[key] for key in ("width", "depth", "heads", "mlp_ratio"))
    with torch.device("meta"):
        network = TextTransformer(6, 5, **{key: value for key, value in node.items() if key != "_target_"})
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.005)
