"""Images of which only the shape is known: those that a model from elsewhere was trained on."""

from __future__ import annotations

from diffusion_lab.data.base import Split
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.errors import LabError


class UnknownImages(ImageDataModule):
    """No images, but what a network and its samples need to know of them.

    Args:
        batch_size: of the global batch; of no effect.
        channels: of an image, 1 or more.
        image_size: the side of an image, 1 or more.
        num_classes: how many labels there are; None for images without labels.
        seed: of no effect.

    Raises:
        ValueError: naming the key, if a number is below 1.
    """

    name = "unknown_images"

    def __init__(
        self,
        batch_size: int = 1,
        channels: int = 3,
        image_size: int = 32,
        num_classes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, None, seed)
        for key, value in (("channels", channels), ("image_size", image_size), ("num_classes", num_classes)):
            if value is not None and value < 1:
                raise ValueError(f"data.{key} must be 1 or more, got {value}")
        self.channels, self.image_size, self.num_classes = channels, image_size, num_classes

    def load(self) -> tuple[Split, Split, Split]:
        """Raise LabError: there are none."""
        raise LabError(
            "data=unknown_images: the images of this model are not here; it can be drawn from, and a new run can start "
            "from its weights with init_from= and data of your own"
        )

    def prepare_data(self) -> None:
        self.load()
