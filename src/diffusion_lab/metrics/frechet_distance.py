"""Fréchet distance between features: FID, if these are Inception's (Heusel et al. 2017, equation 6)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.metrics.feature_sets import GivenFeatures, check_pair


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """Return the squared Fréchet distance between Gaussians with the means and covariances of two sets of features.

    ‖μ − μ'‖² + tr(Σ + Σ' − 2(ΣΣ')^½), in the squared unit of the features. It does not depend on the order of items,
    nor on which set is called real. Its expectation is above zero for two sets of one distribution, and grows as they
    become smaller: only numbers with the same sizes of both sets can be compared.

    Args:
        real: [N, D] floating point, N at least 2; computed in float64.
        generated: [M, D], M at least 2.

    Raises:
        ValueError: if a set is too small or not finite, or if all real items are the same.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    check_pair(real, generated, 2, "the Fréchet distance")
    # On this process alone, in a run of several, too. The result has the type of the features.
    metric = FrechetInceptionDistance(GivenFeatures(real.shape[1]), sync_on_compute=False)
    metric.update(real.cpu().double(), real=True)
    metric.update(generated.cpu().double(), real=False)
    return float(metric.compute())
