"""Layers of neurons that are lookup tables, and the votes at their end."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from .heap import Heap
from .luts import Tables, expression
from .streams import RegisterSlice
from .tournament import tournament

__all__ = ["Gather", "LookupClassUnit", "LookupUnit", "vote_levels"]

CHUNK = 32                  # bits of a register: simulators are slow with very wide ones
LEAST_BLOCK_BITS = 256      # of the table of used elements: smaller ones are logic


def _votes(size):
    """Tables that count ``size`` bits: a :class:`.Tables` and the literals of the number's bits."""
    tables = Tables()
    literals = [(tables.source(),) for _ in range(size)]
    return tables, Heap(tables, literals, width=bits_for(size), add=0).bits()


def vote_levels(size):
    """Levels of tables in the count of ``size`` bits."""
    tables, bits = _votes(size)
    return max(tables.levels[bit >> 1] for bit in bits)


def _wires(name, bits):
    return Signal(bits, name=name), Signal(name=f"{name}_valid"), Signal(name=f"{name}_moves")


def _delayed(m, name, value, enable, **settings):
    """A register that moves when ``enable`` is 1."""
    register = Signal(len(value), name=name, **settings)
    with m.If(enable):
        m.d.sync += register.eq(value)
    return register


class Gather:
    """Where the used elements of a vector stand, which comes in words of ``lanes``: a shift register for each lane.

    Only elements that are used are shifted in, so that the others cost nothing.

    Parameters
    ----------
    inputs : int
        Elements of the vector.
    lanes : int
        A divisor of ``inputs``.
    used : set of int

    Attributes
    ----------
    enables : list of int
        For each word, which lanes are shifted in, as bits.
    place : dict of int to (int, int)
        Element -> lane, and position in its register when the vector is complete.
    lengths : list of int
        Of the registers.
    """
    def __init__(self, inputs, lanes, used):
        self.enables = [sum((word * lanes + lane in used) << lane for lane in range(lanes)) for word in range(inputs // lanes)]
        own = [[element for element in range(lane, inputs, lanes) if element in used] for lane in range(lanes)]
        self.place = {element: (lane, k) for lane, elements in enumerate(own) for k, element in enumerate(elements)}
        self.lengths = [len(elements) for elements in own]


class _Lookups(wiring.Component):
    """What both units have: everything but what becomes of the counts.

    Attributes
    ----------
    seen : list of (Value, Value, Value)
        For each layer the outputs, and the counts where the class is decided on them, whether they are a vector's, whether they
        move on: for simulation to look at.
    """
    def __init__(self, result, *, inputs, layers, groups, lanes, stages):
        for name, value in (("inputs", inputs), ("groups", groups), ("lanes", lanes), ("stages", stages)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        if not layers:
            raise ValueError("there must be at least one layer of tables")
        if inputs % lanes:
            raise ValueError(f"lanes must divide {inputs}, not {lanes}")
        if len(layers[-1][1]) % groups:
            raise ValueError(f"groups must divide {len(layers[-1][1])}, not {groups}")
        self.inputs, self.layers, self.groups, self.lanes, self.stages = inputs, layers, groups, lanes, stages
        self.size = len(layers[-1][1]) // groups
        self.counts = data.ArrayLayout(range(self.size + 1), groups)
        self.seen = [_wires(f"layer{k}", len(tables)) for k, (_, tables) in enumerate(layers)]
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(1, lanes))),
                          "o": Out(stream.Signature(self.counts if result is None else result))})

    def counted(self, m, enable):
        """The counts and whether they are a vector's; ``enable`` moves everything."""
        if self.lanes == self.inputs:
            m.d.comb += self.i.ready.eq(enable)
            bits, valid = list(Value.cast(self.i.payload)), self.i.valid
        else:
            bits, valid = self._gathered(m, enable)
        for k, (indices, tables) in enumerate(self.layers):
            bits, valid = self._layer(m, f"layer{k}", [[bits[i] for i in own] for own in indices], tables, enable, valid)
            m.d.comb += [wire.eq(value) for wire, value in zip(self.seen[k], (Cat(bits), valid, enable), strict=True)]
        counts = []
        for group in range(self.groups):
            tables, literals = _votes(self.size)
            levels = max(tables.levels[bit >> 1] for bit in literals)
            cuts = tuple(levels * stage // self.stages for stage in range(1, self.stages))
            counts.append(Cat(tables.emit(m, bits[group * self.size:(group + 1) * self.size], literals, name=f"count{group}",
                                          cuts=cuts, enable=enable)))
        for stage in range(1, self.stages):
            valid = _delayed(m, f"counting{stage}", valid, enable)
        return counts, valid

    def _gathered(self, m, enable):
        """The whole vector's bits, None for those that nobody uses, and whether it is complete; it goes when ``enable`` is 1."""
        gather = Gather(self.inputs, self.lanes, {int(i) for own in self.layers[0][0] for i in own})
        words, full = len(gather.enables), Signal()
        count, primed = Signal(range(words)), Signal()
        m.submodules.used = used = memory.Memory(
            shape=self.lanes, depth=words, init=gather.enables,
            attrs={"rom_style": "block" if words * self.lanes >= LEAST_BLOCK_BITS else "logic"})
        read = used.read_port()     # a word ahead, so that it is there in time
        push = self.i.valid & self.i.ready
        following = Signal.like(count)
        m.d.comb += [
            self.i.ready.eq(primed & (~full | enable)),
            following.eq(Mux(push, Mux(count == words - 1, 0, count + 1), count)),
            read.addr.eq(following),
            read.en.eq(1),
        ]
        m.d.sync += [primed.eq(1), count.eq(following)]
        with m.If(enable):
            m.d.sync += full.eq(0)
        with m.If(push & (count == words - 1)):
            m.d.sync += full.eq(1)
        registers = [Signal(length, name=f"used{lane}", reset_less=True) for lane, length in enumerate(gather.lengths)]
        for lane, register in enumerate(registers):
            with m.If(push & read.data[lane]):
                m.d.sync += register.eq(Cat(register[1:], self.i.p[lane]))
        bits = [None] * self.inputs
        for element, (lane, k) in gather.place.items():
            bits[element] = registers[lane][k]
        return bits, full

    @staticmethod
    def _layer(m, name, wires, tables, enable, valid):
        """One register per table, and whether they hold a vector."""
        bits = []
        for start in range(0, len(tables), CHUNK):
            part = slice(start, start + CHUNK)
            register = Signal(len(tables[part]), name=f"{name}_{start}", reset_less=True)
            with m.If(enable):
                m.d.sync += register.eq(Cat(expression(table, own) for table, own in zip(tables[part], wires[part], strict=True)))
            bits += list(register)
        return bits, _delayed(m, f"{name}_full", valid, enable)


class LookupUnit(_Lookups):
    """Tables behind tables, then for each group of the last ones how many are 1.

    One vector of signs goes in with ``inputs / lanes`` words, a bit each, the first in the least significant bits; one word
    with all counts comes out. With ``lanes == inputs`` a vector is taken every cycle. A register stands behind every table and
    ``stages - 1`` more in the counts; all move together while the register slice at the end has room. Latency from the last
    word to the counts: ``len(layers) + stages`` cycles, and one more where ``lanes < inputs``.

    Cost: one table and flip-flop for each neuron, which share a logic cell; a flip-flop for each used input where
    ``lanes < inputs``.

    Parameters
    ----------
    inputs : int
    layers : list of (indices, tables)
        ``indices`` (N, k): which bits of the layer's input a neuron takes. ``tables``: N integers; bit t is the neuron's output
        where its inputs, the first in the least significant bit, are t.
    groups : int
        Divides the neurons of the last layer; group g counts the g-th part of them.
    lanes : int
        Divides ``inputs``.
    stages : int
        Parts into which the count's levels of logic are divided, at least 1.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(1, lanes)))`
    o : :py:`Out(stream.Signature(ArrayLayout(range(size + 1), groups)))`
        With ``size`` neurons in a group.
    """
    def __init__(self, **facts):
        super().__init__(None, **facts)

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self.counts)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        counts, valid = self.counted(m, out.i.ready)
        m.d.comb += [out.i.valid.eq(valid), Value.cast(out.i.payload).eq(Cat(counts))]

        return m


class LookupClassUnit(_Lookups):
    """As :class:`LookupUnit`, but gives the group with the greatest count, the lowest one of equals.

    The counts are registered, then a :func:`.tournament.tournament` decides: latency :func:`.tournament.rounds_of` ``(groups)``
    cycles more, 1 for a single group.

    Parameters
    ----------
    width : int
        Bits of the result's ``data``.
    inputs, layers, groups, lanes, stages
        As of :class:`LookupUnit`.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(1, lanes)))`
    o : :py:`Out(stream.Signature(StructLayout({"data": signed(width), "last": 1})))`
        ``last`` is always 1.
    """
    def __init__(self, *, width, **facts):
        self.beat = data.StructLayout({"data": signed(width), "last": 1})
        super().__init__(self.beat, **facts)
        self.seen.append(_wires("counts", self.counts.size))

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self.beat)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        enable = out.i.ready
        counts, valid = self.counted(m, enable)
        counts = [_delayed(m, f"votes{k}", count, enable, reset_less=True) for k, count in enumerate(counts)]
        valid = _delayed(m, "voted", valid, enable)
        m.d.comb += [wire.eq(value) for wire, value in zip(self.seen[-1], (Cat(counts), valid, enable), strict=True)]
        index, valid = tournament(m, counts, valid, enable)
        m.d.comb += [out.i.valid.eq(valid), out.i.p.data.eq(index), out.i.p.last.eq(1)]

        return m
