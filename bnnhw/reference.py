"""The golden model: what each operation means, in plain integers. The definition of "right".

One function per operation, on arrays (N, *shape). Matrix products run in float32 only where no partial sum can
leave the integers that float32 holds exactly (2**24), else in float64 (2**53), else in int64; the choice is made from
the types, so the result never depends on it.
"""

import numpy as np

from .errors import UserError
from .ir import Affine, ArgMax, Dense, Flatten, Input, Threshold

__all__ = ["InputError", "run", "accuracy", "exact_dtype"]

BATCH = 2048     # inputs at a time: bounds memory, and keeps a layer's activations near the processor


class InputError(UserError, ValueError):
    """Values that the network's input cannot have."""


def exact_dtype(terms, magnitude):
    """The fastest dtype in which a sum of ``terms`` values of absolute value up to ``magnitude`` is exact."""
    total = terms * magnitude
    return np.float32 if total <= 2**24 else np.float64 if total <= 2**53 else np.int64


def flatten(operation, type, x):
    return x.reshape(len(x), -1)


def threshold(operation, type, x):
    levels, falling = operation.levels, operation.falling
    count = np.zeros(x.shape, np.int64)
    for level in levels.T:
        count += np.where(falling, x <= level, x >= level)
    return operation.base + operation.step * count


def _sign(operation, type, x):
    """One level, no falling channel, signs: the common case, in float32 so that the next product needs no conversion."""
    out = (x >= operation.levels[:, 0]).astype(np.float32)
    out *= 2
    out -= 1
    return out


def dense(operation, type, x):
    dtype = exact_dtype(operation.weights.shape[1], max(abs(type.lo), abs(type.hi)))
    return x.astype(dtype, copy=False) @ operation.weights.T.astype(dtype)


def affine(operation, type, x):
    return x.astype(np.int64) * operation.scale + operation.offset


def argmax(operation, type, x):
    return np.argmax(x, axis=1)     # the first of equals


MEANING = {Flatten: flatten, Threshold: threshold, Dense: dense, Affine: affine, ArgMax: argmax}


def _step(operation, input_type, x):
    if (isinstance(operation, Threshold) and operation.levels.shape[1] == 1 and not operation.falling.any()
            and (operation.base, operation.step) == (-1, 2)):
        return _sign(operation, input_type, x)
    return MEANING[type(operation)](operation, input_type, x)


def _check(name, type, x):
    x = np.asarray(x)
    if x.shape[1:] != type.shape:
        raise InputError(f"input {name!r}: shape must be (N, {', '.join(map(str, type.shape))}), not {x.shape}")
    if x.dtype.kind not in "iub":
        raise InputError(f"input {name!r}: values must be integers, not {x.dtype}")
    if x.size:
        low, high = int(x.min()), int(x.max())
        if low < type.lo or high > type.hi or (type.step > 1 and np.any((x.astype(np.int64) - type.lo) % type.step)):
            raise InputError(f"input {name!r}: values must be {type.lo}, {type.lo + type.step}, ..., {type.hi}; "
                             f"there are {low} to {high}")
    return x


def run(network, x, keep=None):
    """Evaluate ``network``.

    Parameters
    ----------
    network : Network
    x : int array (N, *shape)
        The one input, or a dict of them by name.
    keep : None, "all" or iterable of str
        Which edges to give; None gives the outputs.

    Returns
    -------
    dict edge -> int64 array (N, *shape)

    Raises
    ------
    InputError
        A shape or value that the input's type does not have.
    """
    inputs = x if isinstance(x, dict) else {network.inputs[0]: x}
    if set(inputs) != set(network.inputs):
        raise InputError(f"inputs must be {sorted(network.inputs)}, not {sorted(inputs)}")
    inputs = {name: _check(name, network.types[name], value) for name, value in inputs.items()}
    if len({len(value) for value in inputs.values()}) != 1:
        raise InputError("inputs must have the same number of examples")
    wanted = network.outputs if keep is None else tuple(network.operations) if keep == "all" else tuple(keep)
    count = len(next(iter(inputs.values())))
    found = {name: np.empty((count, *network.types[name].shape), np.int64) for name in wanted}
    for start in range(0, count, BATCH):
        batch = slice(start, start + BATCH)
        edges = {}
        for name, operation in network.operations.items():
            if isinstance(operation, Input):
                edges[name] = inputs[name][batch]
            else:
                source = operation.inputs[0]
                edges[name] = _step(operation, network.types[source], edges[source])
        for name in wanted:
            found[name][batch] = edges[name]
    return found


def accuracy(network, x, labels):
    """How many of ``x`` the network's first output gives as ``labels`` say: (right, total)."""
    labels = np.asarray(labels)
    classes = run(network, x)[network.outputs[0]]
    return int(np.count_nonzero(classes == labels)), len(labels)
