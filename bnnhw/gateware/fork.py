"""One stream to several branches, each with a buffer."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice, StreamFifo

__all__ = ["Fork"]


class Fork(wiring.Component):
    """Gives every word to every branch, to each as soon as it has room (eager: a pending bit per branch).

    One word per cycle, latency 2 cycles to a branch with a register slice, 3 to one with a memory. No combinational path crosses
    it. A branch never waits for another one, but the next word is taken only when every branch has the last one.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.
    depths : sequence of int
        For each branch 0, a register slice, or the words of its :class:`~.streams.StreamFifo`.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o0, o1, ... : :py:`Out(stream.Signature(shape))`
    """
    def __init__(self, shape, depths):
        if len(depths) < 2:
            raise ValueError(f"a fork must have at least 2 branches, not {len(depths)}")
        self.buffers = [StreamFifo(shape, depth) if depth else RegisterSlice(shape) for depth in depths]
        super().__init__({"i": In(stream.Signature(shape))}
                         | {f"o{k}": Out(stream.Signature(shape)) for k in range(len(depths))})

    def elaborate(self, platform):
        m = Module()

        word = Signal(len(Value.cast(self.i.p)), reset_less=True)
        pending = Signal(len(self.buffers))
        given = Signal(len(self.buffers))
        for k, buffer in enumerate(self.buffers):
            m.submodules[f"buffer{k}"] = buffer
            m.d.comb += [
                Value.cast(buffer.i.p).eq(word),
                buffer.i.valid.eq(pending[k]),
                given[k].eq(buffer.i.ready),
            ]
            wiring.connect(m, buffer.o, wiring.flipped(getattr(self, f"o{k}")))
        m.d.comb += self.i.ready.eq((~pending | given).all())
        m.d.sync += pending.eq(pending & ~given)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [word.eq(Value.cast(self.i.p)), pending.eq(~Const(0, len(self.buffers)))]

        return m
