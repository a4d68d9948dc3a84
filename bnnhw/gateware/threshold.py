"""Thresholds on a stream of integers, for instance of 8-bit pixels."""

import math

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice

__all__ = ["ThresholdUnit"]


class ThresholdUnit(wiring.Component):
    """One sign per element: 1 where a rising channel's element is at least its level, a falling one's at most.

    Takes ``lanes`` elements per cycle in channel-last order, one group per cycle, latency 1 cycle. With a number of
    lanes that is a multiple of the channels each lane compares with constants; otherwise the levels take turns.

    Parameters
    ----------
    bits : int
        Width of an element, unsigned.
    levels : list of int (C,)
        Rising: 0 is always, ``2**bits`` and above never. Falling: -1 is never.
    falling : list of bool (C,)
    lanes : int

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
        Element ``j`` of group ``k`` belongs to channel ``(k * lanes + j) % C``.
    o : :py:`Out(stream.Signature(lanes))`
    """
    def __init__(self, *, bits, levels, falling, lanes):
        if len(levels) != len(falling):
            raise ValueError(f"falling must have {len(levels)} channels, not {len(falling)}")
        for name, value in (("bits", bits), ("lanes", lanes)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        self.bits, self.lanes = bits, lanes
        self.levels, self.falling = [int(v) for v in levels], [bool(f) for f in falling]
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(bits, lanes))), "o": Out(stream.Signature(lanes))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self.lanes)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        m.d.comb += [out.i.valid.eq(self.i.valid), self.i.ready.eq(out.i.ready)]

        channels = len(self.levels)
        period = math.lcm(channels, self.lanes) // self.lanes
        turn = Signal(range(period))
        if period > 1:
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += turn.eq(Mux(turn == period - 1, 0, turn + 1))

        # An element reaches a rising level t where x >= t; where it falls, x <= t is the opposite of x >= t + 1.
        highest = 2**self.bits
        for lane in range(self.lanes):
            own = [(k * self.lanes + lane) % channels for k in range(period)]
            least = [min(max(self.levels[c] + self.falling[c], 0), highest) for c in own]
            invert = [self.falling[c] for c in own]
            level, opposite = Signal(range(highest + 1), name=f"level{lane}"), Signal(name=f"opposite{lane}")
            with m.Switch(turn):
                for k in range(period):
                    with m.Case(k):
                        m.d.comb += [level.eq(least[k]), opposite.eq(invert[k])]
            m.d.comb += out.i.payload[lane].eq((self.i.payload[lane] >= level) ^ opposite)

        return m
