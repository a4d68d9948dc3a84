"""Whole layers with constant weights: the structure is chosen by counting cells."""

from dataclasses import dataclass

import numpy as np

from . import ice40, plain
from .circuit import Circuit
from .counters import count, triples_of
from .groups import classes, dot_products
from .leaves import shared_triples
from .numbers import at_least

__all__ = ["FABRICS", "Layer", "counts", "layer"]


@dataclass(frozen=True)
class Fabric:
    """Inputs of a table, the module that writes cells, and how many rows may make a group."""
    inputs: int
    cells: object


FABRICS = {"ice40": Fabric(4, ice40)}
GROUPS = (1, 2, 3, 4, 5)    # rows of a group that are tried
LARGE = 1 << 13             # synapses from which on only the usual best are tried
USUAL = (4, 5)


@dataclass(frozen=True)
class Layer:
    """A layer as a circuit, and as Verilog.

    Attributes
    ----------
    circuit : Circuit
    fabric : str
    rows : int
        Of a group.
    cells : int
        Of that fabric, without registers: LCs of iCE40, LUT4 sites of ECP5 and Gowin (two per CCU2C, one per ALU), LUTs of xc7.
    fields : tuple of (int, int, int)
        Of :func:`counts`, for each row: lowest bit in y, number of bits, what is to be added to that number. Else empty.
    """
    circuit: Circuit
    fabric: str
    rows: int
    cells: int
    fields: tuple = ()

    def plain(self, name="layer"):
        """Plain Verilog of a module ``name``: inputs x, outputs y; clk and en where there are registers."""
        return plain.verilog(self.circuit, name)

    def verilog(self, name="layer"):
        """The same module in the fabric's cells."""
        return FABRICS[self.fabric].cells.verilog(self.circuit, name)[0]


def _checked(weights, fabric):
    weights = np.asarray(weights)
    if weights.ndim != 2 or 0 in weights.shape or not np.isin(weights, (-1, 0, 1)).all():
        raise ValueError(f"weights must be -1, 0 or +1 in an array (n_out, n_in), not {weights.dtype} {weights.shape}")
    if fabric not in FABRICS:
        raise ValueError(f"fabric must be one of {list(FABRICS)}, not {fabric!r}")
    return weights.astype(np.int8)


def _sums(weights, rows):
    """A circuit, and for each row of ``weights`` the Number of agreements."""
    n_out, n_in = weights.shape
    circuit = Circuit(n_in)
    groups = [range(first, min(first + rows, n_out)) for first in range(0, n_out, rows)]
    found = [classes(weights[list(group)]) for group in groups]
    keys = [(g, pattern) for g, own in enumerate(found) for pattern in own]
    members = [found[g][pattern] for g, pattern in keys]
    shared = dict(zip(keys, shared_triples(members, [triples_of(len(own)) for own in members], n_in), strict=True))
    numbers = []
    for g, group in enumerate(groups):
        values = {pattern: count(circuit, own, shared[g, pattern]) for pattern, own in found[g].items()}
        for row, number in zip(group, dot_products(circuit, values, len(group)), strict=True):
            numbers.append(number._replace(offset=number.offset + int(np.sum(weights[row] < 0))))
    return circuit, numbers


def _best(weights, fabric, finish):
    """The cheapest circuit, after ``finish(circuit, numbers)`` has set its outputs and returned the fields."""
    n_out, n_in = weights.shape
    best = None
    for rows in USUAL if n_out * n_in >= LARGE else GROUPS:
        circuit, numbers = _sums(weights, rows)
        fields = finish(circuit, numbers)
        cells = FABRICS[fabric].cells.verilog(circuit, "layer")[1]
        if best is None or cells < best.cells:
            best = Layer(circuit, fabric, rows, cells, fields)
    return best


def layer(weights, thresholds, fabric):
    """Neurons with constant weights.

    Parameters
    ----------
    weights : int array (n_out, n_in), each -1 or +1, or 0 where an input is not used
    thresholds : int array (n_out,)
        Any integers.
    fabric : str
        One of :data:`FABRICS`.

    Returns
    -------
    Layer
        Combinational. Output k is 1 where at least ``thresholds[k]`` inputs agree with row k (1 agrees with +1, 0 with -1).
    """
    weights = _checked(weights, fabric)
    thresholds = np.asarray(thresholds)
    if thresholds.shape != weights.shape[:1] or not np.issubdtype(thresholds.dtype, np.integer):
        raise ValueError(f"thresholds must be {weights.shape[0]} integers, not {thresholds.dtype} {thresholds.shape}")

    def finish(circuit, numbers):
        circuit.outputs = [at_least(circuit, number, int(threshold), FABRICS[fabric].inputs)
                           for number, threshold in zip(numbers, thresholds, strict=True)]
        return ()
    return _best(weights, fabric, finish)


def counts(weights, fabric):
    """Agreements with constant rows of weights, for scores.

    Parameters are as of :func:`layer`.

    Returns
    -------
    Layer
        Its ``fields`` say where in y each row's number stands, and which constant makes it the number of agreements.
    """
    def finish(circuit, numbers):
        circuit.outputs, fields = [], []
        for number in numbers:
            fields.append((len(circuit.outputs), len(number.bits), number.offset))
            circuit.outputs += number.bits
        return tuple(fields)
    return _best(_checked(weights, fabric), fabric, finish)
