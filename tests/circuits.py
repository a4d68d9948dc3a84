"""What the modules of constant circuits do, in Amaranth, for its simulator: in Verilog they are instances."""
from amaranth import *

from bnnhw.baked.circuit import Input, Lut, Register, Segment, Sum
from bnnhw.gateware.gather import BLOCK_BITS


def _table(table, bits):
    """Bit ``sum(bits[k] << k)`` of ``table``."""
    return Const(table, 1 << len(bits)).bit_select(Cat(bits), 1) if bits else Const(table & 1, 1)


class CircuitModel(Elaboratable):
    """A circuit with ``x``, ``y`` and ``enable``, node by node."""
    def __init__(self, circuit, x, y, enable):
        self.circuit, self.x, self.y, self.enable = circuit, x, y, enable

    def elaborate(self, platform):
        m, values = Module(), {0: Const(0, 1)}

        def literal(number):
            return values[number >> 1] ^ (number & 1)
        for number in self.circuit.live():
            match self.circuit.nodes[number]:
                case Input(index):
                    values[number] = self.x[index]
                case Register(source):
                    values[number] = Signal(name=f"r{number}", reset_less=True)
                    with m.If(self.enable):
                        m.d.sync += values[number].eq(values[source])
                case Lut(inputs, table):
                    values[number] = Signal(name=f"t{number}")
                    m.d.comb += values[number].eq(_table(table, [values[source] for source in inputs]))
                case Segment(carry, positions):
                    carry, sums = literal(carry), []
                    for inputs, propagate, generate in positions:
                        bits = [literal(source) for source in inputs]
                        through, after = Signal(), Signal()
                        m.d.comb += [through.eq(_table(propagate, bits)), after.eq(Mux(through, carry, _table(generate, bits)))]
                        sums.append(through ^ carry)
                        carry = after
                    values[number] = sums
                case Sum(segment, at):
                    values[number] = values[segment][at]
        m.d.comb += self.y.eq(Cat(literal(output) for output in self.circuit.outputs))
        return m


class ImageModel(Elaboratable):
    """What :class:`bnnhw.gateware.gather.Image` describes."""
    def __init__(self, *, i_we, i_mask, i_data, i_page, i_re, o_y, **_):
        self.we, self.mask, self.data, self.page, self.re, self.y = i_we, i_mask, i_data, i_page, i_re, o_y

    def elaborate(self, platform):
        m, held = Module(), [Signal(len(self.y), init=0x5a5a, name=f"page{page}") for page in range(2)]
        with m.If(self.re):
            m.d.sync += self.y.eq(Mux(self.page, held[0], held[1]))
        for page, bits in enumerate(held):
            for k in range(len(bits)):
                with m.If(self.we[k // BLOCK_BITS] & self.mask[k] & (self.page == page)):
                    m.d.sync += bits[k].eq(self.data[k // BLOCK_BITS])
        return m


def in_amaranth(monkeypatch):
    """Let lookup units contain these models."""
    monkeypatch.setattr("bnnhw.gateware.lookup.instance",
                        lambda name, made, *, x, y, enable: CircuitModel(made.circuit, x, y, enable))
    monkeypatch.setattr("bnnhw.gateware.gather.Instance", lambda name, **ports: ImageModel(**ports))
