"""Lowering: from a network's operations to the stages of the hardware.

The rewrites of :mod:`bnnhw.rewrite` come first. Then each operation becomes a stage, except that a threshold of one level joins
the dense layer or convolution in front of it, and flattening vanishes, since streams carry the elements in that order anyway.
Between stages every value travels as its code ``(value - lo) / step`` of the edge's type.
"""

import numpy as np

from .errors import UserError
from .ir import (
    Add,
    Affine,
    ArgMax,
    BankAffine,
    BankThreshold,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    SumPool2d,
    Threshold,
)
from .matching import matching
from .rewrite import WEIGHTED, rewrite
from .sparse import GroupSum, Lookup, Thermometer
from .stages import (
    AddStage,
    AffineStage,
    BankAffineStage,
    ClassStage,
    ConvStage,
    DenseStage,
    DepthwiseStage,
    InputStage,
    LookupClassStage,
    LookupStage,
    MaxPoolStage,
    ScoresStage,
    SumPoolStage,
    ThermometerStage,
    ThresholdStage,
)

__all__ = ["LoweringError", "lower"]

RESERVED = ("i", "o", "clk", "rst", "s_axis", "m_axis")     # ports of the modules in which the stages stand
RESERVED_ENDS = ("_join", "_split", "_fork", "__payload", "__valid", "__ready")
RESERVED_MIDDLE = "_to_", "_inner"
LONGEST_NAME = 100      # files of simulation are called by layers, and names of streams by two of them
STAGES = {"Dense": DenseStage, "Conv2d": ConvStage, "DepthwiseConv2d": DepthwiseStage}


class LoweringError(UserError, ValueError):
    """A network for which there is no hardware yet; the message names the operation and what would be accepted."""


def _refuse(name, reason):
    raise LoweringError(f"operation {name!r}: {reason}")


class _Lowering:
    """``network`` is the rewritten one, ``given`` the one whose edges can be compared."""
    def __init__(self, given, scores):
        self.given, self.scores = given, scores
        self.network, self.titles = rewrite(given)
        self.stages, self.made = [], {}     # made: edge -> the stage that gives it
        self.chained = set()                # operations that are part of a LookupStage

    def add(self, kind, operation, edge, **facts):
        title = self.titles.get(operation.name, operation.name)
        name = operation.name if any(stage.name == title for stage in self.stages) else title
        if len(name) > LONGEST_NAME:
            _refuse(f"{name[:20]}...", f"a name in hardware has at most {LONGEST_NAME} characters, not {len(name)}")
        if name in RESERVED or name.endswith(RESERVED_ENDS) or any(middle in name for middle in RESERVED_MIDDLE):
            ends, middles = ", ".join(f"...{end}" for end in RESERVED_ENDS), ", ".join(f"...{m}..." for m in RESERVED_MIDDLE)
            _refuse(name, f"the hardware needs this name for itself (as {', '.join(RESERVED)}, {ends}, {middles}): "
                          "choose another")
        sources = [self.made[source] for source in operation.inputs
                   if source != self.network.task and self.made[source] is not None]
        self.stages.append(kind(name, sources, edge if edge in self.given.operations else None, **facts))
        self.made[edge] = name

    def only_taker(self, edge, behind=()):
        """The operation that alone takes ``edge``, or None; operations of kind ``behind`` are looked through."""
        takers = self.network.consumers(edge)
        if len(takers) != 1 or edge in self.network.outputs:
            return None
        taker = self.network.operations[takers[0]]
        return self.only_taker(taker.name, behind) if isinstance(taker, behind) else taker

    def input(self, operation, type):
        """Values arrive in whole bytes; a threshold that alone takes them works on those."""
        if type.is_bipolar:             # a byte per sign: 0 is -1, anything else +1
            self.add(ThresholdStage, operation, operation.name, elements=type.size, bits=8, levels=[[1]], falling=[False])
        elif isinstance(self.only_taker(operation.name, behind=Flatten), (Threshold, Thermometer)):
            self.made[operation.name] = None
        else:
            self.add(InputStage, operation, operation.name, elements=type.size, bits=type.bits)

    def threshold(self, operation, type):
        if operation.name in self.made:         # in the stage in front
            return
        codes = (operation.levels - type.lo) // type.step       # in normal form, so it divides
        self.add(ThresholdStage, operation, operation.name, elements=type.size, bits=self.taken(operation, type),
                 levels=codes.tolist(), falling=operation.falling.tolist())

    def taken(self, operation, type):
        """Bits of an element that ``operation`` takes: whole bytes where that is the network's input."""
        return type.bits if self.made[operation.inputs[0]] else 8 * -(-type.bits // 8)

    def weighted(self, operation, type):
        """A dense layer or convolution, with the threshold behind it where that is one level for signs or other bits."""
        matches = matching(operation, type)
        facts = {"weights": operation.weights, "bits": type.bits, "reach": matches.reach}
        if not isinstance(operation, Dense):
            facts |= {"image": type.shape[:2], "stride": operation.stride, "padding": operation.padding, "fill": matches.fill}
        taker = self.only_taker(operation.name)
        if isinstance(taker, BankThreshold) and isinstance(operation, Dense) and taker.levels.shape[2] == 1:
            edge, result = taker.name, matches.signs(taker.levels[:, :, 0], taker.falling)
        elif isinstance(taker, Threshold) and taker.levels.shape[1] == 1:     # rising: rewritten so
            edge, result = taker.name, matches.signs(taker.levels[:, 0])
        else:
            edge, result = operation.name, matches.codes(self.network.types[operation.name])
        self.add(STAGES[operation.kind], operation, edge, result=result, **facts)

    def pool(self, operation, type):
        facts = {"image": type.shape[:2], "channels": type.channels, "kernel": operation.kernel, "stride": operation.stride,
                 "bits": type.bits}
        if isinstance(operation, SumPool2d):
            # Codes add up to the code of the sum.
            self.add(SumPoolStage, operation, operation.name, width=self.network.types[operation.name].bits, **facts)
        else:
            self.add(MaxPoolStage, operation, operation.name, minimum=operation.least(type.channels).tolist(), **facts)

    def affine(self, operation, type):
        result = self.network.types[operation.name]
        offsets = operation.scale * type.lo + operation.offset - result.lo
        self.add(AffineStage, operation, operation.name, elements=type.size, bits=type.bits, width=result.bits,
                 scale=(operation.scale * type.step // result.step).tolist(), offset=(offsets // result.step).tolist())

    def bank_threshold(self, operation, type, task):
        if operation.name not in self.made:
            _refuse(operation.name, "there is hardware for banks of thresholds of one level only, that alone take a Dense")

    def bank_affine(self, operation, type, task):
        if len(type.shape) != 1:
            _refuse(operation.name, f"there is hardware for banks of scales and offsets of a vector, not of shape {type.shape}")
        result = self.network.types[operation.name]
        offsets = operation.scale * type.lo + operation.offset - result.lo
        self.add(BankAffineStage, operation, operation.name, elements=type.size, bits=type.bits, width=result.bits,
                 scale=(operation.scale * type.step // result.step).tolist(), offset=(offsets // result.step).tolist())

    def add_up(self, operation, first, second):
        result = self.network.types[operation.name]
        # Codes count from the lowest value, and the lowest values add up. One that never changes has no step of its own.
        scales = [type.step // result.step if type.levels > 1 else 1 for type in (first, second)]
        self.add(AddStage, operation, operation.name, elements=first.size, bits=(first.bits, second.bits), scales=scales,
                 width=result.bits)

    def thermometer(self, operation, type):
        codes = np.atleast_2d((operation.levels - type.lo) // type.step)        # in normal form, so it divides
        self.add(ThermometerStage, operation, operation.name, elements=type.size, bits=self.taken(operation, type),
                 levels=codes.tolist())

    def lookup(self, operation, type):
        """A chain of tables and the votes behind it are one stage; the first of them makes it."""
        if operation.name in self.chained:
            return
        chain = [operation]
        while isinstance(taker := self.only_taker(chain[-1].name), Lookup):
            chain.append(taker)
        if not isinstance(taker, GroupSum):
            _refuse(chain[-1].name, "what alone takes a Lookup must be another one, or a GroupSum")
        self.chained |= {own.name for own in (*chain, taker)}
        layers = [(own.indices.tolist(), [sum(1 << t for t in np.flatnonzero(table > 0).tolist()) for table in own.tables])
                  for own in chain]
        facts = {"elements": type.size, "layers": layers, "groups": taker.groups, "inner": [own.name for own in chain]}
        end = self.only_taker(taker.name)
        if isinstance(end, ArgMax) and not self.scores:
            self.check_result(end)
            self.chained.add(end.name)
            facts |= {"inner": [*facts["inner"], taker.name], "bytes_per_beat": -(-self.network.types[end.name].bits // 8)}
            self.add(LookupClassStage, ArgMax(end.name, operation.inputs[0]), end.name, **facts)
        else:
            self.add(LookupStage, GroupSum(taker.name, operation.inputs[0], taker.groups), taker.name, **facts)

    def votes(self, operation, type):
        if operation.name not in self.chained:
            _refuse(operation.name, "there is hardware for votes behind a Lookup only")

    def check_result(self, operation):
        name, outputs = operation.name, self.given.outputs
        if self.network.consumers(name):
            _refuse(name, f"nothing can follow the class, but {self.network.consumers(name)[0]!r} does")
        if outputs[0] != name or set(outputs) - {name, *operation.inputs}:
            _refuse(name, f"the outputs must be the class and, after it, its scores, not {outputs}")

    def result(self, operation, type):
        name = operation.name
        if name in self.chained:
            return
        self.check_result(operation)
        facts = {"classes": type.size, "score_bits": type.bits}
        if not self.scores:
            class_bits = self.network.types[name].bits
            self.add(ClassStage, operation, name, bytes_per_beat=-(-class_bits // 8), **facts)
            return
        width = 1 + max(max(end, ~end).bit_length() for end in (type.lo, type.hi, type.size - 1))
        self.add(ScoresStage, operation, name, bytes_per_beat=-(-width // 8), lo=type.lo, step=type.step, **facts)

    def run(self):
        inputs = [name for name in self.network.inputs if name != self.network.task]
        if len(inputs) != 1:
            _refuse(inputs[1], f"one input is possible, not {len(inputs)}")
        ends = [operation for operation in self.network.operations.values() if isinstance(operation, ArgMax)]
        if len(ends) != 1:
            _refuse(self.network.outputs[0], f"a network must end in one ArgMax, not in {len(ends)}")
        for name in self.network.outputs:
            if name not in (ends[0].name, *ends[0].inputs):
                _refuse(name, "only a class and its scores can be outputs")
        actions = {Threshold: self.threshold, MaxPool2d: self.pool, SumPool2d: self.pool, Affine: self.affine, Add: self.add_up,
                   ArgMax: self.result, Thermometer: self.thermometer, Lookup: self.lookup, GroupSum: self.votes,
                   BankThreshold: self.bank_threshold, BankAffine: self.bank_affine}
        actions |= dict.fromkeys(WEIGHTED, self.weighted)
        for name, operation in self.network.operations.items():
            if name == self.network.task:
                continue
            if isinstance(operation, Input):
                self.input(operation, self.network.types[name])
            elif isinstance(operation, Flatten):
                self.made[name] = self.made[operation.inputs[0]]
            else:
                actions[type(operation)](operation, *(self.network.types[source] for source in operation.inputs))
        return self.stages


def lower(network, *, scores=False):
    """The stages that compute ``network``.

    Parameters
    ----------
    network : Network
        With one input besides the task, and one ArgMax at its end.
    scores : bool
        Whether the result carries the scores besides the class.

    Returns
    -------
    list of Stage
        In topological order: the first takes the input, the last gives the result.

    Raises
    ------
    LoweringError
        The network has an operation or a connection for which there is no hardware.
    """
    return _Lowering(network, scores).run()
