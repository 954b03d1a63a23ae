"""Drawing from a run, to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import SampleConfig
from diffusion_lab.figures import image_grid, save_figure
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.machine.devices import torch_device
from diffusion_lab.machine.library_warnings import calm
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.runs.load import load_run
from diffusion_lab.runs.run_figures import ANIMATION_FRAMES, SHOWN, denoising_figures, save_samples
from diffusion_lab.sampling import Trajectory


def sample(cfg: SampleConfig) -> Path:
    """Draw as `cfg` says, and return the folder with `samples.npy`, `grid.png` and, if asked, the way there.

    What is said on the way is up to `cfg.console`.

    Raises:
        LabError: naming the key that does not fit.
    """
    calm()
    keep_freed_memory()
    with console.speaking(make(cfg.console, "console", {})):
        return _sample(cfg)


def _sample(cfg: SampleConfig) -> Path:
    changes: dict[str, Any] = {}
    if cfg.sampler is not None:
        changes["sampler"] = cfg.sampler
    if cfg.clip_x0 is not None:
        changes["sampling"] = {"clip_x0": cfg.clip_x0}
    run = load_run(cfg.run_dir, cfg.checkpoint, cfg.device, changes, cfg.weights)
    if cfg.compile:
        compile_network(run.parts.network, torch_device(cfg.device))
    trajectory = None
    if cfg.trajectory:
        trajectory = Trajectory(ANIMATION_FRAMES, keep=min(SHOWN, cfg.num_samples, cfg.batch_size))
    bar = console.current().bar
    how = {"batch_size": cfg.batch_size, "precision": cfg.precision}
    samples = run.sample(cfg.num_samples, cfg.seed, trajectory=trajectory, progress=bar, **how)
    name = f"{Path(cfg.checkpoint).stem}_step{run.step}_seed{cfg.seed}_n{cfg.num_samples}"
    folder = run.folder.samples / name
    save_samples(samples, folder / "samples.npy")
    title = f"Samples after {run.step:,} steps, seed {cfg.seed}"
    save_figure(image_grid(samples[: 4 * SHOWN], title, columns=8 if len(samples) <= SHOWN else 16), folder, "grid")
    if trajectory is not None:
        denoising_figures(run.parts, trajectory, folder)
    files = sorted(folder.iterdir())
    text = f"{len(samples)} samples in {shown(folder)}: {', '.join(path.name for path in files)}"
    facts = {"step": run.step, "seed": cfg.seed, "num_samples": len(samples), "files": files}
    console.current().end(folder, text, run_folder=run.folder.path, **facts)
    return folder
