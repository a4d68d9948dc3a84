"""The core of all imports: a network of integers built from the operations of a foreign one, exactly or not at all.

A walker of some foreign format calls :class:`Builder`'s methods in the order of that network's operations, with the
parameters as they are stored, and gets a :class:`~bnnhw.importers.value.Value` for each tensor. Scales, offsets, batch norms
and ReLUs are methods of the value: they stay rational numbers until a function of :mod:`bnnhw.importers.quantizers` turns them
into integer levels. What has no exact integer form raises :class:`~bnnhw.importers.rational.Inexpressible`, to which the
walker adds the place.
"""

import math
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ..ir import (
    Add,
    Affine,
    ArgMax,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Flatten,
    Input,
    MaxPool2d,
    Network,
    NetworkError,
    SumPool2d,
    TensorType,
)
from .quantizers import materialized
from .rational import Inexpressible, common_divisor, fractions
from .scores import comparable
from .value import Chain, Value, constant
from .weights import signs

__all__ = ["Builder"]

MOST_ELEMENTS = 2**26       # of one tensor
MOST_CHANNELS = 2**20       # of one tensor: each has its own scale
MOST_FACTOR = 2**16         # by which a tensor may be multiplied to bring it to another's unit
MOST_LISTED = 100           # ties by place; the number counts them all
NO_PADDING = (0, 0, 0, 0)


class Builder:
    """Collects operations.

    Attributes
    ----------
    ties : list of dict
        The first places (layer, channel, sum) at which float32 decides otherwise than exact arithmetic.
    tied : int
        How many there are.
    facts : dict
        What else the provenance should say.
    """
    def __init__(self):
        self.operations, self.types = {}, {}
        self.ties, self.tied, self.facts = [], 0, {}

    def name(self, wanted):
        """A legal name that is still free, as near to ``wanted`` as can be."""
        name = re.sub(r"[^A-Za-z0-9_]+", "_", wanted).strip("_") or "op"
        name = name if name[0].isascii() and name[0].isalpha() else f"op{name}"
        return next(n for n in (name, *(f"{name}_{k}" for k in range(2, len(self.operations) + 3))) if n not in self.operations)

    def make(self, kind, name, *args, **settings):
        """Add an operation. Returns its edge and the edge's type; :exc:`Inexpressible` where it has no meaning."""
        try:
            operation = kind(self.name(name), *args, **settings)
            type = operation.infer(*(self.types[source] for source in operation.inputs))
        except NetworkError as error:
            raise Inexpressible(str(error)) from None
        if type.size > MOST_ELEMENTS or type.channels > MOST_CHANNELS:
            raise Inexpressible(f"its result has {type.size} elements in {type.channels} channels",
                                f"up to {MOST_ELEMENTS} in {MOST_CHANNELS}")
        self.operations[operation.name], self.types[operation.name] = operation, type
        return operation.name, type

    def note_ties(self, name, places):
        """Remember (channel, sum) pairs of the threshold that will be called ``name``."""
        self.tied += len(places)
        left = max(0, MOST_LISTED - len(self.ties))
        self.ties += [{"layer": self.name(name), "channel": channel, "sum": t} for channel, t in places[:left]]

    def input(self, name, type, axes, scale=1, offset=0):
        """What the user sends: integers of ``type``; the foreign network takes ``scale * integer + offset``."""
        edge, type = self.make(Input, name, type)
        return Value.of(edge, type, Fraction(scale), Fraction(offset), axes)

    # Layers

    def _weighed(self, name, value, weights):
        """Signs (C_out, ..., C_in), magnitude (C_out,) with the value's scales taken up, and the value that they weigh."""
        value = materialized(self, f"{name}_clip", value)
        if len(set(value.scale)) == 1:
            found, magnitude = signs(weights)
            scale = value.scale[0]
            return (found if scale > 0 else -found), magnitude * abs(scale), value
        try:
            return *signs(weights, value.scale), value
        except Inexpressible:
            value = self.common(f"{name}_unit", value)
            found, magnitude = signs(weights)
            return found, magnitude * value.scale[0], value

    def common(self, name, value, also=()):
        """The value as one number times integers, by an integer factor and term for each channel of the edge.

        Numbers in ``also`` are multiples of that one number, too.
        """
        for offset in (value.offset, constant(Fraction(0), value.channels)):
            unit = common_divisor([*value.scale, *offset, *also])
            factors = value.scale / unit if unit else value.scale
            if unit and max(map(abs, factors)) <= MOST_FACTOR and (all(factors) or offset is value.offset):
                integers = (np.array([int(v / unit) for v in part]) for part in (value.scale, offset))
                edge, type = self.make(Affine, value.label or f"{name}_unit", value.edge, *integers)
                return Value.of(edge, type, constant(unit, value.channels), value.offset - offset, value.axes, value.order)
        raise Inexpressible("the channels of its input have scales without a common unit",
                            f"scales that are multiples, up to {MOST_FACTOR}, of one number")

    def dense(self, name, value, weights):
        """Matrix product with weights (C_out, C_in), C_in in the foreign order; exact floats or fractions."""
        if value.axes != "NC":
            raise Inexpressible(f"its input has the dimensions {value.axes}", "a vector: Flatten before it")
        if weights.ndim != 2 or weights.shape[1] != value.channels:
            raise Inexpressible(f"weights of shape {weights.shape} for {value.channels} inputs")
        if value.order is not None:
            arranged = np.empty_like(weights)
            arranged[:, value.order] = weights
            weights = arranged
        found, magnitude, value = self._weighed(name, value, weights)
        edge, type = self.make(Dense, name, value.edge, found)
        return Value.of(edge, type, magnitude, self._offsets(found, magnitude, weights, value), "NC")

    @staticmethod
    def _offsets(found, magnitude, weights, value):
        """What the input's offsets give in each output channel: the sum over places of weight times offset."""
        if not np.any(value.offset != 0):
            return constant(Fraction(0), len(found))
        if len(set(value.offset)) == 1 and len(set(value.scale)) == 1 and value.scale[0]:
            counts = found.reshape(len(found), -1).sum(axis=1, dtype=np.int64)
            ratio = value.offset[0] / value.scale[0]
            return np.array([int(n) * m * ratio for n, m in zip(counts, magnitude, strict=True)], object)
        return (fractions("the weights", weights) * value.offset).reshape(len(found), -1).sum(axis=1)

    def _fill(self, name, value, padding, pad):
        """The value, by integer factors if need be, and the integer that stands for the real number ``pad``."""
        value = materialized(self, f"{name}_clip", value)
        if not any(padding):
            return value, -1
        place = self._place(value, pad)
        if place is None or place.denominator > 1:
            value = self.common(name, value, [pad])
            place = self._place(value, pad)
        if place is None or place.denominator > 1:
            raise Inexpressible(f"its padding with {float(pad):g} is no integer of its input, or another one in each channel",
                                "no padding, or padding with a value that the quantizer before it has")
        return value, int(place)

    @staticmethod
    def _place(value, pad):
        """The integer, or fraction, that stands for the real number ``pad`` in every channel; None where there is none."""
        channels = list(zip(value.scale, value.offset, strict=True))
        places = {(pad - offset) / scale for scale, offset in channels if scale}
        if len(places) > 1 or any(not scale and offset != pad for scale, offset in channels):
            return None
        return places.pop() if places else Fraction(0)

    @staticmethod
    def _is_map(value):
        if value.axes != "NCHW" and value.axes != "NHWC":
            raise Inexpressible(f"its input has the dimensions {value.axes}", "a map of N, C, H and W")

    def conv(self, name, value, weights, stride=(1, 1), padding=NO_PADDING, pad=0):
        """Convolution with weights (C_out, rows, columns, C_in); padding (top, bottom, left, right) with the real ``pad``."""
        self._is_map(value)
        if weights.ndim != 4 or weights.shape[3] != value.channels:
            raise Inexpressible(f"weights of shape {weights.shape} for {value.channels} channels")
        value, fill = self._fill(name, value, padding, Fraction(pad))
        unscaled = value
        found, magnitude, value = self._weighed(name, value, weights)
        if value.edge != unscaled.edge:     # padding may need a finer unit still, and then all are weighed anew
            value, fill = self._fill(name, value, padding, Fraction(pad))
            found, magnitude, value = self._weighed(name, value, weights)
        edge, type = self.make(Conv2d, name, value.edge, found, tuple(stride), tuple(padding), fill)
        return Value.of(edge, type, magnitude, self._offsets(found, magnitude, weights, value), value.axes)

    def depthwise(self, name, value, weights, stride=(1, 1), padding=NO_PADDING, pad=0):
        """Convolution of each channel with its own kernel, weights (C, rows, columns)."""
        self._is_map(value)
        if weights.ndim != 3 or len(weights) != value.channels:
            raise Inexpressible(f"weights of shape {weights.shape} for {value.channels} channels")
        found, magnitude = signs(weights)
        if not any(padding) and np.all(found == 1):     # the sum of each window
            value, size = materialized(self, f"{name}_clip", value), weights.shape[1:]
            edge, type = self.make(SumPool2d, name, value.edge, size, tuple(stride))
        else:
            value, fill = self._fill(name, value, padding, Fraction(pad))
            edge, type = self.make(DepthwiseConv2d, name, value.edge, found, tuple(stride), tuple(padding), fill)
        counts = np.array([int(n) for n in found.reshape(len(found), -1).sum(axis=1, dtype=np.int64)], object)
        return Value.of(edge, type, magnitude * value.scale, counts * magnitude * value.offset, value.axes)

    def max_pool(self, name, value, kernel, stride):
        """The greatest of each window, without padding; in channels of negative scale the least integer."""
        self._is_map(value)
        minimum = np.array([scale < 0 for scale in value.scale])
        edge, type = self.make(MaxPool2d, name, value.edge, tuple(kernel), tuple(stride), minimum)
        return replace(value, edge=edge, type=type)

    def average_pool(self, name, value, kernel, stride):
        """The mean of each window, without padding."""
        self._is_map(value)
        value = materialized(self, f"{name}_clip", value)
        edge, type = self.make(SumPool2d, name, value.edge, tuple(kernel), tuple(stride))
        return Value.of(edge, type, value.scale / math.prod(kernel), value.offset, value.axes)

    def flatten(self, name, value):
        """All elements as a vector, in the order in which the foreign tensor has them."""
        if value.axes == "NC":
            return value
        edge, type = self.make(Flatten, name, value.edge)
        places = np.arange(type.size).reshape(value.type.shape)
        letters = [axis for axis in "HWC" if axis not in value.axes] + [axis for axis in value.axes if axis != "N"]
        order = places.transpose(["HWC".index(axis) for axis in letters]).reshape(-1)
        repeats = type.size // value.channels
        parts = {key: np.tile(getattr(value, key), repeats) for key in ("scale", "offset", "low", "high")}
        return Value(edge, type, **parts, axes="NC", order=None if np.array_equal(order, np.arange(type.size)) else order,
                     float32=Chain(lambda t: value.float32(t.reshape(-1, value.channels)).reshape(t.shape)))

    def add(self, name, first, second):
        """Element by element the sum of two tensors: the end of a residual branch."""
        orders = [np.arange(v.channels) if v.order is None else v.order for v in (first, second)]
        if first.axes != second.axes or first.type.shape != second.type.shape or not np.array_equal(*orders):
            raise Inexpressible(f"it adds tensors {first.shape} ({first.axes}) and {second.shape} ({second.axes})",
                                "the same shape and order of dimensions")
        first, second = (materialized(self, f"{name}_clip", v) for v in (first, second))
        unit = common_divisor([*first.scale, *second.scale])
        # Where one unit for all would need large factors, each channel has its own.
        units = [unit] * first.channels
        if unit and max(abs(s / unit) for s in (*first.scale, *second.scale)) > MOST_FACTOR:
            units = [common_divisor(pair) or Fraction(1) for pair in zip(first.scale, second.scale, strict=True)]
        units = constant(Fraction(1), first.channels) if not unit else np.array(units, object)
        sides, rest = [], constant(Fraction(0), first.channels)
        for side in (first, second):
            factors, terms = side.scale / units, side.offset / units
            if max(map(abs, factors)) > MOST_FACTOR:
                ratio = max(abs(s / u) for v in (first, second) for s, u in zip(v.scale, units, strict=True))
                raise Inexpressible("its two sides have scales without a common unit: one would be multiplied by "
                                    f"{float(ratio):.6g}", f"scales whose ratio is one of integers up to {MOST_FACTOR}")
            if np.any(factors != 1):
                inside = all(t.denominator == 1 and abs(t) < 2**31 for t in terms)
                edge, _ = self.make(Affine, side.label or f"{name}_unit", side.edge, np.array([int(f) for f in factors]),
                                    np.array([int(t) if inside else 0 for t in terms]))
                terms = constant(Fraction(0), first.channels) if inside else terms
            else:
                edge = side.edge
            sides.append(edge)
            rest = rest + terms * units
        edge, type = self.make(Add, name, *sides)
        return Value.of(edge, type, units, rest, first.axes, first.order)

    def argmax(self, name, value):
        """The index of the greatest element of a vector, the lowest of equals."""
        if value.axes != "NC" or value.order is not None:
            raise Inexpressible(f"it takes the greatest of a tensor {value.shape} ({value.axes})", "a vector of scores")
        edge, _ = comparable(self, f"{name}_scores", materialized(self, f"{name}_clip", value))
        edge, type = self.make(ArgMax, name, edge)
        return Value.of(edge, type, Fraction(1), Fraction(0), "N")

    def finish(self, outputs):
        """The network of the values ``outputs``; operations that none of them needs are left out."""
        needed, waiting = set(), [value.edge for value in outputs]
        while waiting:
            edge = waiting.pop()
            if edge not in needed:
                needed.add(edge)
                waiting += self.operations[edge].inputs
        edges = tuple(dict.fromkeys(value.edge for value in outputs))
        return Network([operation for name, operation in self.operations.items() if name in needed], edges)

    def assumed(self, shape, axes):
        """A value that stands in for one that could not be made, so that what follows it can be looked at too."""
        edge, type = self.make(Input, "assumed", TensorType.bipolar(shape))
        return Value.of(edge, type, Fraction(1), Fraction(0), axes)
