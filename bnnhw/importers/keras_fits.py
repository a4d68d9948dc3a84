"""Scales and thresholds of weights that QKeras and Larq fit to the weights themselves, as they do at every call.

Both compute them in float32. Here it is float64, and wherever a decision (a power of two, a weight kept or dropped) is so near
its boundary that float32 might take it otherwise, :exc:`~bnnhw.importers.rational.Inexpressible` is raised.
"""

import numpy as np

from .rational import Inexpressible

__all__ = ["fitted_signs", "fitted_ternary", "mean_threshold"]

EPSILON = 1e-7          # keras.backend.epsilon()
DOUBT = 2.0**-20        # relative
ACCEPTED = "weights saved after quantization, or a number as alpha"


def _channels(array):
    return np.asarray(array, np.float64).reshape(-1, array.shape[-1])


def _power(scale):
    """The power of two nearest to a scale, by its logarithm."""
    exponent = np.log2(scale + EPSILON)
    if np.any(np.abs(exponent - np.floor(exponent) - 0.5) < DOUBT):
        raise Inexpressible("a scale lies midway between two powers of two", ACCEPTED)
    return 2.0**np.rint(exponent)


def fitted_signs(array, power):
    """QKeras' binary with alpha auto, or auto_po2 where ``power``: signs like ``array``, scales for its last dimension."""
    scale = np.abs(_channels(array)).mean(axis=0) / (1 + EPSILON)
    return np.where(array >= 0, 1, -1).astype(np.int8), _power(scale) if power else scale


def fitted_ternary(array, power, start, inclusive, rounds):
    """QKeras' least squares of ternary weights.

    Parameters
    ----------
    array : floats (..., C)
    power : bool
        Whether scales are powers of two.
    start : number
        The first scale, relative to the channel's greatest weight.
    inclusive : bool
        Whether half a scale is kept.
    rounds : int

    Returns
    -------
    int8 array like ``array`` of -1, 0, +1; float64 array (C,) of scales.
    """
    size = np.abs(_channels(array))
    scale = size.max(axis=0) * float(start)
    scale = _power(scale) if power else scale
    for _ in range(rounds):
        ratio = np.divide(size, scale, out=np.zeros_like(size), where=scale > 0)
        if not power and np.any(np.abs(ratio - 0.5) < DOUBT):
            raise Inexpressible("a weight lies at the boundary between 0 and its scale", ACCEPTED)
        kept = ratio >= 0.5 if inclusive else ratio > 0.5
        scale = (size * kept).mean(axis=0) / (kept.mean(axis=0) + EPSILON)
        scale = _power(scale) if power else scale
    return (np.sign(array) * kept.reshape(array.shape)).astype(np.int8), scale


def mean_threshold(array):
    """Ternary weight networks' threshold: 0.7 times the mean magnitude."""
    size = np.abs(np.asarray(array, np.float64))
    threshold = 0.7 * size.mean()
    if np.any(np.abs(size - threshold) < DOUBT * threshold):
        raise Inexpressible("a weight lies at the threshold of its ternary quantizer", "a fixed threshold_value")
    return threshold
