"""Per-channel scale and offset on a stream of integers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice
from .threshold import turns
from .weights import RomSource, style_for

__all__ = ["AffineUnit"]


class AffineUnit(wiring.Component):
    """``scale[c] * x + offset[c]`` for each element, ``lanes`` elements per cycle in channel-last order.

    One group per cycle, latency 2 cycles. The product is written as ``*`` of a variable and a table's constant, so synthesis may
    use the fabric's multipliers; scales that are the same for a lane's channels are constants, and powers of two cost nothing.

    Parameters
    ----------
    bits : int
        Width of an element, unsigned.
    scale, offset : list of int (C,)
    width : int
        Of a result, unsigned, which must fit.
    lanes : int

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
        Element ``j`` of group ``k`` belongs to channel ``(k * lanes + j) % C``.
    o : :py:`Out(stream.Signature(ArrayLayout(width, lanes)))`
    """
    def __init__(self, *, bits, scale, offset, width, lanes):
        if len(scale) != len(offset) or not scale:
            raise ValueError(f"scale and offset must have the same number of channels, not {len(scale)} and {len(offset)}")
        self.bits, self.lanes, self.width = bits, lanes, width
        self.scale, self.offset = [int(a) for a in scale], [int(b) for b in offset]
        self._layout = data.ArrayLayout(width, lanes)
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(bits, lanes))), "o": Out(stream.Signature(self._layout))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        done, en, fetched = Signal(), Signal(), Signal()
        m.d.comb += [
            en.eq(~done | out.i.ready),
            self.i.ready.eq(en & fetched),
            out.i.valid.eq(done),
        ]
        taken = self.i.valid & self.i.ready
        with m.If(en):
            m.d.sync += done.eq(taken)

        # Each lane's scales and offsets, by turn; a table holds those that change.
        own = [[(k * self.lanes + lane) % len(self.scale) for k in range(turns(len(self.scale), self.lanes))]
               for lane in range(self.lanes)]
        values = [[vector[c] for c in channels] for channels in own for vector in (self.scale, self.offset)]
        shapes = [Shape.cast(range(min(*column, 0), max(*column, 0) + 1)) for column in values]
        changing = [k for k, column in enumerate(values) if len(set(column)) > 1]
        chosen = [Const(column[0], shape) for column, shape in zip(values, shapes, strict=True)]
        if changing:
            layout = data.StructLayout({f"v{k}": shapes[k] for k in changing})
            words = [layout.const({f"v{k}": values[k][turn] for k in changing}) for turn in range(len(own[0]))]
            m.submodules.table = source = RomSource([Const.cast(word).value for word in words], layout.size,
                                                    style_for(layout.size * len(words), len(words)))
            table = Signal(layout)
            m.d.comb += [Value.cast(table).eq(source.o.payload), source.o.ready.eq(taken), fetched.eq(source.o.valid)]
            for k in changing:
                chosen[k] = table[f"v{k}"]
        else:
            m.d.comb += fetched.eq(1)

        for lane in range(self.lanes):
            scale, offset = chosen[2 * lane:2 * lane + 2]
            product = Signal(self.width, name=f"product{lane}", reset_less=True)
            added = Signal(self.width, name=f"added{lane}", reset_less=True)
            with m.If(en):
                m.d.sync += [product.eq(self.i.p[lane] * scale), added.eq(offset)]
            m.d.comb += out.i.p[lane].eq(product + added)

        return m
