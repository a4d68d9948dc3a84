"""Cycle-exact models of stages with several inputs or outputs, and of stages that are a buffer and a unit."""

from .timing import Fifo, Slice

__all__ = ["Add", "Chain", "Fork", "buffered"]


class Chain:
    """Two models of which the second takes what the first gives, as in a stage of window buffer and unit."""
    def __init__(self, first, second):
        self.first, self.second, self.idle = first, second, False

    valid = property(lambda self: self.second.valid)
    ready = property(lambda self: self.first.ready)

    def step(self, push, pop):
        moved = self.first.valid and self.second.ready
        self.second.step(moved, pop)
        self.first.step(push, moved)
        self.idle = self.first.idle and self.second.idle and not (self.first.valid and self.second.ready)


def buffered(buffer, unit, slices):
    """The model of a stage that is a ``buffer`` and a ``unit``, with a register slice between them if ``slices``."""
    return Chain(Chain(buffer, Slice()) if slices else buffer, unit)


class Fork:
    """One word to all ``branches``, which have ``valid``; those are slices or, with a depth above 0, FIFOs."""
    def __init__(self, depths):
        self.branches = [Fifo(depth) if depth else Slice() for depth in depths]
        self.pending = [False] * len(depths)
        self.ready = self.idle = True

    def step(self, push, pops):
        for k, (branch, pop) in enumerate(zip(self.branches, pops, strict=True)):
            given = self.pending[k] and branch.ready
            branch.step(given, pop)
            if given:
                self.pending[k] = False
        if push:
            self.pending = [True] * len(self.pending)
        self.idle = not any(waits and branch.ready or not branch.idle
                            for waits, branch in zip(self.pending, self.branches, strict=True))
        self.ready = all(not waits or branch.ready for waits, branch in zip(self.pending, self.branches, strict=True))


class Add:
    """Two ``inputs``, which have ``ready``, and a result once both have a word."""
    def __init__(self):
        self.inputs = [Slice(), Slice()]
        self.slice, self.idle = Slice(), True

    valid = property(lambda self: self.slice.valid)

    def step(self, pushes, pop):
        first, second = self.inputs
        moved = first.valid and second.valid and self.slice.ready
        self.slice.step(moved, pop)
        first.step(pushes[0], moved)
        second.step(pushes[1], moved)
        self.idle = not (first.valid and second.valid and self.slice.ready)
