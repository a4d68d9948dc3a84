"""A netlist of look-up tables, carry chains and registers, in which equal and complementary tables are made once."""

import bisect
import copy
import functools
from typing import NamedTuple

import numpy as np

__all__ = ["FALSE", "TRUE", "Circuit", "Input", "Lut", "Position", "Register", "Segment", "Sum", "evaluate", "pack", "table_of",
           "unpack"]

FALSE, TRUE = 0, 1      # literals: twice a node's number, plus 1 where it is inverted; node 0 is the constant 0


class Input(NamedTuple):
    """Bit ``index`` of the input vector."""
    index: int


class Lut(NamedTuple):
    """A table over up to six nodes: bit ``sum(value[k] << k)`` of ``table`` is the output. Bit 0 is always 0."""
    inputs: tuple
    table: int


class Position(NamedTuple):
    """One digit of a carry chain, over the literals ``inputs``.

    ``sum = propagate ^ carry``, and ``carry`` becomes ``generate`` where ``propagate`` is 0: both are tables over the inputs.
    """
    inputs: tuple
    propagate: int
    generate: int


class Segment(NamedTuple):
    """A carry chain: the literal that goes in, and positions from the least significant one. No carry comes out but as a sum."""
    carry: int
    positions: tuple


class Sum(NamedTuple):
    """Sum number ``at`` of the node ``segment``."""
    segment: int
    at: int


class Register(NamedTuple):
    """The node ``source``, one cycle earlier."""
    source: int


def table_of(inputs, function):
    """Table of a function of ``inputs`` bits."""
    return sum(1 << m for m in range(1 << inputs) if function(*(m >> k & 1 for k in range(inputs))))


@functools.lru_cache(None)
def _normal(table, pattern):
    """``table`` over ``pattern`` (FALSE, TRUE, or 2 + twice a place + inverted), in normal form.

    Returns the table, the places that it depends on, and whether the output must be inverted.
    """
    places = sorted({p >> 1 for p in pattern if p > TRUE})
    column = {place: k for k, place in enumerate(places)}
    values = []
    for m in range(1 << len(places)):
        at = 0
        for k, p in enumerate(pattern):
            bit = p if p <= TRUE else m >> column[p >> 1] & 1 ^ p & 1
            at |= bit << k
        values.append(table >> at & 1)
    kept = []
    for place in places:            # the first column that is left is always the lowest one not yet decided
        k = len(kept)
        low = [v for m, v in enumerate(values) if not m >> k & 1]
        high = [v for m, v in enumerate(values) if m >> k & 1]
        if low == high:
            values = low
        else:
            kept.append(place - 1)
    inverted = values[0]
    return sum((v ^ inverted) << m for m, v in enumerate(values)), tuple(kept), inverted


class Circuit:
    """Built from the inputs up; every node stands after those that it depends on.

    Attributes
    ----------
    n_in : int
        Input k is node k + 1.
    nodes : list
        None (the constant 0), then :class:`Input`, :class:`Lut`, :class:`Segment`, :class:`Sum`, :class:`Register`.
    outputs : list of int
        Literals.
    latency : int
        Registers on every way from an input to an output.
    borders : list of int
        Nodes with which the second, third, ... block begins: parts that take the inputs one after the other.
    """
    def __init__(self, n_in):
        self.n_in = n_in
        self.nodes = [None, *(Input(k) for k in range(n_in))]
        self.outputs = []
        self.latency = 0
        self.borders = []
        self._known = {}

    @property
    def blocks(self):
        """How many blocks there are."""
        return 1 + len(self.borders)

    def block(self, node):
        """In which block a table or chain stands, from 0."""
        return bisect.bisect_right(self.borders, node)

    def add(self, node):
        """Number of ``node``, which is made unless it is there already."""
        if node not in self._known:
            self._known[node] = len(self.nodes)
            self.nodes.append(node)
        return self._known[node]

    def lut(self, literals, table):
        """Literal of ``table`` over up to six literals: bit ``sum(value[k] << k)`` of it."""
        nodes = sorted({literal >> 1 for literal in literals if literal > TRUE})
        place = {node: k + 1 for k, node in enumerate(nodes)}
        pattern = tuple(literal if literal <= TRUE else 2 * place[literal >> 1] + (literal & 1) for literal in literals)
        table, kept, inverted = _normal(table, pattern)
        if not kept:
            return inverted
        if len(kept) == 1:          # the only table of one input whose bit 0 is 0 is the identity
            return 2 * nodes[kept[0]] + inverted
        return 2 * self.add(Lut(tuple(nodes[k] for k in kept), table)) + inverted

    def segment(self, carry, positions):
        """Literals of the sums of a new carry chain."""
        node = self.add(Segment(carry, tuple(positions)))
        return [2 * self.add(Sum(node, at)) for at in range(len(positions))]

    def fanin(self, node):
        """Nodes on which ``node`` depends directly."""
        match self.nodes[node]:
            case Lut(inputs, _):
                return inputs
            case Segment(carry, positions):
                return [carry >> 1, *(literal >> 1 for position in positions for literal in position.inputs)]
            case Sum(source, _) | Register(source):
                return (source,)
        return ()

    def position(self, node):
        """The :class:`Position` of a :class:`Sum`."""
        return self.nodes[node.segment].positions[node.at]

    def live(self):
        """Nodes on which an output depends, ascending, without the constant."""
        seen, stack = {0}, [literal >> 1 for literal in self.outputs]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(self.fanin(node))
        return sorted(seen - {0})

    def only(self, count):
        """The same circuit with all outputs but the first ``count`` replaced by 0."""
        made = copy.copy(self)
        made.outputs = self.outputs[:count] + [FALSE] * (len(self.outputs) - count)
        return made

    def levels(self):
        """Tables and chains on the longest way from an input or a register to each node, as a list."""
        level = [0] * len(self.nodes)
        for number, node in enumerate(self.nodes):
            if isinstance(node, (Lut, Segment)):
                level[number] = 1 + max((level[source] for source in self.fanin(number)), default=0)
            elif isinstance(node, Sum):
                level[number] = level[node.segment]
        return level


def pack(x):
    """Bits (n, vectors) as words of 64 vectors: uint64 array (n, ceil(vectors / 64))."""
    x = np.asarray(x, np.uint8)
    padded = np.zeros((x.shape[0], -(-max(x.shape[1], 1) // 64) * 64), np.uint8)
    padded[:, :x.shape[1]] = x
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)


def unpack(words, vectors):
    """The reverse of :func:`pack`: uint8 array (n, vectors)."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little", count=vectors)


def _apply(table, values, ones):
    """``table`` over words of bits, by Shannon's expansion."""
    size = 1 << len(values)
    if table == 0:
        return ones ^ ones
    if table == (1 << size) - 1:
        return ones
    half = size >> 1
    low, high, rest = table & (1 << half) - 1, table >> half, values[:-1]
    if low == high:
        return _apply(low, rest, ones)
    if low ^ high == (1 << half) - 1:
        return _apply(low, rest, ones) ^ values[-1]
    below = _apply(low, rest, ones)
    return below ^ (below ^ _apply(high, rest, ones)) & values[-1]


def evaluate(circuit, x):
    """The outputs of ``circuit`` for each vector, by its own definition; registers are wires.

    Parameters
    ----------
    circuit : Circuit
    x : uint8 array (n_in, vectors)
        Bits.

    Returns
    -------
    uint8 array (outputs, vectors)
    """
    words = pack(x)
    ones = np.full(words.shape[1], ~np.uint64(0))
    value = {0: ones ^ ones}

    def literal(number):
        return value[number >> 1] ^ ones if number & 1 else value[number >> 1]
    for number in circuit.live():
        match circuit.nodes[number]:
            case Input(index):
                value[number] = words[index]
            case Lut(inputs, table):
                value[number] = _apply(table, [value[source] for source in inputs], ones)
            case Segment(carry, positions):
                carried, sums = literal(carry), []
                for inputs, propagate, generate in positions:
                    bits = [literal(source) for source in inputs]
                    through, made = _apply(propagate, bits, ones), _apply(generate, bits, ones)
                    sums.append(through ^ carried)
                    carried = made ^ (made ^ carried) & through
                value[number] = sums
            case Sum(segment, at):
                value[number] = value[segment][at]
            case Register(source):
                value[number] = value[source]
    results = [literal(output) for output in circuit.outputs]
    return unpack(np.array(results, np.uint64).reshape(len(results), words.shape[1]), np.asarray(x).shape[1])
