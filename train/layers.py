"""Layers whose forward pass is exactly what the hardware computes: signs, integer sums, a threshold after each sum.

Sums are integers: every scale comes after the sum. float32 holds them exactly up to 2**24, so that the matrix
products of training, golden model and hardware agree whatever the order of summation.
"""

import torch
from torch import nn

from .estimators import uniform
from .weights import ClippedSigns

__all__ = ["BatchNorm", "BinaryConv2d", "BinaryLinear", "FixedPointNorm"]


class _Binary(nn.Module):
    """What both layers share: ``forward(x) = scaled(sums(binarize(x)))``.

    A model may call the three by themselves, to put a max-pool or dropout between them.
    """
    def __init__(self, shape, weights, activations, scale, spread, generator):
        super().__init__()
        self.weights, self.activations, self.scale = weights or ClippedSigns(), activations, scale
        self.weight = nn.Parameter(self.weights.fresh(shape, spread, generator))

    def signs(self):
        """The weights as the hardware has them, float32 tensor of -1 and +1."""
        return self.weights.signs(self.weight)

    def binarize(self, x, generator=None):
        """What enters the sums; without an activation binarizer ``x`` as it is."""
        return x if self.activations is None else self.activations(x, generator)

    def scaled(self, sums):
        """Integer sums (N, n_out) or (N, n_out, H, W), times the scale of each output, if there is one."""
        return sums if self.scale is None else sums * self.scale(self.weight).view(-1, *[1] * (sums.ndim - 2))

    def forward(self, x, generator=None):
        return self.scaled(self.sums(self.binarize(x, generator), generator))

    def after_step(self):
        """To be called after every step of the optimizer."""
        self.weights.after_step(self.weight)


class BinaryLinear(_Binary):
    """Sums of signs: ``binarize(x) @ signs.T`` times ``scale``.

    Parameters
    ----------
    n_in, n_out : int
    weights : Signs, optional
        Weight binarizer, of :mod:`bnnhw.train.weights`; by default sign of latent weights that are kept in [-1, 1], whose
        gradients pass unchanged.
    activations : SignActivation or Levels, optional
        Activation binarizer, of :mod:`bnnhw.train.activations`; without it inputs are taken as they come.
    scale : callable (latent weights) -> tensor (n_out,), optional
        Of :mod:`bnnhw.train.weights`; it comes after the integer sum, and folds into the threshold at export.
    spread : float
        Latent weights start evenly spread over [-spread, spread]. A small one lets early steps flip signs.
    generator : torch.Generator

    Source: Courbariaux et al., 2016, arXiv:1602.02830.
    """
    def __init__(self, n_in, n_out, *, weights=None, activations=None, scale=None, spread=1.0, generator):
        super().__init__((n_out, n_in), weights, activations, scale, spread, generator)

    def sums(self, x, generator=None):
        """Integer sums (N, n_out) of ``x`` (N, n_in)."""
        return x @ self.weights(self.weight, generator).T

    def dropped_sums(self, x, share, generator=None):
        """In training sums of the inputs that are left when ``share`` of them are dropped, scaled up after the sum.

        Srivastava et al., "Dropout", 2014.
        """
        if not (self.training and share):
            return self.sums(x, generator)
        kept = uniform(x, generator).ge_(share)
        return self.sums(x * kept, generator) / (1 - share)


def _exact_conv2d(x, weights):
    """The convolution of maps (N, C, H, W), channel-last in memory, with weights (n_out, C, k, k): maps of the same kind.

    Windows are copied out and multiplied. Where there are several channels, k times C values lie side by side; of one channel
    only k would, so that there the copy follows the rows of the map.
    """
    n_out, channels, kernel, _ = weights.shape
    windows = x.permute(0, 2, 3, 1).unfold(1, kernel, 1).unfold(2, kernel, 1)       # (N, H', W', C, k, k)
    batch, height, width = windows.shape[:3]
    if channels == 1:
        windows = windows.permute(3, 4, 5, 0, 1, 2).reshape(kernel**2, -1).T
    else:
        windows = windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, kernel**2 * channels)
    return (windows @ weights.permute(0, 2, 3, 1).flatten(1).T).view(batch, height, width, n_out).permute(0, 3, 1, 2)


class BinaryConv2d(_Binary):
    """Convolution of maps (N, C, H, W) with the signs of latent weights; padded places are the lowest activation, -1.

    In eval mode windows are laid out and multiplied, so that sums are those of the golden model whatever the library would
    make of a convolution (Winograd's is not exact).

    Parameters
    ----------
    n_in, n_out, kernel, padding : int
    weights, activations, scale, spread, generator
        As of :class:`BinaryLinear`.
    """
    def __init__(self, n_in, n_out, kernel, padding, *, weights=None, activations=None, scale=None, spread=1.0, generator):
        super().__init__((n_out, n_in, kernel, kernel), weights, activations, scale, spread, generator)
        self.kernel, self.padding = kernel, padding
        self.fill = -1 if activations is None else activations.base

    def sums(self, x, generator=None):
        """Integer sums (N, n_out, H', W')."""
        if self.padding:
            x = nn.functional.pad(x, (self.padding,) * 4, value=float(self.fill))
        weights = self.weights(self.weight, generator)
        return nn.functional.conv2d(x, weights) if self.training else _exact_conv2d(x, weights)


class BatchNorm(nn.Module):
    """Batch normalization of sums (N, C) or (N, C, H, W): ``(s - mean) / sqrt(var + eps) * gamma + beta``.

    In eval mode it is four separate float32 operations per element, each rounded once, so that the result for an
    integer is the same whatever batch it comes in and export can search the very function that the model computes.

    Source: Ioffe and Szegedy, 2015, arXiv:1502.03167.
    """
    eps = 1e-5
    momentum = 0.1
    moments = None      # in training by several processes :func:`bnnhw.train.distributed.moments`

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, s):
        if self.training and self.moments:
            mean, var, count = self.moments(s)
            self.follow(mean, var * (count / max(count - 1, 1)))
            mean, scale = (value.view(-1, *[1] * (s.ndim - 2)) for value in (mean, self.gamma / torch.sqrt(var + self.eps)))
            return (s - mean) * scale + self.beta.view(mean.shape)
        if self.training:
            return nn.functional.batch_norm(s, self.mean, self.var, self.gamma, self.beta, True, self.momentum, self.eps)
        mean, var, gamma, beta = (value.view(-1, *[1] * (s.ndim - 2)) for value in (self.mean, self.var, self.gamma, self.beta))
        centred = s - mean
        scaled = centred * (1 / torch.sqrt(var + self.eps))
        return scaled * gamma + beta

    @torch.no_grad()
    def follow(self, mean, var):
        """Let the running averages follow a batch's statistics."""
        self.mean.lerp_(mean, self.momentum)
        self.var.lerp_(var, self.momentum)


class _Round(torch.autograd.Function):
    """Rounding to the nearest integer whose gradient is 1 (straight through). Bengio et al., 2013, arXiv:1308.3432."""
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


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
            mean, var, _ = self.moments(s) if self.moments else (s.mean((0, 2, 3)), s.var((0, 2, 3), correction=0), None)
            self.follow(mean, var)
        scale, offset = (value.view(-1, 1, 1) for value in self.integers(mean, var))
        return (scale * s + offset) / self.one
