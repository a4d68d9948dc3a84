"""The class of a frame: index of the greatest score, the lowest one of equals; alone or after the scores."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice
from .tournament import tournament

__all__ = ["ClassOfWord", "ClassResult", "ScoresResult"]


class _Result(wiring.Component):
    def __init__(self, score, classes, width, lo, step):
        if not isinstance(classes, int) or classes < 1:
            raise TypeError(f"classes must be a positive integer, not {classes!r}")
        self.score, self.classes, self.width, self.lo, self.step = Shape.cast(score), classes, width, lo, step
        self._beat = data.StructLayout({"data": signed(width), "last": 1})
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(self.score, 1))),
                          "o": Out(stream.Signature(self._beat))})

    def greatest(self, m, taken):
        """The index of the greatest score taken before this cycle, and whether the one that is taken now is a frame's last.

        A comparison ends in a register; what follows from it is done in the next cycle.
        """
        index, before = Signal(range(self.classes)), Signal(range(self.classes), reset_less=True)
        best, best_score = Signal(range(self.classes), reset_less=True), Signal(self.score, reset_less=True)
        won, winner, last = Signal(reset_less=True), Signal(range(self.classes)), Signal()
        wins = (index == 0) | (self.i.p[0] > best_score)
        m.d.comb += [winner.eq(Mux(won, before, best)), last.eq(index == self.classes - 1)]
        with m.If(taken):
            m.d.sync += [index.eq(Mux(last, 0, index + 1)), before.eq(index), won.eq(wins), best.eq(winner)]
            with m.If(wins):
                m.d.sync += best_score.eq(self.i.p[0])
        return winner, last


class ClassResult(_Result):
    """One beat per frame: the class.

    Takes ``classes`` scores, one per cycle, no bubble between frames; the result is offered two cycles after the last
    score was taken.

    Parameters
    ----------
    score : shape-like
        Shape of a score as it arrives.
    classes : int
    width : int
        Bits of the result's ``data``.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(score, 1)))`
    o : :py:`Out(stream.Signature(StructLayout({"data": signed(width), "last": 1})))`
        ``last`` is always 1.
    """
    def __init__(self, *, score, classes, width):
        super().__init__(score, classes, width, 0, 1)

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._beat)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        taken = self.i.valid & self.i.ready
        winner, last = self.greatest(m, taken)
        decided = Signal()
        m.d.comb += [
            self.i.ready.eq(~decided | out.i.ready),
            out.i.valid.eq(decided),
            out.i.p.data.eq(winner),
            out.i.p.last.eq(1),
        ]
        with m.If(self.i.ready):
            m.d.sync += decided.eq(self.i.valid & last)

        return m


class ClassOfWord(wiring.Component):
    """As :class:`ClassResult`, but the scores of a frame come in one word: a :func:`.tournament.tournament`.

    A frame per cycle; the result is offered :func:`.tournament.rounds_of` ``(classes)`` cycles after its word was taken,
    and one.

    Parameters
    ----------
    score, classes, width
        As of :class:`ClassResult`; ``score`` is unsigned.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(score, classes)))`
    o : as of :class:`ClassResult`
    """
    def __init__(self, *, score, classes, width):
        self.classes = classes
        self._beat = data.StructLayout({"data": signed(width), "last": 1})
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(score, classes))), "o": Out(stream.Signature(self._beat))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._beat)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        index, valid = tournament(m, [self.i.p[k] for k in range(self.classes)], self.i.valid, out.i.ready)
        m.d.comb += [self.i.ready.eq(out.i.ready), out.i.valid.eq(valid), out.i.p.data.eq(index), out.i.p.last.eq(1)]

        return m


class ScoresResult(_Result):
    """One beat per score, in order, then one with the class.

    Takes one score per cycle, and the class takes a cycle: ``classes + 1`` cycles per frame. A beat is offered one cycle
    after its score was taken.

    Parameters
    ----------
    score, classes, width
        As of :class:`ClassResult`.
    lo, step : int
        A score that arrives as ``x`` is given as ``lo + step * x``.

    Members
    -------
    i, o
        As of :class:`ClassResult`; ``last`` is 1 on the class.
    """
    def __init__(self, *, score, classes, width, lo, step):
        super().__init__(score, classes, width, lo, step)

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._beat)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        closing = Signal()
        taken = self.i.valid & self.i.ready
        winner, last = self.greatest(m, taken)
        m.d.comb += [
            self.i.ready.eq(~closing & out.i.ready),
            out.i.valid.eq(self.i.valid | closing),
            out.i.p.data.eq(Mux(closing, winner, self.lo + self.step * self.i.p[0])),
            out.i.p.last.eq(closing),
        ]
        with m.If(taken):
            m.d.sync += closing.eq(last)
        with m.Elif(closing & out.i.ready):
            m.d.sync += closing.eq(0)

        return m
