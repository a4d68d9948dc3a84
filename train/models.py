"""Networks to train."""

import math

import torch
from torch import nn

from .cnn import BinaryCnn, ResidualCnn
from .layers import BatchNorm, BinaryLinear
from .methods import Chosen
from .parts import PartedNet
from .sparse import SparseNet
from .tabular import TableNet, column_levels, pixel_levels

__all__ = ["BinaryMlp", "DenseNet", "LevelMlp", "build"]

SPARSE = {"lut": SparseNet, "lut-parts": PartedNet, "lut-table": TableNet, "sparse-xnor": SparseNet}


class DenseNet(nn.Module):
    """Inputs to signs, dense layers with batch norm and sign between them, scores.

    Takes integers (N, ...), gives float32 scores (N, classes): the last layer's integer sums times
    ``score_scale / sqrt(n_in)``, or their batch norm. :attr:`hidden` holds the signs of each hidden layer by name after a
    forward pass in eval mode.
    """
    def __init__(self, inputs, recipe, classes, *, generator):
        super().__init__()
        sizes = [inputs, *recipe.hidden, classes]
        self.dropouts = [recipe.input_dropout, *[recipe.dropout] * len(recipe.hidden)]
        normed, method = sizes[1:] if recipe.last_batch_norm else sizes[1:-1], Chosen(recipe)
        self.linears = nn.ModuleList(
            BinaryLinear(n_in, n_out, weights=method.weights(recipe), activations=method.activation(recipe, n_in) if k else None,
                         scale=method.scale(n_out, generator) if k < len(normed) else None, spread=recipe.weight_spread,
                         generator=generator)
            for k, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)))
        self.norms = nn.ModuleList(BatchNorm(n) for n in normed)
        self.score_scale = recipe.score_scale / math.sqrt(sizes[-2]) * self.linears[-1].activations.unit
        self.hidden = {}

    evaluation_batch = 5000     # images at a time where no gradient is needed

    @property
    def binary_layers(self):
        """All layers with binary weights, in order."""
        return list(self.linears)

    def binarize(self, x):
        """Signs of integers, float32 (N, inputs)."""
        raise NotImplementedError  # pragma: no cover - either kind has its own

    def forward(self, pixels, generator=None):
        x = self.binarize(pixels)
        self.hidden = {}
        last = len(self.linears) - 1
        for k, linear in enumerate(self.linears):
            x = linear.binarize(x, generator)
            if k and not self.training:
                self.hidden[f"act{k}"] = x
            s = linear.dropped_sums(x, self.dropouts[k], generator)
            x = self.norms[k](linear.scaled(s)) if k < len(self.norms) else s
        return x if len(self.norms) > last else x * self.score_scale

    def after_step(self):
        """To be called after every step of the optimizer."""
        for linear in self.linears:
            linear.after_step()


class BinaryMlp(DenseNet):
    """BinaryNet for images: uint8 pixels (N, H, W, C) become signs at one level, the same for all.

    Source: Courbariaux et al., "Binarized Neural Networks", 2016, arXiv:1602.02830; with sizes 64, 256, 1024 it is FINN's
    TFC, SFC and LFC, Umuroglu et al., 2017, arXiv:1612.07119.
    """
    def __init__(self, inputs, recipe, classes, *, generator):
        super().__init__(inputs, recipe, classes, generator=generator)
        self.pixel_level = recipe.pixel_level

    def binarize(self, x):
        """+1 where a pixel is at least the level."""
        return torch.where(x >= self.pixel_level, 1.0, -1.0).flatten(1)


class LevelMlp(DenseNet):
    """The same for pixels and for tables, with levels of their own for each element, learned from the training part.

    ``levels``, int64 (elements, L): of a table :func:`~bnnhw.train.tabular.column_levels`, of images
    :func:`~bnnhw.train.tabular.pixel_levels`.
    """
    def __init__(self, split, recipe, *, generator):
        learned = column_levels if split.images.ndim == 2 else pixel_levels
        levels = learned(split.images.reshape(len(split.images), -1), recipe.levels, split.greatest + 1)
        super().__init__(levels.size, recipe, len(split.classes), generator=generator)
        self.levels, self.greatest = levels, split.greatest
        self.register_buffer("least", torch.from_numpy(levels), persistent=False)

    def binarize(self, x):
        """+1 for each level that an element reaches, those of an element side by side."""
        return torch.where(x.flatten(1)[:, :, None] >= self.least, 1.0, -1.0).flatten(1)


def build(recipe, split):
    """The recipe's network for a data set's images, initialised from the recipe's seed."""
    generator = torch.Generator().manual_seed(recipe.seed)
    shape, classes = split.images.shape[1:], len(split.classes)
    if recipe.kind == "mlp":
        return BinaryMlp(math.prod(shape), recipe, classes, generator=generator)
    if recipe.kind == "level-mlp":
        return LevelMlp(split, recipe, generator=generator)
    if recipe.kind in SPARSE:
        steps = recipe.epochs * math.ceil(len(split.labels) / recipe.batch)
        return SPARSE[recipe.kind](recipe, split.images, classes, steps, generator=generator)
    return {"cnn": BinaryCnn, "residual": ResidualCnn}[recipe.kind](shape, recipe, classes, generator=generator)
