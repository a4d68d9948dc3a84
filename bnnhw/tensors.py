"""What a tensor is: a shape, and the values lo, lo + step, ..., hi of its elements."""

import math
from dataclasses import dataclass

import numpy as np

from .errors import UserError

__all__ = ["NetworkError", "TensorType", "integer", "integers"]

LIMIT = 2**53   # every value must be exact in a float64, so that any tool downstream can hold it


class NetworkError(UserError, ValueError):
    """A network that has no meaning; the message names the operation."""


@dataclass(frozen=True)
class TensorType:
    """A shape (H, W, C), (C,) or () and the values ``lo, lo + step, ..., hi`` of the elements.

    On wires a value travels as ``(value - lo) / step``, unsigned, in :attr:`bits` bits.
    """
    shape: tuple
    lo: int
    hi: int
    step: int = 1

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for field in ("lo", "hi", "step"):
            object.__setattr__(self, field, integer(field, getattr(self, field)))
        if any(n < 1 for n in self.shape):
            raise NetworkError(f"shape must have positive sizes, not {self.shape}")
        if self.step < 1 or self.hi < self.lo or (self.hi - self.lo) % self.step:
            raise NetworkError(f"values {self.lo}, {self.lo + self.step}, ..., {self.hi} are not a range")
        if max(abs(self.lo), abs(self.hi)) > LIMIT:
            raise NetworkError(f"values up to {max(abs(self.lo), abs(self.hi))} exceed 2**53")

    @classmethod
    def bipolar(cls, shape):
        """Signs: -1 and +1, one bit on wires."""
        return cls(shape, -1, 1, 2)

    @property
    def levels(self):
        """How many values an element can have."""
        return (self.hi - self.lo) // self.step + 1

    @property
    def bits(self):
        """Width of an element on wires, at least 1."""
        return max(1, (self.levels - 1).bit_length())

    @property
    def size(self):
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def channels(self):
        """Size of the last dimension, 1 for a scalar."""
        return self.shape[-1] if self.shape else 1

    @property
    def is_bipolar(self):
        return (self.lo, self.hi, self.step) == (-1, 1, 2)


def integer(what, value):
    """``value`` as a Python int. Raises :exc:`NetworkError`, which says ``what``, where it is none."""
    if isinstance(value, (float, np.floating)) and value != int(value):
        raise NetworkError(f"{what} must be an integer, not {value}")
    return int(value)


def integers(what, value, ndim):
    """``value`` as a read-only int64 array of ``ndim`` dimensions, not empty. Raises :exc:`NetworkError`, which says ``what``."""
    array = np.asarray(value)
    if array.ndim != ndim or array.size == 0:
        raise NetworkError(f"{what} must have {ndim} dimension{'s' * (ndim != 1)} and elements, not shape {array.shape}")
    if array.dtype.kind not in "iub" and not (array.dtype.kind == "f" and np.all(array == np.trunc(array))):
        raise NetworkError(f"{what} must be integers")
    if array.dtype.kind in "fu" and np.any(np.abs(array.astype(np.float64)) > LIMIT):
        raise NetworkError(f"{what} must stay within 2**53")
    array = array.astype(np.int64)
    if np.any((array > LIMIT) | (array < -LIMIT)):
        raise NetworkError(f"{what} must stay within 2**53")
    array.setflags(write=False)
    return array
