"""The transformer of text beside the same model made of `torch.nn.TransformerEncoder`, in the same plain loop.

Both have the same depth, width, heads and perceptrons, and train by the same loss, MDLM's. The encoder has fixed
sinusoidal positions in the place of rotary ones; learned ones would add 3 % to its parameters.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.architectures import TOLERANCE
from diffusion_lab.codecs import Tokens
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.networks import TextTransformer
from diffusion_lab.networks.layers import SinusoidalEmbedding
from diffusion_lab.noise import Noise
from diffusion_lab.objectives.token_bound import TokenBound
from diffusion_lab.parameterizations import Denoiser, Substitution
from diffusion_lab.processes import Absorbing
from diffusion_lab.sampling import Ancestral, Pipeline
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import LogLinearSchedule
from diffusion_lab.vocabulary import Characters

#: Characters of Tiny Shakespeare, and of a sequence.
VOCAB, LENGTH = 65, 256
_WIDTH, _DEPTH, _HEADS = 128, 5, 4

#: Operators of parts of a step.
_PARTS = {
    "matrix products": r"aten::(mm|addmm|bmm|baddbmm|mkldnn_convolution)",
    "attention's kernels": r"aten::_scaled_dot_product.*|aten::_softmax.*",
    "activation": r"aten::gelu.*",
    "cross-entropy": r"aten::(_log_softmax|nll_loss).*",
}

#: The recipe in which the cost of recording is measured: text that needs no download.
RECIPE = (
    "experiment=quickstart_text", f"data.length={LENGTH}", "sampler.variance=beta_tilde", "trainer=cpu",
    "trainer.enable_progress_bar=false", "trainer.max_steps=-1", "trainer.max_epochs=-1",
)  # fmt: skip


class _Encoder(nn.Module):
    """`torch.nn.TransformerEncoder` between an embedding and a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB + 1, _WIDTH)
        layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, 4 * _WIDTH, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, _DEPTH, nn.LayerNorm(_WIDTH), enable_nested_tensor=False)
        self.out = nn.Linear(_WIDTH, VOCAB)
        self.positions: Tensor
        self.register_buffer("positions", SinusoidalEmbedding(_WIDTH)(torch.arange(LENGTH)))

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.out(self.encoder(self.tokens(x) + self.positions))


def network(own: bool) -> nn.Module:
    """Return the network of this project, or the other one."""
    return TextTransformer(VOCAB + 1, VOCAB, width=_WIDTH, depth=_DEPTH, heads=_HEADS) if own else _Encoder()


def sizes() -> dict[str, tuple[float, float]]:
    """Return parameters, and operations of a training step for each sequence: theirs and ours.

    Raises:
        RuntimeError: if they differ by more than 2 %.
    """
    pair = [network(own) for own in (False, True)]
    found = {
        "parameters": tuple(float(sum(p.numel() for p in one.parameters())) for one in pair),
        "training": tuple(_flops(one) for one in pair),
    }
    for what, (a, b) in found.items():
        if abs(a / b - 1) > TOLERANCE:
            raise RuntimeError(f"text: {what} of torch's encoder and of this project differ: {a:,.0f} and {b:,.0f}")
    return {what: (a, b) for what, (a, b) in found.items()}


def _flops(one: nn.Module) -> float:
    with FlopCounterMode(display=False) as counter:
        one(torch.zeros(1, LENGTH, dtype=torch.int64), torch.zeros(1)).sum().backward()
    return float(counter.get_total_flops())


class Step:
    """A training step: noise, forward, loss, backward, optimizer."""

    def __init__(self, own: bool, autocast: bool, compiled: bool, batch_size: int, device: torch.device) -> None:
        torch.manual_seed(0)
        process = Absorbing(LogLinearSchedule(), VOCAB)
        self.network = network(own).to(device)
        if compiled:
            compile_network(self.network, device)
        self.objective = TokenBound(process)
        self.denoiser = Denoiser(self.network, Substitution(process))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        self.rows = torch.arange(batch_size, device=device)
        self.z0 = torch.randint(VOCAB, (batch_size, LENGTH), device=device)
        self.device, self.autocast, self.number = device, autocast, 0

    def __call__(self) -> None:
        self.number += 1
        noise = Noise(self.rows, 0, "train", self.number)
        t = (noise.at("time").uniform() + self.rows / len(self.rows)) % 1
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss = self.objective(self.denoiser, self.z0, t.clamp(min=1e-9), noise)["loss"].mean()
        loss.backward()
        self.optimizer.step()


def run(
    own: bool, autocast: bool, compiled: bool, batch_size: int, device: torch.device, tick: Callable[[], None]
) -> None:
    """Train without end."""
    step = Step(own, autocast, compiled, batch_size, device)
    while True:
        step()
        tick()


def shares(autocast: bool, batch_size: int, device: torch.device, steps: int = 3) -> dict[str, float]:
    """Return the share of each of `_PARTS` in our training step, of the time in all operators, by torch.profiler."""
    step = Step(True, autocast, False, batch_size, device)
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            step()
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(spent.values())
    found = {
        part: sum(value for key, value in spent.items() if re.fullmatch(names, key)) / total
        for part, names in _PARTS.items()
    }
    return {**found, "all else": 1 - sum(found.values())}


def ends(batch_size: int, device: torch.device, rounds: int = 5) -> dict[str, float]:
    """Return the times of logits and loss, with their gradients, and of the draw of masks, as shares of a step."""
    step = Step(True, False, False, batch_size, device)
    process = step.objective.process
    hidden = torch.randn(batch_size, LENGTH, _WIDTH, device=device, requires_grad=True)
    t = torch.full((batch_size,), 0.5, dtype=torch.float64, device=device)
    noise = Noise(step.rows, 0)
    z_t = process.sample(step.z0, t, noise).z_t
    raw = torch.randn(batch_size, LENGTH, VOCAB, device=device, requires_grad=True)
    weight = torch.ones_like(raw)
    out: Any = step.network.out

    def loss() -> None:
        prediction = step.denoiser.parameterization.prediction(raw, z_t, t)
        process.bound(prediction, step.z0, z_t, t).mean().backward()  # type: ignore[arg-type]

    whole = _median(step, rounds)
    parts = {
        "logits": lambda: out(hidden).backward(weight),
        "cross-entropy": loss,
        "draws of masks": lambda: process.sample(step.z0, t, noise),
    }
    return {name: _median(part, rounds) / whole for name, part in parts.items()}


def _median(work: Callable[[], object], rounds: int) -> float:
    work()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return sorted(found)[rounds // 2]


class _Known(nn.Module):
    """Returns the logits that it is made with, whatever it is asked."""

    takes_time = False

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.logits


def draws_in_sampling(batch_size: int, device: torch.device, num_steps: int = 8, rounds: int = 3) -> float:
    """Return the time of all but the network, categorical draws included, as a share of an ancestral draw."""
    logits = torch.randn(batch_size, LENGTH, VOCAB)
    whole, rest = (_pipeline(one.to(device), num_steps, LENGTH) for one in (network(True), _Known(logits)))
    return _median(lambda: rest.draw(batch_size), rounds) / _median(lambda: whole.draw(batch_size), rounds)


def _pipeline(one: nn.Module, num_steps: int, length: int) -> Pipeline:
    """Return a pipeline that draws texts of this length by ancestral sampling."""
    process = Absorbing(LogLinearSchedule(), VOCAB)
    sampler = Ancestral(process, Trailing(process.schedule), num_steps=num_steps)
    codec = Tokens(VOCAB, Characters("".join(map(chr, range(VOCAB)))))
    return Pipeline(one, Substitution(process), process, codec, sampler, (), (length,))


def calls_in_sampling(num_steps: int, samples: int = 4, length: int = 32) -> tuple[float, float]:
    """Return evaluations of the network in an ancestral draw, and distinct states in it that are asked for, per sample.

    The network is not told the time, so that each state needs one.
    """
    pipeline = _pipeline(TextTransformer(VOCAB + 1, VOCAB, width=16, depth=1, heads=2), num_steps, length)
    states: list[Tensor] = [torch.full((samples, length), VOCAB)]
    drawn = pipeline.draw(samples, on_step=lambda step: states.append(step.z.clone()))
    asked = states[:-1]  # the last is the result
    distinct = sum(len({tuple(state[row].tolist()) for state in asked}) for row in range(samples))
    return drawn.evaluations, distinct / samples
