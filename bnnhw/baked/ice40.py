"""Circuits as iCE40 cells: SB_LUT4, SB_CARRY and SB_DFFE. A logic cell holds one of each, so every digit of a chain takes one."""

from .chains import chains
from .circuit import Input, Lut, Register, Sum, table_of
from .polarity import polarities
from .writer import Writer, widened

__all__ = ["verilog"]

SUM = table_of(4, lambda _, a, b, carry: a ^ b ^ carry)
GUARD = table_of(4, lambda extra, a, b, carry: extra ^ carry)


class _Ice40(Writer):
    def __init__(self, circuit, name):
        super().__init__(circuit, name)
        self.live = circuit.live()
        self.inverted = {0: 0} | polarities(circuit, self.live)
        self.plain = {0: "1'b0"}        # node -> signal, which is inverted where `inverted` says so
        self.other = {}                 # node -> signal of its complement, where that is needed too
        for number in self.live:
            match circuit.nodes[number]:
                case Input(index):
                    self.plain[number] = f"x[{index}]"
                case Lut() | Sum() | Register():
                    self.plain[number] = f"t{number}"
                    self.line(f"wire t{number};")

    def lut(self, target, table, inputs):
        table = f"16'h{widened(table, len(inputs), 4):04x}"
        self.cell("SB_LUT4", {"LUT_INIT": table}, {"O": target} | {f"I{k}": source for k, source in enumerate(inputs)})

    def table(self, target, node, inverse):
        """Write a table of the circuit, whose inputs may be emitted inverted."""
        flips = sum(self.inverted[source] << k for k, source in enumerate(node.inputs))
        table = sum((node.table >> (m ^ flips) & 1 ^ inverse) << m for m in range(1 << len(node.inputs)))
        self.lut(target, table, [self.plain[source] for source in node.inputs])

    def signal(self, literal):
        """A signal that is ``literal`` itself: what a digit of a chain takes."""
        number, inverse = literal >> 1, literal & 1
        if number == 0:
            return f"1'b{inverse}"
        if inverse == self.inverted[number]:
            return self.plain[number]
        if number not in self.other:
            self.other[number] = f"n{number}"
            self.line(f"wire n{number};")
            node = self.circuit.nodes[number]
            if isinstance(node, Lut):
                self.table(f"n{number}", node, inverse)
            else:
                self.lut(f"n{number}", 0b01, [self.plain[number]])
        return self.other[number]

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
                self.line(f"wire c{self.cells.total()};")
                after = f"c{self.cells.total()}"
                self.cell("SB_CARRY", {}, {"I0": a, "I1": b, "CI": carry, "CO": after})
                carry = after

    def registers(self):
        for number in self.live:
            node = self.circuit.nodes[number]
            if isinstance(node, Register):
                self.cell("SB_DFFE", {}, {"C": "clk", "E": "en", "D": self.plain[node.source], "Q": self.plain[number]})


def verilog(circuit, name):
    """``circuit`` as module ``name`` of iCE40 cells.

    Returns
    -------
    str
        Verilog.
    int
        Logic cells without registers: tables, and digits of chains whose table is not used.
    """
    writer = _Ice40(circuit, name)
    for number in writer.live:
        if isinstance(circuit.nodes[number], Lut):
            writer.table(writer.plain[number], circuit.nodes[number], writer.inverted[number])
    for first, cells in chains(circuit, writer.live, writer.inverted):
        writer.chain(first, cells)
    writer.registers()
    for k, literal in enumerate(circuit.outputs):
        inverse = literal & 1 ^ writer.inverted[literal >> 1]
        writer.output(k, "~" * inverse + writer.plain[literal >> 1])
    return writer.text(), writer.cells["SB_LUT4"] + writer.cells["carry only"]
