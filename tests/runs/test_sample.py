"""Drawing from a run folder."""

import json
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lab.config.tree import conf_dir, options, read_option
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.runs import load_run
from diffusion_lab.runs.draws import sampler_words
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train


@pytest.fixture
def folder(tiny):
    return train(tiny(), []).path


def test_sample_i_does_not_depend_on_how_many_are_drawn(folder):
    run = load_run(folder)
    few, many, cut = run.sample(3, seed=7), run.sample(64, seed=7), run.sample(64, seed=7, batch_size=10)
    assert many.shape == (64, 1, 8, 8)
    torch.testing.assert_close(few, many[:3], rtol=0, atol=1e-4)
    torch.testing.assert_close(cut, many, rtol=0, atol=1e-4)
    assert (run.sample(3, seed=8) - few).abs().max() > 0.1
    assert many.abs().max() <= 1


def test_the_script_writes_samples_grid_strip_and_animation(folder, settings, capsys):
    overrides = [f"run_dir={folder}", "num_samples=5", "seed=7", "trajectory=true", "device=cpu"]
    written = sample(settings(*overrides, config_name="sample"))
    array = np.load(written / "samples.npy")
    assert array.shape == (5, 1, 8, 8)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, load_run(folder, device="cpu").sample(5, seed=7).numpy(), atol=1e-5)
    names = {"samples.npy", "draw.json", "grid.png", "denoising.png", "denoising.gif"}
    assert {p.name for p in written.iterdir()} == names
    with Image.open(written / "denoising.gif") as gif:
        assert gif.n_frames > 1
    assert shown(written) in capsys.readouterr().out


@pytest.fixture
def drawn(folder, settings):
    """A function from overrides to the folder of a draw from the run."""

    def of(*overrides):
        return sample(settings(f"run_dir={folder}", "num_samples=4", "device=cpu", *overrides, config_name="sample"))

    return of


@pytest.mark.slow
def test_every_draw_has_a_folder_of_its_own_and_says_what_made_it(drawn):
    places = [
        drawn(*overrides)
        for overrides in (
            [], ["++sampler.num_steps=3"], ["clip=none"], ["clip=dynamic"], ["seed=1"], ["num_samples=5"],
            ["precision=bf16-mixed"], ["checkpoint=best"], ["sampler=ancestral", "sampler.variance=beta"],
        )
    ]  # fmt: skip
    records = [json.loads((place / "draw.json").read_text()) for place in places]
    # Unless the best weights are the last ones: then it is the same draw.
    same = records[7]["weights_hash"] == records[0]["weights_hash"] and records[7]["step"] == records[0]["step"]
    assert len(set(places)) == len(places) - same
    assert [record["evaluations"] for record in records[:3]] == [5, 3, 5]
    assert records[0]["sampler"]["num_steps"] == 5
    assert records[0]["transforms"] == {"clip": {"_target_": "diffusion_lab.sampling.ClipX0"}}
    assert records[2]["transforms"] == {}
    assert {record["weights"] for record in records} == {"raw"}  # the run keeps no average
    assert (records[0]["shape"], records[0]["dtype"], records[0]["condition"]) == ([4, 1, 8, 8], "float32", None)


def test_the_same_draw_again_is_the_same_folder_with_the_same_samples(drawn):
    first = drawn("seed=3")
    before = (first / "samples.npy").read_bytes(), (first / "draw.json").read_bytes()
    assert drawn("seed=3") == first
    assert ((first / "samples.npy").read_bytes(), (first / "draw.json").read_bytes()) == before


def test_a_draw_does_not_claim_the_animation_of_an_earlier_one(drawn, capsys):
    drawn("trajectory=true")
    assert "denoising.gif" in capsys.readouterr().out
    drawn()
    assert "denoising.gif" not in capsys.readouterr().out


def test_a_key_of_the_runs_own_sampler_can_be_typed_alone(folder, capsys, monkeypatch):
    arguments = ["sample.py", f"run_dir={folder}", "num_samples=4", "device=cpu", "sampler.num_steps=2", "console=json"]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(conf_dir().parent / "scripts" / "sample.py"), run_name="__main__")
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["event"], end["evaluations"]) == ("end", 2)


def test_a_misspelled_key_of_the_runs_sampler_is_named(drawn):
    with pytest.raises(LabError, match=r"there is no key sampler\.num_step; did you mean num_steps\?"):
        drawn("++sampler.num_step=2")


def test_keys_of_a_group_of_which_the_run_has_no_option_are_refused(drawn):
    with pytest.raises(LabError, match=r"guidance\.scale: no option of guidance is chosen; choose one of .*none first"):
        drawn("++guidance.scale=3")


def test_labels_for_a_network_that_takes_none_are_refused(drawn):
    with pytest.raises(LabError, match=r"labels=3: the run's network \(SimpleUNet\) takes no labels"):
        drawn("labels=3")


def test_a_draw_that_ends_in_no_numbers_is_no_success(folder, drawn):
    path = folder / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["state_dict"]["network.out.bias"].fill_(torch.nan)
    torch.save(state, path)
    with pytest.raises(LabError, match="the draw ended in numbers that are not finite, in 4 of 4 samples"):
        drawn()
    assert [place for place in (folder / "samples").iterdir() if place.is_dir()] == []


def test_the_samples_of_the_training_run_say_what_made_them(folder):
    record = json.loads((folder / "samples" / "final.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert record["weights_hash"] == manifest["weights"]
    assert (record["step"], record["num_samples"], record["evaluations"], record["weights"]) == (8, 9, 5, "raw")


def test_another_sampler_can_be_chosen_without_repeating_the_run(folder):
    run = load_run(folder, changes={"sampler": {"num_steps": 3}})
    assert len(run.parts.pipeline.sampler.steps) == 3


def test_best_last_and_a_path_name_a_checkpoint(folder):
    path = folder / "checkpoints" / "last.ckpt"
    last, by_path, best = (load_run(folder, name).step for name in ("last", str(path), "best"))
    assert last == by_path == 8
    assert best in (4, 8)
    with pytest.raises(LabError, match=r"checkpoint=worst: .* it has best, last"):
        load_run(folder, "worst")


def test_a_checkpoint_of_another_network_is_refused_by_name(folder):
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("base_channels: 8", "base_channels: 16"))
    with pytest.raises(LabError, match=r"last\.ckpt is of another network: network\."):
        load_run(folder)


def test_a_config_that_lacks_a_key_is_refused_by_name(folder):
    config = folder / "config.yaml"
    text = config.read_text()
    config.write_text(text[: text.index("network:")] + text[text.index("sampler:") :])
    with pytest.raises(LabError, match=r"config\.yaml: network has no option"):
        load_run(folder)


def test_loading_leaves_the_global_generator_alone(folder):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_run(folder).sample(2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_bfloat16_and_compilation_are_choices_that_leave_the_samples_nearly_what_they_are(folder, settings):
    """Not exactly: the test would not notice if they were ignored."""
    exact = load_run(folder, device="cpu").sample(4, seed=7)

    def drawn(*overrides):
        chosen = settings(
            f"run_dir={folder}", "num_samples=4", "seed=7", "device=cpu", *overrides, config_name="sample"
        )
        return torch.from_numpy(np.load(sample(chosen) / "samples.npy"))

    rounded, compiled = drawn("precision=bf16-mixed"), drawn("compile=true")
    assert 1e-6 < (rounded - exact).abs().max() < 0.1
    torch.testing.assert_close(compiled, exact, rtol=0, atol=1e-4)


def test_an_unknown_precision_is_refused_by_name(folder, settings):
    with pytest.raises(LabError, match="precision must be 32-true or bf16-mixed, got 8-bit"):
        sample(settings(f"run_dir={folder}", "precision=8-bit", config_name="sample"))


def test_folders_of_draws_begin_with_the_option_of_their_sampler():
    for option in options("sampler"):
        node = read_option("sampler", option)
        if "num_steps" in node:
            assert sampler_words({**node, "num_steps": 7}) == f"{option}-7"
        else:
            assert sampler_words(node) == option


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((-1,), "num_samples must be at least 1"), ((0,), "num_samples must be at least 1"),
        ((3, -1), "seed must be at least 0"), ((3, 7.0), "seed must be a whole number, got 7.0"),
        ((3, 2**32), r"seed must be below 2\*\*32"), ((True,), "num_samples must be a whole number, got True"),
    ],
)  # fmt: skip
def test_what_is_no_number_of_samples_and_no_seed_is_refused_by_name(recorded, arguments, said):
    with pytest.raises(ValueError, match=said):
        load_run(recorded.path, device="cpu").sample(*arguments)
