"""Inpainting with a model that was not trained for it (Lugmayr et al. 2022, RePaint, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Process
from diffusion_lab.sampling.base import Constraint, Sampler, State, Walk
from diffusion_lab.sampling.time_travel import TimeTravel


class RePaint(Constraint):
    """Known data is noised afresh to the time of each state; what is unknown is drawn, and drawn again.

    In clean data, what is known is there to the bit. Since the known part of a state changes at random between steps,
    a solver's history is dropped there: multistep solvers take steps of first order.

    Without resampling, the unknown part is drawn without regard for how the known part goes on: it fits at its borders
    and lacks sense. `resamplings` of each stretch of `jump_length` steps bring the two together (section 4.2).

    Args:
        process: noises the known data.
        known: [*D] codes of the data, of which the known part is used.
        unknown: [*D] bool, true where samples are drawn.
        jump_length: see `TimeTravel`; 1 for algorithm 1 to the letter, 10 in the paper's experiments.
        resamplings: see `TimeTravel`; 10 in the paper's experiments.

    Raises:
        ValueError: if all or nothing is known, or the shapes differ.
    """

    def __init__(
        self, process: Process, known: Tensor, unknown: Tensor, jump_length: int = 10, resamplings: int = 10
    ) -> None:
        if unknown.dtype != torch.bool or unknown.shape != known.shape:
            raise ValueError(
                f"inpainting needs a bool mask of the shape {list(known.shape)} of the codes, got {unknown.dtype} of "
                f"{list(unknown.shape)}"
            )
        if bool(unknown.all()) or not bool(unknown.any()):
            raise ValueError("inpainting needs a mask of which some is known and some is not")
        self.process = process
        self.known = known
        self.unknown = unknown
        self.jump_length = jump_length
        self.resamplings = resamplings

    def __call__(self, state: State, s: Tensor | None, noise: Noise) -> State:
        known = self.known.to(state.z).expand_as(state.z)
        if s is not None:
            known = self.process.sample(known, s, noise).z_t
        return State(torch.where(self.unknown.to(state.z.device), state.z, known))

    def walk(self, sampler: Sampler) -> Walk:
        return TimeTravel(self.process, sampler, self.jump_length, self.resamplings)
