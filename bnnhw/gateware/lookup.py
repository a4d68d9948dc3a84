"""Layers of neurons that are lookup tables, and the votes at their end."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .baked import instance, moved
from .gather import Gather, Image
from .streams import RegisterSlice
from .tournament import tournament

__all__ = ["LookupClassUnit", "LookupUnit"]


def _seen(signal):
    return signal, Signal(name=f"{signal.name}_valid"), Signal(name=f"{signal.name}_moves")


class _Lookups(wiring.Component):
    """What both units have: everything but what becomes of the counts.

    Attributes
    ----------
    modules : dict name -> what is in it (:mod:`.baked`)
    seen : list of (Value, Value, Value)
        The outputs of each layer, and the counts where the class is decided on them, all in the cycle of the counts; whether
        they are a vector's; whether they move on: for simulation to look at.
    """
    def __init__(self, name, made, result, *, layers, clusters, lanes, blocks=0):
        inputs = made.circuit.n_in
        for what, value in (("lanes", lanes), ("groups", made.groups)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{what} must be a positive integer, not {value!r}")
        if inputs % lanes:
            raise ValueError(f"lanes must divide {inputs}, not {lanes}")
        self.name, self.made, self.lanes, self.inputs = name, made, lanes, inputs
        self.gather = Gather(inputs, lanes, clusters, blocks) if lanes < inputs else None
        self.counts = data.ArrayLayout(made.width, made.groups)
        self.modules = {f"bnnhw_circuit_{name}": made}
        if self.gather and self.gather.blocks:
            self.modules[f"bnnhw_image_{name}"] = Image(self.gather.blocks)
        self.layers = [Signal(size, name=f"layer{k}") for k, size in enumerate(layers)]
        self.seen = [_seen(outputs) for outputs in self.layers]
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(1, lanes))),
                          "o": Out(stream.Signature(self.counts if result is None else result))})

    def counted(self, m, enable):
        """The counts and whether they are a vector's, from registers; ``enable`` moves everything."""
        if self.gather:
            bits, valid = self.gather.elaborate(m, self.i, enable, f"bnnhw_image_{self.name}")
        else:
            m.d.comb += self.i.ready.eq(enable)
            bits, valid = list(Value.cast(self.i.payload)), self.i.valid
        x, y = Signal(self.inputs), Signal(len(self.made.circuit.outputs))
        m.d.comb += x.eq(Cat(Const(0, 1) if bit is None else bit for bit in bits))
        m.submodules.circuit = instance(f"bnnhw_circuit_{self.name}", self.made, x=x, y=y, enable=enable)
        valid, at = moved(m, valid, enable, self.made.circuit.latency), self.counts.size
        for outputs in self.layers:
            m.d.comb += outputs.eq(y[at:at + len(outputs)])
            at += len(outputs)
        m.d.comb += [wire.eq(value) for _, *wires in self.seen for wire, value in zip(wires, (valid, enable), strict=True)]
        return y[:self.counts.size], valid


class LookupUnit(_Lookups):
    """Tables behind tables, then for each group of the last ones how many are 1.

    One vector of signs goes in with ``inputs / lanes`` words, a bit each, the first in the least significant bits; one word
    with all counts comes out. With ``lanes == inputs`` a vector is taken every cycle. Everything moves together while the
    register slice at the end has room. Latency from the last word to the counts: ``made.circuit.latency + 1`` cycles; where
    ``lanes < inputs`` three more, and another one where block RAMs hold the vector.

    Parameters
    ----------
    name : str
        Of the layer: ``bnnhw_circuit_NAME`` and ``bnnhw_image_NAME`` are modules.
    made : baked.Tables
    layers : list of int
        Neurons of each layer.
    clusters : list of list of int
        Elements that the first layer takes; neighbours share a block RAM or a shift register.
    lanes : int
        Divides the elements of the vector.
    blocks : int
        Block RAMs of an iCE40 that may hold used elements (:class:`~.gather.Gather`).

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(1, lanes)))`
    o : :py:`Out(stream.Signature(ArrayLayout(made.width, made.groups)))`
    """
    def __init__(self, name, made, **facts):
        super().__init__(name, made, None, **facts)

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self.counts)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        counts, valid = self.counted(m, out.i.ready)
        m.d.comb += [out.i.valid.eq(valid), Value.cast(out.i.payload).eq(counts)]

        return m


class LookupClassUnit(_Lookups):
    """As :class:`LookupUnit`, but gives the group with the greatest count, the lowest one of equals.

    A :func:`.tournament.tournament` decides: latency ``rounds_of(groups)`` cycles more.

    Parameters
    ----------
    width : int
        Bits of the result's ``data``.
    name, made, layers, clusters, lanes, blocks
        As of :class:`LookupUnit`.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(1, lanes)))`
    o : :py:`Out(stream.Signature(StructLayout({"data": signed(width), "last": 1})))`
        ``last`` is always 1.
    """
    def __init__(self, name, made, *, width, **facts):
        self.beat = data.StructLayout({"data": signed(width), "last": 1})
        super().__init__(name, made, self.beat, **facts)
        self.votes = Signal(self.counts.size, name="votes")
        self.seen.append(_seen(self.votes))

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self.beat)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        enable = out.i.ready
        counts, valid = self.counted(m, enable)
        m.d.comb += self.votes.eq(counts)
        numbers = [counts[self.made.width * k:self.made.width * (k + 1)] for k in range(self.made.groups)]
        index, valid = tournament(m, numbers, valid, enable)
        m.d.comb += [out.i.valid.eq(valid), out.i.p.data.eq(index), out.i.p.last.eq(1)]

        return m
