"""Operations on integers: thresholds, dense layers, sums of tensors, per-channel scales, the class.

What an operation *means* is in :mod:`bnnhw.reference`. Those that know rows and columns are in :mod:`bnnhw.spatial`.
"""

import math
import re

import numpy as np

from .tensors import NetworkError, TensorType, integer, integers

__all__ = ["Operation", "Input", "Flatten", "Threshold", "Dense", "Affine", "Add", "ArgMax", "sum_type", "checked_weights"]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Operation:
    """Base of all operations: a name, input edges, and for each kind its own integers.

    Subclasses set ``arrays`` (names of integer array attributes, in the order of the constructor) and
    ``settings`` (names of plain attributes), from which files are written and read, and define
    :meth:`infer`, which gives the output's type or raises :exc:`NetworkError` without the operation's name.
    """
    arrays = ()
    settings = ()

    def __init__(self, name, *inputs):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise NetworkError(f"operation name must be a letter followed by letters, digits and underscores, not {name!r}")
        for source in inputs:
            if not isinstance(source, str):
                raise NetworkError(f"operation {name!r}: an input is the name of an operation, not {source!r}")
        self.name = name
        self.inputs = inputs

    @property
    def kind(self):
        return type(self).__name__

    def infer(self, *types):
        raise NotImplementedError  # pragma: no cover - every kind has its own

    def __repr__(self):
        return f"<{self.kind} {self.name!r} of {', '.join(self.inputs) or 'nothing'}>"


class Input(Operation):
    """What the user sends: a tensor of the given :class:`TensorType`, for instance pixels (0, 255, 1)."""
    settings = ("type",)

    def __init__(self, name, type):
        super().__init__(name)
        try:
            self.type = type if isinstance(type, TensorType) else TensorType(**type)
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    def infer(self):
        return self.type


class Flatten(Operation):
    """The same elements in the same order (H, W, C with C fastest), shape (size,)."""
    def infer(self, type):
        return TensorType((type.size,), type.lo, type.hi, type.step)


class Threshold(Operation):
    """``base + step * (number of levels reached)``, per channel of the last dimension.

    A rising channel reaches level ``t`` where ``s >= t``, a falling one where ``s <= t``. With one level, base -1 and
    step 2 the result is a sign; with 2**k - 1 levels it has k bits.

    Parameters
    ----------
    levels : int array (C, L)
        Each channel's levels. Kept in normal form: attainable values of the input, sorted; "always" and "never" are
        lo and hi + step (rising), hi and lo - step (falling).
    falling : bool array (C,)
    base, step : int
    """
    arrays = ("levels", "falling")
    settings = ("base", "step")

    def __init__(self, name, source, levels, falling, base=-1, step=2):
        super().__init__(name, source)
        try:
            self.levels = integers("levels", levels, 2)
            self.falling = integers("falling", falling, 1)
            if np.any((self.falling != 0) & (self.falling != 1)):
                raise NetworkError("falling must be false or true")
            self.falling = self.falling.astype(bool)
            base, step = integer("base", base), integer("step", step)
            if self.falling.shape[0] != self.levels.shape[0]:
                raise NetworkError(f"falling has {self.falling.shape[0]} channels, levels {self.levels.shape[0]}")
            if step < 1:
                raise NetworkError(f"step must be at least 1, not {step}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None
        self.falling.setflags(write=False)
        self.base, self.step = base, step

    def infer(self, type):
        if self.levels.shape[0] != type.channels:
            raise NetworkError(f"levels for {self.levels.shape[0]} channels, but the input has {type.channels}")
        return TensorType(type.shape, self.base, self.base + self.step * self.levels.shape[1], self.step)

    def normal(self, type):
        """The same function of an input of ``type``, with levels in normal form."""
        steps = self.levels - type.lo
        up = np.clip(-(-steps // type.step), 0, type.levels) * type.step + type.lo       # least attainable >= t
        down = np.clip(steps // type.step, -1, type.levels - 1) * type.step + type.lo    # greatest attainable <= t
        levels = np.sort(np.where(self.falling[:, None], down, up), axis=1)
        return Threshold(self.name, self.inputs[0], levels, self.falling, self.base, self.step)


def checked_weights(value, ndim):
    """``value`` as a read-only int8 array of -1, 0 and +1. Raises :exc:`NetworkError`."""
    weights = integers("weights", value, ndim)
    if np.any(np.abs(weights) > 1):
        raise NetworkError(f"weights must be -1, 0 or +1, not {int(weights[np.abs(weights) > 1][0])}")
    weights = weights.astype(np.int8)
    weights.setflags(write=False)
    return weights


def sum_type(shape, type, plus, minus, constant):
    """The type of sums ``constant + (sum of `plus` values) - (sum of `minus` values)`` of values of ``type``.

    Parameters
    ----------
    shape : tuple
        Of the result.
    plus, minus, constant : int arrays of equal shape
        One element for each kind of sum that occurs. The result's range is that which these actual sums can reach, its step
        the greatest that all of them keep.
    """
    low = constant + plus * type.lo - minus * type.hi
    high = constant + plus * type.hi - minus * type.lo
    step = math.gcd(type.step, *map(int, np.unique(low - low.flat[0])))
    return TensorType(shape, int(low.min()), int(high.max()), step)


class Dense(Operation):
    """Matrix product ``W x`` of a vector of integers with weights -1, 0 and +1.

    Parameters
    ----------
    weights : int8 array (n_out, n_in)
    """
    arrays = ("weights",)

    def __init__(self, name, source, weights):
        super().__init__(name, source)
        try:
            self.weights = checked_weights(weights, 2)
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    def infer(self, type):
        n_out, n_in = self.weights.shape
        if type.shape != (n_in,):
            raise NetworkError(f"weights take a vector of {n_in}, but the input's shape is {type.shape}")
        plus, minus = (np.count_nonzero(self.weights == sign, axis=1) for sign in (1, -1))
        return sum_type((n_out,), type, plus, minus, np.zeros_like(plus))


class Affine(Operation):
    """``scale[c] * s + offset[c]`` per channel of the last dimension.

    Parameters
    ----------
    scale, offset : int array (C,)
    """
    arrays = ("scale", "offset")

    def __init__(self, name, source, scale, offset):
        super().__init__(name, source)
        try:
            self.scale = integers("scale", scale, 1)
            self.offset = integers("offset", offset, 1)
            if self.scale.shape != self.offset.shape:
                raise NetworkError(f"scale has {self.scale.shape[0]} channels, offset {self.offset.shape[0]}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    def infer(self, type):
        if self.scale.shape[0] != type.channels:
            raise NetworkError(f"scales for {self.scale.shape[0]} channels, but the input has {type.channels}")
        first, last = (self.scale * value + self.offset for value in (type.lo, type.hi))
        step = math.gcd(*map(int, np.abs(self.scale) * type.step), *map(int, np.unique(first - first[0])))
        return TensorType(type.shape, int(min(first.min(), last.min())), int(max(first.max(), last.max())), step or 1)


class Add(Operation):
    """Element by element the sum of two tensors of the same shape: the end of a residual branch."""
    def __init__(self, name, first, second):
        super().__init__(name, first, second)

    def infer(self, first, second):
        if first.shape != second.shape:
            raise NetworkError(f"its inputs must have the same shape, not {first.shape} and {second.shape}")
        step = math.gcd(*(type.step for type in (first, second) if type.levels > 1))
        return TensorType(first.shape, first.lo + second.lo, first.hi + second.hi, step or 1)


class ArgMax(Operation):
    """Index of the greatest element of a vector, the lowest one of equals. The result is a scalar."""
    def infer(self, type):
        if len(type.shape) != 1:
            raise NetworkError(f"the input must be a vector, but its shape is {type.shape}")
        return TensorType((), 0, type.size - 1)
