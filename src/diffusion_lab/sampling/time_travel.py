"""A sampler that jumps back up in time on its way (Lugmayr et al. 2022, RePaint, section 4.2 and appendix B)."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Process
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State, Walk, full_time
from diffusion_lab.sampling.grids.base import MOST_STEPS


class TimeTravel(Walk):
    """A sampler's steps, each stretch of `jump_length` of which is taken `resamplings` times.

    A pair (t, s) with s > t is a jump: the state is noised from t to s by the process, q(z_s | z_t), without the
    network. That is the same in distribution as the paper's steps up one by one. A jump is random whatever the sampler
    is, and the solver starts anew after it: its history belongs to the state before.

    Args:
        process: noises the state in a jump.
        sampler: takes all other steps.
        jump_length: how many steps are taken back at once, j of the paper.
        resamplings: how often each stretch is taken, r of the paper; 1 for no jumps.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, process: Process, sampler: Sampler, jump_length: int, resamplings: int) -> None:
        super().__init__(with_jumps(sampler.steps, jump_length, resamplings))
        self.process = process
        self.sampler = sampler

    def take(self, state: State, times: tuple[float, float], denoiser: DenoiserFn, noise: Noise) -> State:
        t, s = times
        if s <= t:
            return self.sampler.take(state, times, denoiser, noise)
        return State(self.process.transition(state.z, full_time(t, noise), full_time(s, noise)).sample(noise))


def with_jumps(
    steps: Sequence[tuple[float, float]], jump_length: int, resamplings: int
) -> Sequence[tuple[float, float]]:
    """Return falling pairs of times with jumps between them, in the order of RePaint's own code.

    Stretches are counted from the last step but one upwards, for no jump starts from clean data; what is left above
    the uppermost whole stretch is taken once.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """
    if resamplings < 1:
        raise ValueError(f"inpaint.resamplings must be at least 1, got {resamplings}")
    if not 1 <= jump_length < max(len(steps), 2):
        raise ValueError(
            f"inpaint.jump_length must lie between 1 and {max(len(steps) - 1, 1)}, one less than the sampler's "
            f"{len(steps)} steps, got {jump_length}"
        )
    stretches = (len(steps) - 1) // jump_length
    count = len(steps) + stretches * (resamplings - 1) * (jump_length + 1)
    if count > MOST_STEPS:
        raise ValueError(
            f"inpaint.resamplings={resamplings} makes {count:,} steps of the sampler's {len(steps)}, and there may be "
            f"{MOST_STEPS:,}"
        )
    pairs: list[tuple[float, float]] = []
    for taken, pair in enumerate(steps, start=1):
        pairs.append(pair)
        left = len(steps) - taken
        if taken >= jump_length and left >= 1 and (left - 1) % jump_length == 0:
            stretch = steps[taken - jump_length : taken]
            pairs += [(pair[1], stretch[0][0]), *stretch] * (resamplings - 1)
    return pairs
