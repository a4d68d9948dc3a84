"""Lanes that do not divide a layer's sizes: neurons and inputs that are of no effect, and words that are not full.

A layer of PE neurons and SIMD inputs per cycle becomes one whose sizes they divide. Its last group of neurons is filled up with
repeats of the last one, whose results :class:`Trim` drops. Its last word of inputs is filled up with a constant code, in its
lower lanes, by :class:`Fill`; these inputs have weight +1. Code 0 adds nothing then; what another one adds is always the same,
and the accumulators start that much lower.

Both regroup within a vector. Outside a layer the words of a frame are full: they have as many elements as the greatest common
divisor of lanes and size.
"""

import math
from dataclasses import dataclass

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Fill", "Grouping", "Trim", "filled", "grouped", "padded_layer", "trimmed"]


@dataclass(frozen=True)
class Grouping:
    """A vector of ``size`` elements in wide words of ``lanes`` elements, of which the last may be short.

    ``narrow``: elements of the words outside; ``ratio``: how many of them a full wide word has, and ``last`` the last one;
    ``words``: wide words of a vector; ``missing``: elements by which the last one is short.
    """
    size: int
    lanes: int

    @property
    def narrow(self):
        return math.gcd(self.size, self.lanes)

    @property
    def ratio(self):
        return self.lanes // self.narrow

    @property
    def words(self):
        return -(-self.size // self.lanes)

    @property
    def missing(self):
        return self.words * self.lanes - self.size

    @property
    def last(self):
        return self.ratio - self.missing // self.narrow


def grouped(name, size, lanes):
    """The :class:`Grouping` of a layer's PE or SIMD, whose ``name`` the message has if it is none."""
    if not isinstance(lanes, int) or not 1 <= lanes <= size:
        raise ValueError(f"{name} must be from 1 to {size}, not {lanes!r}")
    return Grouping(size, lanes)


def padded_layer(weights, result, reach, pe, simd, code=0):
    """A layer that PE and SIMD divide, and that gives the same.

    Parameters
    ----------
    weights : int array (n_out, vectors, n_in)
        A neuron's inputs come in so many vectors, of which each one is padded.
    result : Signs or Codes
    reach : list of int (n_out,)
        Greatest match counts.
    pe, simd : int
        From 1 to n_out and to n_in.
    code : int
        Of padded inputs.

    Returns
    -------
    weights : int array (groups * pe, vectors * words * simd)
        In the order in which inputs come from :class:`Fill`.
    result, reach
        Of as many neurons; match counts are greater by what padded inputs add.
    """
    count, vectors, size = weights.shape
    rows, columns = Grouping(count, pe).missing, Grouping(size, simd)
    place = (columns.words - 1) * simd
    wide = np.insert(weights, np.full(columns.missing, place), 1, axis=2).reshape(count, -1)
    more = vectors * columns.missing * code
    if more:
        result, reach = result.raised(more), [count + more for count in reach]
    if rows:
        result, reach = result.repeated(rows), [*reach, *[reach[-1]] * rows]
    return np.pad(wide, ((0, rows), (0, 0)), mode="edge"), result, reach


class Fill(wiring.Component):
    """Joins narrow words into wide ones, the first in the least significant bits; the last one of a vector has what is left of
    it in its most significant bits, and ``code`` in every lane below.

    One narrow word per cycle. A wide word is offered in the cycle in which its last narrow one is: ``o`` follows ``i`` and
    ``i.ready`` follows ``o.ready``, so that registers must stand in front of it and what decides ``o.ready`` must be registers.

    Cost: ``ratio - 1`` flip-flops per narrow bit, two counters.

    Parameters
    ----------
    grouping : Grouping
        With a short last word.
    bits : int
        Of an element.
    code : int
        The element that fills up.

    Members
    -------
    i : :py:`In(stream.Signature(grouping.narrow * bits))`
    o : :py:`Out(stream.Signature(grouping.lanes * bits))`
    """
    def __init__(self, grouping, bits=1, code=0):
        self.grouping = grouping
        self._rest = sum(code << bits * lane for lane in range(grouping.lanes - grouping.narrow))
        super().__init__({"i": In(stream.Signature(grouping.narrow * bits)), "o": Out(stream.Signature(grouping.lanes * bits))})

    def elaborate(self, platform):
        m = Module()

        earlier = Signal(len(self.o.payload) - len(self.i.payload), init=self._rest)
        moved = self.i.valid & self.i.ready
        last = _position(m, self.grouping, moved)
        m.d.comb += [
            self.o.payload.eq(Cat(earlier, self.i.payload)),
            self.o.valid.eq(self.i.valid & last),
            self.i.ready.eq(~last | self.o.ready),
        ]
        with m.If(moved):
            m.d.sync += earlier.eq(Mux(last, self._rest, self.o.payload[len(self.i.payload):]))

        return m


class Trim(wiring.Component):
    """Splits wide words into narrow ones, the least significant bits first, without what the last one of a vector has too much.

    One narrow word per cycle, no bubble between wide ones. The first narrow word is offered in the cycle after the wide one was
    taken. ``i.ready`` follows ``o.ready`` in the same cycle: a register slice must stand in front of it.

    Cost: one flip-flop per wide bit, two counters.

    Parameters
    ----------
    grouping : Grouping
        With a short last word.
    bits : int
        Of an element.

    Members
    -------
    i : :py:`In(stream.Signature(grouping.lanes * bits))`
    o : :py:`Out(stream.Signature(grouping.narrow * bits))`
    """
    def __init__(self, grouping, bits=1):
        self.grouping = grouping
        super().__init__({"i": In(stream.Signature(grouping.lanes * bits)), "o": Out(stream.Signature(grouping.narrow * bits))})

    def elaborate(self, platform):
        m = Module()

        rest, busy = Signal(len(self.i.payload), reset_less=True), Signal()
        moved = self.o.valid & self.o.ready
        last = _position(m, self.grouping, moved)
        m.d.comb += [
            self.o.payload.eq(rest),
            self.o.valid.eq(busy),
            self.i.ready.eq(~busy | (last & self.o.ready)),
        ]
        with m.If(moved):
            m.d.sync += rest.eq(rest >> len(self.o.payload))
            with m.If(last):
                m.d.sync += busy.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [rest.eq(self.i.payload), busy.eq(1)]

        return m


def _position(m, grouping, step):
    """Whether the narrow word that passes next is the last one of a wide word; it passes with ``step``."""
    count, word = Signal(range(grouping.ratio)), Signal(range(grouping.words))
    short, last = Signal(), Signal()
    m.d.comb += [short.eq(word == grouping.words - 1), last.eq(count == Mux(short, grouping.last - 1, grouping.ratio - 1))]
    with m.If(step):
        m.d.sync += count.eq(count + 1)
        with m.If(last):
            m.d.sync += [count.eq(0), word.eq(Mux(short, 0, word + 1))]
    return last


def filled(m, source, grouping, bits=1, code=0):
    """The stream ``source`` of narrow words in wide ones: behind a :class:`Fill`, the submodule ``fill``, if the last one is
    short."""
    if not grouping.missing:
        return source
    m.submodules.fill = fill = Fill(grouping, bits, code)
    wiring.connect(m, source, fill.i)
    return fill.o


def trimmed(m, source, sink, grouping, bits=1):
    """Give ``sink`` the stream ``source`` of wide words in narrow ones: through a :class:`Trim`, the submodule ``trim``, if the
    last one is short."""
    if not grouping.missing:
        wiring.connect(m, source, sink)
        return
    m.submodules.trim = trim = Trim(grouping, bits)
    m.d.comb += [
        trim.i.payload.eq(Value.cast(source.p)),
        trim.i.valid.eq(source.valid),
        source.ready.eq(trim.i.ready),
        Value.cast(sink.p).eq(trim.o.payload),
        sink.valid.eq(trim.o.valid),
        trim.o.ready.eq(sink.ready),
    ]
