"""Quantizers of Larq and QKeras, and Keras' own activations: of tensors and of weights.

What a name means is what its package computes in inference, without the straight-through estimator's float32 noise
(``x + (q(x) - x)`` is taken to be ``q(x)``): github.com/larq/larq (Geiger and Team, "Larq: An Open-Source Library for Training
Binarized Neural Networks", 2020, doi:10.21105/joss.01746) and github.com/google/qkeras (Coelho et al., "Automatic heterogeneous
quantization of deep neural networks ...", 2021, doi:10.1038/s42256-021-00356-5).
"""

import ast
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import numpy as np

from . import constants, quantizers
from .keras_fits import fitted_signs, fitted_ternary, mean_threshold
from .keras_graph import named
from .onnx_windows import Padded
from .rational import Inexpressible, fractions
from .value import UNBOUNDED

__all__ = ["applied", "weighed", "constant_of", "is_softmax"]

MOST_TEXT = 200         # of a quantizer that is written as a call
MOST_BITS = 8
WHOLE_TENSOR = "its scale depends on the tensor that it quantizes"


def _single(value):
    """A number as TensorFlow has it beside a float32 tensor."""
    return Fraction(float(np.float32(value)))


class _Quantizer:
    """A function of one number.

    ``of(build, name, value)`` is the value of the quantized tensor; ``zero`` what 0 becomes, a Fraction.
    ``weights(array, facts)`` gives the quantized array, and None or a factor for each output channel (last dimension).
    """
    zero = Fraction(0)

    def of(self, build, name, value):
        raise Inexpressible(WHOLE_TENSOR, "a fixed scale")

    def weights(self, array, facts):
        raise Inexpressible("it is no quantizer of weights", "ste_sign, SteTern, binary, ternary, quantized_bits")


class _Identity(_Quantizer):
    def of(self, build, name, value):
        return value

    def weights(self, array, facts):
        return array, None


@dataclass(frozen=True)
class _Sign(_Quantizer):
    """``scale`` where it is at least 0, else ``-scale``."""
    scale: Fraction = Fraction(1)

    @property
    def zero(self):
        return self.scale

    def of(self, build, name, value):
        return quantizers.bipolar(build, name, value, self.scale)

    def weights(self, array, facts):
        return np.where(array >= 0, 1, -1).astype(np.int8), np.array([self.scale], object)


@dataclass(frozen=True)
class _Step(_Quantizer):
    """``scale`` where it is at least 0, else 0."""
    scale: Fraction

    @property
    def zero(self):
        return self.scale

    def of(self, build, name, value):
        return quantizers.bipolar(build, name, value).added(1).multiplied(self.scale / 2)

    def weights(self, array, facts):
        return (array >= 0).astype(np.int8), np.array([self.scale], object)


class _ZeroSign(_Quantizer):
    """-1, 0 or +1, as numpy and keras.ops have it."""
    def of(self, build, name, value):
        return quantizers.sign(build, name, value)


@dataclass(frozen=True)
class _Ternary(_Quantizer):
    """``scale`` times: +1 where it is at least the threshold, -1 where at most minus the threshold, else 0."""
    threshold: Fraction
    scale: Fraction = Fraction(1)

    def of(self, build, name, value):
        if self.threshold == 0:
            return quantizers.sign(build, name, value).multiplied(self.scale)
        unit = 2 * self.threshold       # half of it is the threshold, and is rounded away from 0
        return quantizers.quantized(build, name, value, unit, 0, -1, 1, "HALF_UP").multiplied(self.scale / unit)

    def weights(self, array, facts):
        kept = np.abs(array) >= float(self.threshold)
        return (np.sign(array) * kept).astype(np.int8), np.array([self.scale], object)


@dataclass(frozen=True)
class _Uniform(_Quantizer):
    """``scale * step * clip(round(x / step), low, high)``, rounded half to even, or up where ``rounding`` is CEIL."""
    step: Fraction
    low: int
    high: int
    scale: Fraction = Fraction(1)
    rounding: str = "ROUND"

    def of(self, build, name, value):
        return quantizers.quantized(build, name, value, self.step, 0, self.low, self.high, self.rounding).multiplied(self.scale)

    def weights(self, array, facts):
        if Fraction(float(self.step)) != self.step:
            return super().weights(array, facts)
        found, differing = constants.quantized(array.astype(np.float64), np.array(float(self.step)), np.array(0.0), self.low,
                                               self.high, self.rounding)
        if differing:
            facts["differing"] = differing
        return found, np.array([self.scale], object)


@dataclass(frozen=True)
class _Clip(_Quantizer):
    low: object
    high: object

    def of(self, build, name, value):
        return value.clipped(self.low, self.high)


@dataclass(frozen=True)
class _Fitted(_Quantizer):
    """Weights whose scale is found from the weights themselves; ``fit(array)`` gives (signs, scale for each channel)."""
    fit: object

    def weights(self, array, facts):
        return self.fit(array)


def _magnitude_aware(array):
    return np.where(array >= 0, 1, -1).astype(np.int8), np.abs(array.astype(np.float64)).reshape(-1, array.shape[-1]).mean(axis=0)


def _mean_ternary(array):
    return (np.sign(array) * (np.abs(array) >= mean_threshold(array))).astype(np.int8), None


# What a quantizer's settings are: each function takes those that matter, by their names and with their defaults there.

def _integer(what, value, low, high):
    if not isinstance(value, (int, float)) or value != int(value) or not low <= value <= high:
        raise Inexpressible(f"its {what} is {str(value)[:60]}", f"an integer from {low} to {high}")
    return int(value)


def _scale(alpha):
    """A fixed scale; None stands for 1."""
    if alpha is None:
        return Fraction(1)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 2**32:
        raise Inexpressible(f"its alpha is {str(alpha)[:60]}", "a positive number, auto or auto_po2 of weights")
    return Fraction(alpha)


def _without(**settings):
    """Raises where a setting that changes the meaning is set."""
    for key, value in settings.items():
        if value:
            raise Inexpressible(f"its {key} is {str(value)[:60]}", f"{key} 0")


def _ste_tern(threshold_value=0.05, ternary_weight_networks=False):
    if ternary_weight_networks:
        return _Fitted(_mean_ternary)
    return _threshold(threshold_value, 1)


def _threshold(threshold, alpha):
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold < 2**32:
        raise Inexpressible(f"its threshold is {str(threshold)[:60]}", "a number that is not negative")
    return _Ternary(_single(threshold), _scale(alpha))


def _dorefa(k_bit=2, mode="activations"):
    if mode != "activations":
        raise Inexpressible(f"DoReFa's mode {str(mode)[:60]!r} of weights is a tanh", "mode activations")
    high = 2**_integer("k_bit", k_bit, 1, MOST_BITS) - 1
    return _Uniform(Fraction(1, high), 0, high)


def _binary(use_01=False, alpha=None, use_stochastic_rounding=False):
    _without(use_stochastic_rounding=use_stochastic_rounding)
    if alpha in ("auto", "auto_po2"):
        _without(use_01=use_01)
        return _Fitted(lambda array: fitted_signs(array, alpha == "auto_po2"))
    if not use_01:
        return _Sign(_scale(alpha))
    return _Step(_scale(alpha))


def _ternary(alpha=None, threshold=None, use_stochastic_rounding=False, number_of_unrolls=5):
    _without(use_stochastic_rounding=use_stochastic_rounding)
    if alpha in ("auto", "auto_po2"):
        rounds = _integer("number_of_unrolls", number_of_unrolls, 1, 100)
        return _Fitted(lambda array: fitted_ternary(array, alpha == "auto_po2", Fraction(2, 3), False, rounds))
    return _threshold(0.33 if threshold is None else threshold, alpha)


def _quantized_bits(bits=8, integer=0, symmetric=0, keep_negative=True, alpha=None, use_stochastic_rounding=False,
                    qnoise_factor=1.0):
    _without(use_stochastic_rounding=use_stochastic_rounding, **{"distance of qnoise_factor from 1": qnoise_factor != 1})
    bits, integer = _integer("bits", bits, 1, MOST_BITS), _integer("integer", integer, -32, 32)
    keep_negative, symmetric = bool(keep_negative), bool(symmetric)
    if isinstance(alpha, str):
        if alpha != "auto_po2" or bits != 2 or not keep_negative:
            raise Inexpressible(f"its alpha is {alpha[:60]!r} with {bits} bits", "auto_po2 with 2 bits, or a number")
        unit = 2.0**integer
        return _Fitted(lambda array: _scaled(fitted_ternary(array / unit, True, 1, True, 5), unit))
    if bits == keep_negative:
        return _Sign(_scale(alpha))
    high = 2**(bits - keep_negative)
    return _Uniform(Fraction(2)**integer / high, keep_negative * (symmetric - high), high - 1, _scale(alpha))


def _scaled(fit, unit):
    signs, scale = fit
    return signs, scale * unit


def _quantized_relu(bits=8, integer=0, use_sigmoid=0, negative_slope=0.0, use_stochastic_rounding=False, relu_upper_bound=None,
                    is_quantized_clip=True, qnoise_factor=1.0):
    _without(use_sigmoid=use_sigmoid, negative_slope=negative_slope, use_stochastic_rounding=use_stochastic_rounding,
             **{"distance of qnoise_factor from 1": qnoise_factor != 1})
    if relu_upper_bound is not None and not is_quantized_clip:
        raise Inexpressible(f"its relu_upper_bound is {str(relu_upper_bound)[:60]}", "none, or is_quantized_clip")
    high = 2**_integer("bits", bits, 1, MOST_BITS)
    return _Uniform(Fraction(2)**_integer("integer", integer, -32, 32) / high, 0, high - 1)


QUANTIZERS = {
    "ste_sign": _Sign, "approx_sign": _Sign, "swish_sign": _Sign, "ste_tern": _ste_tern, "dorefa_quantizer": _dorefa,
    "ste_heaviside": lambda: _Uniform(Fraction(1), 0, 1, rounding="CEIL"), "no_op": _Identity, "linear": _Identity,
    "magnitude_aware_sign": lambda: _Fitted(_magnitude_aware), "binary": _binary, "ternary": _ternary,
    "quantized_bits": _quantized_bits, "quantized_relu": _quantized_relu, "sign": _ZeroSign,
    "relu": lambda: _Clip(Fraction(0), UNBOUNDED), "relu6": lambda: _Clip(Fraction(0), Fraction(6)),
    "hard_tanh": lambda: _Clip(Fraction(-1), Fraction(1)),
}
CLASSES = {"SteSign": "ste_sign", "ApproxSign": "approx_sign", "SwishSign": "swish_sign", "SteTern": "ste_tern",
           "SteHeaviside": "ste_heaviside", "MagnitudeAwareSign": "magnitude_aware_sign", "DoReFa": "dorefa_quantizer",
           "DoReFaQuantizer": "dorefa_quantizer", "NoOp": "no_op", "NoOpQuantizer": "no_op"}
WITHOUT_MEANING = {"name", "trainable", "dtype", "metrics", "clip_value", "beta", "precision", "var_name", "use_ste",
                   "use_variables", "scale_axis"}
# What QKeras' layers make of a quantizer of weights without alpha.
TRAINED = {"binary": {"alpha": "auto_po2"}, "ternary": {"alpha": "auto_po2"},
           "quantized_bits": {"alpha": "auto_po2", "symmetric": True}}
ACCEPTED = ", ".join(QUANTIZERS)


def _written(text):
    """(name, settings) of a quantizer that QKeras writes as a call, such as "quantized_relu(4,0)"."""
    if "(" not in text:
        return text, [], {}
    try:
        call = ast.parse(text, mode="eval").body if len(text) <= MOST_TEXT else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            return (call.func.id, [ast.literal_eval(arg) for arg in call.args],
                    {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords})
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass
    raise Inexpressible(f"its quantizer is written as {text[:60]!r}", "a name and constant settings")


def _quantizer(spec, instead=MappingProxyType({})):
    """The function that a setting names, None the identity; ``instead``: name -> settings in place of an alpha of None."""
    if spec is None:
        return _Identity()
    name, settings = named(spec)
    name, values, keywords = _written(name)
    name = CLASSES.get(name, name)
    if name not in QUANTIZERS:
        raise Inexpressible(f"the function {name[:60]!r} is not known", ACCEPTED)
    settings = {key: value for key, value in (settings | keywords).items() if key not in WITHOUT_MEANING}
    if name in instead and settings.get("alpha") is None:
        settings |= instead[name]
    try:
        return QUANTIZERS[name](*values, **settings)
    except TypeError:
        shown = ", ".join([*map(str, values), *(f"{key}={value}" for key, value in settings.items())])
        raise Inexpressible(f"{name} with the settings {shown[:60]} is not known", "those that its package has") from None


def is_softmax(spec):
    return spec is not None and named(spec)[0] == "softmax"


def applied(build, name, x, spec):
    """A tensor, or one with zeros around it, behind the function that ``spec`` names."""
    found = _quantizer(spec)
    if isinstance(x, Padded):
        return Padded(found.of(build, name, x.value), x.padding, found.zero)
    return found.of(build, name, x)


def weighed(array, spec, facts):
    """Weights that a layer's setting quantizes: (array, None or a factor for each output channel); ``facts`` takes notes."""
    return _quantizer(spec, TRAINED).weights(array, facts)


def constant_of(array, spec):
    """A quantized bias, fractions or floats."""
    if spec is None:
        return array
    found, scale = _quantizer(spec).weights(array, {})
    return fractions("the bias", found) * (1 if scale is None else fractions("a scale", scale))
