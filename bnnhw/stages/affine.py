"""Per-class scale and offset of the scores."""

from typing import Literal

from amaranth.hdl import Shape

from ..gateware.affine import AffineUnit
from . import timing
from .base import Options, Stage

__all__ = ["AffineOptions", "AffineStage"]


class AffineOptions(Options):
    kind: Literal["affine"] = "affine"


class AffineStage(Stage):
    """``scale[c] * x + offset[c]``, one element per cycle. ``scale`` and ``offset`` are on wire codes."""
    kind = "affine"

    def __init__(self, name, sources, edge, *, elements, bits, scale, offset):
        self._unit = dict(bits=bits, scale=scale, offset=offset)
        ends = [a * x + b for a, b in zip(scale, offset, strict=True) for x in (0, 2**bits - 1)]
        self.shape = Shape.cast(range(min(*ends, -1), max(*ends, 0) + 1))
        super().__init__(name, sources, edge, elements_in=elements, bits_in=bits, elements_out=elements,
                         bits_out=self.shape.width)

    def parse(self, table):
        return AffineOptions(**table)

    def folding_space(self):
        yield AffineOptions()

    def lanes(self, options):
        return 1, 1

    def cycles(self, options):
        return self.elements_in

    def resources(self, options):
        return {"lanes": 0, "bram_words": []}

    def build(self, options):
        return AffineUnit(**self._unit)

    def timing(self, options):
        return timing.Elastic()
