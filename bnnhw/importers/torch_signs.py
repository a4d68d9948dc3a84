"""A user's own sign functions, found out by trying them."""

import numpy as np
import torch

from . import quantizers
from .rational import Inexpressible, fractions

__all__ = ["array", "sign_of"]

# Where a declared sign function is tried.
PROBES = [value * sign for value in (1.2e-38, 1e-30, 1e-12, 1e-6, 1e-3, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.1, 1.5, 2.0, 3.0, 10.0,
                                     255.0, 1e4, 1e9) for sign in (1, -1)] + [0.0, -0.0]


def array(tensor):
    """A constant as a numpy array with the exact numbers of the tensor."""
    tensor = torch.as_tensor(tensor).detach()
    if tensor.is_floating_point():      # bfloat16, too, is exact in float64
        tensor = tensor.double()
    return tensor.cpu().numpy()


@torch.no_grad()
def sign_of(build, name, x, function):
    """What a declared sign function gives, found by trying it: the lower value below 0, the upper one above, and that at 0.

    Each channel may have values of its own. Raises :exc:`Inexpressible` where the function is no such step.
    """
    shape = (len(PROBES), *x.shape[1:])
    channel = x.axes.index("C") if "C" in x.axes else None
    probes = torch.tensor(PROBES).reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    try:
        found = function(probes.clone())
    except Exception as error:
        raise Inexpressible(f"it is declared a sign, but fails on a tensor {shape}: "
                            f"{type(error).__name__}: {' '.join(str(error).split())}") from None
    if not isinstance(found, torch.Tensor) or tuple(found.shape) != shape:
        raise Inexpressible("it is declared a sign, but does not give a tensor of its input's shape")
    rows = array(found)
    rows = rows[:, None] if channel is None else np.moveaxis(rows, channel, 1)
    rows = rows.reshape(*rows.shape[:2], -1)
    if not np.isfinite(rows).all() or np.any(rows != rows[:, :, :1]):
        raise Inexpressible("it is declared a sign, but differs from place to place or is not finite")
    rows = rows[:, :, 0]
    at = np.array(PROBES)
    lower, upper, zero = rows[at < 0][0], rows[at > 0][0], rows[at == 0][0]
    for value, row in zip(PROBES, rows, strict=True):
        want = lower if value < 0 else upper if value > 0 else zero
        if np.any(row != want):
            where = int(np.flatnonzero(row != want)[0])
            raise Inexpressible(f"it is declared a sign, but gives {row[where]:g} at {value:g} and {want[where]:g} elsewhere on "
                                "that side of 0", "a function with one value below 0 and one above")
    _check_alone(function, shape, channel, rows)
    lower, upper, zero = (fractions("its value", v) for v in (lower, upper, zero))
    if np.all(zero == upper):
        out = quantizers.bipolar(build, name, x)
    elif np.all(zero == lower):
        out = quantizers.bipolar(build, name, x.multiplied(-1)).multiplied(-1)
    elif np.all(zero + zero == lower + upper):
        out = quantizers.sign(build, name, x)
    else:
        c = int(np.argmax((zero != upper) & (zero != lower)))       # the first that is neither, else 0
        raise Inexpressible(f"it is declared a sign, but gives {float(zero[c]):g} at 0, {float(lower[c]):g} below and "
                            f"{float(upper[c]):g} above", "at 0 one of the two, or their mean, the same in all channels")
    return out.multiplied((upper - lower) / 2).added((upper + lower) / 2)


def _check_alone(function, shape, channel, rows):
    """Refuse a function whose result depends on other elements: it is tried in other company, too."""
    rng, places = np.random.default_rng(0), int(np.prod(shape[1:]))
    at = np.array(PROBES)
    for chosen in (np.arange(len(at)), np.flatnonzero(at > 0), np.flatnonzero(np.abs(at) <= 1)):
        index = rng.choice(chosen, (len(at), places))
        found = array(function(torch.tensor(at[index], dtype=torch.float32).reshape(shape)))
        channels = np.zeros(places, int) if channel is None else np.indices(shape[1:])[channel - 1].reshape(-1)
        if not np.array_equal(found.reshape(len(at), places), rows[index, channels]):
            raise Inexpressible("it is declared a sign, but depends on other elements of the tensor",
                                "a function of each element alone")
