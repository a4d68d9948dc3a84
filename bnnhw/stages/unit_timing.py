"""Cycle-exact models of stages with several inputs or outputs, of stages that are a buffer and a unit, and of what is around
them."""

from .timing import Fifo, Slice

__all__ = ["Add", "AxiStream", "Chain", "Filled", "Fork", "Trimmed", "buffered", "padded"]


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


class Filled:
    """``model``, of whose input words each is joined from ``ratio``, the last of ``words`` from ``last``."""
    def __init__(self, model, ratio, words, last):
        self.model, self.sizes = model, [ratio] * (words - 1) + [last]
        self.word = self.count = 0

    valid = property(lambda self: self.model.valid)
    ready = property(lambda self: self.count < self.sizes[self.word] - 1 or self.model.ready)
    idle = property(lambda self: self.model.idle)

    def step(self, push, pop):
        whole = push and self.count == self.sizes[self.word] - 1
        self.model.step(whole, pop)
        self.count += push
        if whole:
            self.word, self.count = (self.word + 1) % len(self.sizes), 0


class Trimmed:
    """``unit``, of whose words each is split into ``ratio``, the last of ``words`` into ``last``."""
    def __init__(self, unit, ratio, words, last):
        self.unit, self.sizes = unit, [ratio] * (words - 1) + [last]
        self.word, self.left, self.idle = 0, 0, False

    valid = property(lambda self: self.left > 0)
    ready = property(lambda self: self.unit.ready)

    def step(self, push, pop):
        moved = self.unit.valid and self.left == pop
        self.unit.step(push, moved)
        self.left -= pop
        if moved:
            self.left = self.sizes[self.word]
            self.word = (self.word + 1) % len(self.sizes)
        self.idle = self.unit.idle and not (self.unit.valid and self.left == 0)


def padded(model, rows, columns):
    """The ``model`` of a layer, where the last word of its inputs or results is short; both are
    :class:`~bnnhw.gateware.padding.Grouping`."""
    if rows.missing:
        model = Trimmed(model, rows.ratio, rows.words, rows.last)
    return Filled(model, columns.ratio, columns.words, columns.last) if columns.missing else model


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


class AxiStream:
    """The wrapper around a core: a slice for a frame's ``beats`` on their way to it, one for the ``result_beats`` of a result, of
    which none leaves the core before it has taken the whole frame.

    ``inputs`` are the bus and the core's results, ``branches`` the beats for the core and the bus.
    """
    idle = True

    def __init__(self, beats, result_beats):
        self.beats, self.result_beats = beats, result_beats
        self.first, self.final = Slice(), Slice()
        self.taken = self.given = self.whole = 0    # beats of a frame, beats of a result, frames whose result is not given yet

    inputs = property(lambda self: (self.first, self))
    branches = property(lambda self: (self.first, self.final))
    ready = property(lambda self: self.whole > 0 and self.final.ready)

    def step(self, pushes, pops):
        self.first.step(pushes[0], pops[0])
        self.final.step(pushes[1], pops[1])
        self.taken, self.given = self.taken + pops[0], self.given + pushes[1]
        if self.taken == self.beats:
            self.taken, self.whole = 0, self.whole + 1
        if self.given == self.result_beats:
            self.given, self.whole = 0, self.whole - 1
