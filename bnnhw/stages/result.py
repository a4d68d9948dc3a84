"""The end of the graph: the class, or the scores and the class."""

from typing import Literal

from amaranth.hdl import unsigned

from ..gateware.argmax import ClassOfWord, ClassResult, ScoresResult
from ..gateware.tournament import rounds_of
from . import timing
from .base import Options, Stage

__all__ = ["ClassOptions", "ScoresOptions", "ClassStage", "ScoresStage"]


class ClassOptions(Options):
    """``lanes``: scores per cycle, one or all of them."""
    kind: Literal["class"] = "class"
    lanes: int = 1


class ScoresOptions(Options):
    kind: Literal["scores"] = "scores"


class ClassStage(Stage):
    """One beat per frame: the class. A score is a code of ``score_bits`` bits."""
    kind = "class"

    def __init__(self, name, sources, edge, *, classes, score_bits, bytes_per_beat, beats=1):
        super().__init__(name, sources, edge, elements_in=classes, bits_in=score_bits, elements_out=beats,
                         bits_out=8 * bytes_per_beat)
        self.classes, self.bytes_per_beat = classes, bytes_per_beat

    def parse(self, table):
        options = ClassOptions(**table)
        if options.lanes not in (1, self.classes):
            self.refuse("lanes", (1, self.classes), options.lanes)
        return options

    def folding_space(self):
        for lanes in dict.fromkeys((1, self.classes)):
            yield ClassOptions(lanes=lanes)

    def lanes(self, options):
        return options.lanes, 1

    def cycles(self, options):
        return self.classes // options.lanes

    def resources(self, options):
        return {"lanes": 0, "bram_words": []}

    def build(self, options):
        kind = ClassResult if options.lanes == 1 else ClassOfWord
        return kind(score=unsigned(self.bits_in), classes=self.classes, width=self.bits_out)

    def timing(self, options):
        return timing.Deciding(self.classes) if options.lanes == 1 else timing.Pipeline(rounds_of(self.classes))


class ScoresStage(ClassStage):
    """The scores, one beat each, then the class. A score's code ``x`` means ``lo + step * x``."""
    kind = "scores"

    def __init__(self, name, sources, edge, *, classes, score_bits, bytes_per_beat, lo, step):
        super().__init__(name, sources, edge, classes=classes, score_bits=score_bits, bytes_per_beat=bytes_per_beat,
                         beats=classes + 1)
        self.lo, self.step = lo, step

    def parse(self, table):
        return ScoresOptions(**table)

    def folding_space(self):
        yield ScoresOptions()

    def lanes(self, options):
        return 1, 1

    def cycles(self, options):
        return self.classes + 1

    def build(self, options):
        return ScoresResult(score=unsigned(self.bits_in), classes=self.classes, width=self.bits_out, lo=self.lo, step=self.step)

    def timing(self, options):
        return timing.Closing(self.classes)
