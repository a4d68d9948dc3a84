"""Building blocks between stages: the register slice and the FIFO."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .replay import Replay

__all__ = ["Landing", "Narrow", "RegisterSlice", "Relay", "StreamFifo", "landing_capacity", "sliced"]

LANDING_CYCLES = 3      # from a payload's arrival behind a pipeline until another one may take its place


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


def sliced(m, source, name):
    """The stream ``source`` behind a :class:`RegisterSlice`, the submodule ``name``."""
    m.submodules[name] = found = RegisterSlice(source.p.shape())
    wiring.connect(m, source, found.i)
    return found.o


class StreamFifo(wiring.Component):
    """First-in first-out buffer: a :class:`~bnnhw.gateware.replay.Replay` of single words, each emitted once.

    One payload per cycle from depth 2 up, latency 2 cycles. No combinational path crosses it.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.
    depth : int
        Payloads in memory, at least 1; one more waits in the output register.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o : :py:`Out(stream.Signature(shape))`
    """
    def __init__(self, shape, depth):
        if not isinstance(depth, int) or depth < 1:
            raise TypeError(f"depth must be a positive integer, not {depth!r}")
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        width = len(Value.cast(self.i.p))
        m.submodules.ring = ring = Replay(width=width, words=1, repeats=1, depth=self.depth)
        m.d.comb += [
            ring.i.payload.eq(Value.cast(self.i.p)),
            ring.i.valid.eq(self.i.valid),
            self.i.ready.eq(ring.i.ready),
            Value.cast(self.o.p).eq(ring.o.payload),
            self.o.valid.eq(ring.o.valid),
            ring.o.ready.eq(self.o.ready),
        ]

        return m


class Landing(wiring.Component):
    """FIFO behind a pipeline that is never stopped: it counts what is on its way, so that all of it finds room.

    One payload per cycle, latency 2 cycles. No combinational path crosses it.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.
    latency : int
        Of the pipeline, cycles.

    Attributes
    ----------
    capacity : int
        Payloads in the pipeline and here: a power of two, enough for one per cycle.

    Members
    -------
    room : Out(1)
        Another payload may enter the pipeline.
    entering : In(1)
        It does, in this cycle; only with ``room``.
    i : :py:`In(stream.Signature(shape))`
        The pipeline's end; always ready.
    o : :py:`Out(stream.Signature(shape))`
    """
    def __init__(self, shape, latency):
        self.capacity = landing_capacity(latency)
        self.shape = shape
        super().__init__({"room": Out(1), "entering": In(1),
                          "i": In(stream.Signature(shape, always_ready=True)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.fifo = fifo = StreamFifo(self.shape, self.capacity)
        held = Signal(range(self.capacity + 1))     # in the pipeline and in the FIFO
        m.d.sync += held.eq(held + self.entering - (self.o.valid & self.o.ready))
        m.d.comb += [
            self.room.eq(~held[-1]),
            fifo.i.p.eq(self.i.p),
            fifo.i.valid.eq(self.i.valid),
        ]
        wiring.connect(m, fifo.o, wiring.flipped(self.o))

        return m


def landing_capacity(latency):
    """Payloads for which a :class:`Landing` behind a pipeline of ``latency`` cycles has room."""
    return 1 << (latency + LANDING_CYCLES - 1).bit_length()


class Relay(wiring.Component):
    """Buffer of one payload: cuts every combinational path, for half the rate.

    One payload every two cycles, latency 1 cycle. Cost: a flip-flop per payload bit, and one.

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
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()

        m.d.comb += self.i.ready.eq(~self.o.valid)
        with m.If(self.o.valid):
            m.d.sync += self.o.valid.eq(~self.o.ready)
        with m.Else():
            m.d.sync += [self.o.valid.eq(self.i.valid), Value.cast(self.o.p).eq(Value.cast(self.i.p))]

        return m


class Narrow(wiring.Component):
    """Register slice that drops the upper bits of each of ``lanes`` elements.

    Parameters
    ----------
    bits, narrow : int
        Width of an element at input and output.
    lanes : int

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
    o : :py:`Out(stream.Signature(ArrayLayout(narrow, lanes)))`
    """
    def __init__(self, bits, narrow, lanes):
        self.lanes = lanes
        self._layout = data.ArrayLayout(narrow, lanes)
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(bits, lanes))), "o": Out(stream.Signature(self._layout))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        m.d.comb += [
            out.i.valid.eq(self.i.valid),
            self.i.ready.eq(out.i.ready),
        ]
        for lane in range(self.lanes):
            m.d.comb += out.i.p[lane].eq(self.i.p[lane])

        return m
