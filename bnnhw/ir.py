"""Networks: a graph of integer operations with named edges.

An operation has a name, and the edge that it produces has the same name; its inputs are the names of other edges.
A :class:`Network` checks itself when it is made, so whatever holds one holds a correct one. What an operation *means* is
in :mod:`bnnhw.reference`; what it becomes in hardware is in :mod:`bnnhw.lower`.

Arrays are channel-last. Every tensor has a shape and the values ``lo, lo + step, ..., hi``.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass

import numpy as np

from .errors import UserError

__all__ = ["NetworkError", "TensorType", "Operation", "Input", "Flatten", "Threshold", "Dense", "Affine", "ArgMax",
           "OPERATIONS", "Network"]

LIMIT = 2**53   # every value must be exact in a float64, so that any tool downstream can hold it
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class NetworkError(UserError, ValueError):
    """A network that has no meaning; the message names the operation."""


@dataclass(frozen=True)
class TensorType:
    """A shape (H, W, C), (C,) or () and the values ``lo, lo + step, ..., hi`` of the elements.

    On wires a value travels as ``(value - lo) / step``, unsigned, in :attr:`bits` bits.
    """
    shape: tuple
    lo: int
    hi: int
    step: int = 1

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for field in ("lo", "hi", "step"):
            object.__setattr__(self, field, _integer(field, getattr(self, field)))
        if any(n < 1 for n in self.shape):
            raise NetworkError(f"shape must have positive sizes, not {self.shape}")
        if self.step < 1 or self.hi < self.lo or (self.hi - self.lo) % self.step:
            raise NetworkError(f"values {self.lo}, {self.lo + self.step}, ..., {self.hi} are not a range")
        if max(abs(self.lo), abs(self.hi)) > LIMIT:
            raise NetworkError(f"values up to {max(abs(self.lo), abs(self.hi))} exceed 2**53")

    @classmethod
    def bipolar(cls, shape):
        """Signs: -1 and +1, one bit on wires."""
        return cls(shape, -1, 1, 2)

    @property
    def levels(self):
        """How many values an element can have."""
        return (self.hi - self.lo) // self.step + 1

    @property
    def bits(self):
        """Width of an element on wires, at least 1."""
        return max(1, (self.levels - 1).bit_length())

    @property
    def size(self):
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def channels(self):
        """Size of the last dimension, 1 for a scalar."""
        return self.shape[-1] if self.shape else 1

    @property
    def is_bipolar(self):
        return (self.lo, self.hi, self.step) == (-1, 1, 2)


def _integer(what, value):
    if isinstance(value, (float, np.floating)) and value != int(value):
        raise NetworkError(f"{what} must be an integer, not {value}")
    return int(value)


def _integers(what, value, ndim):
    array = np.asarray(value)
    if array.ndim != ndim or array.size == 0:
        raise NetworkError(f"{what} must have {ndim} dimension{'s' * (ndim != 1)} and elements, not shape {array.shape}")
    if array.dtype.kind not in "iub" and not (array.dtype.kind == "f" and np.all(array == np.trunc(array))):
        raise NetworkError(f"{what} must be integers")
    if array.dtype.kind in "fu" and np.any(np.abs(array.astype(np.float64)) > LIMIT):
        raise NetworkError(f"{what} must stay within 2**53")
    array = array.astype(np.int64)
    if np.any((array > LIMIT) | (array < -LIMIT)):
        raise NetworkError(f"{what} must stay within 2**53")
    array.setflags(write=False)
    return array


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
            self.levels = _integers("levels", levels, 2)
            self.falling = _integers("falling", falling, 1)
            if np.any((self.falling != 0) & (self.falling != 1)):
                raise NetworkError("falling must be false or true")
            self.falling = self.falling.astype(bool)
            base, step = _integer("base", base), _integer("step", step)
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


class Dense(Operation):
    """Matrix product ``W x`` of a vector of integers with weights -1 and +1.

    Parameters
    ----------
    weights : int8 array (n_out, n_in)
    """
    arrays = ("weights",)

    def __init__(self, name, source, weights):
        super().__init__(name, source)
        try:
            integers = _integers("weights", weights, 2)
            if not np.all(np.abs(integers) == 1):
                raise NetworkError(f"weights must be -1 or +1, not {int(integers[np.abs(integers) != 1][0])}")
            self.weights = integers.astype(np.int8)
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None
        self.weights.setflags(write=False)

    def infer(self, type):
        n_out, n_in = self.weights.shape
        if type.shape != (n_in,):
            raise NetworkError(f"weights take a vector of {n_in}, but the input's shape is {type.shape}")
        plus = np.count_nonzero(self.weights > 0, axis=1)
        # The values of a sum: lowest and greatest over the rows, one common step.
        low = int(np.min(plus * type.lo - (n_in - plus) * type.hi))
        high = int(np.max(plus * type.hi - (n_in - plus) * type.lo))
        step = type.step if len({int(r) for r in (plus * type.lo - (n_in - plus) * type.hi) % type.step}) == 1 else 1
        return TensorType((n_out,), low, high, step)


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
            self.scale = _integers("scale", scale, 1)
            self.offset = _integers("offset", offset, 1)
            if self.scale.shape != self.offset.shape:
                raise NetworkError(f"scale has {self.scale.shape[0]} channels, offset {self.offset.shape[0]}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    def infer(self, type):
        if self.scale.shape[0] != type.channels:
            raise NetworkError(f"scales for {self.scale.shape[0]} channels, but the input has {type.channels}")
        ends = [int(a) * v + int(b) for a, b in zip(self.scale, self.offset, strict=True) for v in (type.lo, type.hi)]
        return TensorType(type.shape, min(ends), max(ends))


class ArgMax(Operation):
    """Index of the greatest element of a vector, the lowest one of equals. The result is a scalar."""
    def infer(self, type):
        if len(type.shape) != 1:
            raise NetworkError(f"the input must be a vector, but its shape is {type.shape}")
        return TensorType((), 0, type.size - 1)


OPERATIONS = {kind.__name__: kind for kind in (Input, Flatten, Threshold, Dense, Affine, ArgMax)}


class Network:
    """A validated graph of operations.

    Parameters
    ----------
    operations : iterable of Operation
        In any order; names are unique; every input edge is produced by one of them; no cycle.
    outputs : sequence of str
        Edges that the network gives, at least one.

    Attributes
    ----------
    operations : dict name -> Operation
        In topological order (of equals, the order given).
    types : dict name -> TensorType
        The type of each edge.
    inputs, outputs : tuple of str

    Raises
    ------
    NetworkError
        Naming the operation that is wrong and why.
    """
    def __init__(self, operations, outputs):
        given = {}
        for operation in operations:
            if operation.name in given:
                raise NetworkError(f"operation {operation.name!r}: the name is taken twice")
            given[operation.name] = operation
        self.outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        self.operations = self._sorted(given)
        self.inputs = tuple(name for name, op in self.operations.items() if isinstance(op, Input))
        if not self.inputs:
            raise NetworkError("the network has no Input")
        if not self.outputs:
            raise NetworkError("the network has no outputs")
        for name in self.outputs:
            if name not in self.operations:
                raise NetworkError(f"output {name!r} is produced by no operation; there are {list(self.operations)}")
        self.types = {}
        for name, operation in list(self.operations.items()):
            try:
                types = [self.types[source] for source in operation.inputs]
                self.types[name] = operation.infer(*types)
                if isinstance(operation, Threshold):
                    self.operations[name] = operation.normal(*types)
            except NetworkError as error:
                raise NetworkError(f"operation {name!r}: {error}") from None
        for name in self.operations:
            if not self.consumers(name) and name not in self.outputs:
                raise NetworkError(f"operation {name!r}: nothing uses its result and it is not an output")

    @staticmethod
    def _sorted(given):
        for operation in given.values():
            for source in operation.inputs:
                if source not in given:
                    raise NetworkError(f"operation {operation.name!r}: input {source!r} is produced by no operation")
        placed, waiting = {}, dict(given)
        while waiting:
            ready = next((op for op in waiting.values() if all(s in placed for s in op.inputs)), None)
            if ready is None:
                raise NetworkError(f"operation {next(iter(waiting))!r}: it is on a cycle")
            placed[ready.name] = waiting.pop(ready.name)
        return placed

    def consumers(self, edge):
        """Names of the operations that take ``edge``, in topological order."""
        return [name for name, op in self.operations.items() if edge in op.inputs]

    def describe(self):
        """The graph as plain JSON values, without the arrays; the same for equal graphs."""
        def plain(value):
            return vars(value) | {"shape": list(value.shape)} if isinstance(value, TensorType) else value
        return {
            "operations": [{"kind": op.kind, "name": name, "inputs": list(op.inputs)}
                           | {key: plain(getattr(op, key)) for key in op.settings}
                           for name, op in self.operations.items()],
            "outputs": list(self.outputs),
        }

    @property
    def digest(self):
        """SHA-256 (hex) over the graph and all its integers: what the hardware computes, and nothing else."""
        state = hashlib.sha256(json.dumps(self.describe(), sort_keys=True, separators=(",", ":")).encode())
        for operation in self.operations.values():
            for key in operation.arrays:
                array = np.ascontiguousarray(getattr(operation, key), dtype="<i8")
                state.update(f"{operation.name}.{key}{array.shape}".encode() + array.tobytes())
        return state.hexdigest()
