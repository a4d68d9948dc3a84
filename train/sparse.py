"""Sparse networks to train: neurons of a few inputs, each a lookup table, whose wiring is learned too.

The forward pass is always that of the hardware: bits in, the sign of a table's entry out. Only the gradients are those of a
relaxation. Inside, bits are 0 and 1, (elements, images), so that an input of a neuron is a row.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn

from .estimators import Identity, sign
from .recipe import RecipeError

__all__ = ["LutLayer", "SparseNet", "XnorLayer", "slopes", "spread"]

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
    :func:`slopes`. ``told``, where it is not None, is called with the gradients of the neurons' inputs, (N k, B), too.
    """
    @staticmethod
    def forward(ctx, x, table, wires, matrix, told):
        bits = x.to(torch.uint8)
        taken = bits.index_select(0, wires.flatten()).view(*wires.shape, -1)
        place = taken[:, 0].clone()
        for j in range(1, wires.shape[1]):
            place |= taken[:, j] << j
        place = place.long()
        ctx.save_for_backward(bits, table, wires, place, matrix)
        ctx.told = told
        return (table >= 0).float().gather(1, place)

    @staticmethod
    def backward(ctx, gradient):
        bits, table, wires, place, matrix = ctx.saved_tensors
        of_table = torch.zeros_like(table).scatter_add_(1, place, gradient)
        of_x = None
        if ctx.needs_input_grad[0] or ctx.told:
            slope = (table @ matrix).view(*wires.shape, -1)
            of_inputs = slope.gather(2, place[:, None].expand(*wires.shape, -1)).mul_(gradient[:, None]).flatten(0, 1)
            if ctx.needs_input_grad[0]:
                of_x = torch.zeros(bits.shape).index_add_(0, wires.flatten(), of_inputs)
            if ctx.told:
                ctx.told(of_inputs)
        return of_x, of_table, None, None, None


class _Products:
    """Sums over images of gradient times bit, the bit taken as -1 or +1: what connections would bring that are not there.

    Images are gathered over several steps, and multiplied in one go, in bfloat16: the sums serve a choice, so that digits
    matter little. Results lie in the same place of memory each time: to ask the system for as much would take longer.
    """
    def __init__(self):
        self.gradients, self.bits, self.sums = [], [], None

    def add(self, gradient, bits):
        """``gradient`` (rows, B), ``bits`` (n, B) as 0 and 1."""
        self.gradients.append(gradient.bfloat16())
        self.bits.append(bits.T.bfloat16() * 2 - 1)

    def take(self):
        """The sums since the last call, float32 (rows, n), good until the next call."""
        gradient, bits = torch.cat(self.gradients, 1), torch.cat(self.bits)
        if self.sums is None:
            self.small = torch.empty(len(gradient), bits.shape[1], dtype=torch.bfloat16)
            self.sums = torch.empty(self.small.shape)
        torch.mm(gradient, bits, out=self.small)
        self.gradients, self.bits = [], []
        return self.sums.copy_(self.small)


def spread(n_in, size, generator):
    """``size`` indices below ``n_in`` in random order, each as often as any other, but for one."""
    rounds = [torch.randperm(n_in, generator=generator) for _ in range(-(-size // n_in))]
    return torch.cat(rounds)[:size]


class _Layer(nn.Module):
    """What both kinds share: ``wires`` (n_out, fan_in), at first spread evenly at random."""
    def __init__(self, n_in, n_out, recipe, learned, generator):
        super().__init__()
        self.learned, self.products = learned, _Products()
        self.register_buffer("wires", spread(n_in, n_out * recipe.fan_in, generator).view(n_out, recipe.fan_in))
        self.register_buffer("matrix", slopes(recipe.fan_in, recipe.softness), persistent=False)

    def forward(self, x, due=None):
        """Bits (n_in, B) to bits (n_out, B). ``due`` is None where wiring is not learned, else whether it takes a step now."""
        raise NotImplementedError  # pragma: no cover - either kind has its own

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

    def forward(self, x, due=None):
        def told(of_inputs):
            self.products.add(of_inputs, x)
            if due:
                self.wiring.grad = self.products.take().view_as(self.wiring)

        return _Lookup.apply(x, self.weight, self.wires, self.matrix, told if self.learned and due is not None else None)

    @torch.no_grad()
    def rewire(self):
        """Give each input the bit of its greatest score that no earlier input of its neuron has."""
        wires = self.wiring.argmax(2)
        for j in range(1, wires.shape[1]):
            clash = torch.nonzero((wires[:, :j] == wires[:, j:j + 1]).any(1)).flatten()
            scores = self.wiring[clash, j].scatter_(1, wires[clash, :j], -math.inf)
            wires[clash, j] = scores.argmax(1)
        self.wires.copy_(wires)

    @torch.no_grad()
    def restrict(self, allowed):
        """Let neurons take bits from now on only where ``allowed``, bool (n_out, n_in) or (n_in,), is true."""
        self.wiring.masked_fill_(~allowed.expand(len(self.wiring), -1)[:, None], -math.inf)
        self.rewire()

    @torch.no_grad()
    def after_step(self, due, step, done):
        self.weight.clamp_(-1, 1)
        if self.learned and due:
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
        return ((sign(self.weight, Identity()) @ self.corners + self.bias) / math.sqrt(len(self.corners))).clamp(-1, 1)

    def forward(self, x, due=None):
        def told(gradient):
            self.products.add(gradient, x)
            if due:
                self.wanted += self.products.take()

        y = _Lookup.apply(x, self.table(), self.wires, self.matrix, None)
        if self.learned and due is not None:
            y.register_hook(told)
        return y

    @torch.no_grad()
    def after_step(self, due, step, done):
        self.weight.clamp_(-1, 1)
        if self.learned and due is not None and (step + 1) % self.regrow_every == 0:
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
        self.every, self.epoch = recipe.wiring_every, steps // recipe.epochs
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

    def _due(self):
        """Whether wiring takes a step now, None where it is not learned.

        It does at every ``wiring_every``-th step of an epoch and at its last, so that nothing is left over from one epoch to
        the next.
        """
        step = int(self.step)
        if not self.training or step >= self.until * self.steps:
            return None
        place = step % self.epoch + 1
        return place % self.every == 0 or place == self.epoch

    def bits(self, pixels):
        """The encoder's bits that are used, uint8 (bits, N)."""
        return (pixels.flatten(1).T[self.used // self.levels.shape[-1]] >= self.least).to(torch.uint8)

    def forward(self, pixels, generator=None):
        x, self.hidden = self.bits(pixels), {}
        for k, layer in enumerate(self.layers, 1):
            x = layer(x, self._due())
            if not self.training:
                self.hidden[f"lut{k}"] = x.T * 2 - 1
        return x.view(self.classes, -1, x.shape[1]).sum(1).T * self.score_scale

    def after_step(self):
        """To be called after every step of the optimizer."""
        due, step = self._due(), int(self.step)
        for layer in self.layers:
            layer.after_step(due, step, step / self.steps)
        self.step += 1
