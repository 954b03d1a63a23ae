"""Pixels at half their size."""

from diffusion_lab.codecs import Pixels


class Halved(Pixels):
    value_range = (-0.5, 0.5)

    def encode(self, x):
        return x / 2

    def decode(self, z):
        return super().decode(2 * z)
