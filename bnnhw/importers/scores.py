"""The class: the greatest of real scores, decided on integers for every input.

Scores are ``scale[c] * t[c] + offset[c]``. One positive scale and one offset for all decide nothing and are dropped. Other ones
become an integer scale and offset for each class: the stored ones in fixed point, with the fewest fractional bits at which, for
*every* two classes and *every* two values of their sums, the integers compare as the real numbers do, equals included.
"""

import math
from fractions import Fraction

import numpy as np

from ..ir import Affine
from .rational import Inexpressible, common_divisor, distinct

__all__ = ["MOST_BITS", "comparable"]

MOST_BITS = 40          # fractional, of a class's scale and offset
MOST_PAIRS = 2**21      # values of a sum, times pairs of classes
MOST_VALUES = 2**17     # values of a sum, times classes
LIMIT = 2**53           # of integers in a network
MOST_SMALL = 2**24      # of integers that are taken without looking for shorter ones


def _order(rows):
    """For each pair of classes and each value of the first: how many values of the second are less, and not greater."""
    for a, first in enumerate(rows):
        for b, second in enumerate(rows):
            if a != b:
                ordered = np.sort(second)
                yield np.searchsorted(ordered, first, "left"), np.searchsorted(ordered, first, "right")


def _ranks(value):
    """The real scores of all classes and sums as int64 that compare as they do, (C, number of values)."""
    sums = range(value.type.lo, value.type.hi + 1, value.type.step)
    table = [[scale * t + offset for t in sums] for scale, offset in zip(value.scale, value.offset, strict=True)]
    ordered = sorted({v for row in table for v in row})
    for a, b in zip(ordered, ordered[1:], strict=False):
        distinct(b - a, "a score")
    rank = {v: k for k, v in enumerate(ordered)}
    return np.array([[rank[v] for v in row] for row in table])


def _fits(scale, offset, type, limit):
    """Whether no product or sum of these reaches ``limit``."""
    return max(map(abs, (*scale, *offset))) * max(1, abs(type.lo), abs(type.hi)) * 2 < limit


def comparable(build, name, value):
    """An edge of integer scores that compare as the real scores do. Returns (edge, type).

    Raises :exc:`Inexpressible` where no fixed point of up to :data:`MOST_BITS` fractional bits does.
    """
    scale, offset = value.scale, value.offset
    if len(set(scale)) == len(set(offset)) == 1 and scale[0] > 0:
        return value.edge, value.type
    name = value.label or name
    whole = all(v.denominator == 1 for v in (*scale, *offset))
    if whole and _fits(scale, offset, value.type, LIMIT):
        return build.make(Affine, name, value.edge, *(np.array([int(v) for v in part]) for part in (scale, offset)))
    unit = common_divisor([*scale, *offset])
    if unit and _fits(scale / unit, offset / unit, value.type, MOST_SMALL):
        scale, offset = (np.array([int(v / unit) for v in part]) for part in (scale, offset))
        return build.make(Affine, name, value.edge, scale, offset)
    if value.type.levels * value.channels**2 > MOST_PAIRS or value.type.levels * value.channels > MOST_VALUES:
        raise Inexpressible(f"scores of {value.channels} classes with different scales and {value.type.levels} values",
                            "one positive scale and one offset for all classes, or fewer values")
    want = list(_order(_ranks(value)))
    largest = max(abs(Fraction(v)) for v in (*scale, *offset)) or Fraction(1)
    start = -math.floor(math.log2(largest))
    sums = np.arange(value.type.lo, value.type.hi + 1, value.type.step)
    for bits in range(min(0, start), MOST_BITS + max(0, start)):
        one = Fraction(2)**bits
        integers = [[round(v * one) for v in part] for part in (scale, offset)]
        if max(map(abs, (*integers[0], *integers[1]))) * max(1, abs(value.type.lo), abs(value.type.hi)) * 2 >= LIMIT:
            break
        factor, term = (np.array(part, np.int64) for part in integers)
        if all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in
               zip(want, _order(factor[:, None] * sums + term[:, None]), strict=True)):
            build.facts["scores"] = {"fraction_bits": bits, "compared": "every two values of every two classes"}
            return build.make(Affine, name, value.edge, factor, term)
    raise Inexpressible("the classes' scales and offsets have no fixed point that decides every pair of sums as they do",
                        "one positive scale and one offset for all classes")
