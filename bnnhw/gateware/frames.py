"""Input frames: every packet becomes exactly one whole frame."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FlagQueue", "FrameGuard", "TaskQueue"]


class FrameGuard(wiring.Component):
    """Makes whole frames of packets that may be short or long, and tells for each frame whether it was.

    A packet ends with ``last``. One that is too short is filled up with zeros, which are the input's lowest value;
    what one that is too long has in excess is dropped, up to its ``last``. So every packet gives one frame.

    Combinational: a beat is offered in the cycle in which it comes, one per cycle, and no cycle is lost between frames;
    filling up takes a cycle per missing beat and dropping one per surplus beat. The frame's flag moves in the cycle in which
    its last beat does, so a long packet's result need not wait for the packet's end: each of the two is offered
    once the other's receiver is ready. The ready of neither may depend on its valid; that of a register slice or a queue, which
    stays until something is taken, makes that an offer stays, too.

    Parameters
    ----------
    lanes : int
        Bytes per beat.
    frame_elements : int
        Bytes of a frame, a multiple of ``lanes``.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"data": ArrayLayout(8, lanes), "last": 1})))`
    o : :py:`Out(stream.Signature(ArrayLayout(8, lanes)))`
    flags : :py:`Out(stream.Signature(1))`
        One per frame: 1 where its packet was too short or too long.
    """
    def __init__(self, *, lanes, frame_elements):
        for name, value in (("lanes", lanes), ("frame_elements", frame_elements)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        if frame_elements % lanes:
            raise ValueError(f"lanes must divide the frame's {frame_elements} bytes, not be {lanes}")
        self.beats = frame_elements // lanes
        word = data.ArrayLayout(8, lanes)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"data": word, "last": 1}))),
            "o": Out(stream.Signature(word)),
            "flags": Out(stream.Signature(1)),
        })

    def elaborate(self, platform):
        m = Module()

        index = Signal(range(self.beats))
        filling = Signal()
        dropping = Signal()
        end = Signal(init=self.beats == 1)      # this beat is the frame's last
        present = Signal()      # there is a beat for the frame
        room = Signal()         # ... and a place for its flag, if it is the last
        move = Signal()
        m.d.comb += [
            present.eq(filling | (self.i.valid & ~dropping)),
            room.eq(self.flags.ready | ~end),
            self.o.valid.eq(present & room),
            self.o.payload.eq(Mux(filling, 0, Value.cast(self.i.p.data))),
            self.flags.valid.eq(present & end & self.o.ready),
            self.flags.payload.eq(filling | ~self.i.p.last),
            move.eq(present & room & self.o.ready),
            self.i.ready.eq(dropping | (move & ~filling)),
        ]
        with m.If(move):
            m.d.sync += [
                index.eq(Mux(end, 0, index + 1)),
                end.eq((index == self.beats - 2) if self.beats > 1 else 1),
                filling.eq(~end & (filling | self.i.p.last)),
                dropping.eq(end & ~filling & ~self.i.p.last),
            ]
        with m.If(dropping & self.i.valid & self.i.p.last):
            m.d.sync += dropping.eq(0)

        return m


class FlagQueue(wiring.Component):
    """First-in first-out buffer for single bits, of flip-flops: cheap where a memory would be mostly empty.

    One bit per cycle, latency 1 cycle. No combinational path crosses it.

    Parameters
    ----------
    depth : int
        Bits that it holds, at least 2 for one bit per cycle.

    Members
    -------
    i, o : :py:`stream.Signature(1)`
    """
    def __init__(self, depth):
        if not isinstance(depth, int) or depth < 1:
            raise TypeError(f"depth must be a positive integer, not {depth!r}")
        self.depth = depth
        super().__init__({"i": In(stream.Signature(1)), "o": Out(stream.Signature(1))})

    def elaborate(self, platform):
        m = Module()

        bits = Signal(self.depth, reset_less=True)
        newest, oldest = Signal(self.depth, init=1), Signal(self.depth, init=1)     # places to write and to read, one-hot
        level = Signal(self.depth + 1, init=1)      # one-hot: a bit that moves is quicker than a sum
        push = self.i.valid & self.i.ready
        pop = self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(~level[-1]),
            self.o.valid.eq(~level[0]),
            self.o.payload.eq((bits & oldest).any()),
        ]
        with m.If(push & ~pop):
            m.d.sync += level.eq(level << 1)
        with m.Elif(pop & ~push):
            m.d.sync += level.eq(level >> 1)
        with m.If(push):
            m.d.sync += newest.eq(newest.rotate_left(1))
        for k in range(self.depth):
            with m.If(push & newest[k]):
                m.d.sync += bits[k].eq(self.i.payload)
        with m.If(pop):
            m.d.sync += oldest.eq(oldest.rotate_left(1))

        return m


class TaskQueue(wiring.Component):
    """First-in first-out buffer for task numbers on their way to a stage, of flip-flops: a memory would be mostly empty.

    One number per cycle, latency 1 cycle. No combinational path crosses it.

    Parameters
    ----------
    tasks : int
        Numbers are 0 to ``tasks - 1``.
    depth : int
        Numbers that it holds, at least 2 for one per cycle.

    Members
    -------
    i, o : :py:`stream.Signature(range(tasks))`
    """
    def __init__(self, tasks, depth):
        if not isinstance(depth, int) or depth < 1:
            raise TypeError(f"depth must be a positive integer, not {depth!r}")
        self.tasks, self.depth = tasks, depth
        super().__init__({"i": In(stream.Signature(range(tasks))), "o": Out(stream.Signature(range(tasks)))})

    def elaborate(self, platform):
        m = Module()

        # The oldest is at place 0; bit k of `held` tells whether place k is taken.
        places = [Signal(range(self.tasks), name=f"place{k}", reset_less=True) for k in range(self.depth)]
        held = Signal(self.depth)
        push, pop = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [self.i.ready.eq(~held[-1]), self.o.valid.eq(held[0]), self.o.payload.eq(places[0])]
        with m.If(push & ~pop):
            m.d.sync += held.eq(Cat(1, held))
        with m.Elif(pop & ~push):
            m.d.sync += held.eq(held >> 1)
        for k, place in enumerate(places):
            behind, more = (places[k + 1], held[k + 1]) if k + 1 < self.depth else (self.i.payload, Const(0))
            with m.If(pop):
                m.d.sync += place.eq(Mux(more, behind, self.i.payload))
            with m.Elif(~held[k]):
                m.d.sync += place.eq(self.i.payload)

        return m
