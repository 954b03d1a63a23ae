"""Hand on the model of a run: its weights in the form that another library reads, and a model card."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from diffusion_lab import console
from diffusion_lab.config.instantiate import make_one
from diffusion_lab.config.reader_schema import ExportConfig
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import whole_folder, write_text
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.runs.export_diffusers import write_diffusers
from diffusion_lab.runs.export_graph import write_onnx, write_torch_export
from diffusion_lab.runs.export_safetensors import write_safetensors
from diffusion_lab.runs.hub import check_login, upload
from diffusion_lab.runs.load import Run, load_run
from diffusion_lab.runs.model_card import Loading, model_card

#: What each format writes into an empty folder, which will have the name given, and how the model card says that it is
#: read.
FORMATS: dict[str, Callable[[Run, Path, str], Loading]] = {
    "safetensors": write_safetensors,
    "diffusers": write_diffusers,
    "onnx": write_onnx,
    "torch_export": write_torch_export,
}

#: The largest picture of samples that goes with a model, in bytes.
_LARGEST_PICTURE = 2**20


def export(settings: ExportConfig) -> Path:
    """Write the folder `out`, whole or not at all, and upload it if that is asked for; return it.

    Raises:
        LabError: naming the key that does not fit, or what of the model the format has no counterpart of.
    """
    silence_library_warnings()
    with console.use(make_one(settings.console, "console", console.Console)):
        return _export(settings)


def _export(settings: ExportConfig) -> Path:
    out = Path(settings.out).absolute()
    if os.path.lexists(out) or out.name == "..":
        raise LabError(f"out={settings.out} exists already: name a new folder")
    if not out.parent.is_dir():
        raise LabError(f"out={settings.out}: there is no folder {out.parent} to make it in")
    if settings.push_to_hub is not None:
        check_login()
    run = load_run(settings.run_dir, settings.checkpoint, "cpu", weights=settings.weights)
    run.parts.module.eval()
    with whole_folder(out) as place:
        loading = FORMATS[settings.format](run, place, out.name)
        picture = run.folder.figures / "samples.png"
        if picture.is_file() and picture.stat().st_size <= _LARGEST_PICTURE:
            shutil.copyfile(picture, place / "samples.png")
        write_text(place / "README.md", model_card(run, loading, settings.license, (place / "samples.png").exists()))
        files = sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file())
    text = f"{settings.format} in {shown(out)}: {', '.join(map(str, files))}"
    if loading.difference is not None:
        text += f"; read again, its output differs by at most {loading.difference:.1e} of the largest"
    uploaded = None
    if settings.push_to_hub is not None:
        uploaded = upload(out, settings.push_to_hub, settings.private)
        text += f"; uploaded to {uploaded}"
    told = {"format": settings.format, "files": [out / file for file in files], "uploaded": uploaded}
    console.current().end(out, text, run_folder=run.folder.path, difference=loading.difference, **told)
    return out
