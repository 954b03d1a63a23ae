"""Drawing from a run folder."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.runs import load_run
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
    assert {p.name for p in written.iterdir()} == {"samples.npy", "grid.png", "denoising.png", "denoising.gif"}
    with Image.open(written / "denoising.gif") as gif:
        assert gif.n_frames > 1
    assert shown(written) in capsys.readouterr().out


def test_another_sampler_can_be_chosen_without_repeating_the_run(folder):
    run = load_run(folder, changes={"sampler": {"num_steps": 3}})
    assert len(run.parts.pipeline.sampler) == 3


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
