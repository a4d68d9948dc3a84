"""Small cores for the AXI4-Stream wrapper: the arithmetic of a network without one."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bnnhw.gateware.axi_stream import AxiStreamTop
from bnnhw.gateware.streams import RegisterSlice

__all__ = ["SumCore", "sum_core_top", "sums"]


class SumCore(wiring.Component):
    """Gives the sums of a frame's bytes per lane, modulo 256 as two's complement, then the sum of all modulo 10.

    It takes a new frame while the results of the one before wait.

    Parameters
    ----------
    lanes, beats : int
        Bytes per beat, beats per frame.

    Members
    -------
    i, o
        As a core of :class:`AxiStreamTop`.
    """
    def __init__(self, lanes, beats):
        self.lanes, self.beats = lanes, beats
        super().__init__({
            "i": In(stream.Signature(data.ArrayLayout(8, lanes))),
            "o": Out(stream.Signature(data.StructLayout({"data": signed(8), "last": 1}))),
        })

    def elaborate(self, platform):
        m = Module()

        tally = data.StructLayout({"sums": data.ArrayLayout(8, self.lanes), "rest": 4})
        m.submodules.slice = out = RegisterSlice(tally)
        index = Signal(range(self.beats))
        sums = [Signal(8, name=f"sum{k}") for k in range(self.lanes)]
        rest = Signal(4)
        end = index == self.beats - 1
        new_rest = (rest + sum(self.i.p[k] for k in range(self.lanes))) % 10
        m.d.comb += [
            self.i.ready.eq(~end | out.i.ready),
            out.i.valid.eq(self.i.valid & end),
            out.i.p.rest.eq(new_rest),
            *(out.i.p.sums[k].eq(sums[k] + self.i.p[k]) for k in range(self.lanes)),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [index.eq(Mux(end, 0, index + 1)), rest.eq(Mux(end, 0, new_rest))]
            m.d.sync += [sums[k].eq(Mux(end, 0, sums[k] + self.i.p[k])) for k in range(self.lanes)]

        beat = Signal(range(self.lanes + 1))
        last = Signal()
        m.d.comb += [
            last.eq(beat == self.lanes),
            self.o.valid.eq(out.o.valid),
            self.o.p.last.eq(last),
            self.o.p.data.eq(Mux(last, out.o.p.rest, out.o.p.sums[beat])),
            out.o.ready.eq(last & self.o.ready),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))

        return m


def sum_core_top(lanes, beats, frames_in_flight=4):
    """A :class:`SumCore` with AXI4-Stream ports."""
    return AxiStreamTop(SumCore(lanes, beats), lanes=lanes, frame_elements=lanes * beats, result_beats=lanes + 1,
                        bytes_per_beat=1, frames_in_flight=frames_in_flight)


def sums(frame, lanes):
    """What a :class:`SumCore` gives for a frame of bytes, a list."""
    signed_byte = [(sum(frame[k::lanes]) + 128) % 256 - 128 for k in range(lanes)]
    return [*signed_byte, sum(frame) % 10]
