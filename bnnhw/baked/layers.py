"""Whole layers with constant weights: the structure is chosen by counting cells."""

from dataclasses import dataclass, replace

import numpy as np

from . import counters, ecp5, gowin, ice40, plain, wide, xc7
from .circuit import Circuit
from .grouping import grouped
from .groups import classes, halves, numbers_of, partner
from .leaves import shared_triples
from .numbers import at_least
from .pipeline import pipelined

__all__ = ["FABRICS", "Layer", "counts", "layer"]


@dataclass(frozen=True)
class Fabric:
    """The module that builds from counts to thresholds, and the one that writes cells."""
    structure: object
    cells: object


FABRICS = {"ice40": Fabric(counters, ice40), "ecp5": Fabric(counters, ecp5), "gowin": Fabric(counters, gowin),
           "xc7": Fabric(wide, xc7)}
# rows of a group that are tried, up to so many inputs
GROUPS = {16: (1, 2, 3), 128: (3, 4), 320: (4,), 640: (4, 5), None: (5, 6)}


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


def _checked(weights, fabric, depth):
    weights = np.asarray(weights)
    if weights.ndim != 2 or 0 in weights.shape or not np.isin(weights, (-1, 0, 1)).all():
        raise ValueError(f"weights must be -1, 0 or +1 in an array (n_out, n_in), not {weights.dtype} {weights.shape}")
    if fabric not in FABRICS:
        raise ValueError(f"fabric must be one of {list(FABRICS)}, not {fabric!r}")
    if depth is not None and (not isinstance(depth, int) or depth < 1):
        raise ValueError(f"depth must be a positive integer or None, not {depth!r}")
    return weights.astype(np.int8)


def _groups(weights, rows, structure):
    """A circuit, and its groups reduced to one or two rows each: (the rows, counts) as of :func:`.groups.halves`."""
    n_out, n_in = weights.shape
    circuit = Circuit(n_in)
    groups = grouped(weights, rows, structure.cost)
    found = [classes(weights[group]) for group in groups]
    keys = [(g, pattern) for g, own in enumerate(found) for pattern in own]
    members = {(g, pattern): list(found[g][pattern]) for g, pattern in keys}
    spare = {key: len(groups[key[0]]) > 2 and partner(key[1]) in found[key[0]] for key in keys}
    quota = [structure.triples_of(len(members[key]) - spare[key]) for key in keys]
    triples = dict(zip(keys, shared_triples(list(members.values()), quota, n_in), strict=True))
    parts = []
    for g, group in enumerate(groups):
        values, carries = {}, {}
        for pattern in found[g]:
            own, shared = members[g, pattern], triples[g, pattern]
            if spare[g, pattern]:
                used = {member for triple in shared for member in triple}
                for member in [member for member in own if member[1] > 0 and member not in used][:1]:
                    own.remove(member)
                    carries[pattern] = 2 * (member[0] + 1)
            values[pattern] = [structure.count(circuit, own, shared)]
        rest = group
        for size, counts in halves(circuit, values, len(group), structure.total, carries):
            parts.append((rest[:size], counts))
            rest = rest[size:]
    return circuit, parts


def _best(weights, fabric, finish, depth):
    """The cheapest circuit, after ``finish(circuit, parts)`` has set its outputs and returned the fields."""
    n_out, n_in = weights.shape
    best = None
    for rows in next(sizes for limit, sizes in GROUPS.items() if limit is None or n_in <= limit):
        circuit, parts = _groups(weights, rows, FABRICS[fabric].structure)
        fields = finish(circuit, parts)
        cells = FABRICS[fabric].cells.verilog(circuit, "layer")[1]
        if best is None or cells < best.cells:
            best = Layer(circuit, fabric, rows, cells, fields)
    return best if depth is None else replace(best, circuit=pipelined(best.circuit, depth))


def layer(weights, thresholds, fabric, *, depth=None):
    """Neurons with constant weights.

    Parameters
    ----------
    weights : int array (n_out, n_in), each -1 or +1, or 0 where an input is not used
    thresholds : int array (n_out,)
        Any integers.
    fabric : str
        One of :data:`FABRICS`.
    depth : int or None
        So many tables and chains at most stand between registers. None: no registers.

    Returns
    -------
    Layer
        ``circuit.latency`` is its latency in clock edges; a vector per clock.
        Output k is 1 where at least ``thresholds[k]`` inputs agree with row k (1 agrees with +1, 0 with -1).
    """
    weights = _checked(weights, fabric, depth)
    thresholds = np.asarray(thresholds)
    if thresholds.shape != weights.shape[:1] or not np.issubdtype(thresholds.dtype, np.integer):
        raise ValueError(f"thresholds must be {weights.shape[0]} integers, not {thresholds.dtype} {thresholds.shape}")
    bounds = (thresholds - (weights < 0).sum(axis=1)).tolist()      # on the sum of weight times bit
    structure = FABRICS[fabric].structure

    def finish(circuit, parts):
        found = {}
        for rows, counts in parts:
            least = [bounds[row] for row in rows]
            if counts.keys() == {(1, 1), (1, -1)}:
                made = structure.thresholds(circuit, counts[1, 1], counts[1, -1], *least)
            else:
                numbers = numbers_of(circuit, len(rows), counts, structure.total)
                made = [at_least(circuit, number, bound, structure.INPUTS) for number, bound in zip(numbers, least, strict=True)]
            found |= zip(rows, made, strict=True)
        circuit.outputs = [found[row] for row in range(len(found))]
        return ()
    return _best(weights, fabric, finish, depth)


def counts(weights, fabric, *, depth=None):
    """Agreements with constant rows of weights, for scores.

    Parameters are as of :func:`layer`.

    Returns
    -------
    Layer
        Its ``fields`` say where in y each row's number stands, and which constant makes it the number of agreements.
    """
    weights = _checked(weights, fabric, depth)
    negatives, structure = (weights < 0).sum(axis=1).tolist(), FABRICS[fabric].structure

    def finish(circuit, parts):
        found, fields = {}, []
        for rows, counts in parts:
            found |= zip(rows, numbers_of(circuit, len(rows), counts, structure.total), strict=True)
        circuit.outputs = []
        for row in range(len(found)):
            fields.append((len(circuit.outputs), len(found[row].bits), found[row].offset + negatives[row]))
            circuit.outputs += found[row].bits
        return tuple(fields)
    return _best(weights, fabric, finish, depth)
