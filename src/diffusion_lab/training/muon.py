"""Muon for the matrices of a network (Jordan et al. 2024), and AdamW for all its other weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class _Muon(torch.optim.Muon):
    """`torch.optim.Muon`, which on a CPU makes matrices orthogonal in float32.

    PyTorch's iteration is in bfloat16, whose products are thirty times as slow as those of float32 on a CPU that has no
    instructions for them.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        assert closure is None  # `MuonWithAdamW` calls it
        if any(parameter.device.type != "cpu" for group in self.param_groups for parameter in group["params"]):
            return super().step()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step(parameter, parameter.grad, group)
        return None

    def _step(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state, momentum = self.state[parameter], group["momentum"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        average = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        update = nearly_orthogonal(grad.lerp(average, momentum).float(), group["ns_coefficients"], group["ns_steps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.to(parameter.dtype), alpha=-0.2 * group["lr"] * max(parameter.shape) ** 0.5)


def nearly_orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """Return the polar factor of a matrix [M, N], nearly, by so many Newton–Schulz steps (Jordan et al. 2024).

    Its singular values lie between about 0.7 and 1.2, but for those that were far below the largest one.
    """
    a, b, c = coefficients
    x = matrix / matrix.norm().clamp(min=1e-7)
    x = x.T if len(x) > x.shape[1] else x  # the smaller of both products
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if len(matrix) > matrix.shape[1] else x


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon trains the weights with two axes, `torch.optim.AdamW` the rest: biases, norms, convolutions.

    Embeddings and the last layer have two axes, too; Jordan leaves them to AdamW.

    Muon makes the averaged gradient of a matrix nearly orthogonal before it is taken as a step, whose size is then
    scaled to that of a step of AdamW (Liu et al. 2025, Moonlight, eq. 4), so that both have rates of the same order.

    Args:
        params: weights to train. The first group of the optimizer holds the matrices, if there are any.
        lr: learning rate of the matrices.
        momentum: share of the averaged gradient that a step of Muon keeps, with Nesterov's correction.
        adamw_lr: learning rate of the rest.
        betas, eps: of AdamW.
        weight_decay: decoupled, of all weights.

    Attributes:
        whole_weights: that it cannot train parts of matrices, into which FSDP cuts them.

    Raises:
        ValueError: if an argument is out of its range.
    """

    whole_weights = True

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-2,
        momentum: float = 0.95,
        adamw_lr: float = 3e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        params = list(params)
        matrices = [parameter for parameter in params if parameter.ndim == 2]
        rest = [parameter for parameter in params if parameter.ndim != 2]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            self._parts.append(
                _Muon(matrices, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw"),
            )
        if rest:
            self._parts.append(torch.optim.AdamW(rest, adamw_lr, betas, eps, weight_decay))
        defaults: dict[str, Any] = {}
        for part in self._parts:
            defaults |= part.defaults
        super().__init__([group for part in self._parts for group in part.param_groups], defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step with each of the two, and return the loss that `closure` computes, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state  # loading a state replaces them
            part.step()
        return loss
