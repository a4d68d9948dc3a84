"""Dense layers: folded over PE and SIMD with weights in memory, or unfolded with weights as constants."""

from typing import Literal

from .. import baked
from ..gateware.baked import BakedCounts, BakedSigns
from ..gateware.dense import FoldedDense, starts_style
from ..gateware.mvtu import Signs, start_words
from ..gateware.padding import Grouping
from ..gateware.streams import landing_capacity
from ..gateware.weights import pages
from . import timing
from .base import BufferedStage, FoldingError, Options, TreeOptions
from .foldings import Sizes, foldings
from .unit_timing import buffered, padded

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
    result = stage.result.repeated(Grouping(len(stage.reach), options.pe).missing)
    if options.memory == "bram" and (stage.tasks == 1 or starts_style(result, options.pe, "bram") != "bram"):
        return [(bits, words)]
    starts, shape = start_words(result, options.pe, vector * simd * ((1 << stage.bits_in) - 1))
    return [(bits, pages(words) if options.memory == "updatable" else words), (shape.width * options.pe, pages(len(starts)))]


class FoldedOptions(TreeOptions):
    kind: Literal["dense"] = "dense"
    style: Literal["folded"] = "folded"
    pe: int
    simd: int
    memory: Literal[KEPT_IN]


class UnfoldedOptions(Options):
    """``fabric``: whose cells the circuit is made of; ``depth``: tables and carry chains that may stand between registers;
    ``blocks``: sets of neurons that share nothing but the inputs, which go from one to the next, a clock each; with more than
    one no signal of the layer goes to all of its registers."""
    kind: Literal["dense"] = "dense"
    style: Literal["unfolded"] = "unfolded"
    fabric: str
    depth: int = DEPTH
    blocks: int = 1


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
            make = {"fabric": options.fabric, "depth": options.depth, "blocks": options.blocks}
            self._made[options] = (baked.layer(self.weights, self.result.thresholds[0], **make) if isinstance(self.result, Signs)
                                   else baked.counts(self.weights, **make))
        return self._made[options]

    def parse(self, table):
        if table.get("style", "folded") not in ("folded", "unfolded"):
            self.refuse("style", ("folded", "unfolded"), table["style"])
        if table.get("style") == "unfolded":
            return self._parse_unfolded(table)
        self.check_lanes(table, "pe", self.elements_out)
        self.check_lanes(table, "simd", self.elements_in)
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
        if not 1 <= options.blocks <= self.elements_out:
            raise FoldingError(f"layer {self.name!r}: blocks must be 1 to {self.elements_out}, not {options.blocks}")
        return options

    def folding_space(self):
        for pe, simd in foldings(self._sizes):
            for memory in MEMORIES:
                yield FoldedOptions(pe=pe, simd=simd, memory=memory)
        if self.unfoldable:
            for fabric in baked.FABRICS:
                yield UnfoldedOptions(fabric=fabric)

    def lanes(self, options):
        if options.style == "unfolded":
            return self.elements_in, self.elements_out
        rows, columns = self.groupings(options)
        return columns.narrow, rows.narrow

    @property
    def _sizes(self):
        return Sizes(self.elements_out, self.elements_in)

    def groupings(self, options):
        """Of results and of inputs, into words of PE and SIMD."""
        return Grouping(self.elements_out, options.pe), Grouping(self.elements_in, options.simd)

    def cycles(self, options):
        if options.style == "unfolded":
            return 1
        return self._sizes.cycles(options.pe, options.simd)

    def live(self, options):
        return self.groupings(options)[1].words

    def rate(self, options, period):
        """Room for a second vector, so that an input at its average rate never holds the layer up."""
        return 2 * self.groupings(options)[1].words

    def resources(self, options):
        if options.style == "unfolded":
            return {"lanes": self.weights.size, "bram_words": []}
        rows, columns = self.groupings(options)
        blocks = memories(self, options, words=rows.words * columns.words, simd=options.simd, vector=columns.words)
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
            circuit = self.made(options).circuit
            if circuit.blocks > 1:
                return timing.Running(circuit.latency, landing_capacity(circuit.latency))
            return timing.Pipeline(circuit.latency)
        rows, columns = self.groupings(options)
        unit = timing.Unit(columns.words, options.registers)
        if rows.words > 1:
            unit = buffered(timing.Ring(columns.words, rows.words, self.depth(options)), unit, options.slices)
        return padded(unit, rows, columns)
