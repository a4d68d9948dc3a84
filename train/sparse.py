"""Sparse networks to train: neurons of a few inputs, each a lookup table, whose wiring is learned too.

The forward pass is always that of the hardware: bits in, the sign of a table's entry out. Only the gradients are those of a
relaxation. Inside, bits are 0 and 1, (elements, images), so that an input of a neuron is a row.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn

from .layers import sign
from .recipe import RecipeError

__all__ = ["LutLayer", "SparseNet", "XnorLayer", "slopes"]

SEEN = 0.0005       # a bit of the input is used if it is 1 in more than this share of the training images
NEWBORN = 0.01      # size of the weight of a connection that has just grown


def slopes(fan_in, softness):
    """Matrix (2**k, k * 2**k) that takes a table to its derivatives: by input j, at index t, in column ``j * 2**k + t``.

    They are the differences between the multilinear extensions of the table with input j at 1 and at 0, the other inputs at
    ``softness`` for 0 and ``1 - softness`` for 1; a table's entries are -1 to +1, a neuron's output is counted as 0 to 1. With
    softness 0 they are finite differences (Bacellar et al., 2024, arXiv:2410.11112, whose EFD is a softness of 1/4).
    """
    near = torch.tensor([[1 - softness, softness], [softness, 1 - softness]], dtype=torch.float64)
    step = torch.tensor([[-0.5, -0.5], [0.5, 0.5]], dtype=torch.float64)
    found = []
    for j in range(fan_in):
        product = torch.ones(1, 1, dtype=torch.float64)
        for bit in reversed(range(fan_in)):     # the last input is an index's highest bit
            product = torch.kron(product, step if bit == j else near)
        found.append(product)
    return torch.cat(found, 1).float()


class _Lookup(torch.autograd.Function):
    """Bits (n, B) through neurons with ``table`` (N, 2**k) and ``wires`` (N, k): bits (N, B).

    Gradients: a table's entry gets those of the outputs that it gave (straight through its sign); inputs by ``matrix`` of
    :func:`slopes`; ``wiring`` (N, k, n), where there is one, what each input would get by each bit of the layer's input,
    taken as -1 and +1, had it been connected there.
    """
    @staticmethod
    def forward(ctx, x, table, wiring, wires, matrix):
        bits = x.to(torch.uint8)
        taken = bits.index_select(0, wires.flatten()).view(*wires.shape, -1)
        place = taken[:, 0].clone()
        for j in range(1, wires.shape[1]):
            place |= taken[:, j] << j
        place = place.long()
        ctx.save_for_backward(bits, table, wires, place, matrix)
        return (table >= 0).float().gather(1, place)

    @staticmethod
    def backward(ctx, gradient):
        bits, table, wires, place, matrix = ctx.saved_tensors
        of_table = torch.zeros_like(table).scatter_add_(1, place, gradient)
        of_x = of_wiring = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
            slope = (table @ matrix).view(*wires.shape, -1)
            of_inputs = slope.gather(2, place[:, None].expand(*wires.shape, -1)).mul_(gradient[:, None]).flatten(0, 1)
            if ctx.needs_input_grad[0]:
                of_x = torch.zeros(bits.shape).index_add_(0, wires.flatten(), of_inputs)
            if ctx.needs_input_grad[2]:
                of_wiring = _product(of_inputs, bits).view(*wires.shape, -1)
        return of_x, of_table, of_wiring, None, None


def _product(gradient, bits):
    """``gradient`` (rows, B) times signs of ``bits`` (n, B), in bfloat16: it serves a choice, so that digits matter little."""
    return (gradient.bfloat16() @ (bits.bfloat16() * 2 - 1).T).float()


def _spread(n_in, size, generator):
    """``size`` indices below ``n_in`` in random order, each as often as any other, but for one."""
    rounds = [torch.randperm(n_in, generator=generator) for _ in range(-(-size // n_in))]
    return torch.cat(rounds)[:size]


class _Layer(nn.Module):
    """What both kinds share: ``wires`` (n_out, fan_in), at first spread evenly at random."""
    def __init__(self, n_in, n_out, recipe, learned, generator):
        super().__init__()
        self.learned, self.every = learned, recipe.wiring_every
        self.register_buffer("wires", _spread(n_in, n_out * recipe.fan_in, generator).view(n_out, recipe.fan_in))
        self.register_buffer("matrix", slopes(recipe.fan_in, recipe.softness), persistent=False)

    def table(self):
        """What an output is the sign of, float32 (n_out, 2**fan_in), -1 to 1."""
        raise NotImplementedError  # pragma: no cover - either kind has its own

    def signs(self):
        """The tables as the hardware has them: float32 (n_out, 2**fan_in), -1 and +1."""
        return torch.where(self.table() >= 0, 1.0, -1.0)


class LutLayer(_Layer):
    """Neurons that are free tables.

    Parameters
    ----------
    n_in, n_out : int
    recipe : LutRecipe
    learned : bool
        Whether its wiring is learned: every input of a neuron has a score for each bit of the layer's input, and takes that
        of the greatest score, but none twice. Else it stays as it is at first.
    generator : torch.Generator
    """
    def __init__(self, n_in, n_out, recipe, learned, *, generator):
        super().__init__(n_in, n_out, recipe, learned, generator)
        self.weight = nn.Parameter((torch.rand(n_out, 2**recipe.fan_in, generator=generator) * 2 - 1) * recipe.weight_spread)
        if learned:
            self.wiring = nn.Parameter(torch.rand(n_out, recipe.fan_in, n_in, generator=generator))
            self.rewire()

    def table(self):
        return self.weight

    def forward(self, x, step):
        """``step`` is that of the training where wiring is to be learned, else None."""
        now = self.learned and step is not None and step % self.every == 0
        return _Lookup.apply(x, self.weight, self.wiring if now else None, self.wires, self.matrix)

    @torch.no_grad()
    def rewire(self):
        """Give each input the bit of its greatest score that no earlier input of its neuron has."""
        wires = self.wiring.argmax(2)
        ordered = wires.sort(1).values
        clash = torch.nonzero((ordered[:, 1:] == ordered[:, :-1]).any(1)).flatten()
        for j in range(1, wires.shape[1]):
            scores = self.wiring[clash, j].scatter_(1, wires[clash, :j], -math.inf)
            wires[clash, j] = scores.argmax(1)
        self.wires.copy_(wires)

    @torch.no_grad()
    def after_step(self, step, done):
        self.weight.clamp_(-1, 1)
        if self.learned and step is not None and step % self.every == 0:
            self.rewire()


class XnorLayer(_Layer):
    """Neurons that add up ``fan_in`` signs times weights -1 and +1, and a bias: those of a binarized network, but sparse.

    A table has room for them, and for more than them; they are here to compare with. Where wiring is learned, the connections
    with the smallest latent weights are pruned now and then, and others grow where the gradient is greatest: Evci et al.,
    "Rigging the Lottery", 2020, arXiv:1911.11134.

    Parameters
    ----------
    n_in, n_out, recipe, learned, generator
        As of :class:`LutLayer`.
    """
    def __init__(self, n_in, n_out, recipe, learned, *, generator):
        super().__init__(n_in, n_out, recipe, learned, generator)
        self.regrow_every, self.regrow_share = recipe.regrow_every, recipe.regrow_share
        self.weight = nn.Parameter((torch.rand(n_out, recipe.fan_in, generator=generator) * 2 - 1) * recipe.weight_spread)
        self.bias = nn.Parameter(torch.zeros(n_out, 1))
        places = torch.arange(2**recipe.fan_in)
        self.register_buffer("corners", (places >> torch.arange(recipe.fan_in)[:, None] & 1) * 2.0 - 1, persistent=False)
        if learned:
            self.register_buffer("wanted", torch.zeros(n_out, n_in))    # sum of gradients since the last pruning

    def table(self):
        return ((sign(self.weight, "identity") @ self.corners + self.bias) / math.sqrt(len(self.corners))).clamp(-1, 1)

    def forward(self, x, step):
        """``step`` is that of the training where wiring is to be learned, else None."""
        y = _Lookup.apply(x, self.table(), None, self.wires, self.matrix)
        if self.learned and step is not None and step % self.every == 0:
            def want(gradient):
                self.wanted += _product(gradient, x)
            y.register_hook(want)
        return y

    @torch.no_grad()
    def after_step(self, step, done):
        self.weight.clamp_(-1, 1)
        if self.learned and step is not None and (step + 1) % self.regrow_every == 0:
            self.regrow(self.regrow_share * (1 + math.cos(math.pi * done)) / 2)
            self.wanted.zero_()

    def regrow(self, share):
        """Prune ``share`` of the connections, let as many grow at the same neurons."""
        size = self.weight.abs()
        weakest = size <= size.flatten().kthvalue(max(1, int(share * size.numel()))).values
        for j in range(size.shape[1]):
            rows = torch.nonzero(weakest[:, j]).flatten()
            wanted = self.wanted[rows].scatter(1, self.wires[rows], 0.0)
            best = wanted.abs().argmax(1)
            self.wires[rows, j] = best
            self.weight[rows, j] = -wanted.gather(1, best[:, None]).flatten().sign() * NEWBORN


class SparseNet(nn.Module):
    """Pixels to bits, layers of neurons with a few inputs each, votes for each class.

    Takes uint8 pixels (N, H, W, C), gives float32 scores (N, classes): how many of a class's neurons are 1, times
    ``score_scale / sqrt(neurons of the last layer)``. The wiring of the first layer is learned, that of the others is spread
    evenly at random: learned too, they fall upon few neurons of the layer in front. :attr:`hidden` holds the signs of each
    layer, (N, neurons), by name after a forward pass in eval mode.

    Parameters
    ----------
    recipe : LutRecipe or XnorRecipe
    images : uint8 array (N, H, W, C)
        The training images: bits that are nearly always 0 are left out.
    classes : int
    steps : int
        Of the whole training.
    generator : torch.Generator
    """
    evaluation_batch = 2000     # images at a time where no gradient is needed

    def __init__(self, recipe, images, classes, steps, *, generator):
        super().__init__()
        self.levels, self.steps, self.until = self.encoder(recipe, images), steps, recipe.wiring_until
        self.classes, self.score_scale = classes, recipe.score_scale / math.sqrt(recipe.layers[-1])
        if recipe.layers[-1] % classes:
            raise RecipeError(f"key 'layers': the last must be a multiple of the number of classes, {classes}, not "
                              f"{recipe.layers[-1]}")
        pixels = images.reshape(len(images), -1)
        seen = np.stack([(pixels >= level).mean(axis=0) > SEEN for level in self.levels.T], axis=1)
        self.register_buffer("used", torch.from_numpy(np.flatnonzero(seen)))    # indices of the encoder's bits
        least = np.broadcast_to(self.levels, seen.shape)[seen][:, None]
        self.register_buffer("least", torch.from_numpy(least), persistent=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        sizes = [len(self.used), *recipe.layers]
        if min(sizes[:-1]) < recipe.fan_in:
            raise RecipeError(f"key 'fan_in': there are layers of {min(sizes[:-1])} bits, which cannot feed neurons of "
                              f"{recipe.fan_in} inputs")
        kind = XnorLayer if recipe.kind == "sparse-xnor" else LutLayer
        self.layers = nn.ModuleList(kind(n_in, n_out, recipe, k == 0, generator=generator)
                                    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes)))
        self.hidden = {}

    @staticmethod
    def encoder(recipe, images):
        """The levels of all elements, int64 (L,), or of each its own, (n, L); ``images`` are those of the training."""
        return np.array(recipe.pixel_levels)

    @property
    def binary_layers(self):
        """All layers, in order: their tables are what is binary."""
        return list(self.layers)

    def _now(self):
        """The step, where wiring is to be learned, else None."""
        step = int(self.step)
        return step if self.training and step < self.until * self.steps else None

    def bits(self, pixels):
        """The encoder's bits that are used, uint8 (bits, N)."""
        return (pixels.flatten(1).T[self.used // self.levels.shape[-1]] >= self.least).to(torch.uint8)

    def forward(self, pixels, generator=None):
        x, self.hidden = self.bits(pixels), {}
        for k, layer in enumerate(self.layers, 1):
            x = layer(x, self._now())
            if not self.training:
                self.hidden[f"lut{k}"] = x.T * 2 - 1
        return x.view(self.classes, -1, x.shape[1]).sum(1).T * self.score_scale

    def after_step(self):
        """To be called after every step of the optimizer."""
        for layer in self.layers:
            layer.after_step(self._now(), int(self.step) / self.steps)
        self.step += 1
