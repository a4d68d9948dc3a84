"""Pooling: the greatest value, the least, or the sum of each window, channel by channel."""

import math

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice, sliced
from .window import ChannelWindows

__all__ = ["MaxPool", "PoolUnit", "SumPool", "SumPoolUnit"]


class _Unit(wiring.Component):
    """Folds ``taps`` consecutive words into one, lane by lane, with what a subclass's :meth:`fold` says."""
    def __init__(self, *, bits, lanes, taps, width):
        for name, value in (("bits", bits), ("lanes", lanes), ("taps", taps), ("width", width)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        self.bits, self.lanes, self.taps, self.width = bits, lanes, taps, width
        super().__init__({
            "i": In(stream.Signature(data.ArrayLayout(bits, lanes))),
            "o": Out(stream.Signature(data.ArrayLayout(width, lanes))),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(data.ArrayLayout(self.width, self.lanes))
        wiring.connect(m, out.o, wiring.flipped(self.o))

        index = Signal(range(self.taps))
        first = Signal(init=1)
        last = Signal(init=self.taps == 1)
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~last | out.i.ready),
            out.i.valid.eq(self.i.valid & last),
        ]
        if self.taps > 1:
            with m.If(taken):
                m.d.sync += [
                    index.eq(Mux(last, 0, index + 1)),
                    first.eq(last),
                    last.eq(index == self.taps - 2),
                ]
        fold = self.fold(m, taken & last)
        for lane in range(self.lanes):
            so_far = Signal(self.width, name=f"so_far{lane}", reset_less=True)
            folded = Signal(self.width, name=f"folded{lane}")
            m.d.comb += folded.eq(fold(lane, self.i.p[lane], so_far, first))
            m.d.comb += out.i.p[lane].eq(folded)
            with m.If(taken):
                m.d.sync += so_far.eq(folded)

        return m


class PoolUnit(_Unit):
    """The greatest code of every ``taps`` consecutive words, or the least; for one bit that is OR, or AND.

    One word per cycle; a result is offered one cycle after its last word was taken. Model: ``timing.Gathering(taps)``.

    Cost: a comparator, a multiplexer and a register for each lane, the slice; where a lane has both kinds of channels,
    a counter of groups and a flip-flop for the lane.

    Parameters
    ----------
    bits : int
        Of a code, unsigned.
    lanes : int
        Codes of a word.
    taps : int
        Words that make a result.
    groups : int
        Results after which the channels start again.
    minimum : list of bool (groups * lanes,)
        Channels of which the least is taken. Lane ``l`` of result ``r`` is channel ``(r % groups) * lanes + l``.

    Members
    -------
    i, o : :py:`stream.Signature(ArrayLayout(bits, lanes))`
    """
    def __init__(self, *, bits, lanes, taps, groups, minimum):
        super().__init__(bits=bits, lanes=lanes, taps=taps, width=bits)
        if len(minimum) != groups * lanes:
            raise ValueError(f"minimum must have {groups * lanes} channels, not {len(minimum)}")
        self.groups, self.minimum = groups, [bool(least) for least in minimum]

    def fold(self, m, ending):
        kinds = [self.minimum[lane::self.lanes] for lane in range(self.lanes)]
        mixed = [lane for lane, kind in enumerate(kinds) if len(set(kind)) > 1]
        flags = {}
        if mixed:
            # The kinds of the next group are looked up while this one goes on, so they stand in registers when it begins.
            group = Signal(range(self.groups), init=1)
            least = Signal(len(mixed), init=self._flags(kinds, mixed, 0))
            with m.If(ending):
                m.d.sync += group.eq(Mux(group == self.groups - 1, 0, group + 1))
                with m.Switch(group):
                    for k in range(self.groups):
                        with m.Case(k):
                            m.d.sync += least.eq(self._flags(kinds, mixed, k))
            flags = dict(zip(mixed, least, strict=True))

        def fold(lane, code, so_far, first):
            least = flags.get(lane, kinds[lane][0])
            return Mux(first | ((code > so_far) ^ least), code, so_far)

        return fold

    @staticmethod
    def _flags(kinds, mixed, group):
        return sum(kinds[lane][group] << k for k, lane in enumerate(mixed))


class SumPoolUnit(_Unit):
    """The sum of the codes of every ``taps`` consecutive words, lane by lane.

    One word per cycle; a result is offered one cycle after its last word was taken. Model: ``timing.Gathering(taps)``.

    Cost: an adder and a register for each lane, the slice.

    Parameters
    ----------
    bits : int
        Of a code, unsigned.
    lanes : int
        Codes of a word.
    taps : int
        Words that make a result.
    width : int, optional
        Of a sum, where codes are known to be less than their bits allow; the sums must fit. Else enough for any.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
    o : :py:`Out(stream.Signature(ArrayLayout(width, lanes)))`
    """
    def __init__(self, *, bits, lanes, taps, width=None):
        super().__init__(bits=bits, lanes=lanes, taps=taps, width=(taps * (2**bits - 1)).bit_length() if width is None else width)

    def fold(self, m, ending):
        return lambda lane, code, so_far, first: Mux(first, 0, so_far) + code


def _groups(channels, lanes):
    if not isinstance(lanes, int) or lanes < 1 or channels % lanes:
        raise ValueError(f"lanes must divide the {channels} channels, not be {lanes!r}")
    return channels // lanes


class _Pool(wiring.Component):
    """A window buffer and a unit."""
    def __init__(self, unit, *, image, groups, kernel, stride, depth, slices):
        self.slices = slices
        self.unit, self.window = unit, ChannelWindows(
            width=unit.bits * unit.lanes, image=image, groups=groups, kernel=kernel, stride=stride, padding=(0, 0, 0, 0), fill=0,
            depth=depth)
        super().__init__({"i": In(stream.Signature(self.window.width)), "o": Out(unit.o.signature)})

    def elaborate(self, platform):
        m = Module()

        m.submodules.window = window = self.window
        m.submodules.unit = unit = self.unit
        wiring.connect(m, wiring.flipped(self.i), window.i)
        words = sliced(m, window.o, "fetched") if self.slices else window.o
        m.d.comb += [
            Value.cast(unit.i.p).eq(words.p.word),
            unit.i.valid.eq(words.valid),
            words.ready.eq(unit.i.ready),
        ]
        wiring.connect(m, unit.o, wiring.flipped(self.o))

        return m


class MaxPool(_Pool):
    """The greatest code of each window of a map, channel by channel, or the least in some channels.

    Cycles per image: windows * groups * rows * columns, or the words of the image, if those are more, no bubble between
    images, if ``depth`` is enough (:func:`bnnhw.stages.window_timing.rate_depth`). A result is offered 3 cycles after the last
    word that it needs was taken, if nothing else is waited for. Rows and columns that no window needs are dropped.

    Parameters
    ----------
    image : (H, W)
    kernel, stride : (rows, columns)
    bits, lanes : int
        Of a code; codes of a word, a divisor of C.
    minimum : list of bool (C,)
        Channels of which the least is taken.
    depth : int
        Words that the window buffer holds.
    slices : bool
        Whether a register slice stands behind it: a result comes one cycle later.

    Members
    -------
    i : :py:`In(stream.Signature(lanes * bits))`
        Pixels row by row, ``lanes`` channels a word.
    o : :py:`Out(stream.Signature(ArrayLayout(bits, lanes)))`
        The same order.
    """
    def __init__(self, *, image, kernel, stride, bits, lanes, minimum, depth, slices=False):
        groups = _groups(len(minimum), lanes)
        unit = PoolUnit(bits=bits, lanes=lanes, taps=math.prod(kernel), groups=groups, minimum=minimum)
        super().__init__(unit, image=image, groups=groups, kernel=kernel, stride=stride, depth=depth, slices=slices)


class SumPool(_Pool):
    """The sum of the codes of each window of a map, channel by channel. The rest is as of :class:`MaxPool`.

    Parameters
    ----------
    channels : int
        C.
    width : int, optional
        As of :class:`SumPoolUnit`.

    Members
    -------
    i : :py:`In(stream.Signature(lanes * bits))`
    o : :py:`Out(stream.Signature(ArrayLayout(width, lanes)))`
    """
    def __init__(self, *, image, channels, kernel, stride, bits, lanes, depth, width=None, slices=False):
        groups = _groups(channels, lanes)
        unit = SumPoolUnit(bits=bits, lanes=lanes, taps=math.prod(kernel), width=width)
        super().__init__(unit, image=image, groups=groups, kernel=kernel, stride=stride, depth=depth, slices=slices)
