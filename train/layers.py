"""Layers whose forward pass is exactly what the hardware computes: signs, integer sums, a threshold after each sum.

Sums are integers: every scale comes after the sum. float32 holds them exactly up to 2**24, so that the matrix
products of training, golden model and hardware agree whatever the order of summation.
"""

import torch
from torch import nn

__all__ = ["ESTIMATORS", "sign", "BinaryLinear", "BinaryConv2d", "BatchNorm", "FixedPointNorm",
           "LevelNorm"]


class _Sign(torch.autograd.Function):
    """sign with sign(0) = +1; backward multiplies by the estimator's derivative."""
    @staticmethod
    def forward(ctx, x, slope):
        ctx.slope = slope
        if slope is not None:
            ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype).mul_(2).sub_(1)     # five times as fast as torch.where on a processor

    @staticmethod
    def backward(ctx, gradient):
        if ctx.slope is None:
            return gradient, None
        (x,) = ctx.saved_tensors
        return gradient * ctx.slope(x), None


def hardtanh(x):
    """Derivative of hardtanh: 1 where |x| <= 1, else 0. Hubara et al., 2016, arXiv:1602.02830."""
    return (x.abs() <= 1).to(x.dtype)


def approxsign(x):
    """Derivative of ApproxSign: 2 - 2 |x| where |x| <= 1, else 0. Liu et al., "Bi-Real Net", 2018, arXiv:1808.00278."""
    return (2 - 2 * x.abs()).clamp(min=0)


# identity: derivative 1 everywhere. Bengio et al., 2013, arXiv:1308.3432.
ESTIMATORS = {"identity": None, "hardtanh": hardtanh, "approxsign": approxsign}


def sign(x, estimator="hardtanh"):
    """sign of ``x``, +1 for 0; gradients pass by the straight-through ``estimator``, one of :data:`ESTIMATORS`."""
    return _Sign.apply(x, ESTIMATORS[estimator])


class BinaryLinear(nn.Module):
    """Sums of signs: ``x @ sign(weight).T`` with latent weights in [-1, 1].

    Parameters
    ----------
    n_in, n_out : int
    spread : float
        Latent weights start evenly spread over [-spread, spread]. A small one lets early steps flip signs.
    generator : torch.Generator

    Source: Courbariaux et al., 2016, arXiv:1602.02830.
    """
    def __init__(self, n_in, n_out, *, spread=1.0, generator):
        super().__init__()
        self.weight = nn.Parameter((torch.rand(n_out, n_in, generator=generator) * 2 - 1) * spread)

    def signs(self):
        """The weights as the hardware has them, float32 tensor (n_out, n_in) of -1 and +1.

        Gradients pass unchanged: :meth:`clip` keeps the latent weights where hardtanh's derivative is 1.
        """
        return sign(self.weight, "identity")

    def forward(self, x):
        return x @ self.signs().T

    @torch.no_grad()
    def clip(self):
        """Keep the latent weights in [-1, 1], to be called after every step."""
        self.weight.clamp_(-1, 1)


class BinaryConv2d(nn.Module):
    """Convolution of maps (N, C, H, W) with the signs of latent weights in [-1, 1]; padded places are -1.

    In eval mode windows are laid out and multiplied, so that sums are those of the golden model whatever the library would
    make of a convolution (Winograd's is not exact).

    Parameters
    ----------
    n_in, n_out, kernel, padding : int
    spread : float
        As of :class:`BinaryLinear`.
    generator : torch.Generator
    """
    def __init__(self, n_in, n_out, kernel, padding, *, spread=1.0, generator):
        super().__init__()
        self.kernel, self.padding = kernel, padding
        shape = (n_out, n_in, kernel, kernel)
        self.weight = nn.Parameter((torch.rand(shape, generator=generator) * 2 - 1) * spread)

    def signs(self):
        """The weights as the hardware has them, float32 tensor (n_out, n_in, kernel, kernel) of -1 and +1."""
        return sign(self.weight, "identity")

    def forward(self, x):
        if self.padding:
            x = nn.functional.pad(x, (self.padding,) * 4, value=-1.0)
        if self.training:
            return nn.functional.conv2d(x, self.signs())
        height, width = x.shape[2] - self.kernel + 1, x.shape[3] - self.kernel + 1
        windows = nn.functional.unfold(x, self.kernel)
        return (self.signs().flatten(1) @ windows).unflatten(2, (height, width))

    @torch.no_grad()
    def clip(self):
        """Keep the latent weights in [-1, 1], to be called after every step."""
        self.weight.clamp_(-1, 1)


class BatchNorm(nn.Module):
    """Batch normalization of sums (N, C) or (N, C, H, W): ``(s - mean) / sqrt(var + eps) * gamma + beta``.

    In eval mode it is four separate float32 operations per element, each rounded once, so that the result for an
    integer is the same whatever batch it comes in and export can search the very function that the model computes.

    Source: Ioffe and Szegedy, 2015, arXiv:1502.03167.
    """
    eps = 1e-5
    momentum = 0.1

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, s):
        if self.training:
            return nn.functional.batch_norm(s, self.mean, self.var, self.gamma, self.beta, True, self.momentum, self.eps)
        mean, var, gamma, beta = (value.view(-1, *[1] * (s.ndim - 2)) for value in (self.mean, self.var, self.gamma, self.beta))
        centred = s - mean
        scaled = centred * (1 / torch.sqrt(var + self.eps))
        return scaled * gamma + beta


class _Round(torch.autograd.Function):
    """Rounding to the nearest integer whose gradient is 1 (straight through). Bengio et al., 2013, arXiv:1308.3432."""
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class _Clamped(torch.autograd.Function):
    """Rounding to the nearest integer in ``lo`` to ``hi``; the gradient is 1 where nothing was cut off, else 0."""
    @staticmethod
    def forward(ctx, x, lo, hi):
        ctx.save_for_backward((x >= lo) & (x <= hi))
        return torch.round(x).clamp(lo, hi)

    @staticmethod
    def backward(ctx, gradient):
        (within,) = ctx.saved_tensors
        return gradient * within, None, None


class LevelNorm(BatchNorm):
    """Batch normalization rounded to one of ``2**bits`` levels, ``step`` apart and as many below 0 as from 0 up.

    In hardware it is a threshold of ``2**bits - 1`` levels. Rounding is to the nearest, halves to the even.
    """
    def __init__(self, channels, bits, step):
        super().__init__(channels)
        self.lowest, self.count, self.step = -2**(bits - 1), 2**bits, step

    def forward(self, s):
        return _Clamped.apply(super().forward(s) / self.step, self.lowest, self.lowest + self.count - 1) * self.step


class FixedPointNorm(BatchNorm):
    """Batch normalization of maps (N, C, H, W) as hardware does it without a threshold behind: ``a * s + b`` in fixed point.

    ``a`` and ``b`` are multiples of ``2**-fraction_bits``, in training too (rounded straight through), so that residual sums
    mean the same integers everywhere. All values are exact in float32 while they stay below ``2**(24 - fraction_bits)``.
    """
    def __init__(self, channels, fraction_bits):
        super().__init__(channels)
        self.one = 2.0**fraction_bits

    def integers(self, mean, var):
        """Scale and offset as multiples of ``2**-fraction_bits``, float tensors (C,)."""
        slope = self.gamma / torch.sqrt(var + self.eps)
        return _Round.apply(slope * self.one), _Round.apply((self.beta - mean * slope) * self.one)

    def forward(self, s):
        mean, var = self.mean, self.var
        if self.training:
            mean, var = s.mean((0, 2, 3)), s.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean, self.momentum)
                self.var.lerp_(var, self.momentum)
        scale, offset = (value.view(-1, 1, 1) for value in self.integers(mean, var))
        return (scale * s + offset) / self.one
