"""Sparse networks: layers of lookup tables with their votes, and the class of scores that come all at once."""

from typing import Literal

from ..gateware.lookup import LookupUnit, vote_levels
from ..gateware.tournament import Tournament
from . import timing
from .base import Options, Stage, divisors
from .lookup_timing import Gathered
from .result import ClassStage

__all__ = ["LookupOptions", "LookupStage", "TournamentStage"]

LEVELS_PER_STAGE = 4        # of logic in the votes, where nobody says


class LookupOptions(Options):
    """``lanes``: elements of the input per cycle; ``stages``: parts of the count of votes, with registers between them."""
    kind: Literal["lookup"]
    lanes: int
    stages: int


class LookupStage(Stage):
    """Layers of tables (``layers`` as :class:`LookupUnit` takes them), then the votes of ``groups``, all in one word.

    Attributes
    ----------
    inner : list of str
        The edges between its layers, in order, and that of the last layer.
    """
    kind = "lookup"

    def __init__(self, name, sources, edge, *, elements, layers, groups, inner):
        self.layers, self.inner = layers, inner
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
        return LookupUnit(inputs=self.elements_in, layers=self.layers, groups=self.elements_out, lanes=options.lanes,
                          stages=options.stages)

    def timing(self, options):
        registers, words = len(self.layers) + options.stages - 1, self.elements_in // options.lanes
        return timing.Pipeline(registers) if words == 1 else Gathered(words, registers)


class TournamentStage(ClassStage):
    """One beat per frame: the class of scores that come in one word."""
    kind = "tournament"

    def lanes(self, options):
        return self.classes, 1

    def cycles(self, options):
        return 1

    def build(self, options):
        return Tournament(score=self.bits_in, classes=self.classes, width=self.bits_out)

    def timing(self, options):
        return timing.Pipeline(max(0, (self.classes - 1).bit_length() - 1))
