"""Circuits as iCE40 cells: SB_LUT4, SB_CARRY and SB_DFFE. A logic cell holds one of each, so every digit of a chain takes one.

yosys joins every SB_CARRY with an SB_LUT4 whose pins I1 and I2 have the same signals, in order if there are several. What is
joined wrongly may look like a loop. So tables that belong to no digit never look like one (I1 is 0, which as a carry's first
operand does not occur), and carries without a table, at the beginning of a chain, have a second operand that no digit has.
nextpnr's default router never ends where one signal is on both I1 and I2, which it may exchange: so a guard's second operand is
a copy of the first one, made by a table.
"""

from .circuit import TRUE, table_of
from .mapped import Mapped
from .polarity import polarities

__all__ = ["verilog"]

SUM = table_of(4, lambda _, a, b, carry: a ^ b ^ carry)
GUARD = table_of(4, lambda extra, a, b, carry: extra ^ carry)


class _Ice40(Mapped):
    OWN_GUARD = True
    CAP_OF_PIPELINES = 8        # as many as a tile has: the carry is slow

    def lut(self, target, table, inputs):
        pins = [0, 2, 3] if len(inputs) < 4 else [0, 1, 2, 3]
        table = sum((table >> sum((m >> pin & 1) << k for k, pin in enumerate(pins[:len(inputs)])) & 1) << m for m in range(16))
        signals = ["1'b0", "1'b0", "1'b1", "1'b0"]
        for pin, source in zip(pins, inputs, strict=False):
            signals[pin] = source
        self.digit(target, table, signals)

    def digit(self, target, table, signals):
        self.cell("SB_LUT4", {"LUT_INIT": f"16'h{table:04x}"}, {"O": target} | {f"I{k}": s for k, s in enumerate(signals)})

    def copy(self, source):
        """Another signal that is ``source``."""
        self.cells["copy"] += 1
        name = f"b{self.cells['copy']}"
        self.line(f"wire {name};")
        self.lut(name, 0b10, [source])
        return name

    def register(self, target, source):
        self.cell("SB_DFFE", {}, {"C": "clk", "E": "en", "D": source, "Q": target})

    def chain(self, first, cells):
        carry = f"1'b{first}"
        for at, cell in enumerate(cells):
            a, b = (self.signal(literal) for literal in sorted((cell.a, cell.b), key=lambda literal: literal <= TRUE))
            if cell.guard and cell.sum is None:
                b = "1'b1"              # as the carry into the chain is 0, this one is a
            elif cell.guard and cell.a > TRUE and at + 1 < len(cells):
                b = self.copy(a)
            last = at + 1 == len(cells)
            if cell.sum is not None:
                inverse = self.inverted[self.circuit.nodes[cell.sum].segment] ^ self.inverted[cell.sum]
                extra, table = "1'b0", SUM
                if cell.guard:
                    extra, table = self.plain[cell.extra >> 1], GUARD
                    inverse ^= cell.extra & 1 ^ self.inverted[cell.extra >> 1]
                operands = ["1'b0", "1'b1"] if cell.guard and last else [a, b]
                self.digit(self.plain[cell.sum], table ^ 0xffff * inverse, [extra, *operands, carry])
            else:
                self.cells["carry only"] += 1
            if not last:
                after = self.carry()
                self.cell("SB_CARRY", {}, {"I0": a, "I1": b, "CI": carry, "CO": after})
                carry = after


def verilog(circuit, name):
    """``circuit`` as module ``name`` of iCE40 cells.

    Returns
    -------
    str
        Verilog.
    int
        Logic cells without registers: tables, copies, and digits of chains whose table is not used.
    """
    writer = _Ice40(circuit, name, polarities(circuit, circuit.live(), 0))
    text = writer.write()
    return text, writer.cells["SB_LUT4"] + writer.cells["carry only"]
