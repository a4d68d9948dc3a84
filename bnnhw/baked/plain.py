"""Circuits as plain Verilog, for simulation and proofs: an expression per table and two per digit of a chain."""

from .circuit import Input, Lut, Register, Segment, Sum
from .writer import Writer

__all__ = ["expression", "verilog"]


def expression(table, names):
    """Verilog of ``table`` over ``names``, by Shannon's expansion."""
    full = (1 << (1 << len(names))) - 1
    if table in (0, full):
        return f"1'b{int(table > 0)}"
    last, rest, ones = names[-1], names[:-1], (1 << (1 << len(names) - 1)) - 1
    low, high = table & ones, table >> (1 << len(rest))
    if low == high:
        return expression(low, rest)
    if low ^ high == ones:
        return f"({last} ^ {expression(low, rest)})" if low else last
    if low == 0:
        return f"({last} & {expression(high, rest)})"
    if high == ones:
        return f"({last} | {expression(low, rest)})"
    if high == 0:
        return f"(~{last} & {expression(low, rest)})"
    if low == ones:
        return f"(~{last} | {expression(high, rest)})"
    return f"({last} ? {expression(high, rest)} : {expression(low, rest)})"


def verilog(circuit, name):
    """Verilog of ``circuit`` as module ``name``: inputs x, outputs y, and clk and en where it has registers."""
    writer, names = Writer(circuit, name), {0: "1'b0"}

    def literal(number):
        if number <= 1:
            return f"1'b{number}"
        return ("~" if number & 1 else "") + names[number >> 1]
    for number in circuit.live():
        node = circuit.nodes[number]
        if isinstance(node, Input):
            names[number] = f"x[{node.index}]"
            continue
        if isinstance(node, Sum):
            names[number] = f"s{node.segment}[{node.at}]"
            continue
        names[number] = f"t{number}"
        if isinstance(node, Lut):
            writer.line(f"wire t{number} = {expression(node.table, [names[source] for source in node.inputs])};")
        elif isinstance(node, Register):
            writer.line(f"reg t{number}; always @(posedge clk) if (en) t{number} <= {names[node.source]};")
        elif isinstance(node, Segment):
            carry, sums = literal(node.carry), []
            for at, (inputs, propagate, generate) in enumerate(node.positions):
                inputs = [literal(source) for source in inputs]
                through, made = f"p{number}_{at}", expression(generate, inputs)
                writer.line(f"wire {through} = {expression(propagate, inputs)}, c{number}_{at} = {through} ? {carry} : {made};")
                sums.append(f"{through} ^ {carry}")
                carry = f"c{number}_{at}"
            writer.line(f"wire [{len(sums) - 1}:0] s{number} = {{{', '.join(reversed(sums))}}};")
    for k, output in enumerate(circuit.outputs):
        writer.output(k, literal(output))
    return writer.text()
