"""Circuits as ECP5 cells: LUT4, CCU2C (two digits of a chain, which take in what is inverted) and TRELLIS_FF."""

from .circuit import TRUE, Sum
from .mapped import Mapped
from .writer import widened

__all__ = ["verilog"]


class _Ecp5(Mapped):
    def lut(self, target, table, inputs):
        """One LUT4, or of five or six inputs two or four, joined by the multiplexers beside them."""
        if len(inputs) > 4:
            *rest, which = inputs
            half = 1 << len(rest)
            ends = [self.half(), self.half()]
            for end, part in zip(ends, (table & (1 << half) - 1, table >> half), strict=True):
                self.lut(end, part, rest)
            kind, low, high, select = ("PFUMX", "BLUT", "ALUT", "C0") if len(rest) == 4 else ("L6MUX21", "D0", "D1", "SD")
            self.cell(kind, {}, {"Z": target, low: ends[0], high: ends[1], select: which})
            return
        pins = dict(zip("ABCD", [*inputs, *["1'b0"] * (4 - len(inputs))], strict=True))
        self.cell("LUT4", {"INIT": f"16'h{widened(table, len(inputs), 4):04x}"}, pins | {"Z": target})

    def half(self):
        """A new signal."""
        self.cells["half"] += 1
        name = f"h{self.cells['half']}"
        self.line(f"wire {name};")
        return name

    def register(self, target, source):
        settings = {"GSR": '"DISABLED"', "CEMUX": '"CE"', "CLKMUX": '"CLK"', "LSRMUX": '"LSR"', "REGSET": '"RESET"'}
        self.cell("TRELLIS_FF", settings, {"CLK": "clk", "CE": "en", "LSR": "1'b0", "DI": source, "Q": target})

    def chain(self, first, cells):
        digits = []
        for cell in cells:
            inversions = [literal & 1 ^ self.inverted[literal >> 1] for literal in (cell.a, cell.b)]
            # bits 15 to 8 of the table count while pin D is 1; what is generated stands in bits 3 to 0
            init = 0
            for m in range(16):
                a, b = m & 1 ^ inversions[0], m >> 1 & 1 ^ inversions[1]
                init |= (b if m < 8 else 0 if cell.guard else a ^ b) << m
            # A guard has one signal on both operands. One is enough: iCE40's router exchanges two such pins for ever (ice40.py).
            a = "1'b0" if cell.guard else self.plain[cell.a >> 1]
            digits.append((init, a, self.plain[cell.b >> 1], cell.sum))
        if first:
            digits.insert(0, (0x00ff, "1'b0", "1'b0", None))
        carry = "1'b0"
        for at in range(0, len(digits), 2):
            pair = digits[at:at + 2]
            settings, pins = {}, {"CIN": carry}
            for k, (init, a, b, made) in enumerate(pair):
                settings |= {f"INIT{k}": f"16'h{init:04x}", f"INJECT1_{k}": '"NO"'}
                pins |= {f"A{k}": a, f"B{k}": b, f"C{k}": "1'b0", f"D{k}": "1'b1"}
                if made is not None:
                    pins[f"S{k}"] = self.plain[made]
            if len(pair) == 1:
                settings |= {"INIT1": "16'h0000", "INJECT1_1": '"NO"'}
                pins |= {f"{pin}1": "1'b0" for pin in "ABCD"}
            carry = pins["COUT"] = self.carry()
            self.cell("CCU2C", settings, pins)


def verilog(circuit, name):
    """``circuit`` as module ``name`` of ECP5 cells.

    Returns
    -------
    str
        Verilog.
    int
        Sites of LUT4s without registers, two per CCU2C.
    """
    # the complement of a carry comes out as the carry
    ends = {number: int(circuit.position(node).inputs == (TRUE,))
            for number, node in enumerate(circuit.nodes) if isinstance(node, Sum)}
    writer = _Ecp5(circuit, name, ends)
    text = writer.write()
    return text, writer.cells["LUT4"] + 2 * writer.cells["CCU2C"]
