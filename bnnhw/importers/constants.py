"""Constant tensors of a foreign graph, computed exactly: shapes, weights, scales.

An array is of integers, of float64 where every element is exact, else of fractions (dtype object). Roots have 512 bits
(:func:`bnnhw.importers.rational.root`).
"""

import math
from fractions import Fraction

import numpy as np

from .quantizers import ROUNDING
from .rational import REACHES, Inexpressible, fractions, root

__all__ = ["MOST_ELEMENTS", "widened", "arithmetic", "power", "bipolar", "integer_limits", "quantized", "sliced"]

MOST_ELEMENTS = 2**25
SPLIT = 2.0**27 + 1     # Dekker's, for 53 bits
SAFE = (1e-100, 1e100)  # where splitting neither overflows nor loses bits
DOUBT = 2.0**-40        # relative: nearer to a boundary than this a float64 quotient is looked at again
MOST_DOUBTS = 2**20
HALVES = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN")     # rounding modes whose boundaries lie between the integers


def widened(array):
    """The array with elements of int64, float64 or fractions; bool stays."""
    if array.dtype.kind == "f":
        return array.astype(np.float64, copy=False)
    return array.astype(np.int64, copy=False) if array.dtype.kind in "iu" else array


def _sum_is_exact(a, b, total):
    other = total - a
    return np.all((a - (total - other)) + (b - other) == 0)


def _split(a):
    high = SPLIT * a - (SPLIT * a - a)
    return high, a - high


def _product_is_exact(a, b, product):
    sizes = np.abs([np.broadcast_to(v, product.shape) for v in (a, b, product)])
    if np.any((sizes != 0) & ((sizes < SAFE[0]) | (sizes > SAFE[1]))) or not np.all((product != 0) | (a == 0) | (b == 0)):
        return False
    (ah, al), (bh, bl) = _split(a), _split(b)
    return np.all(al * bl - (((product - ah * bh) - al * bh) - ah * bl) == 0)


def _float64(operation, a, b):
    """The result in float64, None where it is not exact."""
    with np.errstate(all="ignore"):
        if operation in ("Add", "Sub"):
            b = b if operation == "Add" else -b
            out = a + b
            return out if np.isfinite(out).all() and _sum_is_exact(a, b, out) else None
        out = a * b if operation == "Mul" else a / b
        if not np.isfinite(out).all():
            return None
        parts = (a, b, out) if operation == "Mul" else (out, b, np.broadcast_to(a, out.shape))
        return out if _product_is_exact(*parts) and np.all(parts[0] * parts[1] == parts[2]) else None


def arithmetic(operation, a, b):
    """"Add", "Sub", "Mul" or "Div" of two constants, broadcast, exact. Integers divide as ONNX has it: towards 0."""
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise Inexpressible(f"shapes {a.shape} and {b.shape} do not fit together") from None
    if math.prod(shape) > MOST_ELEMENTS:
        raise Inexpressible(f"its result has {math.prod(shape)} elements", f"up to {MOST_ELEMENTS}")
    if a.dtype.kind in "iub" and b.dtype.kind in "iub":
        a, b = np.asarray(a, object), np.asarray(b, object)
        if operation == "Div" and np.any(b == 0):
            raise Inexpressible("it divides by 0")
        out = {"Add": lambda: a + b, "Sub": lambda: a - b, "Mul": lambda: a * b,
               "Div": lambda: abs(a) // abs(b) * np.sign(a) * np.sign(b)}[operation]()
        if any(abs(v) >= 2**62 for v in np.asarray(out).reshape(-1)):
            raise Inexpressible("its integers exceed 62 bits")
        return np.asarray(out).astype(np.int64)
    for array in (a, b):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Inexpressible(f"a constant is {array[~np.isfinite(array)][0]}", "finite numbers")
    if operation == "Div" and not np.all(b != 0):
        raise Inexpressible("it divides by 0")
    if object not in (a.dtype, b.dtype):
        out = _float64(operation, a.astype(np.float64), b.astype(np.float64))
        if out is not None:
            return np.asarray(out)
    a, b = fractions("a constant", a), fractions("a constant", b)
    if math.prod(shape) > 2**22:
        raise Inexpressible(f"its result has {math.prod(shape)} elements that are not exact in 53 bits")
    compute = {"Add": lambda: a + b, "Sub": lambda: a - b, "Mul": lambda: a * b, "Div": lambda: a / b}[operation]
    return np.asarray(compute(), object)


def power(base, exponent):
    """``base ** exponent`` for one exponent: 1/2, or an integer from -4 to 4."""
    if exponent.size != 1:
        raise Inexpressible("it has several exponents", "one")
    exponent, base = fractions("the exponent", exponent).item(), fractions("a constant", base)
    if exponent == Fraction(1, 2):
        if np.any(base < 0):
            raise Inexpressible(f"the root of {float(min(base.reshape(-1))):g}", "numbers that are not negative")
        out = [root(v) for v in base.reshape(-1)]
    elif exponent.denominator == 1 and abs(exponent) <= 4 and (exponent >= 0 or np.all(base != 0)):
        out = [v ** int(exponent) for v in base.reshape(-1)]
    else:
        raise Inexpressible(f"the exponent is {float(exponent):g}", "0.5, or an integer from -4 to 4")
    array = np.empty(base.size, object)
    array[:] = out
    return array.reshape(base.shape)


def bipolar(x, scale):
    """``scale`` where ``x`` is at least 0, else ``-scale``."""
    if x.dtype.kind == "f" and np.isnan(x).any():
        raise Inexpressible("a weight is nan", "numbers")
    return arithmetic("Mul", np.where(x >= 0, 1.0, -1.0), scale)


def integer_limits(bits, signed, narrow):
    """Least and greatest integer of a quantizer. Raises :exc:`Inexpressible` where ``bits`` is no small integer."""
    bits = fractions("the bit width", bits)
    if bits.size != 1 or bits.item().denominator != 1 or not 1 <= bits.item() <= 32:
        raise Inexpressible("its bit width is " + (f"{float(bits.item()):g}" if bits.size == 1 else "not one number"),
                            "one integer from 1 to 32")
    bits = int(bits.item())
    return (-(2**(bits - 1)) + narrow, 2**(bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)


def quantized(x, scale, zero, low, high, rounding):
    """``(clip(round(x / scale + zero), low, high) - zero) * scale`` of weights.

    Returns
    -------
    array, and the number of weights that float32 arithmetic would quantize otherwise.
    """
    if rounding not in REACHES:
        raise Inexpressible(f"the rounding mode is {rounding!r}", ", ".join(REACHES))
    for array in (x, scale, zero):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Inexpressible(f"a weight or scale is {array[~np.isfinite(array)][0]}", "finite numbers")
    if not np.all(scale > 0):
        raise Inexpressible("a scale is not positive", "positive scales")
    try:
        x, scale, zero = np.broadcast_arrays(x, scale, zero)
    except ValueError:
        raise Inexpressible("the shapes of weights, scale and zero point do not fit together") from None
    rounds = ROUNDING.get(rounding, np.rint)
    near = np.asarray(x, np.float64) / np.asarray(scale, np.float64) + np.asarray(zero, np.float64)
    codes = np.clip(rounds(near), low, high)
    boundary = np.floor(near) + 0.5 if rounding in HALVES else np.rint(near)
    doubtful = np.abs(near - boundary) <= DOUBT * (1 + np.abs(near) + np.abs(zero.astype(np.float64)))
    if np.count_nonzero(doubtful) > MOST_DOUBTS:
        raise Inexpressible(f"{np.count_nonzero(doubtful)} weights lie on a boundary of their quantizer", f"up to {MOST_DOUBTS}")
    for place in map(tuple, np.argwhere(doubtful)):
        value, unit, shift = (fractions("a weight", np.asarray(v[place])).item() for v in (x, scale, zero))
        codes[place] = min(max(_rounded(value / unit + shift, rounding), low), high)
    with np.errstate(all="ignore"):
        single = np.clip(rounds(x.astype(np.float32) / scale.astype(np.float32) + zero.astype(np.float32)), low, high)
    return arithmetic("Mul", arithmetic("Sub", codes, zero), scale), int(np.count_nonzero(single != codes))


def _rounded(value, rounding):
    """The greatest integer that ``value``, rounded, reaches."""
    for k in range(math.floor(value) + 1, math.floor(value) - 2, -1):
        boundary, excluded = REACHES[rounding](k)
        if value > boundary or (value == boundary and not excluded):
            return k
    raise AssertionError(f"{value} does not round to an integer beside it")


def sliced(x, starts, ends, axes, steps):
    """ONNX's Slice."""
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -x.ndim <= axis < x.ndim or step == 0:
            raise Inexpressible(f"it slices dimension {axis} of {x.ndim} by steps of {step}")
        size = x.shape[axis]
        end = None if step < 0 and end < -size else end
        index[axis] = slice(start, end, step)
    return x[tuple(index)]
