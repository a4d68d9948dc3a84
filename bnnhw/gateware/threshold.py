"""Thresholds on a stream of integers."""

import math

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice
from .weights import RomSource, style_for

__all__ = ["ThresholdUnit", "turns"]


def turns(channels, lanes):
    """Words after which the channels of a word's lanes repeat."""
    return math.lcm(channels, lanes) // lanes


class ThresholdUnit(wiring.Component):
    """For each element the number of its channel's levels that it reaches: a rising channel reaches a level where the element
    is at least that, a falling one where it is at most that.

    Takes ``lanes`` elements per cycle in channel-last order, one group per cycle. Latency 1 cycle, with several levels 2: one
    for the comparisons, one for their count. With a number of lanes that is a multiple of the channels each lane compares with
    constants; otherwise the levels take turns, from a table.

    Parameters
    ----------
    bits : int
        Width of an element, unsigned.
    levels : list of lists of int (C, L)
        Rising: 0 is always, ``2**bits`` and above never. Falling: -1 is never.
    falling : list of bool (C,)
    lanes : int

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
        Element ``j`` of group ``k`` belongs to channel ``(k * lanes + j) % C``.
    o : :py:`Out(stream.Signature(ArrayLayout(range(L + 1), lanes)))`
    """
    def __init__(self, *, bits, levels, falling, lanes):
        if len(levels) != len(falling):
            raise ValueError(f"falling must have {len(levels)} channels, not {len(falling)}")
        if len({len(own) for own in levels}) != 1 or not levels[0]:
            raise ValueError("every channel must have the same number of levels, at least one")
        for name, value in (("bits", bits), ("lanes", lanes)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        self.bits, self.lanes = bits, lanes
        # An element reaches a rising level t where x >= t; where it falls, x <= t is the opposite of x >= t + 1.
        highest = 2**bits
        self.falling = [bool(falls) for falls in falling]
        self.least = [[min(max(int(t) + falls, 0), highest) for t in own]
                      for own, falls in zip(levels, self.falling, strict=True)]
        self._layout = data.ArrayLayout(range(len(levels[0]) + 1), lanes)
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(bits, lanes))), "o": Out(stream.Signature(self._layout))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        taken, fetched = Signal(), Signal()
        m.d.comb += [self.i.ready.eq(out.i.ready & fetched), taken.eq(self.i.valid & self.i.ready)]

        count = len(self.least[0])
        lane_layout = data.StructLayout({"least": data.ArrayLayout(self.bits + 1, count), "opposite": 1})
        layout = data.ArrayLayout(lane_layout, self.lanes)
        channels = [[(k * self.lanes + lane) % len(self.least) for lane in range(self.lanes)]
                    for k in range(turns(len(self.least), self.lanes))]
        words = [layout.const([{"least": self.least[c], "opposite": self.falling[c]} for c in own]) for own in channels]
        table = Signal(layout)
        if len(words) == 1:
            m.d.comb += [table.eq(words[0]), fetched.eq(1)]
        else:
            numbers = [Const.cast(word).value for word in words]
            m.submodules.table = source = RomSource(numbers, layout.size, style_for(layout.size * len(numbers), len(numbers)))
            m.d.comb += [Value.cast(table).eq(source.o.payload), source.o.ready.eq(taken), fetched.eq(source.o.valid)]

        reached = Signal(data.ArrayLayout(count, self.lanes), reset_less=True)
        now = Signal.like(reached)
        for lane in range(self.lanes):
            own = table[lane]
            m.d.comb += Value.cast(now[lane]).eq(Cat((self.i.p[lane] >= own.least[k]) ^ own.opposite for k in range(count)))
        if count == 1:
            m.d.comb += [out.i.valid.eq(self.i.valid & fetched), reached.eq(now)]
        else:
            done = Signal()
            m.d.comb += out.i.valid.eq(done)
            with m.If(out.i.ready):
                m.d.sync += [done.eq(taken), reached.eq(now)]
        for lane in range(self.lanes):
            m.d.comb += out.i.p[lane].eq(sum(reached[lane][k] for k in range(count)))

        return m
