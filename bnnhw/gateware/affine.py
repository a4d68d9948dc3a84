"""Per-channel scale and offset on a stream of integers."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import RegisterSlice
from .threshold import turns
from .weights import STYLES, RomSource, style_for

__all__ = ["AffineUnit", "BankAffineUnit"]


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


class BankAffineUnit(wiring.Component):
    """``scale[task][c] * x + offset[task][c]`` for each element of vectors of C elements, ``lanes`` elements per cycle.

    One group per cycle, latency 3 cycles: scales and offsets of every task are in one table, from which a group's come in the
    cycle after it was taken.

    Parameters
    ----------
    bits : int
        Width of an element, unsigned.
    scale, offset : lists of lists of int (tasks, C)
        Of two tasks or more.
    width : int
        Of a result, unsigned, which must fit.
    lanes : int
        A divisor of C.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(bits, lanes)))`
        Element ``j`` of group ``k`` belongs to channel ``k * lanes + j``.
    task : :py:`In(stream.Signature(range(tasks)))`
        That of each vector, taken with its last group; while none is there, no group is taken.
    o : :py:`Out(stream.Signature(ArrayLayout(width, lanes)))`
    """
    def __init__(self, *, bits, scale, offset, width, lanes):
        if len(scale) < 2 or len(scale) != len(offset) or len({len(row) for row in (*scale, *offset)}) != 1:
            raise ValueError("scale and offset must be of the same tasks, two or more, and of as many channels for each")
        if len(scale[0]) % lanes:
            raise ValueError(f"lanes must divide the {len(scale[0])} channels, not be {lanes}")
        self.bits, self.lanes, self.width, self.turns = bits, lanes, width, len(scale[0]) // lanes
        self.scale, self.offset = ([[int(v) for v in row] for row in rows] for rows in (scale, offset))
        self._layout = data.ArrayLayout(width, lanes)
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(bits, lanes))),
                          "task": In(stream.Signature(range(len(scale)))), "o": Out(stream.Signature(self._layout))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        fetched, done, en, taken = Signal(), Signal(), Signal(), Signal()
        turn = Signal(range(self.turns))
        last = turn == self.turns - 1
        m.d.comb += [
            en.eq(~done | out.i.ready),
            self.i.ready.eq(en & self.task.valid),
            taken.eq(self.i.valid & self.i.ready),
            self.task.ready.eq(self.i.valid & en & last),
            out.i.valid.eq(done),
        ]
        with m.If(en):
            m.d.sync += [fetched.eq(taken), done.eq(fetched)]
        with m.If(taken):
            m.d.sync += turn.eq(Mux(last, 0, turn + 1))

        # A word of the table has the scale and offset of each lane; a task's words follow each other.
        shapes = [Shape.cast(range(min(0, *map(min, rows)), max(1, *map(max, rows)) + 1)) for rows in (self.scale, self.offset)]
        layout = data.ArrayLayout(data.StructLayout({"scale": shapes[0], "offset": shapes[1]}), self.lanes)
        channels = [[{"scale": a, "offset": b} for a, b in zip(scales, offsets, strict=True)]
                    for scales, offsets in zip(self.scale, self.offset, strict=True)]
        words = [Const.cast(layout.const(own[first:first + self.lanes])).value
                 for own in channels for first in range(0, len(own), self.lanes)]
        m.submodules.table = table = memory.Memory(shape=layout.size, depth=len(words), init=words,
                                                   attrs=STYLES[style_for(layout.size * len(words), len(words))])
        port = table.read_port()
        m.d.comb += [port.en.eq(en), port.addr.eq(self.task.payload * self.turns + turn)]
        own = Signal(layout)
        m.d.comb += Value.cast(own).eq(port.data)

        for lane in range(self.lanes):
            x = Signal(self.bits, name=f"x{lane}", reset_less=True)
            product = Signal(self.width, name=f"product{lane}", reset_less=True)
            added = Signal(self.width, name=f"added{lane}", reset_less=True)
            with m.If(en):
                m.d.sync += [x.eq(self.i.p[lane]), product.eq(x * own[lane].scale), added.eq(own[lane].offset)]
            m.d.comb += out.i.p[lane].eq(product + added)

        return m
