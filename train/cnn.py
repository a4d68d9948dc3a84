"""Convolutional networks to train."""

import math

from torch import nn

from .activations import Levels
from .layers import BatchNorm, BinaryConv2d, BinaryLinear, FixedPointNorm
from .methods import Chosen
from .recipe import Block, RecipeError

__all__ = ["BinaryCnn", "ResidualCnn"]

STEM_BITS, STEM_STEP = 4, 0.25      # of what a residual network's shortcuts begin with: -2, -1.75, ..., 1.75


class _Cnn(nn.Module):
    """What both kinds share: pixels in, dense head, the hidden values of the last forward pass in eval mode.

    Takes uint8 pixels (N, H, W, C), gives float32 scores (N, classes): the last layer's integer sums times
    ``score_scale / sqrt(n_in)``. :attr:`hidden` holds what each named operation gave, (N, H, W, C) or (N, C).
    """
    evaluation_batch = 100      # images at a time where no gradient is needed; more leave the processor's cache

    def __init__(self, recipe, generator):
        super().__init__()
        self.recipe, self.method, self.generator = recipe, Chosen(recipe), generator
        self.hidden = {}

    def _pieces(self, channels, n_out, normed=True):
        """What a layer of ``n_out`` outputs behind ``channels`` (0: pixels) and in front of a batch norm, or not, is made of."""
        return {"weights": self.method.weights(self.recipe),
                "activations": self.method.activation(self.recipe, channels) if channels else None,
                "scale": self.method.scale(n_out, self.generator) if normed else None,
                "spread": self.recipe.weight_spread, "generator": self.generator}

    def keep(self, name, x, one=1.0):
        """Note ``x``, times ``one``, as what operation ``name`` gives."""
        if not self.training:
            self.hidden[name] = (x.permute(0, 2, 3, 1) if x.ndim == 4 else x) * one
        return x

    def after_step(self):
        """To be called after every step of the optimizer."""
        for layer in self.binary_layers:
            layer.after_step()

    @property
    def binary_layers(self):
        """All layers with binary weights, in order."""
        return [module for module in self.modules() if isinstance(module, (BinaryConv2d, BinaryLinear))]


def _map_sizes(recipe, blocks, shape):
    """(rows, columns) behind the last of ``blocks``. Raises :exc:`RecipeError` where images become smaller than a kernel."""
    sizes = shape[:2]
    for k, block in enumerate(blocks, 1):
        sizes = tuple((size + 2 * block.padding - block.kernel + 1) // (2 if block.pool else 1) for size in sizes)
        if min(sizes) < 1:
            raise RecipeError(f"recipe {recipe.name!r}: block {k}: images of {shape[0]}x{shape[1]} are too small for it")
    return sizes


def _first(pixels):
    """Maps (N, C, H, W) of pixels 0 to 255."""
    return pixels.permute(0, 3, 1, 2).float()


def _flat(x):
    """Vectors in the order of rows, columns, channels."""
    return x.permute(0, 2, 3, 1).flatten(1)


class BinaryCnn(_Cnn):
    """BinaryNet with convolutions: blocks of convolution, max-pool of 2x2 if wanted, batch norm and sign; then dense layers.

    The first convolution takes 8-bit pixels and gives integer sums, as in FINN's CNV: Umuroglu et al., 2017, arXiv:1612.07119.
    """
    def __init__(self, shape, recipe, classes, *, generator):
        super().__init__(recipe, generator)
        channels = shape[2]
        self.pools, self.dropout = [block.pool for block in recipe.blocks], recipe.dropout
        self.convs, self.norms, self.linears = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for block in recipe.blocks:
            pieces = self._pieces(channels if self.convs else 0, block.channels)
            self.convs.append(BinaryConv2d(channels, block.channels, block.kernel, block.padding, **pieces))
            channels = block.channels
            self.norms.append(BatchNorm(channels))
        sizes = [math.prod(_map_sizes(recipe, recipe.blocks, shape)) * channels, *recipe.hidden, classes]
        for k, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            pieces = self._pieces(n_in if k else channels, n_out, normed=k < len(recipe.hidden))
            self.linears.append(BinaryLinear(n_in, n_out, **pieces))
        self.norms.extend(BatchNorm(n) for n in recipe.hidden)
        self.score_scale = recipe.score_scale / math.sqrt(sizes[-2]) * self.linears[-1].activations.unit

    def forward(self, pixels, generator=None):
        x = _first(pixels)
        self.hidden = {}
        behind = [*self.convs[1:], *self.linears]       # each binarizes what the layer in front of it gives
        for k, (conv, pool) in enumerate(zip(self.convs, self.pools, strict=True)):
            s = conv.sums(x, generator)
            s = nn.functional.max_pool2d(s, 2) if pool else s       # of the sums: a negative scale would make it a minimum
            x = self.keep(f"act{k + 1}", behind[k].binarize(self.norms[k](conv.scaled(s)), generator))
        x = _flat(x)
        for k, linear in enumerate(self.linears[:-1], len(self.convs)):
            s = linear.dropped_sums(x, self.dropout, generator)
            x = self.keep(f"act{k + 1}", behind[k].binarize(self.norms[k](linear.scaled(s)), generator))
        return self.linears[-1].dropped_sums(x, self.dropout, generator) * self.score_scale


class ResidualCnn(_Cnn):
    """Blocks of sign, convolution and batch norm with a shortcut round each, in fixed point; then a dense layer.

    ``x = norm(conv(sign(x))) + x``: the shortcut carries more than signs from block to block. The first convolution takes 8-bit
    pixels, and its batch norm gives 4-bit values, since its sums are far larger than those of signs. Max-pools of 2x2 stand
    between blocks. Without ``shortcuts`` it is the plain network to compare with.

    Source: Liu et al., "Bi-Real Net", 2018, arXiv:1808.00278.
    """
    def __init__(self, shape, recipe, classes, *, generator):
        super().__init__(recipe, generator)
        channels = shape[2]
        self.pools, self.shortcuts, self.one = recipe.pools, recipe.shortcuts, 2.0**recipe.fraction_bits
        if self.method.scale(1, generator) is not None or self.method.activation(recipe, 1).step != 2:
            raise RecipeError("key 'methods': a residual network takes none with scales, a teacher or activations of several "
                              "bits")

        def conv(n_in, padding):
            pieces = self._pieces(recipe.width if padding else 0, recipe.width)
            return BinaryConv2d(n_in, recipe.width, 3, padding, **pieces)
        self.convs = nn.ModuleList([conv(channels, 0), *(conv(recipe.width, 1) for _ in recipe.pools)])
        self.stem, self.stem_levels = BatchNorm(recipe.width), Levels(-2**(STEM_BITS - 1), 2**STEM_BITS, STEM_STEP)
        self.norms = nn.ModuleList(FixedPointNorm(recipe.width, recipe.fraction_bits) for _ in recipe.pools)
        blocks = [Block(channels=recipe.width, kernel=3, padding=int(k > 0), pool=pool)
                  for k, pool in enumerate([False, *recipe.pools])]
        n_in = recipe.width * math.prod(_map_sizes(recipe, blocks, shape))
        self.linear = BinaryLinear(n_in, classes, **self._pieces(recipe.width, classes, normed=False))
        self.score_scale = recipe.score_scale / math.sqrt(n_in)

    def forward(self, pixels, generator=None):
        self.hidden = {}
        x = self.stem_levels(self.stem(self.convs[0].sums(_first(pixels), generator))) * STEM_STEP
        self.keep("act0", x, self.one)
        for k, (conv, norm, pool) in enumerate(zip(self.convs[1:], self.norms, self.pools, strict=True), 1):
            if pool:
                x = self.keep(f"pool{k}", nn.functional.max_pool2d(x, 2), self.one)
            signs = self.keep(f"act{k}", conv.binarize(x, generator))
            y = self.keep(f"norm{k}", norm(conv.sums(signs, generator)), self.one)
            x = self.keep(f"sum{k}", x + y, self.one) if self.shortcuts else y
        x = self.keep(f"act{len(self.convs)}", self.linear.binarize(x, generator))
        return self.linear.sums(_flat(x), generator) * self.score_scale
