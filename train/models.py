"""Networks to train."""

import math

import torch
from torch import nn

from .cnn import BinaryCnn, ResidualCnn
from .layers import BatchNorm, BinaryLinear, sign
from .parts import PartedNet
from .sparse import SparseNet
from .tabular import TableNet

__all__ = ["BinaryMlp", "build"]

SPARSE = {"lut": SparseNet, "lut-parts": PartedNet, "lut-table": TableNet, "sparse-xnor": SparseNet}


class BinaryMlp(nn.Module):
    """BinaryNet for images: pixels to signs, dense layers with batch norm and sign between them, scores.

    Takes uint8 pixels (N, H, W, C), gives float32 scores (N, classes): the last layer's integer sums times
    ``score_scale / sqrt(n_in)``, or their batch norm. :attr:`hidden` holds the signs of each hidden layer by name after a
    forward pass in eval mode.

    Source: Courbariaux et al., "Binarized Neural Networks", 2016, arXiv:1602.02830; with sizes 64, 256, 1024 it is FINN's
    TFC, SFC and LFC, Umuroglu et al., 2017, arXiv:1612.07119.
    """
    def __init__(self, inputs, recipe, classes, *, generator):
        super().__init__()
        sizes = [inputs, *recipe.hidden, classes]
        self.pixel_level, self.estimator, self.dropout = recipe.pixel_level, recipe.estimator, recipe.dropout
        self.linears = nn.ModuleList(BinaryLinear(n_in, n_out, spread=recipe.weight_spread, generator=generator)
                                     for n_in, n_out in zip(sizes, sizes[1:], strict=False))
        normed = sizes[1:] if recipe.last_batch_norm else sizes[1:-1]
        self.norms = nn.ModuleList(BatchNorm(n) for n in normed)
        self.score_scale = recipe.score_scale / math.sqrt(sizes[-2])
        self.hidden = {}

    evaluation_batch = 5000     # images at a time where no gradient is needed

    @property
    def binary_layers(self):
        """All layers with binary weights, in order."""
        return list(self.linears)

    def binarize(self, pixels):
        """Signs of pixels, float32 (N, inputs): +1 where a pixel is at least the level."""
        return torch.where(pixels >= self.pixel_level, 1.0, -1.0).flatten(1)

    def _sums(self, k, x, generator):
        """Integer sums of layer ``k``; where dropout acts, of the inputs that were kept, scaled up after the sum."""
        if not (self.training and self.dropout and k):
            return self.linears[k](x)
        kept = torch.rand(x.shape, generator=generator) >= self.dropout
        return self.linears[k](x * kept) / (1 - self.dropout)

    def forward(self, pixels, generator=None):
        x = self.binarize(pixels)
        self.hidden = {}
        last = len(self.linears) - 1
        for k in range(last):
            x = sign(self.norms[k](self._sums(k, x, generator)), self.estimator)
            if not self.training:
                self.hidden[f"act{k + 1}"] = x
        s = self._sums(last, x, generator)
        return self.norms[last](s) if len(self.norms) > last else s * self.score_scale

    def after_step(self):
        """To be called after every step of the optimizer."""
        for linear in self.linears:
            linear.clip()


def build(recipe, split):
    """The recipe's network for a data set's images, initialised from the recipe's seed."""
    generator = torch.Generator().manual_seed(recipe.seed)
    shape, classes = split.images.shape[1:], len(split.classes)
    if recipe.kind == "mlp":
        return BinaryMlp(math.prod(shape), recipe, classes, generator=generator)
    if recipe.kind in SPARSE:
        steps = recipe.epochs * math.ceil(len(split.labels) / recipe.batch)
        return SPARSE[recipe.kind](recipe, split.images, classes, steps, generator=generator)
    return {"cnn": BinaryCnn, "residual": ResidualCnn}[recipe.kind](shape, recipe, classes, generator=generator)
