"""Lowering: from a network's operations to the stages of the hardware, each rewrite exact.

The rewrites: a threshold joins the dense layer in front of it and moves from sums to match counts; a falling threshold
becomes flipped weights; flattening vanishes, since streams carry the elements in that order anyway; an affine's integers
take up the change from sums to match counts.
"""

import numpy as np
from amaranth.hdl import Shape

from .errors import UserError
from .ir import Affine, ArgMax, Dense, Flatten, Input, Threshold
from .stages import AffineStage, ClassStage, DenseStage, ScoresStage, ThresholdStage

__all__ = ["LoweringError", "match_thresholds", "lower"]


RESERVED = ("i", "o", "clk", "rst")     # ports of the module in which the stages stand


class LoweringError(UserError, ValueError):
    """A network for which there is no hardware yet; the message names the operation and what would be accepted."""


def match_thresholds(weights, threshold):
    """A dense layer's weights and thresholds on match counts, all rising.

    Parameters
    ----------
    weights : int8 array (n_out, n_in)
    threshold : Threshold
        One level per channel, on the sums ``s = 2 p - n_in``.

    Returns
    -------
    weights : int8 array (n_out, n_in)
        The rows of falling channels negated.
    thresholds : list of int (n_out,)
        The sign is +1 where the match count ``p`` is at least this; 0 is always, n_in + 1 never.
    """
    n_in = weights.shape[1]
    level, falling = threshold.levels[:, 0], threshold.falling
    # Rising: s >= t is p >= ceil((t + n) / 2). Falling: s <= t is -s >= -t, and -s is the sum with negated weights.
    level = np.where(falling, -level, level)
    counts = np.clip(-(-(level + n_in) // 2), 0, n_in + 1)
    return np.where(falling[:, None], -weights, weights).astype(np.int8), counts.tolist()


def _only_signs(name, operation):
    if operation.levels.shape[1] != 1 or (operation.base, operation.step) != (-1, 2):
        raise LoweringError(f"operation {name!r}: the hardware's thresholds give signs (one level, base -1, step 2), "
                            f"not {operation.levels.shape[1]} levels with base {operation.base} and step {operation.step}")


class _Lowering:
    def __init__(self, network, scores):
        self.network, self.scores = network, scores
        self.stages = []
        self.score = None       # shape of what the last stage gives where that is sums, x meaning lo + step * x
        self.lo, self.step = 0, 1

    def refuse(self, name, reason):
        raise LoweringError(f"operation {name!r}: {reason}")

    def next(self, name):
        """The one operation that takes edge ``name``, flattening skipped."""
        consumers = self.network.consumers(name)
        if len(consumers) != 1:
            self.refuse(name, f"its result must go to exactly one operation, not to {consumers or 'none'}")
        operation = self.network.operations[consumers[0]]
        if name in self.network.outputs and not isinstance(operation, ArgMax):
            self.refuse(name, "only a class and its scores can be outputs")
        return self.next(operation.name) if isinstance(operation, Flatten) else operation

    def add(self, kind, name, edge, **facts):
        if name in RESERVED or name.endswith(("_join", "_split")):
            self.refuse(name, f"the hardware needs this name for itself (as {', '.join(RESERVED)}, ..._join, ..._split): "
                              "choose another")
        self.stages.append(kind(name, [self.stages[-1].name] if self.stages else [], edge, **facts))

    def input(self):
        """The input and the threshold on it."""
        if len(self.network.inputs) != 1:
            self.refuse(self.network.inputs[1], f"one input is possible, not {len(self.network.inputs)}")
        name = self.network.inputs[0]
        type = self.network.types[name]
        following = self.next(name)
        if isinstance(following, Threshold):
            _only_signs(following.name, following)
            codes = (following.levels[:, 0] - type.lo) // type.step     # in normal form, so it divides
            self.add(ThresholdStage, following.name, following.name, elements=type.size, bits=8 * -(-type.bits // 8),
                     levels=codes.tolist(), falling=following.falling.tolist())
            return self.next(following.name)
        if type.is_bipolar:             # a byte per sign: 0 is -1, anything else +1
            self.add(ThresholdStage, name, name, elements=type.size, bits=8, levels=[1], falling=[False])
            return following
        self.refuse(following.name, f"the input's values {type.lo} to {type.hi} must go through a Threshold first")

    def dense(self, operation):
        type = self.network.types[operation.inputs[0]]
        if not type.is_bipolar:
            self.refuse(operation.name, f"its input must be signs, not values {type.lo} to {type.hi}")
        following = self.next(operation.name)
        if isinstance(following, Threshold):
            _only_signs(following.name, following)
            weights, thresholds = match_thresholds(operation.weights, following)
            self.add(DenseStage, operation.name, following.name, weights=weights, thresholds=thresholds)
            self.score = None
            return self.next(following.name)
        self.add(DenseStage, operation.name, operation.name, weights=operation.weights, thresholds=None)
        self.score = Shape(operation.weights.shape[1].bit_length(), False)
        self.lo, self.step = -operation.weights.shape[1], 2
        return following

    def affine(self, operation):
        if self.score is None or isinstance(self.stages[-1], AffineStage):
            self.refuse(operation.name, "its input must be the sums of a Dense")
        scale, offset = operation.scale, operation.offset
        self.add(AffineStage, operation.name, operation.name, elements=len(scale), bits=self.score.width,
                 scale=(scale * self.step).tolist(), offset=(scale * self.lo + offset).tolist())
        self.score, self.lo, self.step = self.stages[-1].shape, 0, 1
        return self.next(operation.name)

    def result(self, operation):
        classes = self.network.types[operation.inputs[0]].size
        type = self.network.types[operation.inputs[0]]
        class_bytes = -(-self.network.types[operation.name].bits // 8)
        if self.score is None:
            self.refuse(operation.name, "its input must be the sums of a Dense or an Affine of them")
        if self.network.consumers(operation.name):
            self.refuse(operation.name, f"nothing can follow the class, but {self.network.consumers(operation.name)[0]!r} does")
        if self.network.outputs[0] != operation.name or set(self.network.outputs) - {operation.name, *operation.inputs}:
            self.refuse(operation.name, f"the outputs must be the class and, after it, its scores, not {self.network.outputs}")
        if not self.scores:
            self.add(ClassStage, operation.name, operation.name, classes=classes, score=self.score,
                     bytes_per_beat=class_bytes)
            return
        width = Shape.cast(range(min(type.lo, -1), max(type.hi, classes - 1) + 1)).width
        self.add(ScoresStage, operation.name, operation.name, classes=classes, score=self.score,
                 bytes_per_beat=-(-width // 8), lo=self.lo, step=self.step)


def lower(network, *, scores=False):
    """The stages that compute ``network``, in order.

    Parameters
    ----------
    network : Network
        Input, thresholds and dense layers in a chain, ending in an ArgMax.
    scores : bool
        Whether the result carries the scores besides the class.

    Returns
    -------
    list of Stage

    Raises
    ------
    LoweringError
        The network has an operation or a connection for which there is no hardware.
    """
    lowering = _Lowering(network, scores)
    operation = lowering.input()
    while not isinstance(operation, ArgMax):
        if isinstance(operation, Dense):
            operation = lowering.dense(operation)
        elif isinstance(operation, Affine):
            operation = lowering.affine(operation)
        elif isinstance(operation, (Threshold, Input)):
            lowering.refuse(operation.name, "a Threshold can stand on the input or behind a Dense, not here")
        else:
            lowering.refuse(operation.name, f"there is no hardware for {operation.kind}")
    lowering.result(operation)
    return lowering.stages
