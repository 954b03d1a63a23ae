"""Survival falls linearly (Sahoo et al. 2024, MDLM)."""

from diffusion_lab.schedules import RateSchedule


class LogLinearSchedule(RateSchedule):
    def survival(self, t):
        return 1 - t

    def rate(self, t):
        return 1 / (1 - t)
