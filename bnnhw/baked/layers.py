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
# rows of a group that are tried, up to so many inputs; five divide the ten rows of a last layer
GROUPS = {counters: {16: (1, 2, 3), 128: (3, 4), 640: (4, 5), None: (5, 6)},
          wide: {16: (1, 2, 3), 128: (3, 4), 320: (4,), 640: (4, 5), None: (5, 6)}}


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


def _checked(weights, fabric, depth, blocks):
    weights = np.asarray(weights)
    if weights.ndim != 2 or 0 in weights.shape or not np.isin(weights, (-1, 0, 1)).all():
        raise ValueError(f"weights must be -1, 0 or +1 in an array (n_out, n_in), not {weights.dtype} {weights.shape}")
    if fabric not in FABRICS:
        raise ValueError(f"fabric must be one of {list(FABRICS)}, not {fabric!r}")
    if depth is not None and (not isinstance(depth, int) or depth < 1):
        raise ValueError(f"depth must be a positive integer or None, not {depth!r}")
    if not isinstance(blocks, int) or blocks < 1 or depth is None and blocks > 1:
        raise ValueError(f"blocks must be a positive integer, and 1 if there are no registers, not {blocks!r}")
    return weights.astype(np.int8)


def _block(weights, groups, structure):
    """A circuit of ``groups`` of rows, reduced to one or two rows each: (the rows, counts) as of :func:`.groups.halves`."""
    n_in = weights.shape[1]
    circuit = Circuit(n_in)
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


def _best(weights, fabric, finish, depth, blocks):
    """The cheapest circuit, after ``finish(circuit, parts)`` has returned for each row the literals of its result and a constant.

    Rows' results stand in the outputs one after the other; the constants are in the layer's fields.
    """
    n_out, n_in = weights.shape
    structure, cells_of = FABRICS[fabric].structure, FABRICS[fabric].cells.verilog
    best = None
    for rows in next(sizes for limit, sizes in GROUPS[structure].items() if limit is None or n_in <= limit):
        groups = grouped(weights, rows, structure.cost)
        made, found, cells = [], [], 0
        for own in np.array_split(np.arange(len(groups)), min(blocks, len(groups))):
            circuit, parts = _block(weights, [groups[k] for k in own], structure)
            results = sorted(finish(circuit, parts).items())
            circuit.outputs = [literal for _, (literals, _) in results for literal in literals]
            made.append(circuit)
            found += [(row, len(literals), constant) for row, (literals, constant) in results]
            cells += cells_of(circuit, "layer")[1]
        if best is None or cells < best[0]:
            best = cells, rows, made, found
    cells, rows, made, found = best
    circuit = made[0] if depth is None else pipelined(made, depth)
    ends = np.cumsum([size for _, size, _ in found]).tolist()
    of_row = {row: (circuit.outputs[end - size:end], constant) for (row, size, constant), end in zip(found, ends, strict=True)}
    circuit.outputs, fields = [], []
    for row in range(n_out):
        literals, constant = of_row[row]
        fields.append((len(circuit.outputs), len(literals), constant))
        circuit.outputs += literals
    return Layer(circuit, fabric, rows, cells, tuple(fields))


def layer(weights, thresholds, fabric, *, depth=None, blocks=1):
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
    blocks : int
        So many sets of rows (no more than there are groups) share nothing but the inputs, which go from one to the next, a
        clock each. 1 if there are no registers.

    Returns
    -------
    Layer
        ``circuit.latency`` is its latency in clock edges; a vector per clock.
        Output k is 1 where at least ``thresholds[k]`` inputs agree with row k (1 agrees with +1, 0 with -1).
    """
    weights = _checked(weights, fabric, depth, blocks)
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
            found |= {row: ([literal], 0) for row, literal in zip(rows, made, strict=True)}
        return found
    return replace(_best(weights, fabric, finish, depth, blocks), fields=())


def counts(weights, fabric, *, depth=None, blocks=1):
    """Agreements with constant rows of weights, for scores.

    Parameters are as of :func:`layer`.

    Returns
    -------
    Layer
        Its ``fields`` say where in y each row's number stands, and which constant makes it the number of agreements.
    """
    weights = _checked(weights, fabric, depth, blocks)
    negatives, structure = (weights < 0).sum(axis=1).tolist(), FABRICS[fabric].structure

    def finish(circuit, parts):
        found = {}
        for rows, counts in parts:
            found |= zip(rows, numbers_of(circuit, len(rows), counts, structure.total), strict=True)
        return {row: (number.bits, number.offset + negatives[row]) for row, number in found.items()}
    return _best(weights, fabric, finish, depth, blocks)
