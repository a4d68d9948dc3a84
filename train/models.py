"""Networks to train."""

import math

import torch
from torch import nn

from .layers import BatchNorm, BinaryLinear, sign

__all__ = ["BinaryMlp", "build"]


class BinaryMlp(nn.Module):
    """BinaryNet for images: pixels to signs, dense layers with batch norm and sign between them, scores.

    Takes uint8 pixels (N, H, W, C), gives float32 scores (N, classes): the last layer's integer sums over sqrt(n_in), or
    their batch norm. :attr:`hidden` holds the signs of each hidden layer after a forward pass in eval mode.

    Source: Courbariaux et al., "Binarized Neural Networks", 2016, arXiv:1602.02830; with sizes 64, 256, 1024 it is FINN's
    TFC, SFC and LFC, Umuroglu et al., 2017, arXiv:1612.07119.
    """
    def __init__(self, inputs, recipe, classes, *, generator):
        super().__init__()
        sizes = [inputs, *recipe.hidden, classes]
        self.pixel_level, self.estimator, self.dropout = recipe.pixel_level, recipe.estimator, recipe.dropout
        self.linears = nn.ModuleList(BinaryLinear(a, b, generator=generator) for a, b in zip(sizes, sizes[1:], strict=False))
        normed = sizes[1:] if recipe.last_batch_norm else sizes[1:-1]
        self.norms = nn.ModuleList(BatchNorm(n) for n in normed)
        self.hidden = []

    def binarize(self, pixels):
        """Signs of pixels, float32 (N, inputs): +1 where a pixel is at least the level."""
        return torch.where(pixels >= self.pixel_level, 1.0, -1.0).flatten(1)


    def forward(self, pixels, generator=None):
        x = self.binarize(pixels)
        self.hidden = []
        for k, linear in enumerate(self.linears[:-1]):
            x = sign(self.norms[k](linear(x)), self.estimator)
            if self.training and self.dropout:
                keep = torch.rand(x.shape, generator=generator) >= self.dropout
                x = x * keep / (1 - self.dropout)
            elif not self.training:
                self.hidden.append(x)
        last = self.linears[-1]
        s = last(x)
        return self.norms[-1](s) if len(self.norms) == len(self.linears) else s / math.sqrt(last.weight.shape[1])

    def after_step(self):
        for linear in self.linears:
            linear.clip()


def build(recipe, split):
    """The recipe's network for a data set's images, initialised from the recipe's seed."""
    generator = torch.Generator().manual_seed(recipe.seed)
    inputs = math.prod(split.images.shape[1:])
    return BinaryMlp(inputs, recipe, len(split.classes), generator=generator)
