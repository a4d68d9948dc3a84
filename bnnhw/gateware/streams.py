"""Building blocks between stages: the register slice and the FIFO."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterSlice", "StreamFifo"]


class RegisterSlice(wiring.Component):
    """Two-entry buffer that registers payload, valid and ready, so that no combinational path crosses it.

    One payload per cycle, latency 1 cycle. Holds two payloads: one that is offered, and one that arrived in the
    cycle in which the offer was first refused. Also known as a skid buffer.

    Cost: two flip-flops per payload bit, one LUT per payload bit.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o : :py:`Out(stream.Signature(shape))`
    """
    def __init__(self, shape):
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        payload = Signal(len(Value.cast(self.i.p)), reset_less=True)
        spare = Signal.like(payload, reset_less=True)
        spare_valid = Signal()
        i_bits = Value.cast(self.i.p)

        m.d.comb += [
            self.i.ready.eq(~spare_valid),
            Value.cast(self.o.p).eq(payload),
        ]
        # The spare takes whatever comes while the offer stands; it counts only if spare_valid says so.
        with m.If(~spare_valid):
            m.d.sync += spare.eq(i_bits)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [
                payload.eq(Mux(spare_valid, spare, i_bits)),
                self.o.valid.eq(self.i.valid | spare_valid),
                spare_valid.eq(0),
            ]
        with m.Else():
            m.d.sync += spare_valid.eq(self.i.valid | spare_valid)

        return m


class StreamFifo(wiring.Component):
    """First-in first-out buffer in front of a register slice's worth of output register.

    One payload per cycle. ``depth`` payloads in memory (block RAM where the fabric has it) and two in the output
    stage; ready and valid are registered. Latency 3 cycles.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.
    depth : int
        Payloads that it can hold without any being taken, at least 1.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o : :py:`Out(stream.Signature(shape))`
    """
    def __init__(self, shape, depth):
        if not isinstance(depth, int) or depth < 1:
            raise TypeError(f"depth must be a positive integer, not {depth!r}")
        self.shape = shape
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        width = len(Value.cast(self.i.p))
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=width, depth=self.depth)
        m.submodules.slice = out = RegisterSlice(self.shape)
        m.d.comb += [
            buffer.w_data.eq(Value.cast(self.i.p)),
            buffer.w_en.eq(self.i.valid),
            self.i.ready.eq(buffer.w_rdy),
            Value.cast(out.i.p).eq(buffer.r_data),
            out.i.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(out.i.ready),
        ]
        wiring.connect(m, out.o, wiring.flipped(self.o))

        return m
