"""Circuits as iCE40 cells: SB_LUT4, SB_CARRY and SB_DFFE. A logic cell holds one of each, so every digit of a chain takes one."""

from .circuit import table_of
from .mapped import Mapped
from .polarity import polarities
from .writer import widened

__all__ = ["verilog"]

SUM = table_of(4, lambda _, a, b, carry: a ^ b ^ carry)
GUARD = table_of(4, lambda extra, a, b, carry: extra ^ carry)


class _Ice40(Mapped):
    OWN_GUARD = True

    def lut(self, target, table, inputs):
        table = f"16'h{widened(table, len(inputs), 4):04x}"
        self.cell("SB_LUT4", {"LUT_INIT": table}, {"O": target} | {f"I{k}": source for k, source in enumerate(inputs)})

    def register(self, target, source):
        self.cell("SB_DFFE", {}, {"C": "clk", "E": "en", "D": source, "Q": target})

    def chain(self, first, cells):
        carry = f"1'b{first}"
        for at, cell in enumerate(cells):
            a, b = self.signal(cell.a), self.signal(cell.b)
            if cell.sum is not None:
                inverse = self.inverted[self.circuit.nodes[cell.sum].segment] ^ self.inverted[cell.sum]
                extra, table = "1'b0", SUM
                if cell.guard:
                    extra, table = self.plain[cell.extra >> 1], GUARD
                    inverse ^= cell.extra & 1 ^ self.inverted[cell.extra >> 1]
                self.lut(self.plain[cell.sum], table ^ 0xffff * inverse, [extra, a, b, carry])
            else:
                self.cells["carry only"] += 1
            if at + 1 < len(cells):
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
        Logic cells without registers: tables, and digits of chains whose table is not used.
    """
    writer = _Ice40(circuit, name, polarities(circuit, circuit.live(), 0))
    text = writer.write()
    return text, writer.cells["SB_LUT4"] + writer.cells["carry only"]
