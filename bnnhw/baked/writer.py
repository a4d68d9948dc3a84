"""What all ways to write a circuit as Verilog share: the module around it, and names."""

from collections import Counter

__all__ = ["TABLE", "Writer", "widened"]

TABLE = " // table"


def widened(table, inputs, wanted):
    """``table`` over ``inputs`` bits as one over ``wanted`` bits that does not depend on the rest."""
    for k in range(inputs, wanted):
        table |= table << (1 << k)
    return table


def _connections(named):
    return ", ".join(f".{name}({value})" for name, value in named.items())


class Writer:
    """Module ``name`` with inputs x, and clk and en where there are registers, and outputs y.

    Cells are called u1, u2, ...; behind those that :class:`.mapped.Mapped` writes for tables of the circuit stands ``TABLE``.
    """
    def __init__(self, circuit, name):
        self.circuit = circuit
        self.name = name
        self.remark = ""
        self.lines = []
        self.cells = Counter()

    def cell(self, kind, settings, pins):
        """Write a cell of ``kind`` with its settings and pins (dicts of Verilog)."""
        self.cells[kind] += 1
        settings = f" #({_connections(settings)})" if settings else ""
        self.line(f"{kind}{settings} u{self.cells.total()} ({_connections(pins)});{self.remark}")

    def line(self, text):
        self.lines.append(text)

    def output(self, k, value):
        self.line(f"assign y[{k}] = {value};")

    def text(self):
        ports = [f"input [{max(self.circuit.n_in, 1) - 1}:0] x", f"output [{max(len(self.circuit.outputs), 1) - 1}:0] y"]
        if self.circuit.latency:
            ports = ["input clk", "input en", *ports]
        body = "".join(f"  {line}\n" for line in self.lines)
        return f"module {self.name} ({', '.join(ports)});\n{body}endmodule\n"
