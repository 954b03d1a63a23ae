"""Small files in MNIST's IDX format. No test."""

import struct

import torch

TRAIN, TEST = 50, 12


def idx_images(count, offset):
    """Images that are all different: the first two pixels hold their number."""
    pixels = torch.randint(256, (count, 28, 28), generator=torch.Generator().manual_seed(offset)).byte()
    pixels[:, 0, 0] = torch.arange(count).byte()
    pixels[:, 0, 1] = offset
    return struct.pack(">4i", 2051, count, 28, 28) + pixels.numpy().tobytes()


def idx_labels(count):
    return struct.pack(">2i", 2049, count) + bytes(i % 10 for i in range(count))


FILES = {
    "train-images-idx3-ubyte": idx_images(TRAIN, 1),
    "train-labels-idx1-ubyte": idx_labels(TRAIN),
    "t10k-images-idx3-ubyte": idx_images(TEST, 2),
    "t10k-labels-idx1-ubyte": idx_labels(TEST),
}
