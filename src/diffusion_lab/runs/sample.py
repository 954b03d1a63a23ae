"""Drawing from a run, to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffusion_lab import console
from diffusion_lab.config.instantiate import make_one
from diffusion_lab.config.reader_schema import SampleConfig
from diffusion_lab.errors import LabError
from diffusion_lab.figures import Shown, save_figures
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.atomic_write import whole_folder
from diffusion_lab.machine.available_memory import check_samples_fit
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.machine.devices import torch_device
from diffusion_lab.machine.disk_errors import check_writable
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.runs.bfloat16_check import warn_of_slow_bfloat16
from diffusion_lab.runs.draw_plans import make_plan
from diffusion_lab.runs.draws import ANIMATION_FRAMES, SHOWN, DrawFacts, labels_of, save_draw, transforms_of
from diffusion_lab.runs.load import Run, load_run
from diffusion_lab.runs.run_figures import denoising_figures, reconstruction_figures
from diffusion_lab.sampling import Trajectory


def sample(settings: SampleConfig) -> Path:
    """Draw samples, and return the folder with the samples, their grid and, if asked for, how they came about.

    Raises:
        LabError: naming the key that does not fit, or if the draw ends in numbers that are not finite.
    """
    silence_library_warnings()
    keep_freed_memory()
    with console.use(make_one(settings.console, "console", console.Console)):
        return _sample(settings)


def _sample(settings: SampleConfig) -> Path:
    run = load_run(settings.run_dir, settings.checkpoint, settings.device, settings.changes, settings.weights)
    check_writable(run.folder.samples)
    if (warning := run.parts.pipeline.warning) is not None:
        console.current().warning(warning)
    device, samples = torch_device(settings.device), min(settings.num_samples, settings.batch_size)
    warn_of_slow_bfloat16(run.parts, settings.precision, device, samples, training=False)
    if settings.compile:
        compile_network(run.parts.network, device)
    bar = console.current().bar
    plan = make_plan(run, settings, bar)
    check_samples_fit("num_samples", plan.num_samples, run.parts.data.shape)
    reconstruction = _reconstruction(run) if settings.reconstruction else []
    trajectory = None
    if settings.trajectory:
        trajectory = Trajectory(ANIMATION_FRAMES, keep=min(SHOWN, plan.num_samples, settings.batch_size))
    drawn = run.parts.pipeline.draw(
        plan.num_samples,
        settings.seed,
        settings.batch_size,
        plan.labels,
        trajectory,
        progress=bar,
        precision=settings.precision,
        **plan.options,
    )
    results = plan.results(drawn)
    facts = DrawFacts(
        sampler=run.settings.sampler,
        grid=run.settings.grid,
        transforms=transforms_of(run.settings),
        condition=labels_of(drawn),
        weights=run.weights,
        weights_hash=weights_hash(run.parts.module.state_dict()),
        step=run.step,
        num_samples=plan.num_samples,
        seed=settings.seed,
        precision=settings.precision,
        given=plan.given,
    )
    folder, codec = run.folder.samples / facts.name, run.parts.pipeline.codec
    how = {"checkpoint": settings.checkpoint, "batch_size": settings.batch_size, "compile": settings.compile}
    if run.weights_error is not None:
        how["weights_error"] = run.weights_error
    how["device"] = str(next(run.parts.network.parameters()).device)
    with whole_folder(folder) as place:
        files = save_draw(drawn, codec, facts, place / "samples.npy", place / "draw.json", **results, **how)
        files += save_figures(codec.show(plan.sheet(drawn)), place, plan.figure)
        if trajectory is not None:
            files += denoising_figures(run.parts, trajectory, place, run.folder.path, run.step)
        files += save_figures(reconstruction, place, "reconstruction")
    files = [folder / file.name for file in files]
    text = f"{len(drawn.samples)} samples in {shown(folder)}: {', '.join(path.name for path in files)}"
    text += f"; {drawn.evaluations:g} network evaluations each"
    told = {"step": run.step, "seed": settings.seed, "num_samples": len(drawn.samples), "files": files, **results}
    if results:
        text += f" ({', '.join(f'{name} {value:.4g}' for name, value in results.items())})"
    console.current().end(folder, text, run_folder=run.folder.path, evaluations=drawn.evaluations, **told)
    return folder


def _reconstruction(run: Run) -> Sequence[Shown]:
    shown = reconstruction_figures(run.parts, run.folder.path, run.step)
    if not shown:
        codec = type(run.parts.pipeline.codec).__name__
        raise LabError(f"reconstruction=true: it is for tokens of a discrete process, and this run has codec={codec}")
    return shown
