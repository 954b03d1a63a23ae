"""The U-Net of improved-diffusion and ADM, computed from the weights of one of its checkpoints by their names alone.

It knows no layers: what a weight's name says is what it does. Dhariwal & Nichol 2021, appendix A and B, and the names
that their released checkpoints have.
"""

import math

import torch
from torch.nn.functional import avg_pool2d, conv2d, group_norm, interpolate, linear, silu


class ADMUNet:
    """Weights by name, the numbers of the input blocks that halve the image, and what the flags say of them."""

    def __init__(self, weights, halves, heads=None, head_width=None, scale_shift=True, new_order=False):
        self.w, self.halving = weights, halves
        self.heads, self.head_width = heads, head_width
        self.scale_shift, self.new_order = scale_shift, new_order

    def __call__(self, x, t, labels=None):
        half = self.w["time_embed.0.weight"].shape[1] // 2
        angles = t.double()[:, None] * 10000 ** (-torch.arange(half) / half)
        emb = torch.cat([angles.cos(), angles.sin()], 1).to(x)
        emb = self.affine("time_embed.2", silu(self.affine("time_embed.0", emb)))
        if labels is not None:
            emb = emb + self.w["label_emb.weight"][labels]
        kept, h = [], x
        for number in range(self.count("input_blocks")):
            h = self.group(f"input_blocks.{number}", h, emb, "down")
            kept.append(h)
        h = self.group("middle_block", h, emb, None)
        for number in range(self.count("output_blocks")):
            h = self.group(f"output_blocks.{number}", torch.cat([h, kept.pop()], 1), emb, "up")
        return self.conv("out.2", silu(self.norm("out.0", h)))

    def count(self, name):
        return 1 + max(int(key.split(".")[1]) for key in self.w if key.startswith(f"{name}."))

    def group(self, name, h, emb, direction):
        for place in range(4):
            part = f"{name}.{place}"
            if f"{part}.weight" in self.w:
                h = self.conv(part, h)
            elif f"{part}.op.weight" in self.w:
                h = conv2d(h, self.w[f"{part}.op.weight"], self.w[f"{part}.op.bias"], stride=2, padding=1)
            elif f"{part}.conv.weight" in self.w:
                h = self.conv(f"{part}.conv", doubled(h))
            elif f"{part}.qkv.weight" in self.w:
                h = self.attention(part, h)
            elif f"{part}.in_layers.0.weight" in self.w:
                h = self.block(part, h, emb, self.resampled(name, place, direction))
        return h

    def resampled(self, name, place, direction):
        """How a residual block resamples: on the way up, all do that are not the first of their group."""
        if direction == "up":
            return doubled if place > 0 else None
        return halved if direction == "down" and int(name.split(".")[1]) in self.halving else None

    def block(self, name, x, emb, resample):
        h = silu(self.norm(f"{name}.in_layers.0", x))
        if resample:
            h, x = resample(h), resample(x)
        h = self.conv(f"{name}.in_layers.2", h)
        told = self.affine(f"{name}.emb_layers.1", silu(emb))[:, :, None, None]
        if self.scale_shift:
            scale, shift = told.chunk(2, 1)
            h = self.norm(f"{name}.out_layers.0", h) * (1 + scale) + shift
        else:
            h = self.norm(f"{name}.out_layers.0", h + told)
        h = self.conv(f"{name}.out_layers.3", silu(h))
        if f"{name}.skip_connection.weight" in self.w:
            x = self.conv(f"{name}.skip_connection", x)
        return x + h

    def attention(self, name, x):
        width, size = x.shape[1], x.shape[2:]
        heads = self.heads or width // self.head_width
        h = self.norm(f"{name}.norm", x).flatten(2)
        qkv = torch.einsum("oc,bcn->bon", self.w[f"{name}.qkv.weight"][..., 0], h) + self.w[f"{name}.qkv.bias"][:, None]
        each = width // heads
        seen = []
        for head in range(heads):
            if self.new_order:
                q, k, v = (qkv[:, part * width + head * each :][:, :each] for part in range(3))
            else:
                q, k, v = (qkv[:, (3 * head + part) * each :][:, :each] for part in range(3))
            weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(each), -1)
            seen.append(torch.einsum("bts,bcs->bct", weights, v))
        out = torch.einsum("oc,bcn->bon", self.w[f"{name}.proj_out.weight"][..., 0], torch.cat(seen, 1))
        return x + (out + self.w[f"{name}.proj_out.bias"][:, None]).unflatten(2, size)

    def affine(self, name, x):
        return linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def conv(self, name, x):
        weight = self.w[f"{name}.weight"]
        return conv2d(x, weight, self.w[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def norm(self, name, x):
        return group_norm(x, 32, self.w[f"{name}.weight"], self.w[f"{name}.bias"], 1e-5)


def halved(x):
    return avg_pool2d(x, 2)


def doubled(x):
    return interpolate(x, scale_factor=2)


def adm_weights(width, multipliers, blocks, attends, in_channels=3, out_channels=3, classes=None, **kind):
    """Random weights by the names of ADM, for a U-Net of some levels.

    Args:
        width: of the first level.
        multipliers: of each level.
        blocks: residual blocks of each level.
        attends: whether each level has attention.
        kind: ``scale_shift`` and ``residual`` (resampling inside of blocks).

    Returns:
        The weights, and the numbers of the input blocks that halve the image.
    """
    torch.manual_seed(0)
    scale_shift, residual = kind.get("scale_shift", True), kind.get("residual", False)
    w, time = {}, 4 * width

    def add(name, *shape):
        w[f"{name}.weight"] = torch.randn(*shape) / math.sqrt(math.prod(shape[1:]) or 1)
        w[f"{name}.bias"] = torch.randn(shape[0]) / 10

    def add_block(name, before, after):
        add(f"{name}.in_layers.0", before)
        add(f"{name}.in_layers.2", after, before, 3, 3)
        add(f"{name}.emb_layers.1", 2 * after if scale_shift else after, time)
        add(f"{name}.out_layers.0", after)
        add(f"{name}.out_layers.3", after, after, 3, 3)
        if before != after:
            add(f"{name}.skip_connection", after, before, 1, 1)

    def add_attention(name, channels):
        add(f"{name}.norm", channels)
        add(f"{name}.qkv", 3 * channels, channels, 1)
        add(f"{name}.proj_out", channels, channels, 1)

    add("time_embed.0", time, width)
    add("time_embed.2", time, time)
    if classes:
        w["label_emb.weight"] = torch.randn(classes, time)
    add("input_blocks.0.0", width, in_channels, 3, 3)
    number, channels, kept, halves = 1, width, [width], []
    for level, (multiplier, attend) in enumerate(zip(multipliers, attends, strict=True)):
        for _ in range(blocks):
            add_block(f"input_blocks.{number}.0", channels, width * multiplier)
            channels = width * multiplier
            if attend:
                add_attention(f"input_blocks.{number}.1", channels)
            kept.append(channels)
            number += 1
        if level < len(multipliers) - 1:
            if residual:
                add_block(f"input_blocks.{number}.0", channels, channels)
            else:
                add(f"input_blocks.{number}.0.op", channels, channels, 3, 3)
            halves.append(number)
            kept.append(channels)
            number += 1
    add_block("middle_block.0", channels, channels)
    add_attention("middle_block.1", channels)
    add_block("middle_block.2", channels, channels)
    number = 0
    for level in reversed(range(len(multipliers))):
        for index in range(blocks + 1):
            add_block(f"output_blocks.{number}.0", channels + kept.pop(), width * multipliers[level])
            channels, place = width * multipliers[level], 1
            if attends[level]:
                add_attention(f"output_blocks.{number}.1", channels)
                place = 2
            if level and index == blocks:
                if residual:
                    add_block(f"output_blocks.{number}.{place}", channels, channels)
                else:
                    add(f"output_blocks.{number}.{place}.conv", channels, channels, 3, 3)
            number += 1
    add("out.0", channels)
    add("out.2", out_channels, width, 3, 3)
    return w, halves
