"""Dense layers of signs: folded over PE and SIMD with weights in memory, or unfolded with weights as constants."""

from typing import Literal

import numpy as np

from ..gateware.dense import FoldedDense
from ..gateware.neurons import Neurons, Sums
from . import timing
from .base import FoldingError, Options, Stage, divisors

__all__ = ["FoldedOptions", "UnfoldedOptions", "DenseStage"]

MEMORIES = ("bram", "lut")


class FoldedOptions(Options):
    kind: Literal["dense"] = "dense"
    style: Literal["folded"] = "folded"
    pe: int
    simd: int
    memory: Literal["bram", "lut"]


class UnfoldedOptions(Options):
    kind: Literal["dense"] = "dense"
    style: Literal["unfolded"] = "unfolded"
    registers: int = 1      # pipeline registers through the layer, the output's included


class DenseStage(Stage):
    """A dense layer, with its thresholds if a sign follows.

    Parameters
    ----------
    weights : int8 array (n_out, n_in)
    thresholds : list of int (n_out,) or None
        On match counts, rising; None gives the match counts.
    """
    kind = "dense"

    def __init__(self, name, sources, edge, *, weights, thresholds):
        n_out, n_in = weights.shape
        super().__init__(name, sources, edge, elements_in=n_in, bits_in=1, elements_out=n_out,
                         bits_out=1 if thresholds is not None else n_in.bit_length())
        self.weights, self.thresholds = weights, thresholds

    def parse(self, table):
        if table.get("style", "folded") not in ("folded", "unfolded"):
            self.refuse("style", ("folded", "unfolded"), table["style"])
        if table.get("style") == "unfolded":
            options = UnfoldedOptions(**table)
            if not 1 <= options.registers <= 16:
                raise FoldingError(f"layer {self.name!r}: registers must be 1 to 16, not {options.registers}")
            return options
        for key, size in (("pe", self.elements_out), ("simd", self.elements_in)):
            if key in table and (not isinstance(table[key], int) or table[key] not in divisors(size)):
                self.refuse(key.upper(), divisors(size), table[key])
        if table.get("memory", "bram") not in MEMORIES:
            self.refuse("memory", MEMORIES, table["memory"])
        return FoldedOptions(**table)

    def folding_space(self):
        for pe in divisors(self.elements_out):
            for simd in divisors(self.elements_in):
                for memory in MEMORIES:
                    yield FoldedOptions(pe=pe, simd=simd, memory=memory)
        yield UnfoldedOptions()

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

    def _depth(self, options):
        """Input buffer: room for a second vector, so that an input at its average rate never holds the layer up."""
        return 2 * self._folds(options)[0]

    def resources(self, options):
        if options.style == "unfolded":
            return {"lanes": self.weights.size, "bram_words": []}
        words, folds = self._folds(options)
        blocks = [(options.pe * options.simd, words * folds)] if options.memory == "bram" else []
        return {"lanes": options.pe * options.simd, "bram_words": blocks}

    def build(self, options):
        if options.style == "unfolded":
            if self.thresholds is None:
                return Sums(self.weights, stages=options.registers)
            return Neurons(self.weights, np.array(self.thresholds), np.zeros(len(self.thresholds), bool),
                           stages=options.registers)
        return FoldedDense(self.weights, self.thresholds, pe=options.pe, simd=options.simd, memory=options.memory,
                           depth=self._depth(options))

    def timing(self, options):
        if options.style == "unfolded":
            return timing.Pipeline(options.registers - 1)
        words, folds = self._folds(options)
        return timing.Folded(words, folds, self._depth(options))
