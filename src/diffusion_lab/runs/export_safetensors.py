"""The weights as safetensors, with the run's config: what Diffusion Lab itself reads again."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from diffusion_lab.exchange.own_export import CONFIG, WEIGHTS, own_config
from diffusion_lab.machine.atomic_write import write_bytes, write_text
from diffusion_lab.runs.load import Run
from diffusion_lab.runs.model_card import Loading

_CODE = """\
from diffusion_lab import load_run

run = load_run({name!r})
samples = run.sample(16, seed=0)  # {samples}"""


def write_safetensors(run: Run, place: Path, name: str) -> Loading:
    """Write the weights and the config of a run into an empty folder, which will have that name."""
    weights = {name: value.detach().contiguous() for name, value in run.parts.module.state_dict().items()}
    write_bytes(place / WEIGHTS, save(weights, {"format": "pt"}))
    content = own_config(run.settings.as_node())
    write_text(place / CONFIG, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    shape = ", ".join(map(str, run.parts.data.shape))
    kind = "float32 in [-1, 1]" if run.parts.data.vocabulary is None else "numbers of tokens"
    return Loading(
        "diffusion-lab",
        "<wheel or folder of Diffusion Lab>",
        _CODE.format(name=name, samples=f"[16, {shape}], {kind}"),
        (
            "A new run starts from these weights with `diffusion-lab train init_from=<this folder> …` and the same "
            "network; `diffusion-lab sample run_dir=<this folder>` draws to files.",
        ),
        place="Beside the folder of this file",
    )
