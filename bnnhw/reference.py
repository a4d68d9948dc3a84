"""The golden model: what each operation means, in plain integers. The definition of "right".

One function per operation, on arrays (N, *shape). Matrix products run in float32 only where no partial sum can
leave the integers that float32 holds exactly (2**24), else in float64 (2**53), else in int64; the choice is made from
the types, so the result never depends on it.
"""

import numpy as np

from .errors import UserError
from .ir import (
    Add,
    Affine,
    ArgMax,
    BankAffine,
    BankThreshold,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Flatten,
    GroupSum,
    Input,
    Lookup,
    MaxPool2d,
    SumPool2d,
    Thermometer,
    Threshold,
)

__all__ = ["InputError", "run", "accuracy", "exact_dtype"]

BATCH = 2048            # inputs at a time: bounds memory, and keeps a layer's activations near the processor
BATCH_ELEMENTS = 2**24  # of the largest edge, for the same reasons
WINDOW_ELEMENTS = 2**23 # of the windows of a convolution that are laid out at a time


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


def _padded(operation, type, x, dtype):
    """Maps (N, H, W, C) as ``dtype`` with the convolution's padding around them."""
    top, bottom, left, right = operation.padding
    return np.pad(x.astype(dtype, copy=False), ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=operation.fill)


def _places(operation, x, size):
    """For each row and column of the kernel: (row, column, the values there for all output positions, (N, *size, C))."""
    (down, right), (rows, columns) = operation.stride, operation.kernel
    for row in range(rows):
        for column in range(columns):
            yield row, column, x[:, row:row + (size[0] - 1) * down + 1:down, column:column + (size[1] - 1) * right + 1:right]


def conv2d(operation, type, x):
    taps = operation.weights[0].size
    dtype = exact_dtype(taps, max(abs(type.lo), abs(type.hi), abs(operation.fill)))
    size, n_out = operation.positions(type), len(operation.weights)
    matrix = operation.weights.reshape(n_out, taps).T.astype(dtype)
    out = np.empty((len(x), *size, n_out), dtype)
    batch = max(1, WINDOW_ELEMENTS // (size[0] * size[1] * taps))
    for start in range(0, len(x), batch):
        maps = _padded(operation, type, x[start:start + batch], dtype)
        windows = np.empty((len(maps), *size, *operation.kernel, type.channels), dtype)
        for row, column, values in _places(operation, maps, size):
            windows[:, :, :, row, column] = values
        out[start:start + batch] = (windows.reshape(-1, taps) @ matrix).reshape(-1, *size, n_out)
    return out


def depthwise_conv2d(operation, type, x):
    dtype = exact_dtype(operation.weights[0].size, max(abs(type.lo), abs(type.hi), abs(operation.fill)))
    weights = operation.weights.astype(dtype)
    return sum(values * weights[:, row, column] for row, column, values in
               _places(operation, _padded(operation, type, x, dtype), operation.positions(type)))


def max_pool2d(operation, type, x):
    least, best = operation.least(type.channels), None
    for _, _, values in _places(operation, x, operation.positions(type)):
        best = values if best is None else np.maximum(best, values) if not least.any() else np.where(
            least, np.minimum(best, values), np.maximum(best, values))
    return best


def sum_pool2d(operation, type, x):
    return sum(values for _, _, values in _places(operation, x.astype(np.int64), operation.positions(type)))


def affine(operation, type, x):
    return x.astype(np.int64) * operation.scale + operation.offset


def add(operation, first_type, second_type, first, second):
    return first.astype(np.int64) + second.astype(np.int64)


def thermometer(operation, type, x):
    levels = np.broadcast_to(operation.levels, (type.size, operation.levels.shape[-1])).reshape(*type.shape, -1)
    return np.where(x[..., None] >= levels, 1, -1).reshape(len(x), *operation.infer(type).shape)


def lookup(operation, type, x):
    bits, place = (x > 0).astype(np.int32), np.zeros((len(x), len(operation.tables)), np.int32)
    for j, wires in enumerate(operation.indices.T):
        place += bits[:, wires] << j
    return operation.tables[np.arange(len(operation.tables)), place]


def group_sum(operation, type, x):
    return (x > 0).reshape(len(x), operation.groups, -1).sum(axis=2)


def _of_task(banks, task, x):
    """The values ``banks`` (B, C) of each example's task, in a shape that goes with ``x`` (N, ..., C)."""
    return banks[task].reshape(len(x), *[1] * (x.ndim - 2), x.shape[-1])


def bank_threshold(operation, type, task_type, x, task):
    count = np.zeros(x.shape, np.int64)
    falling = _of_task(operation.falling, task, x)
    for k in range(operation.levels.shape[2]):
        level = _of_task(operation.levels[:, :, k], task, x)
        count += np.where(falling, x <= level, x >= level)
    return operation.base + operation.step * count


def bank_affine(operation, type, task_type, x, task):
    return x.astype(np.int64) * _of_task(operation.scale, task, x) + _of_task(operation.offset, task, x)


def argmax(operation, type, x):
    return np.argmax(x, axis=1)     # the first of equals


MEANING = {Flatten: flatten, Threshold: threshold, Dense: dense, Conv2d: conv2d, DepthwiseConv2d: depthwise_conv2d,
           MaxPool2d: max_pool2d, SumPool2d: sum_pool2d, Affine: affine, Add: add, Thermometer: thermometer,
           Lookup: lookup, GroupSum: group_sum, ArgMax: argmax,
           BankThreshold: bank_threshold, BankAffine: bank_affine}


def _step(operation, types, values):
    if (isinstance(operation, Threshold) and operation.levels.shape[1] == 1 and not operation.falling.any()
            and (operation.base, operation.step) == (-1, 2)):
        return _sign(operation, *types, *values)
    return MEANING[type(operation)](operation, *types, *values)


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


def run(network, x, keep=None, task=None):
    """Evaluate ``network``.

    Parameters
    ----------
    network : Network
    x : int array (N, *shape)
        The one input, or a dict of them by name.
    keep : None, "all" or iterable of str
        Which edges to give; None gives the outputs.
    task : int array (N,) or int, optional
        Each example's task, or that of all; needed where the network has tasks, unless ``x`` has it by name.

    Returns
    -------
    dict edge -> int64 array (N, *shape)

    Raises
    ------
    InputError
        A shape or value that the input's type does not have.
    """
    inputs = x if isinstance(x, dict) else {network.inputs[0]: x}
    if task is not None:
        if network.task is None:
            raise InputError("the network has one task only, so that none can be chosen")
        count = len(next(iter(inputs.values())))
        inputs = inputs | {network.task: np.full(count, task) if np.ndim(task) == 0 else task}
    elif network.task is not None and network.task not in inputs:
        raise InputError(f"the network has {network.tasks} tasks: which of them must be said, 0 to {network.tasks - 1}")
    if set(inputs) != set(network.inputs):
        raise InputError(f"inputs must be {sorted(network.inputs)}, not {sorted(inputs)}")
    inputs = {name: _check(name, network.types[name], value) for name, value in inputs.items()}
    if len({len(value) for value in inputs.values()}) != 1:
        raise InputError("inputs must have the same number of examples")
    wanted = network.outputs if keep is None else tuple(network.operations) if keep == "all" else tuple(keep)
    count = len(next(iter(inputs.values())))
    found = {name: np.empty((count, *network.types[name].shape), np.int64) for name in wanted}
    size = min(BATCH, max(1, BATCH_ELEMENTS // max(type.size for type in network.types.values())))
    for start in range(0, count, size):
        batch = slice(start, start + size)
        edges = {}
        for name, operation in network.operations.items():
            if isinstance(operation, Input):
                edges[name] = inputs[name][batch]
            else:
                edges[name] = _step(operation, [network.types[source] for source in operation.inputs],
                                    [edges[source] for source in operation.inputs])
        for name in wanted:
            found[name][batch] = edges[name]
    return found


def accuracy(network, x, labels, task=None):
    """How many of ``x`` the network's first output gives as ``labels`` say: (right, total)."""
    labels = np.asarray(labels)
    classes = run(network, x, task=task)[network.outputs[0]]
    return int(np.count_nonzero(classes == labels)), len(labels)
