"""Sparse layers: neurons that are lookup tables, and how many of each class are 1, as cells of a fabric."""

import functools
from dataclasses import dataclass

from . import plain
from .circuit import TRUE, Circuit
from .layers import FABRICS
from .numbers import Number, add
from .pipeline import pipelined

__all__ = ["SIZES", "Tables", "tables"]

SIZES = {"ice40": 4, "ecp5": 6, "gowin": 4, "xc7": 6}   # inputs of the largest table that a fabric's cells make by themselves
MULTIPLEXER = 0b11001010        # of (low, high, which)


def _cofactors(table, inputs, k):
    """``table`` over ``inputs`` bits with bit k at 0 and at 1: two tables over the others."""
    halves = [0, 0]
    for m in range(1 << inputs):
        halves[m >> k & 1] |= (table >> m & 1) << (m & (1 << k) - 1 | m >> k + 1 << k)
    return halves


@functools.lru_cache(None)
def _shannon(table, inputs, size):
    """(cells, bit to split at) of ``table`` in tables of ``size`` inputs."""
    if inputs <= size:
        return int(0 < table < (1 << (1 << inputs)) - 1), None
    best = None
    for k in reversed(range(inputs)):
        low, high = _cofactors(table, inputs, k)
        cells = sum(_shannon(half, inputs - 1, size)[0] for half in {low, high}) + (low != high)
        if best is None or cells < best[0]:
            best = cells, k
    return best


def _neuron(circuit, literals, table, size):
    """Literal of ``table`` over ``literals``: one table of the fabric, or Shannon's expansion in several."""
    split = _shannon(table, len(literals), size)[1]
    if split is None:
        return circuit.lut(literals, table)
    rest = literals[:split] + literals[split + 1:]
    low, high = (_neuron(circuit, rest, half, size) for half in _cofactors(table, len(literals), split))
    return circuit.lut((low, high, literals[split]), MULTIPLEXER)


def _votes(circuit, literals, structure):
    """Literals of the number of ones among ``literals``, the least significant first."""
    free = [literal for literal in literals if literal > TRUE]
    ones = sum(literal == TRUE for literal in literals)
    number = structure.count(circuit, [((literal >> 1) - 1, -1 if literal & 1 else 1) for literal in free], ())
    if ones:
        number = add(circuit, number, Number(tuple(ones >> k & 1 for k in range(ones.bit_length())), ones))
    width = len(literals).bit_length()
    return (number.bits + (0,) * width)[:width]


@dataclass(frozen=True)
class Tables:
    """Layers of tables as a circuit, and as Verilog.

    Attributes
    ----------
    circuit : Circuit
        Its outputs are the counts of the groups, ``width`` bits each, then for simulation the neurons of all layers in order;
        a fabric's cells give 0 for the latter.
    fabric : str
    groups, width : int
    cells : int
        Of the fabric, as :class:`~bnnhw.baked.layers.Layer` counts them, without registers.
    """
    circuit: Circuit
    fabric: str
    groups: int
    width: int
    cells: int

    def plain(self, name):
        """Plain Verilog of a module ``name``: inputs x, clk, en, outputs y."""
        return plain.verilog(self.circuit, name)

    def verilog(self, name):
        """The same module in the fabric's cells, a neuron's table being one cell (or its multiplexers and tables)."""
        return FABRICS[self.fabric].cells.verilog(self.circuit.only(self.groups * self.width), name)[0]


def tables(n_in, layers, groups, fabric, *, depth):
    """Layers of tables and the votes of groups of the last one.

    Parameters
    ----------
    n_in : int
    layers : list of (indices, tables)
        ``indices`` (N, k): which bits of the layer's input a neuron takes. ``tables``: N integers; bit t is the neuron's output
        where its inputs, the first in the least significant bit, are t. Equal and complementary neurons are one cell.
    groups : int
        Divides the neurons of the last layer; group g counts the g-th part of them.
    fabric : str
        One of :data:`~bnnhw.baked.layers.FABRICS`.
    depth : int
        So many cells and chains at most stand between registers.

    Returns
    -------
    Tables
    """
    structure, circuit = FABRICS[fabric].structure, Circuit(n_in)
    bits, seen = [2 * (k + 1) for k in range(n_in)], []
    for indices, own in layers:
        bits = [_neuron(circuit, tuple(bits[i] for i in wires), table, SIZES[fabric])
                for wires, table in zip(indices, own, strict=True)]
        seen += bits
    size = len(bits) // groups
    counts = [_votes(circuit, bits[group * size:(group + 1) * size], structure) for group in range(groups)]
    circuit.outputs = [literal for count in counts for literal in count]
    cells = FABRICS[fabric].cells.verilog(circuit, "tables")[1]
    circuit.outputs += seen
    return Tables(pipelined([circuit], depth, len(circuit.outputs) - len(seen)), fabric, groups, size.bit_length(), cells)
