"""The class of a frame whose scores come all at once."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice

__all__ = ["Tournament"]


class Tournament(wiring.Component):
    """Index of the greatest score, the lowest one of equals, by comparing neighbours.

    A frame per cycle. A register stands behind every round but the last, whose result goes into a register slice; latency
    ``rounds`` = log2(classes), rounded up, in cycles (1 for a single class).

    Parameters
    ----------
    score : int
        Bits of a score, unsigned.
    classes : int
    width : int
        Bits of the result's ``data``.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(score, classes)))`
    o : :py:`Out(stream.Signature(StructLayout({"data": signed(width), "last": 1})))`
        ``last`` is always 1.
    """
    def __init__(self, *, score, classes, width):
        for name, value in (("score", score), ("classes", classes), ("width", width)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        self.score, self.classes = score, classes
        self._beat = data.StructLayout({"data": signed(width), "last": 1})
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(score, classes))), "o": Out(stream.Signature(self._beat))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._beat)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        m.d.comb += self.i.ready.eq(out.i.ready)
        field, valid, turn = [(self.i.p[k], Const(0, 0)) for k in range(self.classes)], self.i.valid, 0
        while True:
            field = self._round(m, turn, field)
            if len(field) == 1:
                break
            turn += 1
            later = Signal(name=f"valid{turn}")
            held = [(Signal(len(score), name=f"score{turn}_{k}", reset_less=True),
                     Signal(len(index), name=f"index{turn}_{k}", reset_less=True)) for k, (score, index) in enumerate(field)]
            with m.If(out.i.ready):
                m.d.sync += later.eq(valid)
                m.d.sync += [register.eq(value) for pair in zip(held, field, strict=True)
                             for register, value in zip(*pair, strict=True)]
            field, valid = held, later
        m.d.comb += [out.i.valid.eq(valid), out.i.p.data.eq(field[0][1]), out.i.p.last.eq(1)]

        return m

    @staticmethod
    def _round(m, turn, field):
        """(score, index) of the winners: the second of two only if its score is greater."""
        winners = []
        for k in range(0, len(field) - 1, 2):
            (a, first), (b, second) = field[k:k + 2]
            wins = Signal(name=f"wins{turn}_{k}")
            m.d.comb += wins.eq(b > a)
            lower = Mux(wins, second, first) if len(first) else Const(0, 0)
            winners.append((Mux(wins, b, a), Cat(lower, wins)))
        if len(field) % 2:
            score, index = field[-1]
            winners.append((score, Cat(index, Const(0, 1)) if len(field) > 1 else index))
        return winners
