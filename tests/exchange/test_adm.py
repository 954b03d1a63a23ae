"""Checkpoints of improved-diffusion and ADM, against a computation from the names of their weights alone."""

import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.exchange.adm import adm_model, read_flags
from diffusion_lab.networks import UNet
from oracles.adm_unet import ADMUNet, adm_weights

FLAGS = (
    "--image_size 16 --num_channels 32 --num_res_blocks 1 --channel_mult 1,2 --attention_resolutions 8 "
    "--class_cond True --learn_sigma True"
)


def small(**kind):
    return adm_weights(32, [1, 2], 1, [False, True], out_channels=6, classes=3, **kind)


def network_of(model, channels=6):
    torch.manual_seed(1)
    arguments = {key: value for key, value in model.network.items() if key != "_target_"}
    network = UNet(3, channels, model.shape[-1], num_classes=model.num_classes, **arguments).eval()
    weights = model.weights_of(network)
    network.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()})
    return network


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("scale_shift", [True, False])
@pytest.mark.parametrize("new_order", [True, False])
@pytest.mark.parametrize("heads", [{"heads": 4}, {"head_width": 16}])
def test_the_output_is_that_of_the_checkpoint(residual, scale_shift, new_order, heads):
    weights, halves = small(residual=residual, scale_shift=scale_shift)
    of_heads = f"--num_heads {heads['heads']}" if "heads" in heads else f"--num_head_channels {heads['head_width']}"
    typed = (
        f"{FLAGS} {of_heads} --resblock_updown {residual} --use_scale_shift_norm {scale_shift} "
        f"--use_new_attention_order {new_order} --diffusion_steps 4000 --rescale_timesteps True"
    )
    network = network_of(adm_model(read_flags(typed), weights))
    oracle = ADMUNet(weights, halves, scale_shift=scale_shift, new_order=new_order, **heads)
    x, t, labels = torch.randn(3, 3, 16, 16), torch.tensor([0, 1234, 3999]), torch.tensor([0, 2, 1])
    with torch.no_grad():
        torch.testing.assert_close(network(x, t.float(), labels), oracle(x, t / 4, labels), rtol=1e-3, atol=1e-4)


def test_the_null_label_adds_nothing():
    weights, halves = small()
    network = network_of(adm_model(read_flags(FLAGS), weights))
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([5, 700])
    with torch.no_grad():
        free = ADMUNet(weights, halves, heads=4)(x, t)
        torch.testing.assert_close(network(x, t.float(), torch.tensor([3, 3])), free, rtol=1e-3, atol=1e-4)


def test_the_flags_say_what_was_trained():
    weights, _ = small()
    choices = adm_model(
        read_flags(FLAGS + " --noise_schedule cosine --diffusion_steps 500 --rescale_timesteps False"), weights
    ).choices
    assert choices["schedule"] == "cosine"
    assert choices["schedule.steps"] == 500
    assert choices["parameterization.mean._target_"].endswith(".Eps")
    assert choices["sampler.variance"] == "learned"


def test_what_does_not_change_the_weights_is_passed_over():
    typed = "--use_fp16 True --batch_size=4 --timestep_respacing 250 --image_size=32 --model_path a=b.pt"
    assert read_flags(typed) == {**read_flags(""), "image_size": 32}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--image_sise 64", "--image_sise is no flag of improved-diffusion or ADM; did you mean --image_size"),
        ("--image_size", "must be pairs"),
        ("--image_size big", "--image_size must be a whole number, got 'big'"),
        ("--class_cond maybe", "--class_cond must be True or False, got 'maybe'"),
        ("--large_size 256", "--large_size is no flag"),
        ("image_size 64", "image_size is no flag"),
        ("--dropout '0.1", "flags: No closing quotation"),
    ],
)
def test_flags_that_cannot_be_read_are_named(typed, message):
    with pytest.raises(LabError, match=message):
        read_flags(typed)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--channel_mult 1,x", "--channel_mult must be whole numbers"),
        ("--noise_schedule sqrt", "--noise_schedule sqrt: linear and cosine"),
        ("--num_heads_upsample 2", "--num_heads_upsample 2: only that of --num_heads, 4"),
        ("--class_cond False", "label_emb, and the flags do not say --class_cond True"),
        ("--num_res_blocks 100000000", "--num_res_blocks is 100000000, which no model has"),
        ("--diffusion_steps 0 --rescale_timesteps True", "--diffusion_steps is 0, which no model has"),
        ("--diffusion_steps 4000", "with --diffusion_steps 4000 it must be typed whether"),
        ("--num_res_blocks 2", "is missing: the flags do not fit the file"),
        ("--attention_resolutions 16,8", "input_blocks.1.1.norm.weight is missing"),
        ("--attention_resolutions 4", "is missing: the flags do not fit the file"),
        ("--num_heads 5", "64 channels"),
        ("--channel_mult 2,2", "--channel_mult 2,2: only a first level of 1"),
        ("--channel_mult 1", "is left over: the flags do not fit the file"),
    ],
)
def test_flags_that_do_not_fit_are_named(typed, message):
    weights, _ = small()
    with pytest.raises((LabError, ValueError), match=message):
        network_of(adm_model(read_flags(f"{FLAGS} {typed}"), weights))


def test_a_size_without_usual_widths_needs_them():
    with pytest.raises(LabError, match="--image_size 48 needs --channel_mult"):
        adm_model(read_flags("--image_size 48"), {})
