"""Sparse networks: layers of lookup tables with their votes, and the class where only that is wanted."""

from typing import Literal

from ..gateware.lookup import LookupClassUnit, LookupUnit, vote_levels
from ..gateware.tournament import rounds_of
from . import timing
from .base import Options, Stage, divisors
from .lookup_timing import Gathered

__all__ = ["LookupOptions", "LookupClassStage", "LookupStage"]

LEVELS_PER_STAGE = 4        # of logic in the votes, where nobody says


class LookupOptions(Options):
    """``lanes``: elements of the input per cycle; ``stages``: parts of the count of votes, with registers between them."""
    kind: Literal["lookup", "lookup-class"]
    lanes: int
    stages: int


class LookupStage(Stage):
    """Layers of tables (``layers`` as :class:`LookupUnit` takes them), then the votes of ``groups``, all in one word.

    Attributes
    ----------
    inner : list of str
        The edges of its layers, in order.
    """
    kind = "lookup"

    def __init__(self, name, sources, edge, *, elements, layers, groups, inner):
        self.layers, self.groups, self.inner = layers, groups, inner
        self.size = len(layers[-1][1]) // groups
        super().__init__(name, sources, edge, elements_in=elements, bits_in=1, elements_out=groups,
                         bits_out=self.size.bit_length())

    def parse(self, table):
        options = LookupOptions(**table)
        if options.lanes not in divisors(self.elements_in):
            self.refuse("lanes", divisors(self.elements_in), options.lanes)
        most = max(1, vote_levels(self.size))
        if not 1 <= options.stages <= most:
            self.refuse("stages", range(1, most + 1), options.stages)
        return options

    def folding_space(self):
        stages = max(1, -(-vote_levels(self.size) // LEVELS_PER_STAGE))
        for lanes in divisors(self.elements_in):
            yield LookupOptions(kind=self.kind, lanes=lanes, stages=stages)

    def lanes(self, options):
        return options.lanes, self.elements_out

    def cycles(self, options):
        return self.elements_in // options.lanes

    def resources(self, options):
        return {"lanes": 0, "bram_words": []}

    def build(self, options):
        return LookupUnit(inputs=self.elements_in, layers=self.layers, groups=self.groups, lanes=options.lanes,
                          stages=options.stages)

    def registers(self, options):
        """Registers that a vector passes before the register slice at the end."""
        return len(self.layers) + options.stages - 1

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
        return LookupClassUnit(inputs=self.elements_in, layers=self.layers, groups=self.groups, lanes=options.lanes,
                               stages=options.stages, width=self.bits_out)

    def registers(self, options):
        return super().registers(options) + max(1, rounds_of(self.groups))
