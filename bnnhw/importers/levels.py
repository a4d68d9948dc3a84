"""Where a quantizer's levels lie on the integers of an edge: found by rational arithmetic, and what float32 makes of them.

A channel's real value is ``clip(scale * t + offset, low, high)``. A level is a boundary and whether the boundary itself is
excluded. With a positive scale it is reached by all ``t`` from some integer on (rising), with a negative one by all up to
some integer (falling), with scale 0 by all or by none.
"""

import math
from fractions import Fraction

import numpy as np

from .rational import Inexpressible, distinct

__all__ = ["MOST_LEVELS", "levels_of", "differing"]

MOST_LEVELS = 2**10     # of one threshold: more than 8 bits have
MOST_BOUNDARIES = 2**20 # of all its channels


def _reached(value, boundary, excluded, what):
    difference = distinct(value - boundary, what) if isinstance(value, Fraction) else value - boundary
    return difference > 0 or (difference == 0 and not excluded)


def _integer(quotient, excluded, falling, what):
    """The last integer that reaches, seen from the boundary at ``quotient``."""
    distinct(quotient - round(quotient), what)
    if falling:
        return math.ceil(quotient) - 1 if excluded else math.floor(quotient)
    return math.floor(quotient) + 1 if excluded else math.ceil(quotient)


def levels_of(value, boundaries, excluded):
    """Integer levels, in the order of ``boundaries``.

    Parameters
    ----------
    value : Value
    boundaries : object array (C, L)
        Fractions, in the edge's order of channels.
    excluded : bool array (L,)
        Whether the boundary itself does not reach the level.

    Returns
    -------
    levels : int64 array (C, L)
        "Always" and "never" as in :class:`~bnnhw.ir.Threshold`'s normal form, others not more than one step outside.
    falling : bool array (C,)
    """
    if boundaries.shape[1] > MOST_LEVELS or boundaries.size > MOST_BOUNDARIES:
        raise Inexpressible(f"it has {boundaries.shape[1]} levels in {len(boundaries)} channels",
                            f"up to {MOST_LEVELS}, and {MOST_BOUNDARIES} in all")
    type, falling = value.type, np.array([scale < 0 for scale in value.scale])
    levels = np.empty(boundaries.shape, np.int64)
    for channel, (scale, offset, low, high) in enumerate(zip(value.scale, value.offset, value.low, value.high, strict=True)):
        what = f"channel {channel}"
        always, never = (type.hi, type.lo - type.step) if scale < 0 else (type.lo, type.hi + type.step)
        fixed = None if scale else min(max(offset, low), high)
        for k, (boundary, without) in enumerate(zip(boundaries[channel], excluded, strict=True)):
            if fixed is not None:
                level = always if _reached(fixed, boundary, without, what) else never
            elif _reached(low, boundary, without, what):
                level = always
            elif not _reached(high, boundary, without, what):
                level = never
            else:
                level = _integer((boundary - offset) / scale, without, scale < 0, what)
            levels[channel, k] = min(max(level, type.lo - type.step), type.hi + type.step)
    return levels, falling


def differing(value, levels, falling, count):
    """Where float32 decides otherwise than the levels say.

    Parameters
    ----------
    value : Value
    levels, falling
        Of :func:`levels_of`.
    count : callable
        float32 array (K, C) of real values -> int array (K, C): the number of levels reached, in float32.

    Returns
    -------
    list of (channel, integer)
        Every integer next to a level at which the two differ.
    """
    type = value.type
    up = type.lo + -(-(levels - type.lo) // type.step) * type.step
    down = type.lo + (levels - type.lo) // type.step * type.step
    beside = np.where(falling[:, None], down + type.step, up - type.step)
    tried = np.clip(np.concatenate([np.where(falling[:, None], down, up), beside], axis=1), type.lo, type.hi).T
    exact = np.empty(tried.shape, np.int64)
    for channel, row in enumerate(levels):
        ordered = np.sort(row)
        exact[:, channel] = (len(row) - np.searchsorted(ordered, tried[:, channel], "left") if falling[channel]
                             else np.searchsorted(ordered, tried[:, channel], "right"))
    with np.errstate(all="ignore"):
        found = np.asarray(count(value.float32(tried)))
    return sorted({(int(channel), int(tried[row, channel])) for row, channel in np.argwhere(found != exact)})
