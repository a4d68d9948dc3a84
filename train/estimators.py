"""Signs and what stands for their derivative: straight-through estimators; signs drawn by lot.

A sign's true derivative is 0 nearly everywhere, so nothing would learn. An estimator is the derivative of a function that
looks like sign, taken in its place.
"""

import torch
from torch import nn

__all__ = ["ApproxSign", "ESTIMATORS", "Ede", "Estimator", "HardTanh", "Identity", "Piece", "SwishSign", "sign",
           "stochastic_sign", "uniform"]


class Piece(nn.Module):
    """A part of a network that may change from epoch to epoch by a schedule."""
    def on_epoch(self, epoch, epochs):
        """Called before epoch ``epoch`` (from 0) of ``epochs``; export finds what the last epoch left."""


class Estimator(Piece):
    """:meth:`slope` is taken for sign's derivative."""
    def slope(self, x):
        """The derivative at ``x``, a new tensor of its shape."""
        raise NotImplementedError  # pragma: no cover - every estimator has its own

    def backward(self, gradient, x):
        """The gradient of what sign took, ``x``, from that of what it gave."""
        return self.slope(x).mul_(gradient)


class Identity(Estimator):
    """f(x) = x, f'(x) = 1. Bengio et al., 2013, arXiv:1308.3432."""
    def slope(self, x):
        return torch.ones_like(x)

    def backward(self, gradient, x):
        return gradient


class HardTanh(Estimator):
    """f(x) = max(-c, min(c, x)), f'(x) = 1 where abs(x) <= c, else 0. Hubara et al., 2016, arXiv:1602.02830, with c = 1.

    Parameters
    ----------
    clip : float
        c, greater than 0.
    """
    def __init__(self, clip=1.0):
        if not clip > 0:
            raise ValueError(f"clip must be greater than 0, not {clip}")
        super().__init__()
        self.clip = clip

    def slope(self, x):
        return x.abs().le_(self.clip)


class ApproxSign(Estimator):
    """f(x) = 2 x + x^2 where -1 <= x < 0, 2 x - x^2 where 0 <= x < 1, else -1 or +1.

    f'(x) = 2 - 2 abs(x) where abs(x) <= 1, else 0. Liu et al., "Bi-Real Net", 2018, arXiv:1808.00278.
    """
    def slope(self, x):
        return x.abs().mul_(-2).add_(2).clamp_(min=0)


class SwishSign(Estimator):
    """f(x) = 2 s(b x) (1 + b x (1 - s(b x))) - 1, where s is the logistic function.

    f'(x) = b (2 - b x tanh(b x / 2)) / (1 + cosh(b x)), which is b at 0 and a little below 0 from abs(b x) > 2.4 on.
    Darabi et al., "BNN+", 2018, arXiv:1812.11800.

    Parameters
    ----------
    beta : float
        b, greater than 0.
    """
    def __init__(self, beta=5.0):
        if not beta > 0:
            raise ValueError(f"beta must be greater than 0, not {beta}")
        super().__init__()
        self.beta = beta

    def slope(self, x):
        z = self.beta * x.abs().clamp(max=80 / self.beta)    # cosh overflows at 89; there the slope is 0 to any digit
        return self.beta * (2 - z * torch.tanh(z / 2)) / (1 + torch.cosh(z))


class Ede(Estimator):
    """Error decay estimator: f(x) = k tanh(t x), f'(x) = k t (1 - tanh^2(t x)).

    t grows from 0.1 to 10 with the epochs, t = 0.1 * 100^(epoch / epochs), and k = max(1 / t, 1): at first nearly the identity,
    at last nearly sign. Qin et al., "IR-Net", 2020, arXiv:1909.10788.
    """
    LEAST, MOST = 0.1, 10.0

    def __init__(self):
        super().__init__()
        self.on_epoch(0, 1)

    def on_epoch(self, epoch, epochs):
        self.t = self.LEAST * (self.MOST / self.LEAST)**(epoch / epochs)
        self.k = max(1 / self.t, 1.0)

    def slope(self, x):
        return self.k * self.t * (1 - torch.tanh(self.t * x).square())


ESTIMATORS = {"identity": Identity, "hardtanh": HardTanh, "approxsign": ApproxSign, "swishsign": SwishSign, "ede": Ede}


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, estimator):
        ctx.estimator = estimator
        ctx.save_for_backward(x)
        # On a processor 4 times as fast as through a tensor of bools, 15 times as torch.where.
        return torch.ge(x, 0, out=torch.empty_like(x)).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return ctx.estimator.backward(gradient, x), None


class _StochasticSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, estimator, drawn):
        ctx.estimator = estimator
        ctx.save_for_backward(x)
        return torch.lt(drawn, (x + 1) / 2, out=torch.empty_like(x)).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return ctx.estimator.backward(gradient, x), None, None


def sign(x, estimator):
    """+1 where ``x >= 0``, else -1, so sign(0) = +1; gradients pass by ``estimator``, an :class:`Estimator`."""
    return _Sign.apply(x, estimator)


def uniform(x, generator):
    """For each element of ``x``, (N, ...), a number from 0 to 1 by lot.

    Where several processes share a batch, of which ``x`` has some rows, these are the numbers that one process would draw for
    them (:mod:`bnnhw.train.distributed`).
    """
    if (rows := getattr(generator, "rows", None)) is None:
        return torch.rand(x.shape, generator=generator).to(x.device)
    count, share = rows
    return torch.rand((count, *x.shape[1:]), generator=generator)[share].to(x.device)


def stochastic_sign(x, estimator, drawn):
    """+1 with probability max(0, min(1, (x + 1) / 2)), else -1; gradients pass by ``estimator``, whatever was drawn.

    ``drawn`` are numbers from 0 to 1 by lot, in the shape of ``x``.

    The mean is ``x`` clipped to [-1, 1], so that the gradient of hardtanh is that of the mean. Courbariaux et al.,
    "BinaryConnect", 2015, arXiv:1511.00363.
    """
    return _StochasticSign.apply(x, estimator, drawn)
