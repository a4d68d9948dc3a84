"""Cycle-exact models of when stages pass words on; the words themselves play no part.

The timing of every stage is independent of the data, so that a model needs only counters. In each cycle a model shows
``valid`` (it offers a word) and ``ready`` (it can take one), both known from its state alone since no combinational path
crosses a stage; then :meth:`step` is told which of the two transfers took place. What a model promises the gateware must
keep to the cycle: simulation compares the two. :mod:`bnnhw.schedule` runs a whole graph of them.

After each step ``idle`` says whether another one without any transfer would change nothing, so that it may be left out. It may be
False although nothing would change, but not for ever.
"""

__all__ = ["Slice", "Pipeline", "Running", "Up", "Down", "Fifo", "Elastic", "Ring", "Unit", "Closing", "Deciding", "Gathering"]


class Slice:
    """Register slice: holds two words."""
    idle = True

    def __init__(self):
        self.held, self.valid, self.ready = 0, False, True

    def step(self, push, pop):
        if push != pop:
            self.held += push - pop
            self.valid, self.ready = self.held > 0, self.held < 2


class Pipeline:
    """``registers`` stages that move together while the register slice at the end has room."""
    def __init__(self, registers):
        self.stages = [False] * registers
        self.slice, self.idle = Slice(), True

    valid = property(lambda self: self.slice.valid)
    ready = property(lambda self: self.slice.ready)

    def step(self, push, pop):
        if not self.slice.ready:
            self.slice.step(False, pop)
            self.idle = not self.slice.ready
            return
        self.stages.append(push)
        self.slice.step(self.stages.pop(0), pop)
        self.idle = not self.slice.ready or True not in self.stages


class Elastic:
    """``registers`` in front of a slice, which move together while the last is empty or the slice has room."""
    def __init__(self, registers=1):
        self.stages = [False] * registers
        self.slice, self.idle = Slice(), True

    valid = property(lambda self: self.slice.valid)
    ready = property(lambda self: not self.stages[0] or self.slice.ready)

    def step(self, push, pop):
        enable, moved = self.ready, self.stages[0] and self.slice.ready
        self.slice.step(moved, pop)
        if enable:
            self.stages = [*self.stages[1:], push]
        self.idle = not self.ready or True not in self.stages


class Up:
    """Joins ``ratio`` words into one."""
    idle = True

    def __init__(self, ratio):
        self.ratio, self.count, self.valid = ratio, 0, False

    @property
    def ready(self):
        return self.count < self.ratio - 1 or not self.valid

    def step(self, push, pop):
        if pop:
            self.valid = False
        if push:
            self.count += 1
            if self.count == self.ratio:
                self.count, self.valid = 0, True


class Down:
    """Splits a word into ``ratio``."""
    def __init__(self, ratio):
        self.ratio, self.left = ratio, 0
        self.slice, self.idle = Slice(), True

    valid = property(lambda self: self.slice.valid)

    @property
    def ready(self):
        return self.left == 0 or (self.left == 1 and self.slice.ready)

    def step(self, push, pop):
        moved = self.left > 0 and self.slice.ready
        self.slice.step(moved, pop)
        self.left -= moved
        if push:
            self.left = self.ratio
        self.idle = self.left == 0 or not self.slice.ready


class Fifo:
    """Ring of ``depth`` words, with the memory's read register behind it."""
    def __init__(self, depth):
        self.free, self.fresh, self.valid, self.idle = depth, 0, False, True

    @property
    def ready(self):
        return self.free > 0

    def step(self, push, pop):
        move = self.fresh > 0 and (not self.valid or pop)
        self.valid = move or (self.valid and not pop)
        self.free += move - push
        self.fresh += push - move
        self.idle = self.valid or self.fresh == 0


class Running:
    """``registers`` stages that always move, and a FIFO in which all that is on its way has room, ``capacity`` words."""
    def __init__(self, registers, capacity):
        self.stages, self.fifo = [False] * registers, Fifo(capacity)
        self.capacity, self.held, self.idle = capacity, 0, True

    valid = property(lambda self: self.fifo.valid)
    ready = property(lambda self: self.held < self.capacity)

    def step(self, push, pop):
        self.stages.append(push)
        self.fifo.step(self.stages.pop(0), pop)
        self.held += push - pop
        self.idle = self.fifo.idle and True not in self.stages


class Ring:
    """Ring of ``depth`` words that gives each vector of ``words`` so many times, with the memory's read register behind it."""
    def __init__(self, words, repeats, depth):
        self.words, self.repeats, self.free = words, repeats, depth
        self.fresh, self.index, self.turn, self.valid, self.idle = 0, 0, 0, False, True

    @property
    def ready(self):
        return self.free > 0

    def step(self, push, pop):
        move = (self.turn > 0 or self.fresh > 0) and (not self.valid or pop)
        self.free += (move and self.turn == self.repeats - 1) - push
        self.fresh += push - (move and self.turn == 0)
        if move:
            self.valid = True
            self.index += 1
            if self.index == self.words:
                self.index, self.turn = 0, (self.turn + 1) % self.repeats
        elif pop:
            self.valid = False
        self.idle = self.valid or self.turn == 0 and self.fresh == 0


class Unit:
    """Matrix-vector unit: takes ``words`` and gives a result; three registers and those of its trees, slice."""
    def __init__(self, words, registers=0):
        self.words, self.position = words, 0
        self.stages = [None] * (3 + registers)      # None: bubble, else whether it is a fold's last word
        self.slice, self.idle = Slice(), True

    valid = property(lambda self: self.slice.valid)

    @property
    def ready(self):
        return not self.stages[0] or self.slice.ready

    def step(self, push, pop):
        enable = self.ready
        self.slice.step(bool(self.stages[0]) and self.slice.ready, pop)
        if enable:
            self.stages.pop(0)
            self.stages.append(self.position == self.words - 1 if push else None)
            if push:
                self.position = (self.position + 1) % self.words
        self.idle = not self.ready or self.stages.count(None) == len(self.stages)


class Gathering:
    """Takes ``count`` words and gives one with the last of them, through a slice."""
    idle = True

    def __init__(self, count):
        self.count, self.index = count, 0
        self.slice = Slice()

    valid = property(lambda self: self.slice.valid)

    @property
    def ready(self):
        return self.index < self.count - 1 or self.slice.ready

    def step(self, push, pop):
        self.slice.step(push and self.index == self.count - 1, pop)
        self.index = (self.index + push) % self.count


class Deciding:
    """Takes ``count`` words, and through a register and a slice gives one with the last of them."""
    def __init__(self, count):
        self.count, self.index, self.decided = count, 0, False
        self.slice, self.idle = Slice(), True

    valid = property(lambda self: self.slice.valid)
    ready = property(lambda self: not self.decided or self.slice.ready)

    def step(self, push, pop):
        enable = self.ready
        self.slice.step(self.decided and self.slice.ready, pop)
        if enable:
            self.decided = push and self.index == self.count - 1
        self.index = (self.index + push) % self.count
        self.idle = not self.decided or not self.slice.ready


class Closing:
    """Passes ``count`` words through a slice and adds one of its own."""
    def __init__(self, count):
        self.count, self.index, self.closing = count, 0, False
        self.slice, self.idle = Slice(), True

    valid = property(lambda self: self.slice.valid)

    @property
    def ready(self):
        return not self.closing and self.slice.ready

    def step(self, push, pop):
        added = self.closing and self.slice.ready
        self.slice.step(push or added, pop)
        if push:
            self.index = (self.index + 1) % self.count
            self.closing = self.index == 0
        elif added:
            self.closing = False
        self.idle = not self.closing or not self.slice.ready
