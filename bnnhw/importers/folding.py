"""ONNX operations on constants: shapes, weights and scales are computed where the graph is read.

Each function takes the node and its constant inputs (arrays, None where an optional one is left out) and gives an array.
"""

import math

import numpy as np
from onnx import TensorProto

from . import constants
from .constants import arithmetic, widened
from .rational import Inexpressible

__all__ = ["FOLDERS", "shape_of", "axes_of", "reshaped"]


def _integers(what, array):
    if array is None or array.dtype.kind != "i" or array.ndim > 1:
        raise Inexpressible(f"{what} must be constant integers")
    return tuple(array.reshape(-1).tolist())


def axes_of(node, inputs, at, rank, default=None):
    """Dimensions named by the attribute ``axes`` or, in newer files, by input ``at``; not negative."""
    given = node.attributes.get("axes")
    if given is None and len(inputs) > at and inputs[at] is not None:
        given = _integers("its axes", inputs[at])
    given = default if given is None else given
    if given is None:
        return None
    if any(not -rank <= axis < rank for axis in given) or len({axis % rank for axis in given}) != len(given):
        raise Inexpressible(f"its axes are {tuple(given)} for {rank} dimensions")
    return tuple(sorted(axis % rank for axis in given))


def reshaped(node, shape, wanted):
    """The shape that Reshape gives: 0 copies a size, -1 takes what is left."""
    wanted = _integers("its shape", wanted)
    if not node.attributes.get("allowzero", 0):
        if any(size == 0 and k >= len(shape) for k, size in enumerate(wanted)):
            raise Inexpressible(f"it reshapes {shape} to {wanted}")
        wanted = tuple(shape[k] if size == 0 else size for k, size in enumerate(wanted))
    if min(wanted, default=1) < -1 or wanted.count(-1) > 1:
        raise Inexpressible(f"it reshapes {shape} to {wanted}")
    rest = math.prod(size for size in wanted if size != -1)
    if -1 in wanted and rest and math.prod(shape) % rest == 0:
        wanted = tuple(math.prod(shape) // rest if size == -1 else size for size in wanted)
    if math.prod(wanted) != math.prod(shape) or -1 in wanted:
        raise Inexpressible(f"it reshapes {shape} to {wanted}")
    return wanted


def shape_of(node, shape):
    """What Shape gives."""
    return np.array(shape[slice(node.attributes.get("start", 0), node.attributes.get("end"))], np.int64)


def _constant(node):
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in node.attributes:
            value = node.attributes[key]
            return np.asarray(np.float32(value) if key.startswith("value_float") else value)
    raise Inexpressible("it has no value of numbers", "value, value_float, value_int, value_floats or value_ints")


def _filled(node, shape):
    shape = _integers("its shape", shape)
    if min(shape, default=1) < 0 or math.prod(shape) > constants.MOST_ELEMENTS:
        raise Inexpressible(f"its shape is {shape}", f"up to {constants.MOST_ELEMENTS} elements")
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
    return np.full(shape, value[0])


def _gather(node, x, indices):
    axis = node.attributes.get("axis", 0)
    size = x.shape[axis] if -x.ndim <= axis < x.ndim else 0
    if indices.dtype.kind != "i" or np.any((indices < -size) | (indices >= size)):
        raise Inexpressible("its axis or an index lies outside of its input")
    if indices.size * x.size > constants.MOST_ELEMENTS:
        raise Inexpressible("its result is too large")
    return np.take(x, indices, axis)


def _slice(node, x, starts=None, ends=None, axes=None, steps=None):
    if "starts" in node.attributes:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes"), None
    else:
        starts, ends = _integers("its starts", starts), _integers("its ends", ends)
        axes, steps = (None if v is None else _integers("its axes and steps", v) for v in (axes, steps))
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Inexpressible("its starts, ends, axes and steps differ in number")
    return constants.sliced(x, starts, ends, axes, steps)


def _concat(node, *arrays):
    axis = node.attributes.get("axis", 0)
    if sum(array.size for array in arrays) > constants.MOST_ELEMENTS:
        raise Inexpressible("its result is too large", f"up to {constants.MOST_ELEMENTS} elements")
    try:
        return np.concatenate(arrays, axis)
    except ValueError:
        raise Inexpressible(f"shapes {', '.join(str(a.shape) for a in arrays)} do not fit together along {axis}") from None


def _squeeze(node, x, axes=None):
    axes = axes_of(node, (x, axes), 1, x.ndim)
    axes = tuple(k for k, size in enumerate(x.shape) if size == 1) if axes is None else axes
    if any(x.shape[axis] != 1 for axis in axes):
        raise Inexpressible(f"it takes the dimensions {axes} of size 1 out of {x.shape}")
    return np.squeeze(x, axes)


def _unsqueeze(node, x, axes=None):
    rank = x.ndim + len(node.attributes.get("axes", axes if axes is not None else ()))
    return np.expand_dims(x, axes_of(node, (x, axes), 1, rank, default=()))


def _transpose(node, x):
    order = node.attributes.get("perm", tuple(range(x.ndim))[::-1])
    if sorted(order) != list(range(x.ndim)):
        raise Inexpressible(f"its order {tuple(order)} does not fit {x.ndim} dimensions")
    return np.transpose(x, order)


def _flatten(node, x):
    axis = node.attributes.get("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise Inexpressible(f"its axis is {axis} for {x.ndim} dimensions")
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _cast(node, x):
    kind = node.attributes.get("to")
    if kind in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return x.astype(np.float64) if x.dtype != object else x
    fits = x.dtype != object and np.all(np.abs(x.astype(np.float64)) < 2**31)
    if kind not in (TensorProto.INT64, TensorProto.INT32) or not fits:
        raise Inexpressible("it casts to another type than float, double, int32 or int64, or a number that does not fit")
    return x.astype(np.int64)


def _two(operation):
    return lambda node, a, b: arithmetic(operation, a, b)


def _clip(node, x, low=None, high=None):
    low = np.asarray(node.attributes.get("min", -np.inf)) if low is None else low
    high = np.asarray(node.attributes.get("max", np.inf)) if high is None else high
    return np.minimum(np.maximum(x, low), high)


def _bipolar(node, x, scale):
    return constants.bipolar(x, scale)


def _dequantized(node, x, scale, zero=None):
    rank, axis = x.ndim, node.attributes.get("axis", 1)

    def along(v):
        if v.size == 1:
            return v.reshape(())
        if not -rank <= axis < rank or v.shape != (x.shape[axis],):
            raise Inexpressible(f"its scale has shape {v.shape} for {x.shape}")
        return v.reshape([-1 if k == axis % rank else 1 for k in range(rank)])
    steps = x if zero is None else arithmetic("Sub", widened(x), widened(along(zero)))
    return arithmetic("Mul", widened(steps).astype(np.float64), along(scale))


FOLDERS = {
    "Constant": _constant, "ConstantOfShape": _filled, "Identity": lambda node, x: x, "Cast": _cast,
    "Shape": lambda node, x: shape_of(node, x.shape), "Gather": _gather, "Slice": _slice, "Concat": _concat, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Reshape": lambda node, x, shape: x.reshape(reshaped(node, x.shape, shape)), "Flatten": _flatten,
    "Transpose": _transpose, "Add": _two("Add"), "Sub": _two("Sub"), "Mul": _two("Mul"), "Div": _two("Div"),
    "Neg": lambda node, x: arithmetic("Mul", x, np.array(-1)), "Sqrt": lambda node, x: constants.power(x, np.array(0.5)),
    "Pow": lambda node, x, y: constants.power(x, y), "Reciprocal": lambda node, x: arithmetic("Div", np.array(1.0), x),
    "Abs": lambda node, x: np.abs(x), "Sign": lambda node, x: np.sign(x), "Clip": _clip, "BipolarQuant": _bipolar,
    "DequantizeLinear": _dequantized,
}
