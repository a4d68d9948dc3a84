"""Integers as signs, several for each."""

from ..gateware.thermometer import ThermometerUnit, changing, columns
from ..gateware.weights import style_for
from . import timing
from .base import ElementwiseStage, divisors

__all__ = ["ThermometerStage"]


class ThermometerStage(ElementwiseStage):
    """For each element L signs side by side: of the levels, which it reaches.

    Parameters
    ----------
    levels : list of lists of int (C, L)
        On codes, in turn for the elements, as :class:`ThermometerUnit` takes them; C divides their number. Where they repeat
        after fewer elements than C, the hardware keeps no more than those.
    """
    kind = "thermometer"

    def __init__(self, name, sources, edge, *, elements, bits, levels):
        self.levels = levels[:_period(levels)]
        self.count = len(levels[0])
        super().__init__(name, sources, edge, elements_in=elements, bits_in=bits, elements_out=elements * self.count, bits_out=1)

    def lanes(self, options):
        return options.lanes, options.lanes * self.count

    def resources(self, options):
        found = columns(self.levels, options.lanes, self.bits_in)
        width, words = len(changing(found)), len(found[0])
        in_block_ram = style_for(width * words, words) == "bram"
        return {"lanes": options.lanes * self.count, "bram_words": [(width, words)] if in_block_ram else []}

    def build(self, options):
        return ThermometerUnit(bits=self.bits_in, levels=self.levels, lanes=options.lanes)

    def timing(self, options):
        return timing.Pipeline(0)


def _period(levels):
    """The least divisor of their number after which ``levels`` repeat."""
    return next(period for period in divisors(len(levels)) if levels[period:] == levels[:-period])
