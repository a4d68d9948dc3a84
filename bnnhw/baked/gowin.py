"""Circuits as Gowin cells: LUT4, ALU (a digit of a chain, of which one operand may be inverted) and DFFE."""

from .mapped import Mapped
from .polarity import polarities
from .writer import widened

__all__ = ["verilog"]

ADD, SUB = 0, 1


class _Gowin(Mapped):
    def lut(self, target, table, inputs):
        pins = {f"I{k}": source for k, source in enumerate([*inputs, *["1'b0"] * (4 - len(inputs))])}
        self.cell("LUT4", {"INIT": f"16'h{widened(table, len(inputs), 4):04x}"}, pins | {"F": target})

    def register(self, target, source):
        self.cell("DFFE", {}, {"CLK": "clk", "CE": "en", "D": source, "Q": target})

    def chain(self, first, cells):
        carry = f"1'b{first}"
        for cell in cells:
            a, b = cell.a, cell.b
            if not self.agrees(a):
                a, b = b, a
            if cell.guard or not self.agrees(a):
                mode, signals = ADD, [self.signal(a), self.signal(b)]
            elif self.agrees(b):
                mode, signals = ADD, [self.signal(a), self.signal(b)]
            else:
                mode, signals = SUB, [self.signal(a), self.plain[b >> 1]]
            pins = {"I0": signals[0], "I1": signals[1], "I3": "1'b0", "CIN": carry}
            if cell.sum is not None:
                pins["SUM"] = self.plain[cell.sum]
            carry = pins["COUT"] = self.carry()
            self.cell("ALU", {"ALU_MODE": mode}, pins)


def verilog(circuit, name):
    """``circuit`` as module ``name`` of Gowin cells.

    Returns
    -------
    str
        Verilog.
    int
        LUT4s and ALUs, without registers.
    """
    writer = _Gowin(circuit, name, polarities(circuit, circuit.live(), 1))
    text = writer.write()
    return text, writer.cells["LUT4"] + writer.cells["ALU"]
