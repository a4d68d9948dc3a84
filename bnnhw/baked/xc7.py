"""Circuits as cells of Xilinx's 7 series: LUT6_2, LUT1 to LUT6, CARRY4, FDRE.

A LUT6 gives two functions of up to five inputs. Of a chain's digit the second one makes the carry where it must; where that is an
input itself it goes in beside the table, and the second function is free for a table of the circuit. Others are paired.
"""

from itertools import combinations

from .circuit import Input, Lut, Register, Segment, Sum
from .writer import Writer, widened

__all__ = ["verilog"]


def projection(table, inputs):
    """Which of ``inputs`` bits ``table`` is, or None."""
    return next((k for k in range(inputs) if table == sum(1 << m for m in range(1 << inputs) if m >> k & 1)), None)


class _Xc7(Writer):
    def __init__(self, circuit, name):
        super().__init__(circuit, name)
        self.live = circuit.live()
        self.luts = {}              # sets of inputs of tables not yet written -> their numbers
        self.complements = set()
        for number in self.live:
            node = circuit.nodes[number]
            if isinstance(node, Lut):
                self.luts.setdefault(frozenset(node.inputs), []).append(number)
            if isinstance(node, (Lut, Register)):
                self.line(f"wire t{number};")
            elif isinstance(node, Segment):
                self.line(f"wire [{len(node.positions) - 1}:0] t{number};")

    def name_of(self, number):
        match self.circuit.nodes[number]:
            case None:
                return "1'b0"
            case Input(index):
                return f"x[{index}]"
            case Sum(segment, at):
                return f"t{segment}[{at}]"
        return f"t{number}"

    def plain(self, literal):
        """A signal that is ``literal`` itself."""
        number, inverse = literal >> 1, literal & 1
        if number == 0:
            return f"1'b{inverse}"
        if not inverse:
            return self.name_of(number)
        if number not in self.complements:
            self.complements.add(number)
            self.line(f"wire n{number};")
            self.cell("LUT1", {"INIT": "2'h1"}, {"O": f"n{number}", "I0": self.name_of(number)})
        return f"n{number}"

    def digest(self, position, tables):
        """Tables of a position over its nodes, inversions and constants gone: (nodes, tables)."""
        nodes = sorted({literal >> 1 for literal in position.inputs if literal > 1})
        place = {node: k for k, node in enumerate(nodes)}
        results = []
        for table in tables:
            result = 0
            for m in range(1 << len(nodes)):
                at = sum((literal if literal <= 1 else m >> place[literal >> 1] & 1 ^ literal & 1) << k
                         for k, literal in enumerate(position.inputs))
                result |= (table >> at & 1) << m
            results.append(result)
        return nodes, results

    def take(self, nodes):
        """A table not yet written whose inputs are among ``nodes``, the one with most inputs; or None.

        It stands after all nodes, so that none of them depends on it: a cell has ways from all its inputs to both outputs,
        and these must not close a loop.
        """
        for size in range(len(nodes), 0, -1):
            for subset in map(frozenset, combinations(nodes, size)):
                waiting = self.luts.get(subset)
                if waiting and waiting[-1] > max(nodes):
                    return waiting.pop()
        return None

    def both(self, nodes, upper, lower, names):
        """A LUT6_2 of up to five nodes: O6 is table ``upper``, O5 ``lower``; ``names`` are the signals of both."""
        init = widened(upper, len(nodes), 5) << 32 | widened(lower, len(nodes), 5)
        pins = {f"I{k}": self.name_of(node) for k, node in enumerate(nodes)}
        pins |= {f"I{k}": "1'b0" for k in range(len(nodes), 5)} | {"I5": "1'b1"}
        self.cell("LUT6_2", {"INIT": f"64'h{init:016x}"}, {"O6": names[0], "O5": names[1]} | pins)

    def one(self, nodes, table, name):
        size = len(nodes)
        self.cell(f"LUT{size}", {"INIT": f"{1 << size}'h{table:x}"},
                  {"O": name} | {f"I{k}": self.name_of(node) for k, node in enumerate(nodes)})

    def over(self, number, nodes):
        """The table of the circuit's node ``number`` over ``nodes``, which contain its inputs."""
        node = self.circuit.nodes[number]
        places = [nodes.index(source) for source in node.inputs]
        return sum((node.table >> sum((m >> place & 1) << k for k, place in enumerate(places)) & 1) << m
                   for m in range(1 << len(nodes)))

    def digit(self, position, through):
        """Write the table of a position to signal ``through``; returns the signal of what it generates."""
        nodes, (propagate, generate) = self.digest(position, position[1:])
        if not nodes:
            self.line(f"assign {through} = 1'b{propagate & 1};")
            return f"1'b{generate & 1}"
        # where propagate is 1 it does not matter what is generated
        care = ((1 << (1 << len(nodes))) - 1) & ~propagate
        direct = "1'b0" if not generate & care else "1'b1" if generate & care == care else None
        for literal in position.inputs:
            if literal > 1 and not literal & 1 and direct is None:
                k = nodes.index(literal >> 1)
                if not (generate ^ sum(1 << m for m in range(1 << len(nodes)) if m >> k & 1)) & care:
                    direct = self.name_of(literal >> 1)
        if direct is None and len(nodes) == 6:
            direct = self.plain(position.inputs[projection(position.generate, len(position.inputs))])
        if direct is None:
            made = f"{through[:-1].replace('[', '_')}_g"
            self.line(f"wire {made};")
            self.both(nodes, propagate, generate, (through, made))
            return made
        guest = self.take(nodes) if len(nodes) < 6 else None
        if guest is None:
            self.one(nodes, propagate, through)
        else:
            self.both(nodes, propagate, self.over(guest, nodes), (through, f"t{guest}"))
        return direct

    def chain(self, number):
        carry, positions = self.circuit.nodes[number]
        blocks = -(-len(positions) // 4)
        self.line(f"wire [{4 * blocks - 1}:0] s{number}, d{number}, o{number}, c{number};")
        for at, position in enumerate(positions):
            self.line(f"assign d{number}[{at}] = {self.digit(position, f's{number}[{at}]')};")
        for at in range(len(positions), 4 * blocks):
            self.line(f"assign s{number}[{at}] = 1'b0, d{number}[{at}] = 1'b0;")
        for k in range(blocks):
            span = f"[{4 * k + 3}:{4 * k}]"
            below = f"c{number}[{4 * k - 1}]" if k else "1'b0"
            enters = {"CI": below, "CYINIT": "1'b0" if k else self.plain(carry)}
            self.cell("CARRY4", {}, {"O": f"o{number}{span}", "CO": f"c{number}{span}", "S": f"s{number}{span}",
                                     "DI": f"d{number}{span}"} | enters)
        self.line(f"assign t{number} = o{number}[{len(positions) - 1}:0];")

    def rest(self):
        """Write the tables that no digit took, in pairs where five inputs suffice."""
        lone = sorted((number for numbers in self.luts.values() for number in numbers),
                      key=lambda number: -len(self.circuit.nodes[number].inputs))
        waiting = set(lone)
        for number in lone:
            if number not in waiting:
                continue
            waiting.discard(number)
            nodes = list(self.circuit.nodes[number].inputs)
            self.luts[frozenset(nodes)].remove(number)
            guest = self.take(nodes) if len(nodes) < 6 else None
            if guest is None:
                self.one(nodes, self.circuit.nodes[number].table, f"t{number}")
            else:
                waiting.discard(guest)
                self.both(nodes, self.over(number, nodes), self.over(guest, nodes), (f"t{number}", f"t{guest}"))


def verilog(circuit, name):
    """``circuit`` as module ``name`` of cells of the 7 series.

    Returns
    -------
    str
        Verilog.
    int
        Tables: LUT1 to LUT6 and LUT6_2.
    """
    writer = _Xc7(circuit, name)
    for number in writer.live:
        node = circuit.nodes[number]
        if isinstance(node, Segment):
            writer.chain(number)
        elif isinstance(node, Register):
            writer.cell("FDRE", {}, {"C": "clk", "CE": "en", "R": "1'b0", "D": writer.name_of(node.source), "Q": f"t{number}"})
    writer.rest()
    for k, literal in enumerate(circuit.outputs):
        writer.output(k, "~" * (literal & 1) + writer.name_of(literal >> 1))
    return writer.text(), sum(count for kind, count in writer.cells.items() if kind.startswith("LUT"))
