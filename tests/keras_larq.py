"""Larq's layers and quantizers for Keras 3, whose own need TensorFlow: the same names, settings and results."""
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
from keras import layers, ops

register = keras.saving.register_keras_serializable("Larq")


def through(x, q, training):
    """In training with the straight-through estimator, else without its float32 noise."""
    return x + ops.stop_gradient(q - x) if training else q


class Quantizer:
    """A function with settings."""
    defaults = {"clip_value": 1.0}

    def __init__(self, **settings):
        assert settings.keys() <= self.defaults.keys()
        self.settings = self.defaults | settings

    def __call__(self, x, training=False):
        return through(x, self.quantized(x), training)

    def get_config(self):
        return self.settings

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@register
class SteSign(Quantizer):
    def quantized(self, x):
        return ops.where(x >= 0, 1.0, -1.0)


@register
class ApproxSign(SteSign):
    pass


@register
class SteHeaviside(Quantizer):
    def quantized(self, x):
        return ops.where(x > 0, 1.0, 0.0)


@register
class MagnitudeAwareSign(SteSign):
    def quantized(self, x):
        return ops.mean(ops.abs(x), axis=list(range(len(x.shape) - 1))) * super().quantized(x)


@register
class SteTern(Quantizer):
    defaults = {"threshold_value": 0.05, "ternary_weight_networks": False, "clip_value": 1.0}

    def quantized(self, x):
        threshold = (0.7 * ops.mean(ops.abs(x)) if self.settings["ternary_weight_networks"]
                     else self.settings["threshold_value"])
        return ops.sign(ops.sign(x + threshold) + ops.sign(x - threshold))


@register
class DoReFa(Quantizer):
    defaults = {"k_bit": 2, "mode": "activations"}

    def quantized(self, x):
        n = 2**self.settings["k_bit"] - 1
        return ops.round(ops.clip(x, 0.0, 1.0) * n) / n


NAMES = {"ste_sign": SteSign, "approx_sign": ApproxSign, "ste_tern": SteTern, "ste_heaviside": SteHeaviside}


def quantizer(spec):
    spec = keras.saving.deserialize_keras_object(spec) if isinstance(spec, dict) else spec
    return NAMES[spec]() if isinstance(spec, str) else spec


class Quantized:
    """What Larq's layers have in common."""
    setting = "kernel_quantizer"

    def __init__(self, *args, input_quantizer=None, pad_values=0.0, **kwargs):
        kernel_quantizer = quantizer(kwargs.pop(self.setting, None))
        super().__init__(*args, **kwargs)
        self.kernel_quantizer, self.input_quantizer, self.pad_values = kernel_quantizer, quantizer(input_quantizer), pad_values

    def weighed(self, training):
        return self.kernel if self.kernel_quantizer is None else self.kernel_quantizer(self.kernel, training=training)

    def product(self, x, kernel):
        return ops.matmul(x, kernel)

    def call(self, x, training=False):
        x = x if self.input_quantizer is None else self.input_quantizer(x, training=training)
        x = self.product(x, self.weighed(training))
        x = x if self.bias is None else x + self.bias
        return x if self.activation is None else self.activation(x)

    def padded(self, x):
        """The map, padded as Larq does where the value is not 0, and what is left to Keras."""
        if self.padding != "same" or not self.pad_values:
            return x, self.padding
        sides = []
        for size, kernel, stride in zip(x.shape[1:3], self.kernel_size, self.strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel, size) - size
            sides.append((total // 2, total - total // 2))
        return ops.pad(x, [(0, 0), *sides, (0, 0)], constant_values=self.pad_values), "valid"

    def get_config(self):
        parts = {self.setting: self.kernel_quantizer, "input_quantizer": self.input_quantizer}
        return super().get_config() | {"pad_values": self.pad_values} | {
            key: keras.saving.serialize_keras_object(value) for key, value in parts.items()}


@register
class QuantDense(Quantized, layers.Dense):
    pass


@register
class QuantConv2D(Quantized, layers.Conv2D):
    def product(self, x, kernel):
        x, padding = self.padded(x)
        return ops.conv(x, kernel, strides=list(self.strides), padding=padding, data_format="channels_last")


@register
class QuantDepthwiseConv2D(Quantized, layers.DepthwiseConv2D):
    setting = "depthwise_quantizer"

    def product(self, x, kernel):
        x, padding = self.padded(x)
        return ops.depthwise_conv(x, kernel, strides=list(self.strides), padding=padding, data_format="channels_last")
