"""Quantizers of foreign networks as thresholds on integers: signs, k bits, counted levels.

Each function takes the :class:`~bnnhw.importers.exact.Builder`, the name that the operation should have, and a
:class:`~bnnhw.importers.value.Value`; it returns the value of the quantized tensor. Parameters are one number, or one for each
channel in the foreign order. What has no exact form raises :class:`~bnnhw.importers.rational.Inexpressible`.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from ..ir import Threshold
from .levels import differing, levels_of
from .rational import REACHES, Inexpressible, fractions
from .value import UNBOUNDED, Value, constant

__all__ = ["bipolar", "sign", "quantized", "counted", "materialized"]

MOST_VALUES = 2**16     # of an edge that is cut off by a ReLU

# How float32 rounds, as the quantizers of QONNX and Brevitas do; the others round as numpy.rint.
ROUNDING = {"FLOOR": np.floor, "CEIL": np.ceil, "DOWN": np.trunc, "UP": lambda v: np.sign(v) * np.ceil(np.abs(v)),
            "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + np.float32(0.5)),
            "HALF_DOWN": lambda v: np.sign(v) * np.ceil(np.abs(v) - np.float32(0.5))}


def _found(build, name, value, boundaries, excluded, count):
    """Integer levels and falling channels of real boundaries, with ties noted."""
    levels, falling = levels_of(value, boundaries, excluded)
    build.note_ties(name, differing(value, levels, falling, count))
    return levels, falling


def _same(boundary, value, count=1):
    return constant(Fraction(boundary), (value.channels, count))


def bipolar(build, name, value, scale=1):
    """``scale`` where the value is at least 0, else ``-scale``."""
    scale = value.arranged("the scale", fractions("the scale", scale))
    levels, falling = _found(build, name, value, _same(0, value), [False], lambda v: (v >= 0).astype(int))
    edge, type = build.make(Threshold, name, value.edge, levels, falling)
    return Value.of(edge, type, scale, constant(Fraction(0), value.channels), value.axes, value.order)


def sign(build, name, value):
    """-1, 0 or +1, as ONNX and numpy have it: 0 of 0. Where 0 cannot occur it is a sign."""
    levels, falling = levels_of(value, _same(0, value, 2), [False, True])
    normal = [Threshold("normal", value.edge, part[:, None], falling).normal(value.type).levels for part in levels.T]
    if np.array_equal(*normal):
        return bipolar(build, name, value)
    levels, falling = _found(build, name, value, _same(0, value, 2), [False, True], lambda v: (v >= 0).astype(int) + (v > 0))
    edge, type = build.make(Threshold, name, value.edge, levels, falling, -1, 1)
    return Value.of(edge, type, Fraction(1), Fraction(0), value.axes, value.order)


def _trimmed(levels, falling, type):
    """Which levels (first, end) some channel neither always nor never reaches; at least one."""
    always = np.where(falling[:, None], levels >= type.hi, levels <= type.lo).all(axis=0)
    never = np.where(falling[:, None], levels < type.lo, levels > type.hi).all(axis=0)
    first, surplus = int(np.argmin([*always, False])), int(np.argmin([*never[::-1], False]))
    end = len(always) - surplus
    return (first, end) if first < end else (first - 1, first) if first == len(always) else (first, first + 1)


def quantized(build, name, value, scale, zero, low, high, rounding="ROUND"):
    """``(clip(round(value / scale + zero), low, high) - zero) * scale``.

    Levels that no value of the edge reaches, or that all reach, are left out; where the result only counts the steps of the
    edge, there is no operation.

    Parameters
    ----------
    scale, zero : numbers
        Scales are positive.
    low, high : int
    rounding : key of :data:`~bnnhw.importers.rational.REACHES`
    """
    if rounding not in REACHES:
        raise Inexpressible(f"the rounding mode is {rounding!r}", ", ".join(REACHES))
    scale = value.arranged("the scale", fractions("the scale", scale))
    zero = value.arranged("the zero point", fractions("the zero point", zero))
    if not np.all(scale > 0):
        raise Inexpressible(f"a scale is {float(min(scale))}", "positive scales")
    if not 0 < high - low < 2**16:
        raise Inexpressible(f"its integers reach from {low} to {high}", "2 to 65536 of them")
    # Of many levels most lie outside of what the edge reaches: they need no place.
    boundaries, excluded = zip(*(REACHES[rounding](k) for k in range(low + 1, high + 1)), strict=True)
    reach = [[v / s + z for v in ends] for ends, s, z in zip(_ends(value), scale, zero, strict=True)]
    least, most = min(min(r) for r in reach), max(max(r) for r in reach)
    kept = [k for k, boundary in enumerate(boundaries) if least - 1 <= boundary <= most + 1]
    kept = kept or [0 if boundaries[0] > most else len(boundaries) - 1]
    base, excluded = low + kept[0], [excluded[k] for k in kept]
    boundaries = (np.array([boundaries[k] for k in kept], object)[None, :] - zero[:, None]) * scale[:, None]
    s, z = (np.array([float(v) for v in part], np.float32) for part in (scale, zero))
    rounds = ROUNDING.get(rounding, np.rint)
    levels, falling = _found(build, name, value, boundaries, excluded, lambda v: np.clip(
        rounds(np.clip(v / s + z, low, high)) - base, 0, len(kept)).astype(int))
    first, end = _trimmed(levels, falling, value.type)
    levels, base = levels[:, first:end], base + first
    steps = value.type.lo + value.type.step * np.arange(1, value.type.levels)
    counted = Threshold("counted", value.edge, levels, falling, base, 1).normal(value.type).levels
    if not falling.any() and counted.shape[1] == len(steps) and np.all(counted == steps):
        one = scale / value.type.step       # the integer is base + (t - lo) / step
        return Value.of(value.edge, value.type, one, (base - zero) * scale - value.type.lo * one, value.axes, value.order)
    edge, type = build.make(Threshold, name, value.edge, levels, falling, base, 1)
    return Value.of(edge, type, scale, -zero * scale, value.axes, value.order)


def _ends(value):
    """For each channel the real values of the edge's ends."""
    for scale, offset, low, high in zip(value.scale, value.offset, value.low, value.high, strict=True):
        yield [min(max(scale * t + offset, low), high) for t in (value.type.lo, value.type.hi)]


def counted(build, name, value, levels, scale=1, offset=0):
    """``scale * (number of levels that the value is at least) + offset``; levels (C, L) or (1, L)."""
    levels = fractions("the levels", levels)
    if levels.ndim != 2 or len(levels) not in (1, value.channels) or not levels.size:
        raise Inexpressible(f"its levels have shape {levels.shape}", f"(1 or {value.channels}, L)")
    rows = value.arranged("the levels", np.arange(len(levels)))
    levels = levels[rows]
    floats = np.array([[float(v) for v in row] for row in levels], np.float32)
    scale, offset = (fractions("the scale", v).item() for v in (scale, offset))
    # Signs and small integers keep their own numbers; anything else counts from 0.
    whole = scale >= 1 and scale.denominator == offset.denominator == 1
    base, step = (int(offset), int(scale)) if whole else (0, 1)
    found, falling = _found(build, name, value, levels, [False] * levels.shape[1],
                            lambda v: sum((v >= column).astype(int) for column in floats.T))
    edge, type = build.make(Threshold, name, value.edge, found, falling, base, step)
    return Value.of(edge, type, scale / step, offset - base * scale / step, value.axes, value.order)


def materialized(build, name, value):
    """The same value without bounds.

    Where a ReLU or clip cuts values off, it becomes a threshold that counts the values that are left; in each channel they must
    be evenly spaced.
    """
    if not value.is_bounded.any():
        return replace(value, low=constant(-UNBOUNDED, value.channels), high=constant(UNBOUNDED, value.channels))
    accepted = "a Quant or sign behind it"
    if value.type.levels * value.channels > MOST_VALUES:
        raise Inexpressible(f"a ReLU or clip of {value.type.levels} different values goes on without a quantizer", accepted)
    attained = range(value.type.lo, value.type.hi + 1, value.type.step)
    left, steps = [], constant(Fraction(0), value.channels)
    for channel, (scale, offset, low, high) in enumerate(zip(value.scale, value.offset, value.low, value.high, strict=True)):
        left.append(sorted({min(max(scale * t + offset, low), high) for t in attained}))
        spaces = {b - a for a, b in zip(left[-1], left[-1][1:], strict=False)} or {Fraction(0)}
        if len(spaces) > 1:
            raise Inexpressible("a ReLU or clip whose values are not evenly spaced goes on without a quantizer", accepted)
        steps[channel] = spaces.pop()
    count = max(map(len, left)) - 1
    never = max(row[-1] for row in left) + 1
    boundaries = np.array([[*row[1:], *[never] * (count + 1 - len(row))] for row in left], object).reshape(len(left), count)
    if not count:
        raise Inexpressible("a ReLU or clip leaves a single value", accepted)
    floats = boundaries.astype(np.float64).astype(np.float32)
    levels, falling = _found(build, name, value, boundaries, [False] * count,
                             lambda v: sum((v >= column).astype(int) for column in floats.T))
    edge, type = build.make(Threshold, name, value.edge, levels, falling, 0, 1)
    return Value.of(edge, type, steps, np.array([row[0] for row in left], object), value.axes, value.order)
