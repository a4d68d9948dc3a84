"""Cycle-exact model of layers of lookup tables behind a vector that comes in several words."""

from .timing import Pipeline

__all__ = ["Gathered"]


class Gathered:
    """A vector of ``words``, which pass two registers, held until a pipeline of ``registers`` takes it."""
    def __init__(self, words, registers):
        self.words, self.count, self.full, self.coming, self.waiting = words, 0, False, False, False
        self.pipeline, self.idle = Pipeline(registers), True

    valid = property(lambda self: self.pipeline.valid)
    ready = property(lambda self: not self.waiting or not self.full or self.pipeline.ready)

    def step(self, push, pop):
        moved, go, ready = self.full and self.pipeline.ready, self.waiting and (not self.full or self.pipeline.ready), self.ready
        self.pipeline.step(moved, pop)
        self.full = self.full and not moved
        if go:
            self.count = (self.count + 1) % self.words
            self.full = self.full or self.count == 0
        if ready:
            self.coming, self.waiting = push, self.coming
        self.idle = (self.pipeline.idle and not (self.full and self.pipeline.ready)
                     and not (self.coming and self.ready) and (not self.waiting or self.full))
