"""Sparse networks: layers of lookup tables with their votes, and the class where only that is wanted."""

import functools
from typing import Literal

from ..baked import FABRICS
from ..baked.tables import tables
from ..gateware.gather import Gather
from ..gateware.lookup import LookupClassUnit, LookupUnit
from ..gateware.tournament import rounds_of
from . import timing
from .base import FoldingError, Options, Stage, divisors
from .clusters import clustered
from .lookup_timing import Gathered

__all__ = ["LookupOptions", "LookupClassStage", "LookupStage"]

USUAL_DEPTH = 3             # cells and chains between registers, where the clock allows
USUAL_BLOCKS = {"ice40": 24}    # a UP5K has 30 block RAMs, of which the link and the table of used elements take four


class LookupOptions(Options):
    """``lanes``: elements of the input per cycle; ``fabric``: whose cells; ``depth``: cells and chains between registers;
    ``blocks``: block RAMs that hold the input."""
    kind: Literal["lookup", "lookup-class"]
    style: Literal["lut"] = "lut"
    lanes: int
    fabric: str
    depth: int
    blocks: int = 0


class LookupStage(Stage):
    """Layers of tables (``layers`` as :func:`bnnhw.baked.tables.tables` takes them), then the votes of ``groups``, in one word.

    Attributes
    ----------
    inner : list of str
        The edges of its layers, in order.
    """
    kind = "lookup"

    def __init__(self, name, sources, edge, *, elements, layers, groups, inner):
        self.layers, self.groups, self.inner = layers, groups, inner
        self.clusters = clustered(layers)
        super().__init__(name, sources, edge, elements_in=elements, bits_in=1, elements_out=groups,
                         bits_out=(len(layers[-1][1]) // groups).bit_length())
        self.made = functools.cache(self.made)

    def made(self, fabric, depth):
        """Its circuit."""
        return tables(self.elements_in, self.layers, self.groups, fabric, depth=depth)

    def parse(self, table):
        options = LookupOptions(**table)
        if options.lanes not in divisors(self.elements_in):
            self.refuse("lanes", divisors(self.elements_in), options.lanes)
        if options.fabric not in FABRICS:
            self.refuse("fabric", FABRICS, options.fabric)
        if options.depth < 1:
            raise FoldingError(f"layer {self.name!r}: depth must be at least 1, not {options.depth}")
        serial = options.fabric == "ice40" and options.lanes < self.elements_in
        if options.blocks < 0 or options.blocks % options.lanes or options.blocks and not serial:
            raise FoldingError(f"layer {self.name!r}: blocks must be 0 or, where an iCE40 takes a vector in several words, a "
                               f"multiple of its {options.lanes} lanes, not {options.blocks}")
        return options

    def folding_space(self):
        for fabric in FABRICS:
            for lanes in divisors(self.elements_in):
                most = USUAL_BLOCKS.get(fabric, 0)
                blocks = most // lanes * lanes if lanes < self.elements_in else 0
                if most and not blocks and lanes < self.elements_in:
                    continue
                yield LookupOptions(kind=self.kind, lanes=lanes, fabric=fabric, depth=USUAL_DEPTH, blocks=blocks)

    def lanes(self, options):
        return options.lanes, self.elements_out

    def cycles(self, options):
        return self.elements_in // options.lanes

    def resources(self, options):
        return {"lanes": 0, "bram_words": []}

    def facts(self, options):
        return {"layers": [len(own) for _, own in self.layers], "clusters": self.clusters, "lanes": options.lanes,
                "blocks": options.blocks}

    def build(self, options):
        return LookupUnit(self.name, self.made(options.fabric, options.depth), **self.facts(options))

    def _gather(self, options):
        return Gather(self.elements_in, options.lanes, self.clusters, options.blocks)

    def held(self, options):
        """What holds the input, nothing where it comes in one word: block RAMs, flip-flops, and memories beside them, (width of
        what changes, depth) each."""
        if options.lanes == self.elements_in:
            return 0, 0, []
        gather = self._gather(options)
        return gather.blocks, gather.flipflops, gather.memories

    def registers(self, options):
        """Registers that a whole vector passes before the register slice at the end."""
        latency = self.made(options.fabric, options.depth).circuit.latency
        return latency if options.lanes == self.elements_in else latency + self._gather(options).registers

    def timing(self, options):
        registers, words = self.registers(options), self.elements_in // options.lanes
        return timing.Pipeline(registers) if words == 1 else Gathered(words, registers)


class LookupClassStage(LookupStage):
    """The same, and one beat per frame: the class. ``inner`` ends with the edge of the votes."""
    kind = "lookup-class"

    def __init__(self, name, sources, edge, *, bytes_per_beat, **facts):
        super().__init__(name, sources, edge, **facts)
        self.elements_out, self.bits_out, self.bytes_per_beat = 1, 8 * bytes_per_beat, bytes_per_beat

    def build(self, options):
        return LookupClassUnit(self.name, self.made(options.fabric, options.depth), width=self.bits_out,
                               **self.facts(options))

    def registers(self, options):
        return super().registers(options) + rounds_of(self.groups)
