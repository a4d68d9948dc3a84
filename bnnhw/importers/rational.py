"""Exact numbers of foreign networks: arrays of :class:`fractions.Fraction`.

A stored float is a fraction whose denominator is a power of two, so sums, products and quotients of stored parameters are
exact. Only the square root of a batch norm's variance can be irrational; it is then taken with :data:`ROOT_BITS` bits, and a
comparison that so close a value could turn over is refused (:func:`distinct`), never guessed.
"""

import math
from fractions import Fraction

import numpy as np

from ..errors import UserError

__all__ = ["ROOT_BITS", "Inexpressible", "fractions", "root", "distinct", "common_divisor", "REACHES"]

ROOT_BITS = 512         # of an irrational root, relative
NEAR_BITS = 400         # a difference smaller than 2**-NEAR_BITS and not 0 is not trusted
MOST_FRACTIONS = 2**22  # elements of an array of fractions


class Inexpressible(UserError, ValueError):
    """What has no exact integer form, without the place where it stands.

    Attributes
    ----------
    reason : str
    accepted : str
        What would be taken; may be empty.
    """
    def __init__(self, reason, accepted=""):
        self.reason, self.accepted = reason, accepted
        super().__init__(reason + (f"; accepted: {accepted}" if accepted else ""))


def fractions(what, values):
    """``values`` (floats, integers or fractions, any shape) as an object array of fractions.

    Raises :exc:`Inexpressible`, which says ``what``, where one is not finite.
    """
    array = np.asarray(values)
    if array.size > MOST_FRACTIONS:
        raise Inexpressible(f"{what} has {array.size} different elements", f"up to {MOST_FRACTIONS}")
    if array.dtype == object:
        return array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Inexpressible(f"{what} is {array[~np.isfinite(array)][0]}", "finite numbers")
    if array.dtype.kind not in "fiub":
        raise Inexpressible(f"{what} is not made of numbers")
    out = np.empty(array.size, object)
    out[:] = [Fraction(value) for value in array.reshape(-1).tolist()]
    return out.reshape(array.shape)


def root(value):
    """Square root of a fraction that is not negative: exact where it is rational, else below it by less than 2**-512 of it."""
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    product = value.numerator * value.denominator
    shift = max(0, ROOT_BITS + 1 - product.bit_length() // 2)
    return Fraction(math.isqrt(product << 2 * shift), value.denominator << shift)


def distinct(difference, what):
    """``difference`` of two numbers that are to be compared. Raises :exc:`Inexpressible` where it is too small to be trusted."""
    # A difference that is not 0 is at least 1 / denominator.
    if difference and difference.denominator.bit_length() > NEAR_BITS and abs(difference) < Fraction(1, 2**NEAR_BITS):
        raise Inexpressible(f"{what} comes nearer to its boundary than an irrational batch norm can be computed")
    return difference


def common_divisor(values):
    """The greatest fraction of which all ``values`` are integer multiples; 0 where all are 0."""
    values = [value for value in values if value]
    bottom = math.lcm(*(value.denominator for value in values))
    return Fraction(math.gcd(*(value.numerator * (bottom // value.denominator) for value in values)), bottom)


def _half_even(k):
    return Fraction(2 * k - 1, 2), k % 2 == 1


def _half_away(k):
    return Fraction(2 * k - 1, 2), k <= 0


def _half_inward(k):
    return Fraction(2 * k - 1, 2), k >= 1


# Rounding mode -> where rounding reaches the integer k: (boundary, whether the boundary itself is excluded).
REACHES = {
    "ROUND": _half_even, "HALF_EVEN": _half_even, "HALF_UP": _half_away, "HALF_DOWN": _half_inward,
    "FLOOR": lambda k: (Fraction(k), False),
    "CEIL": lambda k: (Fraction(k - 1), True),
    "DOWN": lambda k: (Fraction(k), False) if k >= 1 else (Fraction(k - 1), True),      # towards 0
    "UP": lambda k: (Fraction(k - 1), True) if k >= 1 else (Fraction(k), False),        # away from 0
}
