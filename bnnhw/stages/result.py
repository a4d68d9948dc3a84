"""The end of the chain: the class, or the scores and the class."""

from typing import Literal

from ..gateware.argmax import ClassResult, ScoresResult
from . import timing
from .base import Options, Stage

__all__ = ["ResultOptions", "ClassStage", "ScoresStage"]


class ResultOptions(Options):
    kind: Literal["class", "scores"]


class ClassStage(Stage):
    """One beat per frame: the class. ``score`` is the shape of a score on the wire."""
    kind = "class"

    def __init__(self, name, sources, edge, *, classes, score, bytes_per_beat, beats=1):
        super().__init__(name, sources, edge, elements_in=classes, bits_in=score.width, elements_out=beats,
                         bits_out=8 * bytes_per_beat)
        self.classes, self.score, self.bytes_per_beat = classes, score, bytes_per_beat

    def parse(self, table):
        return ResultOptions(**({"kind": self.kind} | table))

    def folding_space(self):
        yield ResultOptions(kind=self.kind)

    def lanes(self, options):
        return 1, 1

    def cycles(self, options):
        return self.classes

    def resources(self, options):
        return {"lanes": 0, "bram_words": []}

    def build(self, options):
        return ClassResult(score=self.score, classes=self.classes, width=8 * self.bytes_per_beat)

    def timing(self, options):
        return timing.Gathering(self.classes)


class ScoresStage(ClassStage):
    """The scores, one beat each, then the class. A score travels as ``x`` and means ``lo + step * x``."""
    kind = "scores"

    def __init__(self, name, sources, edge, *, classes, score, bytes_per_beat, lo, step):
        super().__init__(name, sources, edge, classes=classes, score=score, bytes_per_beat=bytes_per_beat,
                         beats=classes + 1)
        self.lo, self.step = lo, step

    def cycles(self, options):
        return self.classes + 1

    def build(self, options):
        return ScoresResult(score=self.score, classes=self.classes, width=8 * self.bytes_per_beat, lo=self.lo,
                            step=self.step)

    def timing(self, options):
        return timing.Closing(self.classes)
