"""Low precision for the network, and for nothing else.

Under `bf16-true` Lightning would round the images to 8 bits and make bfloat16 the dtype of every new tensor. Here
the denoiser casts what goes into the network and what comes out of it, and the noise, the schedule and the loss
stay in float32 and float64.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pytorch_lightning.plugins.precision import HalfPrecision


class HalfNetwork(HalfPrecision):
    """`bf16-true`: weights, gradients and the optimizer's state are bfloat16."""

    def __init__(self) -> None:
        super().__init__("bf16-true")

    def convert_input(self, data: Any) -> Any:
        return data

    def forward_context(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()
