"""Inversion and inpainting by the door that a person uses."""

import json

import numpy as np
import pytest
from PIL import Image

from diffusion_lab.errors import LabError
from diffusion_lab.runs import load_run
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train


@pytest.fixture
def drawn(copy, settings, coarse_figures):
    """A function from overrides to the folder of a draw from the run."""

    def of(*overrides):
        return sample(settings(f"run_dir={copy.path}", "device=cpu", *overrides, config_name="sample"))

    return of


def record_of(place):
    return json.loads((place / "draw.json").read_text())


INVERT = ("sampler=dpmpp_2m", "sampler.num_steps=8")


def test_images_are_inverted_and_drawn_again(copy, drawn):
    place = drawn(*INVERT, "invert=test", "num_samples=5")
    record, samples = record_of(place), np.load(place / "samples.npy")
    real, _ = load_run(copy.path, device="cpu").parts.data.split("test", 5)
    error = np.sqrt(np.mean((samples.astype(np.float64) - real.numpy()) ** 2))
    assert record["reconstruction_rmse"] == pytest.approx(error)
    assert error < 0.3  # other images are 0.9 away
    assert (record["evaluations"], record["inversion_evaluations"]) == (8, 8)
    assert (record["num_samples"], record["shape"]) == (5, [5, 1, 8, 8])
    assert record["invert"]["data"] == "test"
    assert {path.name for path in place.iterdir()} == {"samples.npy", "draw.json", "inversion.png"}


def test_every_inversion_has_a_folder_of_its_own(drawn):
    places = [
        drawn(*INVERT, *typed)
        for typed in (
            ["invert=test", "num_samples=3"], ["invert=val", "num_samples=3"], ["invert=val:2"], ["num_samples=3"],
        )
    ]  # fmt: skip
    assert len(set(places)) == 4
    assert record_of(places[2])["num_samples"] == 1
    assert "invert" not in record_of(places[3])


def test_a_picture_is_inverted(drawn, tmp_path):
    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(tmp_path / "a.png")
    assert record_of(drawn(*INVERT, f"invert={tmp_path}/a.png"))["shape"] == [1, 1, 8, 8]


def test_a_sampler_that_adds_noise_is_refused_by_name(drawn):
    with pytest.raises(LabError, match="sampler=Ancestral adds noise as it is set, and cannot run backwards"):
        drawn("invert=test")


INPAINT = ("inpaint.image=val:3", "inpaint.mask=half", "inpaint.jump_length=2", "inpaint.resamplings=3")


def test_by_default_no_more_steps_are_taken_back_than_there_are(drawn):
    place = drawn("inpaint.image=val:3", "inpaint.mask=half", "inpaint.resamplings=2", "num_samples=1")
    assert json.loads((place / "draw.json").read_text())["inpaint"]["jump_length"] == 4


def test_what_was_typed_is_not_blamed_on_the_run_folder(drawn):
    with pytest.raises(LabError, match=r"^sampler\.num_steps must lie between"):
        drawn("++sampler.num_steps=100000")


def test_what_is_known_of_an_image_is_kept_to_the_bit_and_the_rest_depends_on_the_seed(copy, drawn):
    real, _ = load_run(copy.path, device="cpu").parts.data.split("val", 4)
    places = [drawn(*INPAINT, "num_samples=3", f"seed={seed}") for seed in (0, 1)]
    for place in places:
        samples = np.load(place / "samples.npy")
        assert np.array_equal(samples[..., :4], real[3:].expand(3, -1, -1, -1)[..., :4])
        assert {path.name for path in place.iterdir()} == {"samples.npy", "draw.json", "inpainting.png"}
    one, other = (np.load(place / "samples.npy") for place in places)
    assert np.abs(one - other)[..., 4:].max() > 0.1
    assert np.abs(one[0] - one[1])[..., 4:].max() > 0.1


def test_the_record_says_what_was_given_and_counts_each_evaluation(drawn):
    record = record_of(drawn(*INPAINT, "num_samples=2"))
    given = record["inpaint"]
    assert (given["image"], given["mask"], given["jump_length"], given["resamplings"]) == ("val:3", "half", 2, 3)
    assert all(len(given[name]) == 16 for name in ("image_hash", "mask_hash"))
    assert record["evaluations"] == 5 + 2 * 2 * 2  # of 5 steps, two stretches of 2 are taken twice more


def test_every_inpainting_has_a_folder_of_its_own(drawn, tmp_path):
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    changes = (
        [], [f"inpaint.mask={tmp_path}/m.png"], ["inpaint.image=test:3"], ["inpaint.resamplings=1"],
    )  # fmt: skip
    assert len({drawn(*INPAINT, "num_samples=1", *change) for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["inpaint.jump_length=5"], r"inpaint\.jump_length must lie between 1 and 4, .* 5 steps, got 5"),
        (["inpaint.resamplings=999999"], r"inpaint\.resamplings=999999 makes"),
        (["inpaint.mask=no.png"], r"inpaint\.mask=no\.png: there is no such file"),
        (["inpaint.image=no.png"], r"inpaint\.image=no\.png: there is no such file"),
        (["labels=3"], r"labels=3: the run's network \(SimpleUNet\) takes no labels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(copy, drawn, typed, says):
    before = sorted(copy.samples.iterdir())
    with pytest.raises(LabError, match=says):
        drawn(*INPAINT, *typed)
    assert sorted(copy.samples.iterdir()) == before


def test_other_samplers_inpaint_too(drawn):
    for sampler in ("ddim", "unipc"):
        place = drawn(f"sampler={sampler}", "sampler.num_steps=5", *INPAINT, "num_samples=1")
        assert np.isfinite(np.load(place / "samples.npy")).all()


@pytest.fixture
def labelled(tiny):
    unet = ("network=unet", "network.labels=true", "network.num_blocks=1", "network.head_channels=8")
    return train(tiny(*unet, "trainer.max_epochs=1"), []).path


def test_with_labels_each_image_is_taken_for_what_it_is(labelled, settings):
    def drawn(*overrides):
        return record_of(sample(settings(f"run_dir={labelled}", "device=cpu", *overrides, config_name="sample")))

    data = load_run(labelled, device="cpu").parts.data
    assert drawn(*INVERT, "invert=test", "num_samples=4")["condition"] == data.split("test", 4)[1].tolist()
    label = int(data.split("val", 4)[1][3])
    assert drawn(*INPAINT, "num_samples=2", "inpaint.resamplings=1")["condition"] == [label, label]
    np.save(labelled / "a.npy", np.zeros((1, 8, 8)))
    with pytest.raises(LabError, match=r"invert=.*a\.npy: the run's network takes labels; say .* with labels="):
        drawn(*INVERT, f"invert={labelled}/a.npy")
