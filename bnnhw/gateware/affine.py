"""Per-channel scale and offset on a stream of integers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice

__all__ = ["AffineUnit"]


class AffineUnit(wiring.Component):
    """``scale[c] * x + offset[c]`` for elements that come one at a time, channel 0 first, over and over.

    One element per cycle, latency 2 cycles. The product is written as ``*`` of a variable and a table's constant, so
    synthesis may use the fabric's multipliers.

    Parameters
    ----------
    bits : int
        Width of an element, unsigned.
    scale, offset : list of int (C,)

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, 1)))`
    o : :py:`Out(stream.Signature(ArrayLayout(signed(width), 1)))`
        ``width`` is what the greatest result needs.
    """
    def __init__(self, *, bits, scale, offset):
        if len(scale) != len(offset) or not scale:
            raise ValueError(f"scale and offset must have the same number of channels, not {len(scale)} and {len(offset)}")
        self.bits, self.scale, self.offset = bits, [int(a) for a in scale], [int(b) for b in offset]
        ends = [a * x + b for a, b in zip(self.scale, self.offset, strict=True) for x in (0, 2**bits - 1)]
        width = Shape.cast(range(min(*ends, -1), max(*ends, 0) + 1)).width
        self.shape = signed(width)
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(bits, 1))),
                          "o": Out(stream.Signature(data.ArrayLayout(self.shape, 1)))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(data.ArrayLayout(self.shape, 1))
        wiring.connect(m, out.o, wiring.flipped(self.o))

        channels = len(self.scale)
        channel = Signal(range(channels))
        scale = Signal(Shape.cast(range(min(self.scale), max(*self.scale, 0) + 1)))
        offset = Signal(Shape.cast(range(min(self.offset), max(*self.offset, 0) + 1)))
        with m.Switch(channel):
            for c in range(channels):
                with m.Case(c):
                    m.d.comb += [scale.eq(self.scale[c]), offset.eq(self.offset[c])]

        product = Signal(self.shape, reset_less=True)
        added = Signal.like(offset, reset_less=True)
        done = Signal()
        en = ~done | out.i.ready
        m.d.comb += [
            self.i.ready.eq(en),
            out.i.valid.eq(done),
            out.i.p[0].eq(product + added),
        ]
        with m.If(en):
            m.d.sync += [done.eq(self.i.valid), product.eq(self.i.p[0] * scale), added.eq(offset)]
            with m.If(self.i.valid):
                m.d.sync += channel.eq(Mux(channel == channels - 1, 0, channel + 1))

        return m
