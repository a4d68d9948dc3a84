"""PyTorch's operations on tensors that depend on the input, each as calls of the exact core.

Each handler has the signature of the function that it stands for, behind the walk (its ``build`` is the
:class:`~bnnhw.importers.exact.Builder`) and the node's name. Tensors that depend on the input are
:class:`~bnnhw.importers.value.Value`; all others are torch tensors or Python numbers.
"""

import math
import operator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import quantizers
from .onnx_windows import Padded
from .rational import Inexpressible, fractions
from .shapes import per_channel, viewed
from .torch_signs import array
from .value import UNBOUNDED, Value

__all__ = ["MODULES", "FUNCTIONS", "METHODS", "ACCEPTED", "is_value"]

ACCEPTED = ("declared sign functions, linear, conv2d, batch norm, max and average pools, add, sub, mul and div, relu, clamp, "
            "flatten, view, argmax")

DEVICES = ("cpu", "cuda", "mps", "xpu")


def is_value(x):
    return isinstance(x, (Value, Padded))


def _pair(what, value):
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) for v in pair):
        raise Inexpressible(f"its {what} is {value!r}", "an integer, or one for rows and one for columns")
    return pair


def _constant(what, x):
    if is_value(x):
        raise Inexpressible(f"its {what} depends on the input", "a constant")
    return x


def sign(walk, name, input):
    return quantizers.sign(walk.build, name, input)


# Layers

def linear(walk, name, input, weight, bias=None):
    weight = array(_constant("weight", weight))
    if input.axes != "NC" or weight.ndim != 2:
        raise Inexpressible(f"its input has the shape {input.shape}, its weights {weight.shape}", "a vector and a matrix")
    out = walk.build.dense(name, input, weight)
    return out if bias is None else out.added(array(_constant("bias", bias)))


def conv2d(walk, name, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    weight = array(_constant("weight", weight))
    before, pad_value = (0, 0, 0, 0), Fraction(0)
    if isinstance(input, Padded):
        input, before, pad_value = input.value, input.padding, input.pad
    if weight.ndim != 4 or input.axes != "NCHW":
        raise Inexpressible(f"its input has the dimensions {input.axes}, its weights the shape {weight.shape}", "maps N, C, H, W")
    if _pair("dilation", dilation) != (1, 1):
        raise Inexpressible(f"its dilation is {dilation}", "1")
    if padding == "same":
        totals = [size - 1 for size in weight.shape[2:]]
        own = tuple(side for total in totals for side in (total // 2, total - total // 2))
    else:
        rows, columns = (0, 0) if padding == "valid" else _pair("padding", padding)
        own = (rows, rows, columns, columns)
    if any(own) and any(before) and pad_value != 0:
        raise Inexpressible("it pads with 0 what is padded with another number already", "one kind of padding")
    padding, stride = tuple(a + b for a, b in zip(own, before, strict=True)), _pair("stride", stride)
    if groups == 1:
        out = walk.build.conv(name, input, weight.transpose(0, 2, 3, 1), stride, padding, pad_value)
    elif groups == input.channels == len(weight) and weight.shape[1] == 1:
        out = walk.build.depthwise(name, input, weight[:, 0], stride, padding, pad_value)
    else:
        raise Inexpressible(f"it has {groups} groups for {input.channels} channels in and {len(weight)} out",
                            "one group, or as many as channels in and out")
    return out if bias is None else out.added(array(_constant("bias", bias)))


def _conv_module(walk, name, module, input):
    if module.padding_mode != "zeros":
        raise Inexpressible(f"its padding_mode is {module.padding_mode!r}", "zeros, or a pad with a constant before it")
    return conv2d(walk, name, input, module.weight, module.bias, module.stride, module.padding, module.dilation, module.groups)


def batch_norm(walk, name, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training or running_mean is None:
        raise Inexpressible("it normalizes by the batch", "running statistics, in evaluation mode")
    if input.axes not in ("NC", "NCHW"):
        raise Inexpressible(f"its channels are not the second of the dimensions {input.axes}", "N, C or N, C, H, W")
    mean, var = (_constant("statistics", v) for v in (running_mean, running_var))
    gamma = torch.ones_like(mean) if weight is None else _constant("weight", weight)
    beta = torch.zeros_like(mean) if bias is None else _constant("bias", bias)
    exact = input.normalized(*(array(v) for v in (gamma, beta, mean, var)), float(eps))
    order = torch.arange(input.channels) if input.order is None else torch.from_numpy(np.argsort(input.order))
    own = [v.detach()[order] for v in (mean, var, gamma, beta)]     # in the edge's order

    @torch.no_grad()
    def float32(x):
        return F.batch_norm(torch.from_numpy(np.ascontiguousarray(x)).to(own[0].dtype), *own, False, 0.0, eps).float().numpy()
    return replace(exact, float32=input.float32.then(float32))


def _batch_norm_module(walk, name, module, input):
    return batch_norm(walk, name, input, module.running_mean, module.running_var, module.weight, module.bias,
                      module.training or module.running_mean is None, eps=module.eps)


# Windows

def _window(x, kernel_size, stride, padding, ceil_mode):
    kernel = _pair("kernel", kernel_size)
    stride = kernel if stride is None or stride == [] else _pair("stride", stride)
    if _pair("padding", padding) != (0, 0):
        raise Inexpressible(f"it pads by {padding}", "pools without padding")
    if ceil_mode and any((size - k) % s for size, k, s in zip(x.type.shape, kernel, stride, strict=False)):
        raise Inexpressible("ceil_mode gives windows that reach beyond the map", "ceil_mode False, or sizes that divide")
    return kernel, stride


def _map(x):
    if x.axes != "NCHW":
        raise Inexpressible(f"its input has the dimensions {x.axes}", "a map N, C, H, W")


def max_pool2d(walk, name, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    _map(input)
    if _pair("dilation", dilation) != (1, 1) or return_indices:
        raise Inexpressible("it is dilated or gives the places, too", "dilation 1, return_indices False")
    return walk.build.max_pool(name, input, *_window(input, kernel_size, stride, padding, ceil_mode))


def avg_pool2d(walk, name, input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):
    _map(input)
    kernel, stride = _window(input, kernel_size, stride, padding, ceil_mode)
    out = walk.build.average_pool(name, input, kernel, stride)
    return out if divisor_override is None else out.multiplied(Fraction(math.prod(kernel), divisor_override))


def adaptive_avg_pool2d(walk, name, input, output_size):
    _map(input)
    sizes = (output_size, output_size) if not isinstance(output_size, (tuple, list)) else output_size
    sizes = [size if wanted is None else wanted for wanted, size in zip(sizes, input.type.shape, strict=False)]
    if any(size % wanted for size, wanted in zip(input.type.shape, sizes, strict=False)):
        raise Inexpressible(f"it makes {tuple(sizes)} of {input.type.shape[:2]}", "a size that divides the input's")
    kernel = tuple(size // wanted for size, wanted in zip(input.type.shape, sizes, strict=False))
    return walk.build.average_pool(name, input, kernel, kernel)


def mean(walk, name, input, dim=None, keepdim=False):
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if sorted(input.axes[d] for d in dims) != ["H", "W"]:
        raise Inexpressible(f"it is the mean over the dimensions {dims} of {input.axes}", "height and width")
    pooled = walk.build.average_pool(name, input, input.type.shape[:2], (1, 1))
    return pooled if keepdim else walk.build.flatten(f"{name}_flat", pooled)


def pad(walk, name, input, pad, mode="constant", value=None):
    sides = tuple(pad)
    value = fractions("its value", 0.0 if value is None else float(value)).item()
    if isinstance(input, Padded) or mode != "constant" or len(sides) % 2 or any(sides[4:]) or min(sides, default=0) < 0:
        raise Inexpressible(f"it pads by {sides}, mode {mode!r}", "height and width, once, with a constant")
    _map(input)
    left, right, top, bottom = (*sides, 0, 0, 0, 0)[:4]
    return Padded(input, (top, bottom, left, right), value) if any(sides) else input


# Element by element

def _broadcast(value, other, what):
    return fractions(what, per_channel(value, array(other), what))


def add(walk, name, input, other, alpha=1):
    if is_value(input) and is_value(other):
        return walk.build.add(name, input, other if alpha == 1 else other.multiplied(alpha))
    value, other = (input, other) if is_value(input) else (other, input)
    if alpha != 1:
        raise Inexpressible(f"its alpha is {alpha}", "1 beside a constant")
    return value.added(_broadcast(value, other, "a term"))


def sub(walk, name, input, other, alpha=1):
    if alpha != 1:
        raise Inexpressible(f"its alpha is {alpha}", "1")
    if is_value(input) and is_value(other):
        return walk.build.add(name, input, other.multiplied(-1))
    if is_value(input):
        return input.added(-_broadcast(input, other, "a term"))
    return other.multiplied(-1).added(_broadcast(other, input, "a term"))


def mul(walk, name, input, other):
    if is_value(input) and is_value(other):
        raise Inexpressible("it multiplies two tensors that both depend on the input", "a constant factor")
    value, other = (input, other) if is_value(input) else (other, input)
    return value.multiplied(_broadcast(value, other, "a factor"))


def div(walk, name, input, other, rounding_mode=None):
    if not is_value(input) or is_value(other) or rounding_mode is not None:
        raise Inexpressible("it divides by a tensor that depends on the input, or rounds", "a constant divisor")
    return input.divided(_broadcast(input, other, "a divisor"))


def relu(walk, name, input, inplace=False):
    return input.clipped(Fraction(0), UNBOUNDED)


def clamp(walk, name, input, min=None, max=None):
    low, high = (infinite if v is None else fractions("its bound", float(_constant("bound", v))).item()
                 for v, infinite in ((min, -UNBOUNDED), (max, UNBOUNDED)))
    return input.clipped(low, high)


def hardtanh(walk, name, input, min_val=-1.0, max_val=1.0, inplace=False):
    return clamp(walk, name, input, min_val, max_val)


def same(walk, name, input, *args, **kwargs):
    """Operations that change nothing in evaluation mode."""
    return input


def to(walk, name, input, *args, **kwargs):
    for v in (*args, *kwargs.values()):
        if not (v in (torch.float32, torch.float64) or isinstance(v, (bool, torch.device)) or v is None
                or isinstance(v, str) and v.split(":")[0] in DEVICES):
            raise Inexpressible(f"it casts to {v if isinstance(v, (str, torch.dtype)) else type(v).__name__}",
                                "torch.float32, torch.float64, a device")
    return input


def dropout(walk, name, input, p=0.5, training=False, inplace=False):
    if training:
        raise Inexpressible("it drops elements in evaluation, too", "training=self.training")
    return input


# Shapes

def flatten(walk, name, input, start_dim=0, end_dim=-1):
    rank = len(input.shape)
    first, last = (dim % rank for dim in (start_dim, end_dim))
    if input.axes == "NC" and first == 1:
        return input
    if (first, last) != (1, rank - 1):
        raise Inexpressible(f"it flattens the dimensions {start_dim} to {end_dim} of {input.axes}", "all behind the batch")
    return walk.build.flatten(name, input)


def view(walk, name, input, *shape):
    sizes = [int(v) for v in (shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)]
    rest = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) > 1 or (-1 in sizes and (rest < 1 or math.prod(input.shape) % rest)):
        raise Inexpressible(f"it views {input.shape} as {tuple(sizes)}")
    sizes = tuple(math.prod(input.shape) // rest if size == -1 else size for size in sizes)
    if math.prod(sizes) != math.prod(input.shape):
        raise Inexpressible(f"it views {input.shape} as {sizes}: the batch is 1 here", "x.size(0) or -1 for the batch")
    return viewed(walk.build, name, input, sizes)


def reshape(walk, name, input, shape):
    return view(walk, name, input, *shape)


def unsqueeze(walk, name, input, dim):
    shape = list(input.shape)
    shape.insert(dim % (len(shape) + 1), 1)
    return viewed(walk.build, name, input, tuple(shape))


def squeeze(walk, name, input, dim=None):
    rank = len(input.shape)
    dims = range(1, rank) if dim is None else [d % rank for d in ((dim,) if isinstance(dim, int) else dim)]
    return viewed(walk.build, name, input, tuple(size for k, size in enumerate(input.shape) if k not in dims or size != 1))


def size(walk, name, input, dim=None):
    return torch.Size(input.shape) if dim is None else input.shape[dim]


def attribute(walk, name, input, key):
    if key == "shape":
        return torch.Size(input.shape)
    known = {"device": torch.device("cpu"), "dtype": torch.float32}
    if key not in known:
        raise Inexpressible(f"it takes the attribute {key!r} of a tensor", "shape, device, dtype")
    return known[key]


# The class

def argmax(walk, name, input, dim=None, keepdim=False):
    if len(input.shape) != 2 or dim not in (1, -1):
        raise Inexpressible(f"it takes the greatest along dimension {dim} of {input.shape}", "dimension 1 of scores (N, classes)")
    return walk.build.argmax(name, input)


def greatest(walk, name, input, dim=None, keepdim=False):
    return None, argmax(walk, name, input, dim)


def softmax(walk, name, input, dim=None, *args, **kwargs):
    if input.axes != "NC" or dim not in (1, -1) or not walk.only_ranked():
        raise Inexpressible("its values are used", "dimension 1, and an output or argmax behind it")
    return input


def _softmax_module(walk, name, module, input):
    return softmax(walk, name, input, module.dim)


def _constant_pad_module(walk, name, module, input):
    return pad(walk, name, input, module.padding, "constant", module.value)


# By exact type of module: what it does in evaluation mode.
MODULES = {
    nn.Linear: lambda walk, name, m, x: linear(walk, name, x, m.weight, m.bias), nn.Conv2d: _conv_module,
    nn.BatchNorm1d: _batch_norm_module, nn.BatchNorm2d: _batch_norm_module,
    nn.MaxPool2d: lambda walk, name, m, x: max_pool2d(walk, name, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode,
                                                      m.return_indices),
    nn.AvgPool2d: lambda walk, name, m, x: avg_pool2d(walk, name, x, m.kernel_size, m.stride, m.padding, m.ceil_mode,
                                                      m.count_include_pad, m.divisor_override),
    nn.AdaptiveAvgPool2d: lambda walk, name, m, x: adaptive_avg_pool2d(walk, name, x, m.output_size),
    nn.Flatten: lambda walk, name, m, x: flatten(walk, name, x, m.start_dim, m.end_dim),
    nn.ReLU: lambda walk, name, m, x: relu(walk, name, x), nn.ReLU6: lambda walk, name, m, x: clamp(walk, name, x, 0.0, 6.0),
    nn.Hardtanh: lambda walk, name, m, x: clamp(walk, name, x, m.min_val, m.max_val), nn.ConstantPad2d: _constant_pad_module,
    nn.ZeroPad2d: _constant_pad_module, nn.Softmax: _softmax_module, nn.LogSoftmax: _softmax_module,
} | {kind: lambda walk, name, m, x: x for kind in (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)}

FUNCTIONS = {
    F.linear: linear, F.conv2d: conv2d, torch.conv2d: conv2d, F.batch_norm: batch_norm, torch.sign: sign, torch.sgn: sign,
    F.max_pool2d: max_pool2d, torch.max_pool2d: max_pool2d, F.avg_pool2d: avg_pool2d, F.adaptive_avg_pool2d: adaptive_avg_pool2d,
    torch.mean: mean, F.pad: pad, F.relu: relu, torch.relu: relu, F.hardtanh: hardtanh, torch.clamp: clamp, torch.clip: clamp,
    F.dropout: dropout, torch.flatten: flatten, torch.reshape: reshape, torch.unsqueeze: unsqueeze, torch.squeeze: squeeze,
    torch.argmax: argmax, torch.max: greatest, F.softmax: softmax, F.log_softmax: softmax, torch.softmax: softmax,
    torch.log_softmax: softmax, getattr: attribute,
    operator.add: add, operator.iadd: add, torch.add: add, operator.sub: sub, operator.isub: sub, torch.sub: sub,
    operator.mul: mul, operator.imul: mul, torch.mul: mul, operator.truediv: div, operator.itruediv: div, torch.div: div,
    operator.neg: lambda walk, name, input: input.multiplied(-1), torch.neg: lambda walk, name, input: input.multiplied(-1),
}

METHODS = {
    "sign": sign, "sgn": sign, "mean": mean, "relu": relu, "relu_": relu, "clamp": clamp, "clamp_": clamp, "clip": clamp,
    "add": add, "add_": add, "sub": sub, "sub_": sub, "mul": mul, "mul_": mul, "div": div, "div_": div,
    "neg": lambda walk, name, input: input.multiplied(-1), "flatten": flatten, "view": view, "reshape": view,
    "unsqueeze": unsqueeze, "squeeze": squeeze, "size": size, "dim": lambda walk, name, input: len(input.shape),
    "argmax": argmax, "max": greatest, "softmax": softmax, "log_softmax": softmax, "to": to, "type": to,
} | {key: same for key in ("contiguous", "float", "double", "detach", "clone", "cpu")}
