"""Stages that work element by element: the input, thresholds, scales and offsets, sums of two streams."""

from ..gateware.add import AddUnit
from ..gateware.affine import AffineUnit, BankAffineUnit
from ..gateware.streams import Narrow
from ..gateware.threshold import ThresholdUnit
from . import timing, unit_timing
from .base import ElementwiseStage

__all__ = ["AddStage", "AffineStage", "BankAffineStage", "InputStage", "ThresholdStage"]


class InputStage(ElementwiseStage):
    """The input's bytes as codes of ``bits`` bits; bits above are ignored."""
    kind = "input"

    def __init__(self, name, sources, edge, *, elements, bits):
        super().__init__(name, sources, edge, elements_in=elements, bits_in=8 * -(-bits // 8), elements_out=elements,
                         bits_out=bits)

    def build(self, options):
        return Narrow(self.bits_in, self.bits_out, options.lanes)

    def timing(self, options):
        return timing.Slice()


class ThresholdStage(ElementwiseStage):
    """The number of levels that each element reaches.

    ``levels`` (C, L) and ``falling`` (C,) are on codes, as :class:`ThresholdUnit` takes them.
    """
    kind = "threshold"

    def __init__(self, name, sources, edge, *, elements, bits, levels, falling):
        super().__init__(name, sources, edge, elements_in=elements, bits_in=bits, elements_out=elements,
                         bits_out=len(levels[0]).bit_length())
        self.levels, self.falling = levels, falling

    def build(self, options):
        return ThresholdUnit(bits=self.bits_in, levels=self.levels, falling=self.falling, lanes=options.lanes)

    def timing(self, options):
        return timing.Pipeline(0 if len(self.levels[0]) == 1 else 1)


class AffineStage(ElementwiseStage):
    """``scale[c] * x + offset[c]``, from codes to codes of ``width`` bits."""
    kind = "affine"

    def __init__(self, name, sources, edge, *, elements, bits, width, scale, offset):
        super().__init__(name, sources, edge, elements_in=elements, bits_in=bits, elements_out=elements, bits_out=width)
        self.scale, self.offset = scale, offset

    def build(self, options):
        return AffineUnit(bits=self.bits_in, scale=self.scale, offset=self.offset, width=self.bits_out, lanes=options.lanes)

    def timing(self, options):
        return timing.Elastic()


class BankAffineStage(AffineStage):
    """The same for vectors, with ``scale`` and ``offset`` (tasks, C) of each task."""
    def __init__(self, name, sources, edge, *, scale, offset, **facts):
        super().__init__(name, sources, edge, scale=sum(scale, []), offset=sum(offset, []), **facts)
        self.tasks = len(scale)

    def _banks(self, flat):
        return [flat[first:first + self.elements_in] for first in range(0, len(flat), self.elements_in)]

    def build(self, options):
        return BankAffineUnit(bits=self.bits_in, scale=self._banks(self.scale), offset=self._banks(self.offset),
                              width=self.bits_out, lanes=options.lanes)

    def timing(self, options):
        return timing.Elastic(2)


class AddStage(ElementwiseStage):
    """The sum of two streams: ``scales[0] * x + scales[1] * y`` of codes of ``bits`` (two numbers), in ``width`` bits."""
    kind = "add"

    def __init__(self, name, sources, edge, *, elements, bits, scales, width):
        super().__init__(name, sources, edge, elements_in=elements, bits_in=None, elements_out=elements, bits_out=width)
        self._bits, self.scales = tuple(bits), tuple(scales)

    def bits(self, port):
        return self._bits[port]

    def build(self, options):
        return AddUnit(bits=self._bits, scales=self.scales, width=self.bits_out, lanes=options.lanes)

    def timing(self, options):
        return unit_timing.Add()
