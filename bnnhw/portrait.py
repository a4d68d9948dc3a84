"""What a network has learned, as figures to be drawn: weights of its first layer, thresholds, what each class's score hangs on.

All of it is taken from the integer network, which is what the hardware computes.
"""

import math
from dataclasses import dataclass

import numpy as np

from . import reference
from .ir import Conv2d, Dense, DepthwiseConv2d, Flatten, Lookup, Thermometer, Threshold

__all__ = ["Layer", "Thresholds", "first_layer", "flips", "least_effort", "saliency", "thresholds"]

ENCODERS = (Threshold, Thermometer, Flatten)    # what may stand between the input and the first layer
EFFORT = 4e9            # multiplications that a saliency may take
TRIES_MIN, TRIES_MAX = 500, 8_000       # inputs that are tried for it
SHARE = 7               # an image is covered in patches of a seventh of its side


@dataclass(frozen=True)
class Layer:
    """Weights of the first layer, by the input that they weigh.

    Attributes
    ----------
    name : str
    weights : float array (neurons, rows, columns, channels) of an image, else (neurons, elements)
        -1 to +1: the mean over an element's levels where it has several. Of a layer of lookup tables one row alone: the share of
        its inputs that take the element.
    taken : bool
        Whether it is such shares.
    """
    name: str
    weights: np.ndarray
    taken: bool


@dataclass(frozen=True)
class Thresholds:
    """A layer's levels.

    Attributes
    ----------
    name : str
    levels : int array
        Those that some sums reach and others do not.
    always, never : int
        How many are reached by each sum, and by none.
    lo, hi : int
        The least and the greatest sum.
    """
    name: str
    levels: np.ndarray
    always: int
    never: int
    lo: int
    hi: int


def _shape(type):
    """The shape of an input: (rows, columns, channels), or (elements,). A square number of elements, 64 or more, is an image."""
    if len(type.shape) == 1:
        side = math.isqrt(type.size)
        return (side, side, 1) if side * side == type.size and side >= 8 and type.hi == 255 else type.shape
    return type.shape if len(type.shape) == 3 else (*type.shape, 1)


def first_layer(network):
    """The :class:`Layer` behind the input and its encoder, or None where there is another operation first."""
    shape = _shape(network.types[network.inputs[0]])
    operation = next(op for op in network.operations.values() if op.inputs)
    while isinstance(operation, ENCODERS):
        operation = next(op for op in network.operations.values() if operation.name in op.inputs)
    if isinstance(operation, Conv2d):
        return Layer(operation.name, operation.weights.astype(float), False)
    if isinstance(operation, DepthwiseConv2d):
        return Layer(operation.name, operation.weights[..., None].astype(float), False)
    size = math.prod(shape)
    if isinstance(operation, Lookup):
        bits = network.types[operation.inputs[0]].size
        taken = np.bincount(operation.indices.reshape(-1) // (bits // size), minlength=size) / operation.indices.size
        return Layer(operation.name, taken.reshape(1, *shape), True)
    if isinstance(operation, Dense):
        weights = operation.weights.reshape(len(operation.weights), size, -1).mean(axis=2)
        return Layer(operation.name, weights.reshape(-1, *shape), False)
    return None


def thresholds(network):
    """:class:`Thresholds` of each hidden layer's Threshold, in order; an encoder's is none."""
    found = []
    for operation in network.operations.values():
        if not isinstance(operation, Threshold) or operation.inputs[0] in network.inputs:
            continue
        type = network.types[operation.inputs[0]]
        falling = operation.falling[:, None]
        always = np.where(falling, operation.levels >= type.hi, operation.levels <= type.lo)
        never = np.where(falling, operation.levels < type.lo, operation.levels > type.hi)
        found.append(Thresholds(operation.name, operation.levels[~always & ~never], int(always.sum()), int(never.sum()), type.lo,
                                type.hi))
    return found


def flips(provenance):
    """{layer: counts}: how many of a layer's neurons have 0 to 5 %, 5 to 10 %, ... of their weights turned round by the training.

    Empty where the provenance does not say.
    """
    return provenance.get("flips", {})


def _effort(network):
    """Multiplications for one input."""
    found = 0
    for name, operation in network.operations.items():
        if isinstance(operation, (Conv2d, DepthwiseConv2d)):
            found += operation.weights[0].size * network.types[name].size
        elif isinstance(operation, (Dense, Lookup)):
            found += operation.weights.size if isinstance(operation, Dense) else operation.indices.size
    return max(found, 1)


def _patches(shape):
    """Index arrays of the elements that are covered at a time: squares of an image's pixels, single columns of a table."""
    if len(shape) == 1:
        return [np.array([k]) for k in range(shape[0])]
    rows, columns, channels = shape
    side = max(1, min(rows, columns) // SHARE)
    places = np.arange(rows * columns * channels).reshape(shape)
    starts = [[*range(0, size - side, max(1, side // 2)), size - side] for size in (rows, columns)]
    return [places[row:row + side, column:column + side].reshape(-1) for row in starts[0] for column in starts[1]]


def least_effort(network, classes):
    """Multiplications that :func:`saliency` takes with one input of each class."""
    return _effort(network) * len(_patches(_shape(network.types[network.inputs[0]]))) * classes


def saliency(network, x, labels, classes, *, effort=EFFORT):
    """What each class's score hangs on, by covering parts of inputs.

    For inputs of a class the score of that class is computed with each part of the input replaced by the mean of all inputs (a
    square of about a seventh of an image's side; a column of a table). What the score loses counts for the elements of
    the part.

    Parameters
    ----------
    network : Network
        That ends in a class.
    x : int array (N, *shape)
    labels : int array (N,)
    classes : int
    effort : float
        Multiplications that it may take, about.

    Returns
    -------
    float array (classes, rows, columns), or (classes, columns) for a table
        In units of the score; positive where what the inputs have there speaks for the class. 0 for a class without inputs.
    """
    shape = _shape(network.types[network.inputs[0]])
    scores = network.operations[network.outputs[0]].inputs[0]
    flat = np.asarray(x).reshape(len(x), -1)
    mean, parts = np.rint(flat.mean(axis=0)).astype(flat.dtype), _patches(shape)
    tries = min(max(effort / _effort(network), TRIES_MIN), TRIES_MAX)
    each = max(1, int(tries / (len(parts) * classes)))
    found = np.zeros((classes, flat.shape[1]))
    covered = np.zeros(flat.shape[1])
    for part in parts:
        covered[part] += 1
    for label in range(classes):
        chosen = flat[np.flatnonzero(labels == label)[:each]]
        if not len(chosen):
            continue
        tried = np.repeat(chosen[:, None], len(parts) + 1, axis=1)      # the last is covered nowhere
        for k, part in enumerate(parts):
            tried[:, k, part] = mean[part]
        values = reference.run(network, tried.reshape(-1, *x.shape[1:]), keep=[scores])[scores][:, label]
        values = values.reshape(len(chosen), -1).mean(axis=0)
        for part, value in zip(parts, values, strict=False):
            found[label, part] += values[-1] - value
    found = (found / covered).reshape(classes, *shape)
    return found.mean(axis=3) if len(shape) == 3 else found
