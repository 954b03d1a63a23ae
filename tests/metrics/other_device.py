"""Tensors as on a device that has no float64, as Apple's GPUs have none. No test."""

import torch


class OnOtherDevice(torch.Tensor):
    """On the CPU in truth: what is computed of it lies there as well, until it is brought to the CPU."""

    def double(self):
        raise TypeError("this device has no float64")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def elsewhere(*tensors):
    return [tensor.as_subclass(OnOtherDevice) for tensor in tensors]
