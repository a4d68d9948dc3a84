"""Input side of the board's link: chunks of bytes to beats of the network's input stream."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["FrameByte", "ChunkBuffer", "BeatPacker"]

#: A byte of a frame; ``last`` marks the frame's last.
FrameByte = data.StructLayout({"data": 8, "last": 1})

BANK_BYTES = 256


class ChunkBuffer(wiring.Component):
    """Two banks of 256 bytes: one is filled while the other drains.

    Bytes are written to the bank that is to be filled as they come, and count only once ``commit`` says so: a chunk
    whose CRC is wrong is written over by the next. One byte every second cycle leaves; one block RAM.

    Members
    -------
    write : :py:`In(1)`, address : :py:`In(8)`, data : :py:`In(8)`
        A byte for the bank to be filled. Only while ``free``.
    free : :py:`Out(1)`
        There is a bank to be filled.
    commit : :py:`In(1)`
        The bank holds a chunk. Only while ``free``.
    final : :py:`In(8)`
        The place of its last byte.
    last : :py:`In(1)`
        Its last byte is the last of a frame.
    clear : :py:`In(1)`
        Forget all chunks.
    o : :py:`Out(stream.Signature(FrameByte))`
        The bytes of the chunks, in order.
    """
    write: In(1)
    address: In(8)
    data: In(8)
    free: Out(1)
    commit: In(1)
    final: In(8)
    last: In(1)
    clear: In(1)
    o: Out(stream.Signature(FrameByte))

    def elaborate(self, platform):
        m = Module()

        m.submodules.memory = memory = Memory(shape=8, depth=2 * BANK_BYTES, init=[])
        writing, reading = memory.write_port(), memory.read_port()
        held = [Signal(data.StructLayout({"full": 1, "final": 8, "last": 1}), name=f"bank{k}") for k in range(2)]
        fill, drain = Signal(), Signal()    # bank
        place = Signal(8)
        bank = Signal.like(held[0])         # the one that drains
        ends = Signal()                     # the byte that is offered is the bank's last

        m.d.comb += [
            bank.eq(Mux(drain, held[1], held[0])),
            self.free.eq(~Mux(fill, held[1].full, held[0].full)),
            writing.en.eq(self.write),
            writing.addr.eq(Cat(self.address, fill)),
            writing.data.eq(self.data),
            reading.addr.eq(Cat(place, drain)),
            reading.en.eq(~self.o.valid),
            self.o.p.data.eq(reading.data),
            self.o.p.last.eq(bank.last & ends),
        ]
        with m.If(~self.o.valid):
            m.d.sync += self.o.valid.eq(bank.full)
            m.d.sync += place.eq(place + bank.full)
            m.d.sync += ends.eq(place == bank.final)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
            with m.If(ends):
                m.d.sync += [place.eq(0), drain.eq(~drain)]
                for k in range(2):
                    with m.If(drain == k):
                        m.d.sync += held[k].full.eq(0)
        with m.If(self.commit):
            m.d.sync += fill.eq(~fill)
            for k in range(2):
                with m.If(fill == k):
                    m.d.sync += held[k].eq(Cat(C(1, 1), self.final, self.last))
        with m.If(self.clear):
            m.d.sync += [self.o.valid.eq(0), place.eq(0), fill.eq(0), drain.eq(0), held[0].full.eq(0), held[1].full.eq(0)]

        return m


class BeatPacker(wiring.Component):
    """Puts ``lanes`` bytes into a beat, the first in the least significant bits.

    A frame that ends inside a beat is filled with zeros: the input's lowest value, and the network flags such a frame.
    One byte per cycle, except in the cycle in which a beat waits; latency ``lanes`` cycles.

    Parameters
    ----------
    lanes : int
        Bytes of a beat.

    Members
    -------
    clear : :py:`In(1)`
        Forget the beat that was begun.
    i : :py:`In(stream.Signature(FrameByte))`
    o : :py:`Out(stream.Signature(StructLayout({"data": 8 * lanes, "last": 1})))`
    """
    def __init__(self, lanes):
        if not isinstance(lanes, int) or lanes < 1:
            raise TypeError(f"lanes must be a positive integer, not {lanes!r}")
        self.lanes = lanes
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(FrameByte)),
            "o": Out(stream.Signature(data.StructLayout({"data": 8 * lanes, "last": 1}))),
        })

    def elaborate(self, platform):
        m = Module()

        left = Signal(range(self.lanes + 1), init=self.lanes)   # bytes that the beat lacks
        shift = Signal()
        m.d.comb += [
            self.o.valid.eq(left == 0),
            self.i.ready.eq((left != 0) & ~self.o.p.last),
            shift.eq((left != 0) & (self.i.valid | self.o.p.last)),
        ]
        with m.If(shift):
            m.d.sync += [
                self.o.p.data.eq(Cat(self.o.p.data, Mux(self.o.p.last, 0, self.i.p.data)) >> 8),
                left.eq(left - 1),
            ]
            with m.If(~self.o.p.last):
                m.d.sync += self.o.p.last.eq(self.i.p.last)
        with m.Elif(self.o.ready):
            m.d.sync += left.eq(Mux(left == 0, self.lanes, left))
            m.d.sync += self.o.p.last.eq(self.o.p.last & (left != 0))
        with m.If(self.clear):
            m.d.sync += [left.eq(self.lanes), self.o.p.last.eq(0)]

        return m
