"""The sum of two streams."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice

__all__ = ["AddUnit"]


class AddUnit(wiring.Component):
    """``scales[0] * x + scales[1] * y`` of the elements of two streams, once both have one.

    One word of ``lanes`` elements per cycle, latency 2 cycles. Register slices stand at both inputs too, so that neither stream's
    ready depends on the other's valid.

    Parameters
    ----------
    bits : (int, int)
        Width of an element of either input, unsigned.
    scales : (int, int)
        Positive.
    width : int
        Of a result, which must fit.
    lanes : int

    Members
    -------
    i0, i1 : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
    o : :py:`Out(stream.Signature(ArrayLayout(width, lanes)))`
    """
    def __init__(self, *, bits, scales, width, lanes):
        for name, values in (("bits", bits), ("scales", scales), ("width", (width,)), ("lanes", (lanes,))):
            if any(not isinstance(value, int) or value < 1 for value in values):
                raise TypeError(f"{name} must be positive integers, not {values!r}")
        self.scales, self.lanes = tuple(scales), lanes
        self._layouts = [data.ArrayLayout(size, lanes) for size in (*bits, width)]
        super().__init__({
            "i0": In(stream.Signature(self._layouts[0])),
            "i1": In(stream.Signature(self._layouts[1])),
            "o": Out(stream.Signature(self._layouts[2])),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.first = first = RegisterSlice(self._layouts[0])
        m.submodules.second = second = RegisterSlice(self._layouts[1])
        m.submodules.slice = out = RegisterSlice(self._layouts[2])
        wiring.connect(m, wiring.flipped(self.i0), first.i)
        wiring.connect(m, wiring.flipped(self.i1), second.i)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        both = first.o.valid & second.o.valid
        m.d.comb += [
            out.i.valid.eq(both),
            first.o.ready.eq(both & out.i.ready),
            second.o.ready.eq(both & out.i.ready),
        ]
        for lane in range(self.lanes):
            m.d.comb += out.i.p[lane].eq(first.o.p[lane] * self.scales[0] + second.o.p[lane] * self.scales[1])

        return m
