"""Survival falls linearly (Sahoo et al. 2024, MDLM)."""

import torch

from diffusion_lab.schedules import RateSchedule


class LogLinearSchedule(RateSchedule):
    def survival(self, t):
        return 1 - t

    def d_survival(self, t):
        return -torch.ones_like(t)
