"""Integers as signs: a comparator for each level, which all elements of a lane pass."""

import functools
import operator

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice
from .threshold import turns
from .weights import RomSource, style_for

__all__ = ["ThermometerUnit", "changing", "columns"]


def columns(levels, lanes, bits):
    """The levels of each comparator, turn by turn: L lists for the first lane, L for the second, ...; 0 to ``2**bits``."""
    return [[min(max(int(levels[(k * lanes + lane) % len(levels)][level]), 0), 2**bits)
             for k in range(turns(len(levels), lanes))] for lane in range(lanes) for level in range(len(levels[0]))]


def changing(found):
    """(place, bit) of each bit of the :func:`columns` that changes from turn to turn: what a word of the table is made of."""
    differ = [functools.reduce(operator.or_, (level ^ own[0] for level in own)) for own in found]
    return [(place, bit) for place, mask in enumerate(differ) for bit in range(mask.bit_length()) if mask >> bit & 1]


class ThermometerUnit(wiring.Component):
    """For each element a bit for each of its channel's levels, side by side: 1 where the element is at least the level.

    Takes ``lanes`` elements per cycle in channel-last order, one group per cycle; latency 1 cycle. Each lane has L comparators,
    which all of its elements pass. A comparator whose level is the same for all of them compares with a constant; the other
    levels take turns: the bits in which they differ come from a table, whose first word is there a cycle after reset.

    Cost: L comparators for each lane, a register slice of as many bits.

    Parameters
    ----------
    bits : int
        Width of an element, unsigned.
    levels : list of lists of int (C, L)
        0 is always, ``2**bits`` and above never. In any order.
    lanes : int

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
        Element ``j`` of group ``k`` belongs to channel ``(k * lanes + j) % C``.
    o : :py:`Out(stream.Signature(ArrayLayout(L, lanes)))`
        Bit ``l`` of an element belongs to level ``l``.
    """
    def __init__(self, *, bits, levels, lanes):
        if not levels or not levels[0] or len({len(own) for own in levels}) != 1:
            raise ValueError("every channel must have the same number of levels, at least one")
        for name, value in (("bits", bits), ("lanes", lanes)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        self.bits, self.lanes, self.count = bits, lanes, len(levels[0])
        self.columns = columns(levels, lanes, bits)
        self._layout = data.ArrayLayout(self.count, lanes)
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(bits, lanes))), "o": Out(stream.Signature(self._layout))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        fetched = Signal()
        m.d.comb += [self.i.ready.eq(out.i.ready & fetched), out.i.valid.eq(self.i.valid & fetched)]

        bits = {(place, bit): Const(own[0] >> bit & 1) for place, own in enumerate(self.columns) for bit in range(self.bits + 1)}
        changes, count = changing(self.columns), len(self.columns[0])
        if changes:
            words = [sum((self.columns[place][turn] >> bit & 1) << k for k, (place, bit) in enumerate(changes))
                     for turn in range(count)]
            m.submodules.table = source = RomSource(words, len(changes), style_for(len(changes) * count, count))
            m.d.comb += [fetched.eq(source.o.valid), source.o.ready.eq(self.i.valid & self.i.ready)]
            bits |= {at: source.o.payload[k] for k, at in enumerate(changes)}
        else:
            m.d.comb += fetched.eq(1)

        for place in range(len(self.columns)):
            lane, level = divmod(place, self.count)
            least = Cat(bits[place, bit] for bit in range(self.bits + 1))
            m.d.comb += out.i.p[lane][level].eq(self.i.p[lane] >= least)

        return m
