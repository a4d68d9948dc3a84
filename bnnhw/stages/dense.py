"""Dense layers: folded over PE and SIMD with weights in memory, or unfolded with weights as constants."""

from typing import Literal

from .. import baked
from ..gateware.baked import BakedCounts, BakedSigns
from ..gateware.dense import FoldedDense, starts_style
from ..gateware.mvtu import Signs, start_words
from ..gateware.weights import pages
from . import timing
from .base import BufferedStage, FoldingError, Options, TreeOptions, divisors
from .unit_timing import buffered

__all__ = ["KEPT_IN", "MEMORIES", "FoldedOptions", "UnfoldedOptions", "DenseStage", "memories", "weight_bits"]

MEMORIES = ("bram", "lut")
KEPT_IN = (*MEMORIES, "updatable")      # what is never chosen without being asked for, last
DEPTH = 2           # of an unfolded layer, where nobody says


def weight_bits(weights):
    """Bits per weight in a memory: a sign, and a mask where any is 0."""
    return 1 if weights.all() else 2


def memories(stage, options, *, words, simd, vector):
    """(bits, words) of the block RAMs of a layer with weights and results, ``simd`` inputs of a neuron per cycle, ``words``
    weight words in all, ``vector`` words of a window or vector."""
    if options.memory == "lut":
        return []
    bits = weight_bits(stage.weights) * options.pe * simd
    if options.memory == "bram" and (stage.tasks == 1 or starts_style(stage.result, options.pe, "bram") != "bram"):
        return [(bits, words)]
    starts, shape = start_words(stage.result, options.pe, vector * simd * ((1 << stage.bits_in) - 1))
    return [(bits, pages(words) if options.memory == "updatable" else words), (shape.width * options.pe, pages(len(starts)))]


class FoldedOptions(TreeOptions):
    kind: Literal["dense"] = "dense"
    style: Literal["folded"] = "folded"
    pe: int
    simd: int
    memory: Literal[KEPT_IN]


class UnfoldedOptions(Options):
    """``fabric``: whose cells the circuit is made of; ``depth``: tables and carry chains that may stand between registers."""
    kind: Literal["dense"] = "dense"
    style: Literal["unfolded"] = "unfolded"
    fabric: str
    depth: int = DEPTH


class DenseStage(BufferedStage):
    """A dense layer, with its threshold if bits follow.

    Parameters
    ----------
    weights : int8 array (n_out, n_in)
        -1, 0, +1.
    bits : int
        Of an input's code.
    result : Signs or Codes
        What is made of match counts (:mod:`bnnhw.gateware.mvtu`).
    reach : list of int (n_out,)
        Greatest match counts.
    """
    kind = "dense"

    def __init__(self, name, sources, edge, *, weights, bits, result, reach):
        n_out, n_in = weights.shape
        super().__init__(name, sources, edge, elements_in=n_in, bits_in=bits, elements_out=n_out, bits_out=result.width)
        self.weights, self.result, self.reach = weights, result, reach
        self.tasks = len(result.starts)
        self._made = {}

    @property
    def unfoldable(self):
        """Whether it can be built as constants: signs in, and one task."""
        return self.bits_in == 1 and self.tasks == 1

    def made(self, options):
        """The :class:`bnnhw.baked.Layer` of unfolded ``options``. It takes a while, so each is made once."""
        if options not in self._made:
            make = {"fabric": options.fabric, "depth": options.depth}
            self._made[options] = (baked.layer(self.weights, self.result.thresholds[0], **make) if isinstance(self.result, Signs)
                                   else baked.counts(self.weights, **make))
        return self._made[options]

    def parse(self, table):
        if table.get("style", "folded") not in ("folded", "unfolded"):
            self.refuse("style", ("folded", "unfolded"), table["style"])
        if table.get("style") == "unfolded":
            return self._parse_unfolded(table)
        for key, size in (("pe", self.elements_out), ("simd", self.elements_in)):
            if key in table and (not isinstance(table[key], int) or table[key] not in divisors(size)):
                self.refuse(key.upper(), divisors(size), table[key])
        if table.get("memory", "bram") not in KEPT_IN:
            self.refuse("memory", KEPT_IN, table["memory"])
        return self.check_registers(self.check_depth(FoldedOptions(**table)))

    def _parse_unfolded(self, table):
        if not self.unfoldable:
            why = "a layer of signs" if self.tasks == 1 else "a layer without banks"
            raise FoldingError(f"layer {self.name!r}: style must be 'folded': only {why} can be unfolded")
        options = UnfoldedOptions(**table)
        if options.fabric not in baked.FABRICS:
            self.refuse("fabric", baked.FABRICS, options.fabric)
        if options.depth < 1:
            raise FoldingError(f"layer {self.name!r}: depth must be at least 1, not {options.depth}")
        return options

    def folding_space(self):
        for pe in divisors(self.elements_out):
            for simd in divisors(self.elements_in):
                for memory in MEMORIES:
                    yield FoldedOptions(pe=pe, simd=simd, memory=memory)
        if self.unfoldable:
            for fabric in baked.FABRICS:
                yield UnfoldedOptions(fabric=fabric)

    def lanes(self, options):
        if options.style == "unfolded":
            return self.elements_in, self.elements_out
        return options.simd, options.pe

    def _folds(self, options):
        return self.elements_in // options.simd, self.elements_out // options.pe

    def cycles(self, options):
        if options.style == "unfolded":
            return 1
        words, folds = self._folds(options)
        return words * folds

    def live(self, options):
        return self._folds(options)[0]

    def rate(self, options, period):
        """Room for a second vector, so that an input at its average rate never holds the layer up."""
        return 2 * self._folds(options)[0]

    def resources(self, options):
        if options.style == "unfolded":
            return {"lanes": self.weights.size, "bram_words": []}
        words, folds = self._folds(options)
        blocks = memories(self, options, words=words * folds, simd=options.simd, vector=words)
        return {"lanes": options.pe * options.simd * self.bits_in, "bram_words": blocks}

    def build(self, options):
        if options.style == "unfolded":
            name, made = f"bnnhw_circuit_{self.name}", self.made(options)
            if isinstance(self.result, Signs):
                return BakedSigns(name, made)
            return BakedCounts(name, made, offsets=self.result.offsets[0], scale=self.result.scale, width=self.result.width)
        return FoldedDense(self.weights, self.result, reach=self.reach, pe=options.pe, simd=options.simd, memory=options.memory,
                           depth=self.depth(options), bits=self.bits_in, registers=options.registers, slices=options.slices)

    def timing(self, options):
        if options.style == "unfolded":
            return timing.Pipeline(self.made(options).circuit.latency)
        words, folds = self._folds(options)
        unit = timing.Unit(words, options.registers)
        return unit if folds == 1 else buffered(timing.Ring(words, folds, self.depth(options)), unit, options.slices)
