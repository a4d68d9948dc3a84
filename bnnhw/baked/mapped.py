"""What the writers of cells with four-input tables and plain adders share: signals that may be inverted, and chains."""

from .chains import chains
from .circuit import Input, Lut, Register, Sum
from .writer import TABLE, Writer

__all__ = ["Mapped"]


class Mapped(Writer):
    """A circuit whose tables take in what is inverted; only the digits of chains want plain signals.

    Subclasses have :meth:`lut`, :meth:`register` and :meth:`chain`.

    Attributes
    ----------
    inverted : dict
        Node -> whether the signal ``plain[node]`` is its complement; of a segment: whether it works on complements.
    """
    CAP, CAP_OF_PIPELINES = 120, 48     # cells of a chain: short ones are faster, long ones take fewer cells
    OWN_GUARD = False   # whether the table of a digit that has no operands may take a signal besides the carry

    def __init__(self, circuit, name, inverted):
        super().__init__(circuit, name)
        self.live = circuit.live()
        self.inverted = dict.fromkeys(self.live, 0) | inverted | {0: 0}
        self.plain = {0: "1'b0"}
        self.other = {}                 # node -> signal of its complement, where both are needed
        for number in self.live:
            match circuit.nodes[number]:
                case Input(index):
                    self.plain[number] = f"x[{index}]"
                case Lut() | Sum() | Register():
                    self.plain[number] = f"t{number}"
                    self.line(f"wire t{number};")
            if isinstance(circuit.nodes[number], Register):
                self.inverted[number] = self.inverted[circuit.nodes[number].source]

    def table(self, target, node, inverse):
        """Write a table of the circuit, or its complement."""
        flips = sum(self.inverted[source] << k for k, source in enumerate(node.inputs))
        table = sum((node.table >> (m ^ flips) & 1 ^ inverse) << m for m in range(1 << len(node.inputs)))
        self.remark = TABLE
        self.lut(target, table, [self.plain[source] for source in node.inputs])
        self.remark = ""

    def agrees(self, literal):
        """Whether ``literal`` is there without an inverter; constants are."""
        return literal <= 1 or literal & 1 == self.inverted[literal >> 1]

    def signal(self, literal):
        """A signal that is ``literal`` itself."""
        number, inverse = literal >> 1, literal & 1
        if number == 0:
            return f"1'b{inverse}"
        if self.agrees(literal):
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

    def carry(self):
        """A new signal."""
        self.cells["carry"] += 1
        name = f"c{self.cells['carry']}"
        self.line(f"wire {name};")
        return name

    def write(self):
        """The whole module."""
        for number in self.live:
            if isinstance(self.circuit.nodes[number], Lut):
                self.table(self.plain[number], self.circuit.nodes[number], self.inverted[number])
        cap = self.CAP_OF_PIPELINES if self.circuit.latency else self.CAP
        for first, cells in chains(self.circuit, self.live, self.inverted, cap, self.OWN_GUARD):
            self.chain(first, cells)
        for number in self.live:
            node = self.circuit.nodes[number]
            if isinstance(node, Register):
                self.register(self.plain[number], self.plain[node.source])
        for k, literal in enumerate(self.circuit.outputs):
            inverse = literal & 1 ^ self.inverted[literal >> 1]
            self.output(k, "~" * inverse + self.plain[literal >> 1])
        return self.text()
