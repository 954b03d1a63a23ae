"""Diffusion Lab: one config tree, one training module and one sampling loop for diffusion models."""
