"""Drawing from a run, to files."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diffusion_lab.errors import LabError
from diffusion_lab.figures import image_grid, record
from diffusion_lab.runs.load import load_run
from diffusion_lab.runs.report import ANIMATION_FRAMES, SHOWN, denoising_figures, save_samples
from diffusion_lab.sampling import Trajectory


def sample(cfg: DictConfig) -> Path:
    """Draw as `cfg` says, and return the folder with `samples.npy`, `grid.png` and, if asked, the way there.

    Raises:
        LabError: naming the key that does not fit.
    """
    if cfg.num_samples < 1 or cfg.batch_size < 1:
        raise LabError(f"num_samples and batch_size must be at least 1, got {cfg.num_samples} and {cfg.batch_size}")
    changes = OmegaConf.create({})
    if cfg.sampler is not None:
        changes.sampler = cfg.sampler
    if cfg.clip_x0 is not None:
        changes.sampling = {"clip_x0": cfg.clip_x0}
    run = load_run(cfg.run_dir, cfg.checkpoint, cfg.device, changes)
    trajectory = None
    if cfg.trajectory:
        trajectory = Trajectory(ANIMATION_FRAMES, keep=min(SHOWN, cfg.num_samples, cfg.batch_size))
    samples = run.sample(cfg.num_samples, cfg.seed, batch_size=cfg.batch_size, trajectory=trajectory, progress=True)
    name = f"{Path(cfg.checkpoint).stem}_step{run.step}_seed{cfg.seed}_n{cfg.num_samples}"
    folder = run.folder.samples / name
    save_samples(samples, folder / "samples.npy")
    title = f"Samples after {run.step:,} steps, seed {cfg.seed}"
    record(image_grid(samples[: 4 * SHOWN], title, columns=8 if len(samples) <= SHOWN else 16), folder, "grid")
    if trajectory is not None:
        denoising_figures(run.parts, trajectory, folder)
    print(f"{len(samples)} samples in {folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}")
    return folder
