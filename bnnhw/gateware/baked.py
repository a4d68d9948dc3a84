"""Circuits that stand in the Verilog as modules of their own, below components that contain them: layers of constant weights.

A component that contains such modules has an attribute ``modules``, dict module name -> made, where ``made`` (a layer of
:mod:`bnnhw.baked`, or anything alike) has ``circuit`` with ``latency`` and ``blocks``, and ``plain(name)`` and
``verilog(name)``: the module as plain Verilog, and as cells of an FPGA. What writes the Verilog of an accelerator puts their text
behind it.
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import Landing, RegisterSlice

__all__ = ["BakedCounts", "BakedSigns", "instance", "moved"]


def instance(name, made, *, x, y, enable):
    """Module ``name`` of what was ``made``, in the domain ``sync``: from ``x`` to ``y``, ``made.circuit.latency`` cycles in which
    ``enable`` is 1 later."""
    clocked = {"i_clk": ClockSignal(), "i_en": enable} if made.circuit.latency else {}
    return Instance(name, **clocked, i_x=x, o_y=y)


def moved(m, valid, enable, cycles):
    """``valid``, so many cycles in which ``enable`` is 1 later."""
    for k in range(cycles):
        later = Signal(name=f"valid{k}")
        with m.If(enable):
            m.d.sync += later.eq(valid)
        valid = later
    return valid


class _Baked(wiring.Component):
    """A circuit, and what takes its results.

    Of one block that is a register slice, and the circuit's registers move while the slice has room. Several blocks never stop:
    behind them is a :class:`.Landing`, which says whether another vector may come in.
    """
    def __init__(self, name, made, inputs, outputs, width):
        self.name, self.made, self.modules = name, made, {name: made}
        self._layout = data.ArrayLayout(width, outputs)
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(1, inputs))), "o": Out(stream.Signature(self._layout))})

    def elements(self, y):
        """The results, from the circuit's outputs."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()

        circuit, valid = self.made.circuit, self.i.valid
        if circuit.blocks > 1:
            m.submodules.landing = out = Landing(self._layout, circuit.latency)
            enable, ready = Const(1), out.room
            valid = valid & ready
            m.d.comb += out.entering.eq(valid)
        else:
            m.submodules.slice = out = RegisterSlice(self._layout)
            enable = ready = out.i.ready
        wiring.connect(m, out.o, wiring.flipped(self.o))
        x, y = Signal(len(Value.cast(self.i.p))), Signal(len(circuit.outputs))
        m.submodules.circuit = instance(self.name, self.made, x=x, y=y, enable=enable)
        m.d.comb += [
            x.eq(Value.cast(self.i.p)),
            self.i.ready.eq(ready),
            out.i.valid.eq(moved(m, valid, enable, circuit.latency)),
        ]
        m.d.comb += [out.i.p[k].eq(element) for k, element in enumerate(self.elements(y))]

        return m


class BakedSigns(_Baked):
    """A layer whose circuit gives a bit for each neuron.

    A vector per cycle; a result is offered ``made.circuit.latency + 1`` cycles after its vector was taken, ``+ 2`` of a circuit
    in several blocks. No combinational path leads from one stream to the other.

    Parameters
    ----------
    name : str
        Of the circuit's module.
    made : as the attribute ``modules`` has it
        Its outputs are the neurons, in order.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(1, made.circuit.n_in)))`
    o : :py:`Out(stream.Signature(ArrayLayout(1, len(made.circuit.outputs))))`
    """
    def __init__(self, name, made):
        super().__init__(name, made, made.circuit.n_in, len(made.circuit.outputs), 1)

    def elements(self, y):
        return list(y)


class BakedCounts(_Baked):
    """A layer whose circuit gives a number for each neuron; the result is ``offsets[k] + scale * number``, which must fit.

    Timing is that of :class:`BakedSigns`.

    Parameters
    ----------
    name : str
        Of the circuit's module.
    made : as the attribute ``modules`` has it
        With ``fields``: of each neuron the lowest bit of its number in the outputs, the number's bits, and what to add to it.
    offsets : list of int
        For each neuron.
    scale : int
    width : int
        Bits of a result.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(1, made.circuit.n_in)))`
    o : :py:`Out(stream.Signature(ArrayLayout(width, len(made.fields))))`
    """
    def __init__(self, name, made, *, offsets, scale, width):
        self.offsets, self.scale, self.width = offsets, scale, width
        super().__init__(name, made, made.circuit.n_in, len(made.fields), width)

    def elements(self, y):
        for (low, bits, more), offset in zip(self.made.fields, self.offsets, strict=True):
            constant = (offset + self.scale * more) % (1 << self.width)
            yield y[low:low + bits] * self.scale + constant
