"""ONNX and QONNX operations on tensors that depend on the input, each as calls of the exact core.

Each function takes the walk (its ``build`` is the :class:`~bnnhw.importers.exact.Builder`), the node and its inputs: a
:class:`~bnnhw.importers.value.Value`, an array (a constant), or None where an optional one is left out. It gives the outputs.
"""

import math
from fractions import Fraction

import numpy as np
from onnx import TensorProto

from . import quantizers
from .constants import integer_limits
from .folding import axes_of, reshaped, shape_of
from .onnx_windows import average_pool, conv, global_average_pool, global_max_pool, max_pool, pad
from .rational import Inexpressible, fractions
from .shapes import per_channel, viewed
from .value import UNBOUNDED, Value

__all__ = ["HANDLERS", "ACCEPTED"]

ACCEPTED = ("Quant, BipolarQuant, MultiThreshold, Sign, MatMul, Gemm, Conv, BatchNormalization, Add, Sub, Mul, Div, Relu, Clip, "
            "MaxPool, AveragePool, GlobalAveragePool, Flatten, Reshape, Transpose, ArgMax, TopK")

FLOATS, INTEGERS = (TensorProto.FLOAT, TensorProto.DOUBLE), (TensorProto.INT32, TensorProto.INT64)


def _is_value(x):
    return isinstance(x, Value)


def _add(walk, node, a, b):
    if _is_value(a) and _is_value(b):
        return [walk.build.add(node.name, a, b)]
    value, constant = (a, b) if _is_value(a) else (b, a)
    return [value.added(per_channel(value, constant, "a term"))]


def _sub(walk, node, a, b):
    if _is_value(a) and _is_value(b):
        return [walk.build.add(node.name, a, b.multiplied(-1))]
    if _is_value(a):
        return [a.added(-fractions("a term", per_channel(a, b, "a term")))]
    return [b.multiplied(-1).added(per_channel(b, a, "a term"))]


def _mul(walk, node, a, b):
    if _is_value(a) and _is_value(b):
        raise Inexpressible("it multiplies two tensors that both depend on the input", "a constant factor")
    value, constant = (a, b) if _is_value(a) else (b, a)
    return [value.multiplied(per_channel(value, constant, "a factor"))]


def _div(walk, node, a, b):
    if not _is_value(a) or _is_value(b):
        raise Inexpressible("it divides by a tensor that depends on the input", "a constant divisor")
    return [a.divided(per_channel(a, b, "a divisor"))]


def _cast(walk, node, x):
    kind = node.attributes.get("to")
    whole = all(v.denominator == 1 for part in (x.scale, x.offset) for v in part) and not x.is_bounded.any()
    if kind not in FLOATS and not (kind in INTEGERS and whole):
        raise Inexpressible(f"it casts to type {kind}", "float, double, or int32 and int64 of what are integers")
    return [x]


def _batch_norm(walk, node, x, gamma, beta, mean, variance):
    if node.attributes.get("training_mode", 0):
        raise Inexpressible("it is in training mode", "a model in evaluation mode")
    if x.axes not in ("NC", "NCHW"):
        raise Inexpressible(f"its channels are not the second of the dimensions {x.axes}", "NC or NCHW")
    epsilon = np.float32(node.attributes.get("epsilon", 1e-5))
    return [x.normalized(gamma, beta, mean, variance, epsilon)] + [None] * (len(node.outputs) - 1)


def _clip(walk, node, x, low=None, high=None):
    ends = []
    for key, given, default in (("min", low, -UNBOUNDED), ("max", high, UNBOUNDED)):
        given = node.attributes.get(key) if given is None else given
        if given is not None and np.size(given) != 1:
            raise Inexpressible(f"its {key} is not one number")
        ends.append(default if given is None or math.isinf(float(np.reshape(given, ())))
                    else fractions(f"its {key}", given).reshape(()).item())
    return [x.clipped(*ends)]


def _bipolar_quant(walk, node, x, scale):
    return [quantizers.bipolar(walk.build, node.name, x, per_channel(x, scale, "its scale"))]


def _quant(walk, node, x, scale, zero, bits):
    scale, zero = per_channel(x, scale, "its scale"), per_channel(x, zero, "its zero point")
    signed, narrow = bool(node.attributes.get("signed", 1)), bool(node.attributes.get("narrow", 1))
    low, high = integer_limits(bits, signed, narrow)
    if signed and bits.size == 1 and bits.item() == 1:
        # A sign of value / scale + zero; its output is (sign - zero) * scale.
        scale, zero = fractions("its scale", scale), fractions("its zero point", zero)
        if not np.all(scale > 0):
            raise Inexpressible("a scale is not positive", "positive scales")
        sign = quantizers.bipolar(walk.build, node.name, x.divided(scale).added(zero))
        return [sign.added(-zero).multiplied(scale)]
    mode = node.attributes.get("rounding_mode", "ROUND").upper()
    return [quantizers.quantized(walk.build, node.name, x, scale, zero, low, high, mode)]


def _multi_threshold(walk, node, x, levels):
    layout = node.attributes.get("data_layout", "") or {2: "NC", 3: "NWC", 4: "NCHW"}.get(len(x.shape), "")
    if "C" in x.axes and layout.find("C") != x.axes.index("C"):
        raise Inexpressible(f"its data layout is {layout!r} for the dimensions {x.axes}")
    scale, offset = (np.float32(node.attributes.get(key, default)) for key, default in (("out_scale", 1.0), ("out_bias", 0.0)))
    return [quantizers.counted(walk.build, node.name, x, levels, scale, offset)]


def _quantize_linear(walk, node, x, scale, zero=None):
    kind = np.dtype(np.uint8) if zero is None else walk.dtypes.get(node.inputs[2], zero.dtype)
    zero = np.zeros(1) if zero is None else zero
    if scale.size != 1 or zero.size != 1:
        raise Inexpressible("its scale or zero point is not one number", "one scale for the tensor")
    limits = np.iinfo(kind) if kind.kind in "iu" else None
    if limits is None or limits.bits > 8:
        raise Inexpressible(f"its integers are of type {kind}", "int8 or uint8")
    # Rounded first, then shifted: half to even of the quotient.
    shift, scale = int(zero.item()), scale.reshape(1)
    value = quantizers.quantized(walk.build, node.name, x, scale, 0, limits.min - shift, limits.max - shift)
    return [value.divided(scale).added(shift)]


def _dequantize_linear(walk, node, x, scale, zero=None):
    if scale.size != 1 or (zero is not None and zero.size != 1):
        raise Inexpressible("its scale or zero point is not one number", "one scale for the tensor")
    return [x.added(0 if zero is None else -int(zero.item())).multiplied(scale.reshape(1))]


def _matrix(walk, node, x, weights):
    """``x @ weights`` for weights (C_in, C_out)."""
    if x.axes == "NHWC" and weights.ndim == 2:
        return walk.build.conv(node.name, x, weights.T[:, None, None, :])
    return walk.build.dense(node.name, x, weights.T)


def _matmul(walk, node, a, b):
    if not _is_value(a) or _is_value(b):
        raise Inexpressible("its second input is not constant", "tensor @ constant weights")
    walk.expect(1, (b.shape[-1],) if b.ndim == 2 else ())
    if b.ndim != 2:
        raise Inexpressible(f"its weights have shape {b.shape}", "a matrix")
    return [_matrix(walk, node, a, b)]


def _gemm(walk, node, a, b, c=None):
    if not _is_value(a) or _is_value(b) or _is_value(c):
        raise Inexpressible("its weights or bias are not constant", "tensor @ constant weights + constant")
    weights = b.T if node.attributes.get("transB", 0) else b
    walk.expect(1, weights.shape[-1:])
    if node.attributes.get("transA", 0) or weights.ndim != 2:
        raise Inexpressible("it transposes its first input")
    out = _matrix(walk, node, a, weights)
    alpha, beta = (np.float32(node.attributes.get(key, 1.0)) for key in ("alpha", "beta"))
    out = out if alpha == 1 else out.multiplied(alpha)
    return [out if c is None else out.added(fractions("its bias", per_channel(out, c, "its bias")) * Fraction(float(beta)))]


def _reshape(walk, node, x, shape):
    return [viewed(walk.build, node.name, x, reshaped(node, x.shape, shape))]


def _flatten(walk, node, x):
    axis = node.attributes.get("axis", 1)
    if axis not in (1, 1 - len(x.shape)):
        raise Inexpressible(f"its axis is {axis}", "axis 1")
    return [viewed(walk.build, node.name, x, (1, math.prod(x.shape)))]


def _squeeze(walk, node, x, axes=None):
    axes = axes_of(node, (x, axes), 1, len(x.shape), tuple(k for k, size in enumerate(x.shape) if size == 1 and k))
    if any(x.shape[axis] != 1 for axis in axes):
        raise Inexpressible(f"it takes the dimensions {axes} of size 1 out of {x.shape}")
    return [viewed(walk.build, node.name, x, tuple(size for k, size in enumerate(x.shape) if k not in axes))]


def _unsqueeze(walk, node, x, axes=None):
    rank = len(x.shape) + len(node.attributes.get("axes", axes if axes is not None else ()))
    axes = axes_of(node, (x, axes), 1, rank, ())
    sizes = iter(x.shape)
    return [viewed(walk.build, node.name, x, tuple(1 if k in axes else next(sizes) for k in range(rank)))]


def _transpose(walk, node, x):
    order = node.attributes.get("perm", tuple(range(len(x.shape)))[::-1])
    if sorted(order) != list(range(len(x.shape))):
        raise Inexpressible(f"its order is {tuple(order)} for {len(x.shape)} dimensions")
    axes = "".join(x.axes[k] for k in order)
    if axes[0] != "N":
        raise Inexpressible(f"it moves the batch dimension: {x.axes} becomes {axes}", "an order that begins with 0")
    return [Value(x.edge, x.type, x.scale, x.offset, x.low, x.high, x.float32, axes, x.order)]


def _arg_max(walk, node, x):
    if node.attributes.get("axis", 0) not in (1, 1 - len(x.shape)) or node.attributes.get("select_last_index", 0):
        raise Inexpressible("it is not the first greatest along axis 1", "axis 1, select_last_index 0")
    return [walk.build.argmax(node.name, x)]


def _top_k(walk, node, x, k=None):
    k = node.attributes.get("k") if k is None else k
    if k is None or np.size(k) != 1 or int(np.reshape(k, ())) != 1 or not node.attributes.get("largest", 1) or (
            node.attributes.get("axis", -1) not in (-1, len(x.shape) - 1)):
        raise Inexpressible("it is not the greatest one along the last axis", "k 1, largest 1, the last axis")
    return [None, walk.build.argmax(node.name, x)]


def _ranked(walk, node, x):
    """Operations that keep the order of the scores, where nothing but the order is used behind them."""
    if x.axes != "NC" or not walk.only_ranked(node.outputs[0]):
        raise Inexpressible("its values are used", "an output or an ArgMax behind it, which need only their order")
    return [x]


def _mean(walk, node, x, axes=None):
    axes = axes_of(node, (x, axes), 1, len(x.shape))
    if axes is None or sorted(x.axes[k] for k in axes) != ["H", "W"]:
        raise Inexpressible("it is not the mean over height and width", "the two axes of a map")
    pooled = walk.build.average_pool(node.name, x, x.type.shape[:2], (1, 1))
    keep = node.attributes.get("keepdims", 1)
    return [pooled if keep else walk.build.flatten(f"{node.name}_flat", pooled)]


HANDLERS = {
    "Identity": lambda walk, node, x: [x], "Dropout": lambda walk, node, x, *rest: [x, None], "Cast": _cast, "Add": _add,
    "Sub": _sub, "Mul": _mul, "Div": _div, "Neg": lambda walk, node, x: [x.multiplied(-1)], "BatchNormalization": _batch_norm,
    "Relu": lambda walk, node, x: [x.clipped(Fraction(0), UNBOUNDED)], "Clip": _clip,
    "Sign": lambda walk, node, x: [quantizers.sign(walk.build, node.name, x)], "BipolarQuant": _bipolar_quant, "Quant": _quant,
    "IntQuant": _quant, "MultiThreshold": _multi_threshold, "QuantizeLinear": _quantize_linear,
    "DequantizeLinear": _dequantize_linear, "MatMul": _matmul, "Gemm": _gemm, "Conv": conv, "Pad": pad, "MaxPool": max_pool,
    "AveragePool": average_pool, "GlobalAveragePool": global_average_pool, "GlobalMaxPool": global_max_pool, "ReduceMean": _mean,
    "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose,
    "Shape": lambda walk, node, x: [shape_of(node, x.shape)], "ArgMax": _arg_max, "TopK": _top_k, "Softmax": _ranked,
    "LogSoftmax": _ranked,
}
