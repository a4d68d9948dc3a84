"""What each layer of Keras, Larq and QKeras means, by the calls of :class:`~bnnhw.importers.exact.Builder` that make it.

A handler takes the walk, the layer and its input, a :class:`~bnnhw.importers.value.Value` or a map with zeros around it
(:class:`~bnnhw.importers.onnx_windows.Padded`), and returns the result. Maps are channel-last.
"""

import math
from fractions import Fraction

import numpy as np

from .keras_quantizers import applied, constant_of, is_softmax, weighed
from .onnx_windows import Padded
from .rational import Inexpressible, fractions
from .shapes import viewed
from .value import UNBOUNDED

__all__ = ["HANDLERS", "JOINING", "ACCEPTED"]

SMALL = 2**12           # denominator of a scale that is meant as a quotient, such as 1/127.5
NO_PADDING = (0, 0, 0, 0)


def _map(value):
    if value.axes != "NHWC":
        raise Inexpressible(f"its input has the shape {value.shape}", "a map (N, H, W, C)")


def _plain(x):
    if isinstance(x, Padded):
        raise Inexpressible("its input is padded", "a convolution behind ZeroPadding2D, at most a quantizer between")
    return x


def activated(walk, layer, x, suffix="_activation"):
    """The result behind the activation that many layers have as a setting."""
    spec = layer.config.get("activation")
    if is_softmax(spec):
        if _plain(x).axes != "NC" or layer.key not in walk.outputs:
            raise Inexpressible("its softmax goes on", "a softmax as the last thing of all, over a vector")
        return x
    return applied(walk.build, layer.name + suffix, x, spec)


# Layers with weights

def _quantized_input(walk, layer, x):
    return applied(walk.build, f"{layer.name}_input", x, layer.config.get("input_quantizer"))


def _weights(walk, layer, shape, outputs, names=("kernel",), key="kernel_quantizer"):
    """(quantized kernel, None or a factor for each output channel, None or the bias) of a layer.

    ``names``: what the kernel may be called; ``key``: the setting with its quantizer.
    """
    layer.only("mask", None)
    layer.only("lora_rank", None)
    stored = walk.stored.names(layer.name)
    kernel, facts = next((name for name in names if name in stored), names[0]), {}
    found = walk.stored.weights(layer.name, {kernel: shape} | ({"bias": (outputs,)} if layer.flag("use_bias", True) else {}))
    array, factor = weighed(found[kernel], layer.config.get(key), facts)
    if facts:
        walk.facts.setdefault("float32_weights", {})[layer.name] = facts["differing"]
    return array, factor, found.get("bias")


def _finished(walk, layer, out, factor, bias):
    """A matrix product or convolution with its factor, bias and activation."""
    if factor is not None:
        out = out.multiplied(factor)
    if bias is not None:
        out = out.added(constant_of(bias, layer.config.get("bias_quantizer")))
    return activated(walk, layer, out)


def dense(walk, layer, x):
    units = layer.integer("units")
    walk.expect(_plain(x).type.shape[:-1] + (units,))
    layer.only("quantization_config", None)
    x = _quantized_input(walk, layer, x)
    if x.axes != "NC":
        raise Inexpressible(f"its input has the shape {x.shape}", "a vector: Flatten before it")
    kernel, factor, bias = _weights(walk, layer, (x.channels, units), units)
    return _finished(walk, layer, walk.build.dense(layer.name, x, kernel.T), factor, bias)


def _same(size, kernel, stride):
    """TensorFlow's rule for padding="same": what is left over of a side comes behind."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _windows(walk, layer, x, kernel, stride, channels):
    """Padding (top, bottom, left, right) and the number it is made of; the input without zeros around it."""
    padded = x if isinstance(x, Padded) else Padded(x, NO_PADDING, Fraction(0))
    _map(padded.value)
    mode, padding, pad = layer.text("padding", "valid").lower(), padded.padding, padded.pad
    if mode not in ("valid", "same"):
        raise Inexpressible(f"its padding is {mode[:60]!r}", "valid or same")
    if mode == "same":
        more = [side for size, k, s in zip(padded.shape[1:3], kernel, stride, strict=True) for side in _same(size, k, s)]
        filling = fractions("its pad_values", layer.number("pad_values", 0)).item()
        if any(padding) and any(more) and filling != pad:
            raise Inexpressible(f"it pads with {float(filling):g} what is padded with {float(pad):g} already",
                                "one kind of padding")
        padding, pad = tuple(a + b for a, b in zip(padding, more, strict=True)), filling if any(more) else pad
    height, width = padded.value.type.shape[:2]
    sizes = [(size - k) // s + 1 for size, k, s in zip((height + sum(padding[:2]), width + sum(padding[2:])), kernel, stride,
                                                       strict=True)]
    walk.expect((*sizes, channels))
    layer.only("data_format", "channels_last", None)
    layer.only("dilation_rate", 1, [1, 1], (1, 1))
    return padded.value, padding, pad


def _quantized_windows(walk, layer, x, *sizes):
    """As :func:`_windows`, behind the layer's quantizer of its input."""
    _windows(walk, layer, x, *sizes)        # first what shape the result has, should the quantizer be refused
    return _windows(walk, layer, _quantized_input(walk, layer, x), *sizes)


def conv2d(walk, layer, x):
    size, stride, filters = layer.pair("kernel_size"), layer.pair("strides", (1, 1)), layer.integer("filters")
    value, padding, pad = _quantized_windows(walk, layer, x, size, stride, filters)
    layer.only("groups", 1)
    kernel, factor, bias = _weights(walk, layer, (*size, value.channels, filters), filters)
    out = walk.build.conv(layer.name, value, kernel.transpose(3, 0, 1, 2), stride, padding, pad)
    return _finished(walk, layer, out, factor, bias)


def depthwise(walk, layer, x):
    size, stride = layer.pair("kernel_size"), layer.pair("strides", (1, 1))
    channels = (x.value if isinstance(x, Padded) else x).channels
    value, padding, pad = _quantized_windows(walk, layer, x, size, stride, channels)
    layer.only("depth_multiplier", 1)
    kernel, factor, bias = _weights(walk, layer, (*size, channels, 1), channels, ("depthwise_kernel", "kernel"),
                                    "depthwise_quantizer")
    out = walk.build.depthwise(layer.name, value, kernel[..., 0].transpose(2, 0, 1), stride, padding, pad)
    return _finished(walk, layer, out, factor, bias)


def batch_normalization(walk, layer, x):
    if _plain(x).axes not in ("NC", "NHWC"):
        raise Inexpressible(f"its input has the shape {x.shape}", "a vector, or a map (N, H, W, C)")
    last = len(x.shape) - 1
    layer.only("axis", -1, last, [-1], [last])
    layer.only("renorm", False)
    shape = (x.channels,)
    shapes = {"moving_mean": shape, "moving_variance": shape}
    shapes |= {"gamma": shape} if layer.flag("scale", True) else {}
    shapes |= {"beta": shape} if layer.flag("center", True) else {}
    found = walk.stored.weights(layer.name, shapes)
    return x.normalized(found.get("gamma", np.ones(1)), found.get("beta", np.zeros(1)), found["moving_mean"],
                        found["moving_variance"], layer.number("epsilon", 1e-3))


# Pools and shapes

def _pool(walk, layer, x):
    kernel = layer.pair("pool_size", (2, 2))
    stride = layer.pair("strides", kernel)
    value, padding, _ = _windows(walk, layer, _plain(x), kernel, stride, x.channels)
    if any(padding):
        raise Inexpressible(f"it pads by {padding}", "pools without padding: padding valid, or sizes that divide")
    return value, kernel, stride


def max_pool(walk, layer, x):
    return walk.build.max_pool(layer.name, *_pool(walk, layer, x))


def average_pool(walk, layer, x):
    return walk.build.average_pool(layer.name, *_pool(walk, layer, x))


def _global_pool(make):
    def handler(walk, layer, x):
        layer.only("data_format", "channels_last", None)
        _map(_plain(x))
        keeps = layer.flag("keepdims", False)
        walk.expect((1, 1, x.channels) if keeps else (x.channels,))
        out = make(walk.build)(layer.name, x, x.type.shape[:2], (1, 1))
        return out if keeps else walk.build.flatten(f"{layer.name}_flat", out)
    return handler


def flatten(walk, layer, x):
    layer.only("data_format", "channels_last", None)
    walk.expect((math.prod(_plain(x).type.shape),))
    return walk.build.flatten(layer.name, x)


def reshape(walk, layer, x):
    shape, size = layer.config.get("target_shape"), math.prod(_plain(x).type.shape)
    if not isinstance(shape, (list, tuple)) or not shape or not all(isinstance(v, int) and (v > 0 or v == -1) for v in shape):
        raise Inexpressible(f"its target_shape is {str(shape)[:60]}", "positive sizes")
    rest = math.prod(v for v in shape if v != -1)
    shape = tuple(size // rest if v == -1 else v for v in shape)
    if math.prod(shape) != size:
        raise Inexpressible(f"it makes {x.type.shape} to {shape}")
    return viewed(walk.build, layer.name, x, (1, *shape))


def zero_padding(walk, layer, x):
    layer.only("data_format", "channels_last", None)
    sides = layer.config.get("padding", 1)
    sides = [sides, sides] if isinstance(sides, int) else sides
    if isinstance(sides, (list, tuple)) and len(sides) == 2:
        sides = [side for pair in sides for side in (pair if isinstance(pair, (list, tuple)) else (pair, pair))]
    if not isinstance(sides, list) or len(sides) != 4 or not all(isinstance(v, int) and 0 <= v < 2**31 for v in sides):
        raise Inexpressible(f"its padding is {str(layer.config.get('padding'))[:60]}", "top, bottom, left and right")
    _map(_plain(x))
    return Padded(x, tuple(sides), Fraction(0)) if any(sides) else x


# Element by element

def activation(walk, layer, x):
    return activated(walk, layer, x, "")


def relu(walk, layer, x):
    layer.only("negative_slope", None, 0)
    layer.only("alpha", None, 0)        # Keras 1's name of it
    layer.only("threshold", None, 0)
    most = layer.config.get("max_value")
    high = UNBOUNDED if most is None else fractions("its max_value", layer.number("max_value", None)).item()
    return _plain(x).clipped(Fraction(0), high)


def softmax(walk, layer, x):
    layer.only("axis", -1, 1)
    if _plain(x).axes != "NC" or layer.key not in walk.outputs:
        raise Inexpressible("its values are used", "a softmax as the last layer, over a vector")
    return x


def _meant(walk, layer, number):
    """A setting as a fraction: the simple quotient whose float it is, as 1/255, else exactly the float."""
    exact = fractions("its scale", np.asarray(number)).item()
    simple = exact.limit_denominator(SMALL)
    if exact != simple and float(simple) == float(number):
        walk.assume(f"layer {layer.name!r} is taken to mean {simple} by {float(number)!r}")
        return simple
    return exact


def rescaling(walk, layer, x):
    parts = []
    for key in ("scale", "offset"):
        value = layer.config.get(key, 0.0 if key == "offset" else None)
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            raise Inexpressible(f"its {key} is {str(value)[:60]}", "a number, or one for each channel")
        parts.append(np.array([_meant(walk, layer, v) for v in values], object))
    return _plain(x).multiplied(parts[0]).added(parts[1])


def same(walk, layer, x):
    """Layers that do nothing in inference."""
    return x


def op(kind):
    """An operation of keras.ops in a functional model, as the activation of that name."""
    return lambda walk, layer, x: applied(walk.build, layer.name, _plain(x), kind)


def add(walk, layer, values):
    out, *others = map(_plain, values)
    for other in others:
        out = walk.build.add(layer.name, out, other)
    return out


def subtract(walk, layer, values):
    if len(values) != 2:
        raise Inexpressible(f"it has {len(values)} inputs", "two")
    return walk.build.add(layer.name, _plain(values[0]), _plain(values[1]).multiplied(-1))


HANDLERS = {
    "Dense": dense, "Conv2D": conv2d, "DepthwiseConv2D": depthwise, "QuantDense": dense, "QuantConv2D": conv2d,
    "QuantDepthwiseConv2D": depthwise, "QDense": dense, "QConv2D": conv2d, "QDepthwiseConv2D": depthwise,
    "BatchNormalization": batch_normalization, "MaxPooling2D": max_pool, "AveragePooling2D": average_pool,
    "GlobalAveragePooling2D": _global_pool(lambda build: build.average_pool),
    "GlobalMaxPooling2D": _global_pool(lambda build: build.max_pool),
    "Flatten": flatten, "Reshape": reshape, "ZeroPadding2D": zero_padding, "Activation": activation, "QActivation": activation,
    "ReLU": relu, "Softmax": softmax, "Rescaling": rescaling, "Sign": op("sign"), "Relu": op("relu"),
} | {kind: same for kind in ("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout",
                             "ActivityRegularization")}
JOINING = {"Add": add, "Subtract": subtract}
ACCEPTED = ", ".join(["InputLayer", *HANDLERS, *JOINING])
