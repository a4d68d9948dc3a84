"""Shapes of foreign tensors: constants that are broadcast against them, and the same elements under another shape."""

import math
from dataclasses import replace

import numpy as np

from .rational import Inexpressible

__all__ = ["per_channel", "viewed"]


def per_channel(value, constant, what):
    """A constant that is broadcast against ``value``: one number, or one for each channel."""
    try:
        fits = np.broadcast_shapes(constant.shape, value.shape) == value.shape
    except ValueError:
        fits = False
    if not fits:
        raise Inexpressible(f"{what} of shape {constant.shape} for a tensor of shape {value.shape}",
                            "one number, or one for each channel")
    if constant.size == 1:
        return constant.reshape(1)
    full = constant.reshape((1,) * (len(value.shape) - constant.ndim) + constant.shape)
    for axis, letter in enumerate(value.axes):
        if letter != "C" and full.shape[axis] > 1:
            first = full.take([0], axis)
            if not np.all(full == first):
                raise Inexpressible(f"{what} differs from place to place along {letter}", "one for each channel")
            full = first
    return full.reshape(-1)


def viewed(build, name, x, shape):
    """``x`` with another shape, its elements in the same order."""
    if shape == x.shape:
        return x
    if x.axes == "N":
        if math.prod(shape) == 1:
            return x
    elif len(shape) == 2 and shape[0] == 1:
        return build.flatten(name, x)
    elif len(x.type.shape) == 3:
        sizes = dict(zip("NHWC", (1, *x.type.shape), strict=True))
        order = [axis for axis in x.axes if sizes[axis] > 1]
        for axes in ("NCHW", "NHWC", "NHW"):
            if tuple(sizes[axis] for axis in axes) == shape and [axis for axis in axes if sizes[axis] > 1] == order and (
                    "C" in axes or x.channels == 1):
                return replace(x, axes=axes, order=None)
    raise Inexpressible(f"it reshapes {x.shape} ({x.axes}) to {shape}", "a vector (1, all elements), or dimensions of size 1")
