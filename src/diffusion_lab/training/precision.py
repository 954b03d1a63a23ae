"""Low precision for the network only.

For `bf16-true`, Lightning would round the images to bfloat16 and make it the dtype of every new tensor. Here the
denoiser casts the inputs and outputs of the network, and the noise, the schedule and the loss stay in float32 and
float64.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pytorch_lightning.plugins.precision import HalfPrecision


class HalfNetwork(HalfPrecision):
    """Precision `bf16-true`: weights, gradients and the optimizer's state are bfloat16; data is not cast."""

    def __init__(self) -> None:
        super().__init__("bf16-true")

    def convert_input(self, data: Any) -> Any:
        return data

    def forward_context(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()
