"""A tensor of a foreign network: integers of ours, and how its real numbers come from them.

For each channel ``c`` the real value is ``clip(scale[c] * t + offset[c], low[c], high[c])``, where ``t`` is the element of an
edge of the network under construction. Multiplying, adding, batch norm and ReLU only change these numbers; no operation is
made until something must be decided.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..tensors import TensorType
from .rational import Inexpressible, fractions, root

__all__ = ["Chain", "Value", "constant", "UNBOUNDED"]

UNBOUNDED = math.inf    # float, only as a bound; fractions compare with it
MOST_BITS = 2**13       # of a fraction


def constant(value, channels):
    """An object array (channels,) of one value."""
    out = np.empty(channels, object)
    out[:] = value
    return out


def _moved(bound, factor, term, swapped, unbounded):
    """``factor * bound + term``. A float is infinite: by its sign alone, since a fraction times a float is slow."""
    if isinstance(bound, float):
        return -bound if swapped else bound
    return bound * factor + term if factor else unbounded


@dataclass(frozen=True)
class Chain:
    """What the foreign network computes in float32: a first function of the integers, and one after the other on its result."""
    first: object
    steps: tuple = ()

    def __call__(self, t):
        out = self.first(t)
        for step in self.steps:
            out = step(out)
        return out

    def then(self, step):
        return Chain(self.first, (*self.steps, step))


@dataclass(frozen=True, eq=False)
class Value:
    """See the module.

    Attributes
    ----------
    edge : str
        Of the network under construction.
    type : TensorType
        Of the edge: (H, W, C) or (C,), () for a class.
    scale, offset, low, high : object arrays (C,)
        Fractions in the edge's order; ``low`` may be -inf, ``high`` inf.
    float32 : Chain
        (int array (K, C)) -> float32 array (K, C): the real values as the foreign network computes them.
    axes : str
        What each dimension of the foreign tensor is: "NCHW", "NHWC", "NHW" (one channel), "NC"; "N" for a class.
    order : None or int array (C,)
        Of vectors: element ``i`` of the foreign vector is element ``order[i]`` of the edge; None where they are the same.
    label : str
        What an operation is called that gives the scaled numbers, should there have to be one; may be empty.
    """
    edge: str
    type: TensorType
    scale: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray
    float32: object
    axes: str
    order: object = None
    label: str = ""

    @classmethod
    def of(cls, edge, type, scale, offset, axes, order=None):
        """Value without bounds, whose real numbers are taken to be rounded to float32 where they arise."""
        scale, offset = (constant(v, type.channels) if isinstance(v, Fraction) else v for v in (scale, offset))
        factor, term = (np.array([float(v) for v in part]) for part in (scale, offset))
        return cls(edge, type, scale, offset, constant(-UNBOUNDED, type.channels), constant(UNBOUNDED, type.channels),
                   Chain(lambda t: (factor * t + term).astype(np.float32)), axes, order)

    @property
    def channels(self):
        return self.type.channels

    @property
    def shape(self):
        """The foreign tensor's, N = 1."""
        sizes = dict(zip("HWC" if len(self.type.shape) == 3 else "C", self.type.shape, strict=False)) | {"N": 1}
        return tuple(sizes[axis] for axis in self.axes)

    @property
    def is_bounded(self):
        """bool array (C,): channels in which a bound cuts off a value that the edge can have."""
        first, last = (self.scale * value + self.offset for value in (self.type.lo, self.type.hi))
        return np.array([min(a, b) < low or max(a, b) > high
                         for a, b, low, high in zip(first, last, self.low, self.high, strict=True)])

    def arranged(self, what, values):
        """``values``, one for all or one for each foreign channel, as an array (C,) in the edge's order."""
        values = np.asarray(values)
        values = values.reshape(-1) if values.size == 1 else values
        if values.shape == (1,):
            values = np.repeat(values, self.channels)
        if values.shape != (self.channels,):
            raise Inexpressible(f"{what} has shape {values.shape}", f"one for all, or one for each of {self.channels} channels")
        if self.order is None:
            return values
        out = np.empty_like(values)
        out[self.order] = values
        return out

    def affine(self, factor, term, float32=None):
        """``factor * value + term``, both fractions (C,) in the edge's order.

        ``float32`` gives the same in float32 for an array (K, C); None: multiplied, then added.
        """
        swapped = factor < 0
        ends = [np.array([_moved(*numbers, sign * UNBOUNDED) for numbers in zip(bounds, factor, term, swapped, strict=True)],
                         object) for bounds, sign in ((self.low, -1), (self.high, 1))]
        if float32 is None:
            f, t = (np.array([float(v) for v in part], np.float32) for part in (factor, term))
            def float32(v):
                return (v * f if np.any(f != 1) else v) + t
        scale, offset = self.scale * factor, self.offset * factor + term
        if max(max(v.numerator.bit_length(), v.denominator.bit_length()) for part in (scale, offset) for v in part) > MOST_BITS:
            raise Inexpressible(f"its numbers have more than {MOST_BITS} bits")
        return replace(self, scale=scale, offset=offset, low=np.where(swapped, ends[1], ends[0]),
                       high=np.where(swapped, ends[0], ends[1]), float32=self.float32.then(float32))

    def multiplied(self, factor):
        """Times ``factor``, one number or one for each foreign channel."""
        factor = self.arranged("a factor", fractions("a factor", factor))
        return self.affine(factor, constant(Fraction(0), self.channels))

    def divided(self, divisor):
        divisor = self.arranged("a divisor", fractions("a divisor", divisor))
        if not np.all(divisor != 0):
            raise Inexpressible("it divides by 0")
        f = np.array([float(v) for v in divisor], np.float32)
        return self.affine(np.array([1 / v for v in divisor], object), constant(Fraction(0), self.channels), lambda v: v / f)

    def added(self, term):
        """Plus ``term``, one number or one for each foreign channel."""
        term = self.arranged("a term", fractions("a term", term))
        return self.affine(constant(Fraction(1), self.channels), term)

    def clipped(self, low, high):
        """No less than ``low`` and no more than ``high``: fractions, or infinite."""
        if low > high:
            raise Inexpressible(f"it clips to at least {float(low)} and at most {float(high)}")
        return replace(self, low=np.array([min(max(v, low), high) for v in self.low], object),
                       high=np.array([min(max(v, low), high) for v in self.high], object),
                       float32=self.float32.then(lambda v: np.clip(v, np.float32(low), np.float32(high))))

    def normalized(self, gamma, beta, mean, variance, epsilon):
        """Batch norm: ``gamma * (value - mean) / sqrt(variance + epsilon) + beta``, parameters for each foreign channel.

        Raises :exc:`Inexpressible` where a parameter is not finite or a variance with epsilon not positive.
        """
        given = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
        found = {key: self.arranged(f"the batch norm's {key}", fractions(f"the batch norm's {key}", values))
                 for key, values in given.items()}
        epsilon = fractions("the batch norm's epsilon", epsilon).item()
        spread = found["variance"] + epsilon
        if wrong := [channel for channel, value in enumerate(spread) if value <= 0 or found["variance"][channel] < 0]:
            raise Inexpressible(f"channel {wrong[0]}: the batch norm's variance is {float(found['variance'][wrong[0]])} and "
                                f"epsilon {float(epsilon)}", "a positive sum, no negative variance")
        factor = found["gamma"] / np.array([root(value) for value in spread], object)
        g, b, m, v = (np.array([float(value) for value in part], np.float32) for part in found.values())
        eps = np.float32(float(epsilon))
        return self.affine(factor, found["beta"] - found["mean"] * factor, lambda x: g * (x - m) / np.sqrt(v + eps) + b)
