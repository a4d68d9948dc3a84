"""ONNX operations on windows of a map: convolutions, pools, padding. As in :mod:`bnnhw.importers.onnx_nodes`."""

from dataclasses import dataclass

import numpy as np

from .rational import Inexpressible, fractions
from .value import Value

__all__ = ["Padded", "conv", "pad", "max_pool", "average_pool", "global_average_pool", "global_max_pool"]


@dataclass(frozen=True)
class Padded:
    """A map with constant places around it, which only a convolution can take."""
    value: Value
    padding: tuple      # top, bottom, left, right
    pad: object

    @property
    def shape(self):
        sizes = dict(zip(self.value.axes, self.value.shape, strict=True))
        sizes["H"] += sum(self.padding[:2])
        sizes["W"] += sum(self.padding[2:])
        return tuple(sizes[axis] for axis in self.value.axes)


def _is_map(value):
    if value.axes != "NCHW":
        raise Inexpressible(f"its input has the dimensions {value.axes}", "a map, N, C, H, W")


def _windows(node, value, kernel):
    """Stride and padding (top, bottom, left, right) of a node's attributes."""
    if len(kernel) != 2 or min(kernel) < 1:
        raise Inexpressible(f"its kernel is {tuple(kernel)}", "rows and columns")
    stride = tuple(node.attributes.get("strides", (1, 1)))
    if any(size != 1 for size in node.attributes.get("dilations", (1, 1))):
        raise Inexpressible(f"its dilations are {node.attributes['dilations']}", "1")
    if len(stride) != 2 or min(stride) < 1:
        raise Inexpressible(f"its strides are {stride}", "two positive integers")
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        padding = ()
        for size, k, s in zip(value.type.shape, kernel, stride, strict=False):
            total = max(0, (-(-size // s) - 1) * s + k - size)
            less, more = total // 2, total - total // 2
            padding += (less, more) if automatic == "SAME_UPPER" else (more, less)
        return stride, padding
    pads = tuple(node.attributes.get("pads", (0, 0, 0, 0))) if automatic == "NOTSET" else (0, 0, 0, 0)
    if len(pads) != 4 or automatic not in ("NOTSET", "VALID"):
        raise Inexpressible(f"its padding is {pads}, {automatic}", "four integers")
    return stride, (pads[0], pads[2], pads[1], pads[3])


def conv(walk, node, x, weights, bias=None):
    if isinstance(weights, Value) or isinstance(bias, Value):
        raise Inexpressible("its weights or bias are not constant")
    before, pad_value = (0, 0, 0, 0), 0
    if isinstance(x, Padded):
        x, before, pad_value = x.value, x.padding, x.pad
    _is_map(x)
    if weights.ndim != 4:
        raise Inexpressible(f"its weights have shape {weights.shape}", "two-dimensional kernels")
    stride, padding = _windows(node, x, weights.shape[2:])
    if any(padding) and any(before) and pad_value != 0:
        raise Inexpressible("it pads with 0 what is padded with another number already", "one kind of padding")
    padding = tuple(a + b for a, b in zip(padding, before, strict=True))
    sizes = [(size + sum(sides) - k) // s + 1 for size, sides, k, s in zip(
        x.type.shape, (padding[:2], padding[2:]), weights.shape[2:], stride, strict=False)]
    walk.expect(3, (*sizes, len(weights)))
    group = node.attributes.get("group", 1)
    if group == 1:
        out = walk.build.conv(node.name, x, weights.transpose(0, 2, 3, 1), stride, padding, pad_value)
    elif group == x.channels == len(weights) and weights.shape[1] == 1:
        out = walk.build.depthwise(node.name, x, weights[:, 0], stride, padding, pad_value)
    else:
        raise Inexpressible(f"it has {group} groups for {x.channels} channels in and {len(weights)} out",
                            "one group, or as many as channels (depthwise)")
    return [out if bias is None else out.added(bias)]


def pad(walk, node, x, pads=None, value=None, axes=None):
    pads = tuple(node.attributes.get("pads", ())) if pads is None else tuple(pads.reshape(-1).tolist())
    value = node.attributes.get("value", 0.0) if value is None else value
    if node.attributes.get("mode", "constant") != "constant" or axes is not None or np.size(value) != 1:
        raise Inexpressible("its mode is not one constant number around all dimensions", "mode constant")
    if len(pads) != 2 * len(x.shape) or min(pads) < 0:
        raise Inexpressible(f"its padding is {pads} for the shape {x.shape}", "no negative sizes")
    if not any(pads):
        return [x]
    _is_map(x)
    if any(pads[:2]) or any(pads[4:6]):
        raise Inexpressible(f"it pads batch or channels by {pads}", "padding of height and width")
    return [Padded(x, (pads[2], pads[6], pads[3], pads[7]), fractions("its value", value).reshape(()).item())]


def _pool(walk, node, x):
    _is_map(x)
    kernel = tuple(node.attributes.get("kernel_shape", ()))
    stride, padding = _windows(node, x, kernel)
    sizes = [(size + sum(sides) - k) // s + 1 for size, sides, k, s in zip(
        x.type.shape, (padding[:2], padding[2:]), kernel, stride, strict=False)]
    walk.expect(3, (*sizes, x.channels))
    if any(padding):
        raise Inexpressible(f"it pads by {padding}", "pools without padding")
    left = any((size - k) % s for size, k, s in zip(x.type.shape, kernel, stride, strict=False))
    if left and node.attributes.get("ceil_mode", 0):
        raise Inexpressible("ceil_mode gives windows that reach beyond the map", "ceil_mode 0, or sizes that divide")
    return kernel, stride


def max_pool(walk, node, x):
    if len(node.outputs) > 1:
        raise Inexpressible("it gives the places of the greatest, too", "one output")
    kernel, stride = _pool(walk, node, x)
    return [walk.build.max_pool(node.name, x, kernel, stride)]


def average_pool(walk, node, x):
    kernel, stride = _pool(walk, node, x)
    return [walk.build.average_pool(node.name, x, kernel, stride)]


def global_average_pool(walk, node, x):
    _is_map(x)
    return [walk.build.average_pool(node.name, x, x.type.shape[:2], (1, 1))]


def global_max_pool(walk, node, x):
    _is_map(x)
    return [walk.build.max_pool(node.name, x, x.type.shape[:2], (1, 1))]
