"""Cycle-exact model of layers of lookup tables behind a vector that comes in several words."""

from .timing import Pipeline

__all__ = ["Gathered"]


class Gathered:
    """A vector of ``words``, which pass a register, held until a pipeline of ``registers`` takes it.

    The first word is taken a cycle after reset.
    """
    def __init__(self, words, registers):
        self.words, self.count, self.full, self.primed, self.waiting = words, 0, False, False, False
        self.pipeline, self.idle = Pipeline(registers), False

    valid = property(lambda self: self.pipeline.valid)
    ready = property(lambda self: self.primed and (not self.waiting or not self.full or self.pipeline.ready))

    def step(self, push, pop):
        moved, go, ready = self.full and self.pipeline.ready, self.waiting and (not self.full or self.pipeline.ready), self.ready
        self.pipeline.step(moved, pop)
        self.full, self.primed = self.full and not moved, True
        if go:
            self.count = (self.count + 1) % self.words
            self.full = self.full or self.count == 0
        if ready:
            self.waiting = push
        self.idle = self.pipeline.idle and not (self.full and self.pipeline.ready) and (not self.waiting or self.full)
