"""Input buffer of a folded layer: each vector is emitted once for every output fold."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Replay"]


class Replay(wiring.Component):
    """Takes vectors of ``words`` words and emits each ``repeats`` times.

    A ring buffer: the first pass runs while the vector still arrives, and words of the next vector are taken as soon as
    there is room, so with ``depth = 2 * words`` the output never waits for an input that comes at its average rate.
    One word out per cycle; a word is offered two cycles after it was taken, at the earliest.

    Cost: ``depth`` words of memory (block RAM where the fabric has it), six counters.

    Parameters
    ----------
    width : int
        Bits of a word.
    words : int
        Words of a vector.
    repeats : int
        How often a vector is emitted, at least 1.
    depth : int
        Words that the ring holds, from ``words`` up.

    Members
    -------
    i : :py:`In(stream.Signature(width))`
    o : :py:`Out(stream.Signature(width))`
    """
    def __init__(self, *, width, words, repeats, depth):
        for name, value in (("width", width), ("words", words), ("repeats", repeats)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        if depth < words:
            raise ValueError(f"depth must be at least {words}, the words of a vector, not {depth}")
        self.width, self.words, self.repeats, self.depth = width, words, repeats, depth
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.ring = ring = memory.Memory(shape=self.width, depth=self.depth, init=[])
        write, read = ring.write_port(), ring.read_port()

        def following(position):
            return Mux(position == self.depth - 1, 0, position + 1)

        # Writer. `free` counts places in the ring, `fresh` words that no pass has read yet; whether there are any is in registers
        # of their own, which decide at once.
        free = Signal(range(self.depth + 1), init=self.depth)
        fresh = Signal(range(self.depth + 1))
        any_free, any_fresh = Signal(init=1), Signal()
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(any_free),
            write.data.eq(self.i.payload),
            write.en.eq(taken),
        ]
        with m.If(taken):
            m.d.sync += write.addr.eq(following(write.addr))

        # Reader. The memory's read register is the output register.
        start = Signal(range(self.depth))
        index = Signal(range(self.words))
        turn = Signal(range(self.repeats))
        first_pass = Signal(init=1)
        last_pass = Signal(init=self.repeats == 1)
        move = Signal()
        m.d.comb += [
            move.eq((~first_pass | any_fresh) & (~self.o.valid | self.o.ready)),
            read.en.eq(move),
            self.o.payload.eq(read.data),
        ]
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(1),
                index.eq(index + 1),
                read.addr.eq(following(read.addr)),
            ]
            with m.If(index == self.words - 1):
                m.d.sync += index.eq(0)
                with m.If(last_pass):
                    m.d.sync += [
                        start.eq(following(read.addr)),
                        turn.eq(0),
                        first_pass.eq(1),
                        last_pass.eq(self.repeats == 1),
                    ]
                with m.Else():
                    m.d.sync += [
                        read.addr.eq(start),
                        turn.eq(turn + 1),
                        first_pass.eq(0),
                        last_pass.eq(turn == self.repeats - 2),
                    ]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        released, begun = move & last_pass, move & first_pass
        m.d.sync += [
            free.eq(free - taken + released),
            fresh.eq(fresh + taken - begun),
            any_free.eq(released | any_free & ~(taken & (free == 1))),
            any_fresh.eq(taken | any_fresh & ~(begun & (fresh == 1))),
        ]

        return m
