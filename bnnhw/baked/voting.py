"""One threshold function of many bits in six-input tables only, such as the circuit "voter" of the EPFL benchmarks.

Columns of bits of equal weight are reduced by counters of two to six bits, from the lowest column up; what must be added for the
threshold to become a power of two is constant bits in the columns. The last counter of a column needs no table for its sum: below
the threshold's weight it cannot matter. A counter of six bits takes three tables and makes three bits of six, so n bits take
about n tables.
"""

import functools
from typing import NamedTuple

from .circuit import TRUE, Circuit, Lut, table_of

__all__ = ["Counter", "blif", "check", "threshold"]

INPUTS = 6
CARRIES = {6: 2, 5: 2, 4: 2, 3: 1, 2: 1}        # bits counted -> columns above that get a bit


class Counter(NamedTuple):
    """Literals of a ``column``, and those of their number: (column, literal), without the lowest bit where it was left out."""
    column: int
    inputs: tuple
    outputs: tuple


@functools.lru_cache(None)
def _plan(column, heights, constants):
    """The fewest tables from ``column`` on, of heights (bits in this column and those above) and constants still to be added.

    Returns the number of tables and, for each column, how many counters of 6, 5, 4, 3 and 2 bits.
    """
    heights = (heights[0] + (constants & 1), *heights[1:])
    if sum(heights) + (constants >> 1).bit_count() <= INPUTS:
        return 1, ()
    above = [*heights[1:], 0, 0]
    if heights[0] <= 1:
        tables, rest = _plan(column + 1, tuple(above[:3]), constants >> 1)
        return tables, ((0,) * len(CARRIES), *rest)
    best = None
    for sixes in range(max(0, (heights[0] - 1) // 5 - 2), (heights[0] - 1) // 5 + 1):
        for fives in range(3):
            for fours in range(2):
                left = heights[0] - 1 - 5 * sixes - 4 * fives - 3 * fours
                if left < 0:
                    continue
                numbers = sixes, fives, fours, left // 2, left % 2
                made = [sum(number for number, carries in zip(numbers, CARRIES.values(), strict=True) if carries > k)
                        for k in range(2)]
                tables, rest = _plan(column + 1, (above[0] + made[0], above[1] + made[1], above[2]), constants >> 1)
                tables += sum(numbers) + sum(made) - 1
                if best is None or tables < best[0]:
                    best = tables, (numbers, *rest)
    return best


def _weight(n, least):
    """The column whose bit tells: the number of ones plus ``2 ** weight - least`` is below ``2 ** (weight + 1)``."""
    return max((least - 1).bit_length(), (n - least).bit_length())


def threshold(n, least):
    """Whether at least ``least`` of ``n`` bits are 1, for 1 <= least <= n.

    Returns
    -------
    Circuit
        Tables of up to six inputs only.
    list of Counter
        What it was made of, for :func:`check`.
    """
    if not 1 <= least <= n:
        raise ValueError(f"threshold must be from 1 to the number of bits, {n}, not {least}")
    weight = _weight(n, least)
    constants = (1 << weight) - least
    circuit, cells = Circuit(n), []
    columns = {0: [2 * (k + 1) for k in range(n)]}
    steps = _plan(0, (n, 0, 0), constants)[1]
    for column, numbers in enumerate(steps):
        bits = columns.pop(column, [])
        if constants >> column & 1:
            bits.append(TRUE)
        sizes = [size for size, number in zip(CARRIES, numbers, strict=True) for _ in range(number)]
        for at, size in enumerate(sizes):
            taken, bits = bits[:size], bits[size:]
            last = at == len(sizes) - 1
            outputs = tuple((column + k, circuit.lut(taken, table_of(size, lambda *x, k=k: sum(x) >> k & 1)))
                            for k in range(int(last), 1 + CARRIES[size]))
            for place, literal in outputs:
                (bits if place == column else columns.setdefault(place, [])).append(literal)
            cells.append(Counter(column, tuple(taken), outputs))
    left = [(column, literal) for column, bits in sorted(columns.items()) for literal in bits]
    left += [(column, TRUE) for column in range(len(steps), weight) if constants >> column & 1]
    table = table_of(len(left), lambda *x: sum(bit << column for bit, (column, _) in zip(x, left, strict=True)) >= 1 << weight)
    circuit.outputs = [circuit.lut([literal for _, literal in left], table)]
    return circuit, cells


def check(circuit, cells, least):
    """Prove by composition that ``circuit`` tells whether at least ``least`` of its inputs are 1.

    Every counter's tables are compared with the count for all values of its inputs, the last table likewise. Each literal must be
    made once and taken once, in its column; constants make the sum the number of ones plus ``2 ** weight - least``; and what
    was left out is at most one bit of each column below those that the last table sees, too little to matter.

    Raises
    ------
    AssertionError
    """
    weight = _weight(circuit.n_in, least)
    waiting = {(0, 2 * (k + 1)): 1 for k in range(circuit.n_in)}
    added, dropped = 0, set()

    def value(literal, given):
        if literal in given or literal <= TRUE:
            return given.get(literal, literal)
        if literal ^ 1 in given:
            return 1 - given[literal ^ 1]
        node = circuit.nodes[literal >> 1]
        assert isinstance(node, Lut), "a counter's table looks at other bits"
        return node.table >> sum(value(2 * source, given) << k for k, source in enumerate(node.inputs)) & 1 ^ literal & 1

    def take(column, literal):
        nonlocal added
        if literal == TRUE:
            added += 1 << column
        else:
            assert waiting.pop((column, literal)) == 1, "a bit is taken twice or in the wrong column"
        return literal

    def every(literals):
        real = [literal for literal in literals if literal != TRUE]
        for m in range(1 << len(real)):
            yield {literal: m >> k & 1 for k, literal in enumerate(real)} | {TRUE: 1}
    for column, inputs, outputs in cells:
        for literal in inputs:
            take(column, literal)
        places = [place for place, _ in outputs]
        assert places == list(range(column + (places[0] > column), places[-1] + 1))
        if places[0] > column:
            assert column not in dropped, "two sums of a column are left out"
            dropped.add(column)
        for given in every(inputs):
            counted = sum(given[literal] for literal in inputs) << column
            made = sum(value(literal, given) << place for place, literal in outputs)
            assert made == counted >> places[0] << places[0] and counted >> places[-1] + 1 == 0, "a counter miscounts"
        for place, literal in outputs:
            assert (place, literal) not in waiting
            waiting[place, literal] = 1
    left = sorted(waiting)
    lowest = min([column for column, _ in left], default=weight)
    assert all(column < lowest for column in dropped) and lowest <= weight
    rest = (1 << weight) - least - added
    assert rest >= 0 and rest % (1 << lowest) == 0, "constants are missing"
    for given in every([literal for _, literal in left]):
        reached = sum(given[literal] << column for column, literal in left) + rest >= 1 << weight
        assert value(circuit.outputs[0], given) == reached, "the last table is wrong"


def blif(circuit, name):
    """``circuit``, of tables only, in Berkeley's interchange format: inputs x0, x1, ..., outputs y0, y1, ..."""
    lines = [f".model {name}", ".inputs " + " ".join(f"x{k}" for k in range(circuit.n_in)),
             ".outputs " + " ".join(f"y{k}" for k in range(len(circuit.outputs)))]

    def names(node):
        return f"x{node - 1}" if node <= circuit.n_in else f"t{node}"
    for number in circuit.live():
        if number > circuit.n_in:
            inputs, table = circuit.nodes[number]
            lines.append(f".names {' '.join(map(names, inputs))} {names(number)}")
            ones = [m for m in range(1 << len(inputs)) if table >> m & 1]
            lines += ["".join(str(m >> k & 1) for k in range(len(inputs))) + " 1" for m in ones]
    for k, literal in enumerate(circuit.outputs):
        lines += [f".names {names(literal >> 1)} y{k}", f"{1 - (literal & 1)} 1"]
    return "\n".join([*lines, ".end", ""])
