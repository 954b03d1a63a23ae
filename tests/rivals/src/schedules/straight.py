"""Survival falls linearly (Sahoo et al. 2024, MDLM)."""

import torch

from diffusion_lab.schedules import RateSchedule


class StraightSchedule(RateSchedule):
    def survival(self, t):
        return 1 - t

    def d_survival(self, t):
        return -torch.ones_like(t)

    def time(self, survival):
        return 1 - survival
