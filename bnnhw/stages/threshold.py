"""Thresholds on the network's input."""

from typing import Literal

from ..gateware.threshold import ThresholdUnit
from . import timing
from .base import Options, Stage, divisors

__all__ = ["ThresholdOptions", "ThresholdStage"]


class ThresholdOptions(Options):
    kind: Literal["threshold"] = "threshold"
    lanes: int


class ThresholdStage(Stage):
    """One sign per element, ``lanes`` elements per cycle.

    ``levels`` and ``falling`` are per channel and on wire codes, as :class:`ThresholdUnit` takes them.
    """
    kind = "threshold"

    def __init__(self, name, sources, edge, *, elements, bits, levels, falling):
        super().__init__(name, sources, edge, elements_in=elements, bits_in=bits, elements_out=elements, bits_out=1)
        self.levels, self.falling = levels, falling

    def parse(self, table):
        options = ThresholdOptions(**table)
        if options.lanes not in divisors(self.elements_in):
            self.refuse("lanes", divisors(self.elements_in), options.lanes)
        return options

    def folding_space(self):
        for lanes in divisors(self.elements_in):
            yield ThresholdOptions(lanes=lanes)

    def lanes(self, options):
        return options.lanes, options.lanes

    def cycles(self, options):
        return self.elements_in // options.lanes

    def resources(self, options):
        return {"lanes": options.lanes, "bram_words": []}

    def build(self, options):
        return ThresholdUnit(bits=self.bits_in, levels=self.levels, falling=self.falling, lanes=options.lanes)

    def timing(self, options):
        return timing.Pipeline(0)
