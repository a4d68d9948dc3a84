"""Weight binarizers: what a layer's latent weights are in the forward pass, and the scales that come after its sums.

A latent weight is a float that learns; the hardware has its sign. Tensors are (n_out, n_in) or (n_out, n_in, kernel, kernel);
"per kernel" means over all dimensions but the first.
"""

import math

import torch
from torch import nn

from .estimators import Ede, Identity, Piece, sign, stochastic_sign

__all__ = ["Centred", "ClippedSigns", "LearnedScale", "MeanMagnitude", "PowerOfTwo", "Projected", "ProjectionScale",
           "Rectified", "Relaxed", "Real", "Signs", "StochasticSigns", "kernels"]

TINY = 1e-5     # added to a variance


def kernels(values, like):
    """A value for each kernel, (n_out,), in a shape that goes with ``like``."""
    return values.view(-1, *[1] * (like.ndim - 1))


class Signs(Piece):
    """sign(w); gradients pass by ``estimator``.

    Parameters
    ----------
    estimator : Estimator
    """
    exact = True        # whether the forward pass is the signs, now; where not always, ``until`` says when

    def __init__(self, estimator):
        super().__init__()
        self.estimator = estimator

    def fresh(self, shape, spread, generator):
        """Latent weights to begin with: evenly spread over [-spread, spread]."""
        return (torch.rand(shape, generator=generator) * 2 - 1) * spread

    def forward(self, weight, generator=None):
        """What the sums are taken with, float32 tensor of the layer's shape."""
        return sign(weight, self.estimator)

    def signs(self, weight):
        """What the hardware will have: -1 and +1."""
        return self(weight)

    def after_step(self, weight):
        """Called after every step of the optimizer."""

    def penalty(self, weight):
        """What the loss grows by."""
        return 0.0


class ClippedSigns(Signs):
    """sign(w), w kept in [-1, 1], where hardtanh's derivative is 1: so gradients pass unchanged.

    Courbariaux et al., "BinaryConnect", 2015, arXiv:1511.00363.
    """
    def __init__(self):
        super().__init__(Identity())

    @torch.no_grad()
    def after_step(self, weight):
        weight.clamp_(-1, 1)


class StochasticSigns(ClippedSigns):
    """In training +1 with probability (w + 1) / 2, drawn anew for every step; else sign(w). Gradients pass unchanged.

    Courbariaux et al., "BinaryConnect", 2015, arXiv:1511.00363.
    """
    def forward(self, weight, generator=None):
        if not self.training:
            return self.signs(weight)
        return stochastic_sign(weight, self.estimator, torch.rand(weight.shape, generator=generator).to(weight.device))

    def signs(self, weight):
        return sign(weight, self.estimator)


class Centred(Signs):
    """sign(v) with v = (w - mean) / std per kernel; gradients pass sign by EDE, and v by its own derivative.

    Half of the signs, about, are +1 (most information in a bit). Qin et al., "IR-Net", 2020, arXiv:1909.10788.
    """
    def __init__(self):
        super().__init__(Ede())

    @staticmethod
    def standard(weight):
        """v, of mean 0 and variance 1 per kernel."""
        flat = weight.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        return (centred / torch.sqrt(centred.square().mean(1, keepdim=True) + TINY)).view_as(weight)

    def forward(self, weight, generator=None):
        return sign(self.standard(weight), self.estimator)


class Rectified(Signs):
    """sign(max(-q, min(q, v))) with v = 2 sqrt(2) (w - mean) / std per kernel, q = -mean(abs(v)) ln(2 - 2 tau).

    ``q`` is the tau quantile if v is Laplacian: weights far out, which would hardly ever change their sign again, lie at q, and
    get no gradient there. tau grows from 0.85 to 0.99, tau = 0.85 + 0.14 (e^(epoch / epochs) - 1) / (e - 1). Gradients pass sign
    unchanged. Xu et al., "ReCU", 2021, arXiv:2103.12369.
    """
    LEAST, MOST = 0.85, 0.99

    def __init__(self):
        super().__init__(Identity())
        self.on_epoch(0, 1)

    def on_epoch(self, epoch, epochs):
        self.tau = self.LEAST + (self.MOST - self.LEAST) * (math.exp(epoch / epochs) - 1) / (math.e - 1)

    def forward(self, weight, generator=None):
        v = Centred.standard(weight) * (2 * math.sqrt(2))
        q = -float(v.detach().abs().mean()) * math.log(2 - 2 * self.tau)
        return sign(v.clamp(-q, q), self.estimator)


class Projected(Signs):
    """sign(p_j c) for each of J projections p_j, which all kernels c share: n_out kernels come from n_out / J latent ones.

    A projection has a value for each place of a kernel, the same for all its input channels (of a dense layer: for each input).
    Gradients: of v = p_j c by hardtanh, of p_j and c by the product. The projection loss pulls v towards its sign:
    ``strength / 2 * mean((sign(v) - v)^2)``. What is exported is the projected kernel, n_out of one bit.

    Gu et al., "PCNN", 2018, arXiv:1811.12755. Their loss looks a step eta of the gradient ahead, at p_j (c + eta g); that is left
    out (eta = 0): it would multiply the gradient of c by 1 + strength * eta * p_j / (number of weights), next to nothing.

    Parameters
    ----------
    count : int
        J; must divide n_out (else one projection is used, as for a last layer of 10 classes).
    strength : float
    estimator : Estimator
    """
    def __init__(self, count, strength, estimator):
        super().__init__(estimator)
        self.count, self.strength = count, strength

    def fresh(self, shape, spread, generator):
        count = self.count if shape[0] % self.count == 0 else 1
        places = (1, *shape[1:]) if len(shape) == 2 else (1, 1, *shape[2:])
        self.projections = nn.Parameter(1 + (torch.rand(count, *places, generator=generator) - 0.5))
        return super().fresh((shape[0] // count, *shape[1:]), spread, generator)

    def _projected(self, weight):
        return (self.projections * weight).flatten(0, 1)

    def forward(self, weight, generator=None):
        return sign(self._projected(weight), self.estimator)

    @torch.no_grad()
    def after_step(self, weight):
        weight.clamp_(-1, 1)

    def penalty(self, weight):
        v = self._projected(weight)
        return self.strength / 2 * (torch.where(v >= 0, 1.0, -1.0) - v).square().mean()


class _Through(torch.autograd.Function):
    """``value`` in place of ``weight``; the gradient is divided by ``alpha``."""
    @staticmethod
    def forward(ctx, weight, value, alpha):
        ctx.save_for_backward(alpha)
        return value

    @staticmethod
    def backward(ctx, gradient):
        (alpha,) = ctx.saved_tensors
        return gradient / alpha, None, None


class Relaxed(Signs):
    """(lambda sign(w) + w / a) / (lambda + 1) in phase I, sign(w) in phase II; a, mean(abs(w)) per kernel, comes after the sum.

    So what acts is u = (lambda a sign(w) + w) / (lambda + 1), between w and its projection. lambda = growth^epoch grows in phase
    I, the first ``relaxed_share`` of the epochs. w takes the gradient of u as it is. Yin et al., "BinaryRelax", 2018,
    arXiv:1801.06313.

    Parameters
    ----------
    relaxed_share : float
    growth : float
        Greater than 1.
    """
    def __init__(self, relaxed_share, growth):
        super().__init__(Identity())
        self.relaxed_share, self.growth = relaxed_share, growth
        self.until = f"phase II, which begins when {relaxed_share:.0%} of the epochs are done"
        self.on_epoch(0, 1)

    def on_epoch(self, epoch, epochs):
        self.exact = epoch >= self.relaxed_share * epochs
        self.strength = self.growth**epoch

    def forward(self, weight, generator=None):
        alpha = kernels(weight.detach().flatten(1).abs().mean(1), weight)
        value = self.signs(weight)
        if not self.exact:
            value = (self.strength * value + weight.detach() / alpha) / (self.strength + 1)
        return _Through.apply(weight, value, alpha)

    @torch.no_grad()
    def signs(self, weight):
        return sign(weight, self.estimator)


class Real(Signs):
    """w itself, until ``share`` of the epochs are done; then sign(w), w kept in [-1, 1], gradients unchanged.

    Step 1 and 2 of Liu et al., "How Do Adam and Training Strategies Help BNNs Optimization?", 2021, arXiv:2106.11309. With a
    share above 1 the weights stay what they are: a float network.
    """
    def __init__(self, share):
        super().__init__(Identity())
        self.share, self.until = share, f"step 2, which begins when {share:.0%} of the epochs are done"
        self.on_epoch(0, 1)

    def on_epoch(self, epoch, epochs):
        self.exact = epoch >= self.share * epochs

    def forward(self, weight, generator=None):
        return self.signs(weight) if self.exact else weight

    def signs(self, weight):
        return sign(weight, self.estimator)

    @torch.no_grad()
    def after_step(self, weight):
        if self.exact:
            weight.clamp_(-1, 1)


class MeanMagnitude(nn.Module):
    """alpha = mean(abs(w)) per kernel, the best scale for sign(w) in least squares; it has its gradient, sign(w) / n.

    Rastegari et al., "XNOR-Net", 2016, arXiv:1603.05279.
    """
    def forward(self, weight):
        return weight.flatten(1).abs().mean(1)


class ProjectionScale(MeanMagnitude):
    """The same without a gradient: with sign(w) it is w's projection. Yin et al., "BinaryRelax", 2018, arXiv:1801.06313."""
    @torch.no_grad()
    def forward(self, weight):
        return super().forward(weight)


class PowerOfTwo(nn.Module):
    """alpha = 2^round(log2(mean(abs(v)))) per kernel, v the standardized weights; no gradient. IR-Net, arXiv:1909.10788."""
    @torch.no_grad()
    def forward(self, weight):
        return torch.exp2(torch.round(torch.log2(Centred.standard(weight).flatten(1).abs().mean(1))))


class LearnedScale(nn.Module):
    """alpha per kernel, learned, between 0 and 1 at first; it may become negative. Xu et al., "ReCU", 2021, arXiv:2103.12369.

    Parameters
    ----------
    n_out : int
    generator : torch.Generator
    """
    def __init__(self, n_out, generator):
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(n_out, generator=generator))

    def forward(self, weight):
        return self.alpha
