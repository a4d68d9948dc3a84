"""Width converters: the same elements in the same order, in wider or narrower groups."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice

__all__ = ["UpConverter", "DownConverter"]


def _check(shape, lanes, ratio):
    for name, value in (("lanes", lanes), ("ratio", ratio)):
        if not isinstance(value, int) or value < 1:
            raise TypeError(f"{name} must be a positive integer, not {value!r}")
    return data.ArrayLayout(shape, lanes), data.ArrayLayout(shape, lanes * ratio)


class UpConverter(wiring.Component):
    """Joins ``ratio`` groups of ``lanes`` elements into one group, the first in the least significant bits.

    One narrow group per cycle as long as each wide one is taken within ``ratio - 1`` cycles. The wide group is offered
    in the cycle after its last narrow one arrived.

    Cost: ``2 * ratio - 1`` flip-flops per narrow bit.

    Parameters
    ----------
    shape : shape-like
        Shape of an element.
    lanes : int
        Elements of a narrow group.
    ratio : int
        Narrow groups in a wide one, at least 2.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(shape, lanes)))`
    o : :py:`Out(stream.Signature(ArrayLayout(shape, lanes * ratio)))`
    """
    def __init__(self, shape, lanes, ratio):
        narrow, wide = _check(shape, lanes, ratio)
        if ratio < 2:
            raise ValueError(f"ratio must be at least 2, not {ratio}")
        self.ratio = ratio
        super().__init__({"i": In(stream.Signature(narrow)), "o": Out(stream.Signature(wide))})

    def elaborate(self, platform):
        m = Module()

        word = Value.cast(self.i.p)
        joined = Signal(len(Value.cast(self.o.p)), reset_less=True)
        earlier = Signal(len(word) * (self.ratio - 1), reset_less=True)
        count = Signal(range(self.ratio))
        last = count == self.ratio - 1

        m.d.comb += Value.cast(self.o.p).eq(joined)
        m.d.comb += self.i.ready.eq(~last | ~self.o.valid)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += earlier.eq(Cat(earlier, word)[len(word):])
            m.d.sync += count.eq(count + 1)
            with m.If(last):
                m.d.sync += [
                    count.eq(0),
                    joined.eq(Cat(earlier, word)),
                    self.o.valid.eq(1),
                ]

        return m


class DownConverter(wiring.Component):
    """Splits a group of ``lanes * ratio`` elements into ``ratio`` groups, the least significant bits first.

    One narrow group per cycle, no bubble between wide ones. The first narrow group is offered two cycles after the wide
    one was taken.

    Cost: one flip-flop per wide bit, two per narrow bit.

    Parameters
    ----------
    shape : shape-like
        Shape of an element.
    lanes : int
        Elements of a narrow group.
    ratio : int
        Narrow groups in a wide one, at least 2.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(shape, lanes * ratio)))`
    o : :py:`Out(stream.Signature(ArrayLayout(shape, lanes)))`
    """
    def __init__(self, shape, lanes, ratio):
        narrow, wide = _check(shape, lanes, ratio)
        if ratio < 2:
            raise ValueError(f"ratio must be at least 2, not {ratio}")
        self.ratio = ratio
        self._narrow = narrow
        super().__init__({"i": In(stream.Signature(wide)), "o": Out(stream.Signature(narrow))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._narrow)
        wiring.connect(m, out.o, wiring.flipped(self.o))

        word = Value.cast(out.i.p)
        rest = Signal(len(Value.cast(self.i.p)), reset_less=True)
        count = Signal(range(self.ratio))
        busy = Signal()
        last = count == self.ratio - 1

        m.d.comb += [
            word.eq(rest[:len(word)]),
            out.i.valid.eq(busy),
            self.i.ready.eq(~busy | (last & out.i.ready)),
        ]
        with m.If(busy & out.i.ready):
            m.d.sync += [
                rest.eq(rest >> len(word)),
                count.eq(count + 1),
            ]
            with m.If(last):
                m.d.sync += [count.eq(0), busy.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [rest.eq(Value.cast(self.i.p)), busy.eq(1)]

        return m
