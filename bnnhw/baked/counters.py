"""Counting and adding with four-input tables and plain adders (iCE40, ECP5, Gowin), whose carry inputs count inputs too."""

import functools

from .circuit import table_of
from .numbers import Number, add, at_least, butterfly

__all__ = ["INPUTS", "cost", "count", "thresholds", "total", "triples_of"]

INPUTS = 4
LEAF_COSTS = {2: 4, 3: 3, 4: 6}        # in half tables; three bits take two tables, which are often shared


@functools.lru_cache(None)
def shape(n):
    """The cheapest way to count ``n`` bits: (cost, depth, tree).

    A tree is a number of bits, 0 to 4, counted by tables, or (tree, tree, carry): the sum of two, and of one bit more where
    ``carry`` is 1.
    """
    if n <= 1:
        return 0, 0, n
    best = (LEAF_COSTS[n], 1, n) if n in LEAF_COSTS else None
    width = n.bit_length()
    for carry in (1, 0):
        for right in range(1, (n - carry) // 2 + 1):
            left = n - carry - right
            full = left.bit_length() == right.bit_length() == width
            here, deep = shape(left), shape(right)
            way = here[0] + deep[0] + 2 * (width + full), 1 + max(here[1], deep[1])
            if best is None or way < best[:2]:
                best = *way, (here[2], deep[2], carry)
    return best


def cost(n):
    """Cells with which ``n`` inputs are counted, about."""
    return shape(n)[0] / 2


def triples_of(n):
    """Full adders of three inputs where ``n`` are counted."""
    def threes(tree):
        return int(tree == 3) if isinstance(tree, int) else threes(tree[0]) + threes(tree[1])
    return threes(shape(n)[2])


def literal(member):
    """Of (column, sign): the input, inverted where the sign is negative."""
    column, sign = member
    return 2 * (column + 1) + (sign < 0)


def tables(circuit, members):
    """The number of ones among up to four literals, in a table per bit."""
    literals = [literal(member) for member in members]
    bits = [circuit.lut(literals, table_of(len(literals), lambda *x, k=k: sum(x) >> k & 1))
            for k in range(len(literals).bit_length())]
    return Number(tuple(bits), len(literals), -sum(sign < 0 for _, sign in members))


class _Class:
    """What is still to be counted of a class, and which signs the tree may still choose."""
    def __init__(self, circuit, members, triples):
        used = {member for triple in triples for member in triple}
        self.circuit = circuit
        self.free = {sign: [member for member in members if member not in used and member[1] == sign] for sign in (1, -1)}
        self.triples = {sign: [triple for triple in triples if triple[0][1] == sign] for sign in (1, -1)}

    def take(self, sign=None):
        """A free input of ``sign``, or of the more frequent sign."""
        if not self.free.get(sign):
            sign = max(self.free, key=lambda s: len(self.free[s]))
        return self.free[sign].pop()

    def carry(self, sign=None):
        member = self.take(sign)
        return Number((literal(member),), 1, -(member[1] < 0))

    def shared(self, size, sign):
        """A shared triple of ``sign`` (None: of any) for a leaf of ``size``, if there is one."""
        if size != 3:
            return None
        if sign is None:
            sign = max(self.triples, key=lambda s: len(self.triples[s]))
        return self.triples[sign].pop() if self.triples[sign] else None

    def leaf(self, size, triple=None):
        if triple is None:
            triple = [self.take() for _ in range(size)]
        return tables(self.circuit, triple)

    def join(self, left, right, carry, sign=None):
        if not carry:
            return add(self.circuit, left, right)
        extra = self.carry(sign)
        summed = add(self.circuit, left, right, extra.bits[0])
        return summed._replace(offset=summed.offset + extra.offset)


def count(circuit, members, triples=()):
    """The sum of ``sign * x[column]`` over ``members``.

    Parameters
    ----------
    circuit : Circuit
    members : list of (int, int)
        (column, sign)
    triples : list of tuple of (int, int)
        Members that are counted by one full adder each, at most ``triples_of(len(members))``.

    Returns
    -------
    Number
    """
    return _build(_Class(circuit, members, triples[:triples_of(len(members))]), shape(len(members))[2])


def _build(own, tree):
    """Leaves that share are placed first: both leaves of an adder and its carry input want one sign."""
    plan, joins = {}, []

    def visit(tree, path):
        if isinstance(tree, int):
            return
        visit(tree[0], path + (0,))
        visit(tree[1], path + (1,))
        joins.append((tree, path))
    visit(tree, ())
    # adders of two leaves of three first, then those with one
    places = sorted(joins, key=lambda join: -sum(side == 3 for side in join[0][:2]))
    for (left, right, carry), path in places:
        sign = None
        for side, size in ((0, left), (1, right)):
            triple = own.shared(size, sign)
            if triple is not None:
                plan[path + (side,)] = triple
                sign = triple[0][1]
        if sign is not None and carry:
            plan[path] = own.carry(sign)
    if tree == 3 and (triple := own.shared(3, None)):
        plan[()] = triple
    left_over = [triple for triples in own.triples.values() for triple in triples]

    def make(tree, path):
        if isinstance(tree, int):
            triple = plan.get(path)
            if triple is None and tree == 3 and left_over:
                triple = left_over.pop()
            if tree == 0:
                return Number((), 0)
            if tree == 1:
                return own.carry()
            return own.leaf(tree, triple)
        left, right = make(tree[0], path + (0,)), make(tree[1], path + (1,))
        if path in plan:
            summed = add(own.circuit, left, right, plan[path].bits[0])
            return summed._replace(offset=summed.offset + plan[path].offset)
        return own.join(left, right, tree[2])
    return make(tree, ())


def total(circuit, numbers):
    """The sum of ``numbers``, the shortest first."""
    numbers = list(numbers)
    while len(numbers) > 1:
        numbers.sort(key=lambda number: number.most)
        numbers.append(add(circuit, numbers.pop(0), numbers.pop(0)))
    return numbers[0] if numbers else Number((), 0)


def thresholds(circuit, plus, minus, first, second):
    """Literals of ``x + y >= first`` and ``x - y >= second``, where x is the sum of ``plus`` and y that of ``minus``."""
    p, d = butterfly(circuit, total(circuit, plus), total(circuit, minus))
    return at_least(circuit, p, first, INPUTS), at_least(circuit, d, second, INPUTS)
