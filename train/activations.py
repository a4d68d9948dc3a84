"""Activation binarizers: what stands between a batch norm and the next sum.

In hardware each is a threshold: ``base + step * (levels reached)``, in eval mode exactly. ``begins`` says where the levels
begin, in what the binarizer takes.
"""

import torch
from torch import nn

from .estimators import Piece, sign, stochastic_sign, uniform

__all__ = ["Levels", "RSign", "Relu", "SignActivation", "StochasticSignActivation"]


class SignActivation(Piece):
    """sign(x), gradients by ``estimator``.

    Parameters
    ----------
    estimator : Estimator
    """
    base, step, unit = -1, 2, 1.0       # unit: what a value of 1 stands for; it is a factor after the next sum

    def __init__(self, estimator):
        super().__init__()
        self.estimator = estimator

    def forward(self, x, generator=None):
        return sign(x, self.estimator)

    def begins(self):
        """Where each level begins, float tensor (C or 1, levels)."""
        return torch.zeros(1, 1)


class StochasticSignActivation(SignActivation):
    """In training +1 with probability max(0, min(1, (x + 1) / 2)); else sign(x).

    Hubara et al., "Binarized Neural Networks", 2016, arXiv:1602.02830.
    """
    def forward(self, x, generator=None):
        return stochastic_sign(x, self.estimator, uniform(x, generator)) if self.training else sign(x, self.estimator)


class RSign(SignActivation):
    """sign(x - a) with a learned ``a`` per channel; da = minus the sum of dx. Liu et al., "ReActNet", 2020, arXiv:2003.03488.

    Takes (N, C) or (N, C, H, W).
    """
    def __init__(self, channels, estimator):
        super().__init__(estimator)
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x, generator=None):
        return sign(x - self.shift.view(-1, *[1] * (x.ndim - 2)), self.estimator)

    def begins(self):
        return self.shift.detach()[:, None]


class _Clamped(torch.autograd.Function):
    """Rounding to the nearest integer in ``lo`` to ``hi``; the gradient is 1 where nothing was cut off, else 0."""
    @staticmethod
    def forward(ctx, x, lo, hi):
        ctx.save_for_backward(x)
        ctx.lo, ctx.hi = lo, hi
        return torch.round(x).clamp_(lo, hi)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return x.clamp(ctx.lo, ctx.hi).eq_(x).mul_(gradient), None, None


class Levels(Piece):
    """round(x / unit), halves to the even, cut off to ``count`` integers from ``lowest`` on; 1 / unit within, else 0.

    From 0 on it is a ReLU of k bits. Zhou et al., "DoReFa-Net", 2016, arXiv:1606.06160.

    Parameters
    ----------
    lowest, count : int
    unit : float
        A power of two.
    """
    step = 1

    def __init__(self, lowest, count, unit):
        super().__init__()
        self.base, self.count, self.unit = lowest, count, unit

    def forward(self, x, generator=None):
        return _Clamped.apply(x / self.unit, self.base, self.base + self.count - 1)

    def begins(self):
        return (self.base + torch.arange(1, self.count) - 0.5)[None] * self.unit


class Relu(Piece):
    """max(0, x): of the float twin. There is no hardware for it."""
    base, step, unit = 0, 1, 1.0

    def forward(self, x, generator=None):
        return x.relu()
