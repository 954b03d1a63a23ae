"""The network as a graph that runs without this project: ONNX, and PyTorch's `torch.export`."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor

from diffusion_lab.codecs import Pixels
from diffusion_lab.errors import LabError
from diffusion_lab.exchange.diffusers_scheduler import class_of
from diffusion_lab.machine.atomic_write import write_bytes, write_text
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import LearnedVariance, Parameterization
from diffusion_lab.processes import Gaussian
from diffusion_lab.runs.load import Run
from diffusion_lab.runs.model_card import TOLERANCE, Loading
from diffusion_lab.sampling import DDIM
from diffusion_lab.sampling.grids import Trailing

#: The most steps that the card's loop takes.
_STEPS = 50

_STEPS_FILE = "steps.json"

_OPEN_ONNX = """\
import json

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("network.onnx")


def network(**inputs):
    return session.run(None, inputs)[0]
"""
_OPEN_TORCH = """\
import json

import numpy as np
import torch

program = torch.export.load("network.pt2").module()


def network(**inputs):
    with torch.no_grad():
        return program(**{name: torch.from_numpy(value) for name, value in inputs.items()}).numpy()
"""
#: DDIM, from what `_step_rows` says of each step.
_LOOP = """\


steps = json.load(open("steps.json"))
x = (steps[0]["prior_std"] * np.random.default_rng(0).standard_normal((4, {shape}))).astype(np.float32)
for step in steps:
    time = np.full(4, step["c_noise"], np.float32)
    raw = network(x=np.float32(step["input_scale"]) * x, c_noise=time{labels}){half}
    x0 = np.clip(step["x0_from_x"] * x + step["x0_from_raw"] * raw, -1, 1)
    x = (step["x_from_x"] * x + step["x_from_x0"] * x0).astype(np.float32)"""
_CALL = """\


x = np.zeros((1, {shape}), np.{dtype})
raw = network(x=x, c_noise=np.full(1, {time}, np.float32){labels})"""


def write_onnx(run: Run, place: Path, name: str) -> Loading:
    """Write a run's network as ONNX into an empty folder, and run it.

    Raises:
        LabError: if a library is not installed, or the graph computes something else than the network.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # which torch.onnx needs
    except ImportError as error:
        raise LabError("format=onnx needs its libraries: pip install 'diffusion-lab[export]'") from error
    program, inputs = _program(run, "onnx")
    file = place / "network.onnx"
    names = list(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        exported = torch.onnx.export(program, dynamo=True, verbose=False, input_names=names, output_names=["raw"])
    assert exported is not None
    exported.save(file)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    raw = torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])
    return _loading(run, place, "onnx", "onnxruntime numpy", _OPEN_ONNX, _checked(run, inputs, raw, "onnx"))


def write_torch_export(run: Run, place: Path, name: str) -> Loading:
    """Write a run's network as a program of `torch.export` into an empty folder, and run it.

    Raises:
        LabError: if the program computes something else than the network.
    """
    program, inputs = _program(run, "torch_export")
    file = place / "network.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        content = io.BytesIO()
        torch.export.save(program, content)  # into memory: on a full disk, torch's own writer ends the program
        write_bytes(file, content.getvalue())
        loaded = torch.export.load(file).module()
    with torch.no_grad():
        raw = loaded(**inputs)
    difference = _checked(run, inputs, raw, "torch_export")
    return _loading(run, place, "pytorch", "torch numpy", _OPEN_TORCH, difference)


def _program(run: Run, kind: str) -> tuple[torch.export.ExportedProgram, dict[str, Tensor]]:
    """Return the network as a program for any number of samples, and inputs [3, …] to try it with."""
    network, shape = run.parts.network, run.parts.pipeline.shape
    if getattr(network, "block_size", None) is not None:
        raise LabError(f"format={kind}: a network that sees blocks (network.block_size) is asked in more than one way")
    state = run.parts.process.prior(shape, Noise(torch.arange(3), 0, "export"))
    times = torch.tensor([0.05, 0.4, 0.95], dtype=torch.float64)
    inputs = {"x": state, "c_noise": run.parts.process.schedule.c_noise(times).float()}
    labels = run.parts.pipeline.condition(3, None)
    if labels is not None:
        inputs["condition"] = labels
    batch, some = torch.export.Dim("batch", min=1), {name: value[:2] for name, value in inputs.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (), some, dynamic_shapes={name: {0: batch} for name in inputs})
    return program, inputs


def _checked(run: Run, inputs: dict[str, Tensor], raw: Tensor, kind: str) -> float:
    """Return the largest difference to the network's output, as a share of it.

    Raises:
        LabError: if it is too large.
    """
    with torch.no_grad():
        expected = run.parts.network(**inputs)
    difference = float((raw - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not difference <= TOLERANCE:
        raise LabError(f"format={kind}: the graph's output differs by {difference:.1e} from the network's: not written")
    return difference


def _loading(run: Run, place: Path, library: str, install: str, opened: str, difference: float) -> Loading:
    """Return how the graph is read; write what the loop of the card needs to know of each step."""
    parts, shape = run.parts, ", ".join(map(str, run.parts.pipeline.shape))
    labelled, classes = parts.network.condition is not None, parts.data.num_classes
    tokens = not isinstance(parts.process, Gaussian)
    notes = [
        f"The inputs are `x` [B, {shape}] {'int64' if tokens else 'float32'}, the state at some time; `c_noise` [B] "
        "float32, the time as the network is told it"
        + (f"; and `condition` [B] int64, the label, {classes} for none." if labelled else ".")
    ]
    if isinstance(parts.process, Gaussian) and isinstance(parts.pipeline.codec, Pixels):
        rows = _step_rows(parts.process, parts.pipeline.plain_denoiser.parameterization)
        write_text(place / _STEPS_FILE, json.dumps(rows, indent=1) + "\n")
        learned = isinstance(parts.pipeline.plain_denoiser.parameterization, LearnedVariance)
        half = f"[:, :{parts.pipeline.shape[0]}]" if learned else ""
        labels = f", condition=np.arange(4) % {classes}" if labelled else ""
        code = opened + _LOOP.format(shape=shape, labels=labels, half=half)
        notes.append(
            f"`{_STEPS_FILE}` has the coefficients of {len(rows)} steps of DDIM; predicted data is clipped to [−1, 1], "
            f"and there is no guidance. The run itself draws with {class_of(run.settings.sampler)}."
        )
    else:
        labels = f", condition=np.full(1, {classes})" if labelled else ""
        call = _CALL.format(shape=shape, dtype="int64" if tokens else "float32", time="500.0", labels=labels)
        code = opened.replace("import json\n\n", "") + call
    return Loading(library, install, code, tuple(notes), difference=difference)


def _step_rows(process: Gaussian, parameterization: Parameterization) -> list[dict[str, float]]:
    """Return what DDIM needs at each step: x0 = a x + b raw, and the next x = c x + d x0."""
    count = min(_STEPS, process.schedule.steps or _STEPS)
    sampler = DDIM(process, Trailing(process.schedule), count)
    width = parameterization.outputs_per_channel
    rows = []
    for time, then in sampler.steps:
        t, s = torch.tensor([time], dtype=torch.float64), torch.tensor([then], dtype=torch.float64)
        one, zero = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        scaled, c_noise = parameterization.network_input(one, t)
        from_x = parameterization.prediction(zero.repeat(1, width, 1, 1), one, t).x0
        from_raw = parameterization.prediction(one.repeat(1, width, 1, 1), zero, t).x0
        ratio, rest = sampler.to_data(t, s) if then < time else (torch.zeros(1), torch.ones(1))
        rows.append(
            {
                "prior_std": float(process.schedule.prior_std),
                "c_noise": float(c_noise),
                "input_scale": float(scaled),
                "x0_from_x": float(from_x),
                "x0_from_raw": float(from_raw),
                "x_from_x": float(ratio),
                "x_from_x0": float(rest),
            }
        )
    return rows
