"""A data set, a schedule and a network of our own, for Diffusion Lab."""
