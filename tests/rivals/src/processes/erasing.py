"""Tokens are replaced by a mask, one after another (Sahoo et al. 2024, MDLM); the mask is state V."""

import torch

from diffusion_lab.distributions import Categorical
from diffusion_lab.processes import Noised, Process, per_sample
from diffusion_lab.schedules import RateSchedule


class Erasing(Process):
    def __init__(self, schedule: RateSchedule, vocab_size: int) -> None:
        self.schedule, self.mask = schedule, vocab_size

    def provides(self):
        return {"num_states": self.mask + 1}

    def sample(self, z0, t, noise):
        survival = per_sample(self.schedule.survival(t), z0)
        return Noised(torch.where(noise.uniform(z0.shape[1:]) < survival, z0, self.mask), t, z0)

    def prior(self, shape, noise):
        return torch.full((len(noise.rows), *shape), self.mask, device=noise.rows.device)

    def prior_kl(self, z0):
        return torch.zeros(len(z0), dtype=torch.float64)

    def transition(self, z_s, s, t):
        keep = self.schedule.survival(t) / self.schedule.survival(s)
        return self._either(torch.nn.functional.one_hot(z_s, self.mask + 1).double(), per_sample(keep, z_s))

    def posterior(self, z_t, prediction, t, s):
        t, s = self.schedule.survival(t), self.schedule.survival(s)
        x0 = torch.nn.functional.pad(prediction.x0.double().exp(), (0, 1))
        open_now = per_sample((s - t) / (1 - t), z_t)
        back = self._either(x0, open_now).log_probs
        stay = torch.nn.functional.one_hot(z_t, self.mask + 1).double().log()
        return Categorical(torch.where((z_t == self.mask)[..., None], back, stay))

    def _either(self, probs, share):
        """`probs` with this share, else the mask."""
        masked = torch.nn.functional.one_hot(torch.tensor(self.mask), self.mask + 1).to(probs)
        return Categorical((share[..., None] * probs + (1 - share[..., None]) * masked).log())
