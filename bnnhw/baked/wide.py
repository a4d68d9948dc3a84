"""Counting and adding with six-input tables beside the carry chain (xc7): atoms, sums of three, short comparisons.

In a chain every digit's table computes its propagate signal from up to six inputs, and a second function of five of them.
Nothing needs to be inverted but what goes straight into a carry.
"""

import functools

from .circuit import FALSE, Position, table_of
from .counters import literal
from .numbers import Number, at_least, butterfly, top

__all__ = ["INPUTS", "cost", "count", "thresholds", "total", "triples_of"]

INPUTS = 6

LEAVES = {2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2}       # bits counted, and the tables that it takes
FINE = 128          # up to so many bits the best way to count is searched, beyond only halves and thirds
PARITY = table_of(6, lambda *x: sum(x) & 1)
LAST = table_of(6, lambda *x: x[5])
ONE_PAIR = table_of(5, lambda *x: sum(x) // 2 == 1)
TWO_PAIRS = table_of(5, lambda *x: sum(x) // 2 == 2)


def majority(bits):
    return sum(bits) >= 2


def columns(lengths, extras, width):
    """Tables that a sum of numbers of these lengths takes; mirrors :func:`sum_of`."""
    pending, tables = extras == 2, 0
    for k in range(width):
        bits = sum(length > k for length in lengths)
        if not bits and not pending:
            break
        tables += 1
        pending = bits == 3 or bits == 2 and pending
    return tables


@functools.lru_cache(None)
def shape(n):
    """The cheapest way to count ``n`` bits: (tables, depth, tree), a tree being a number of bits or (trees, further bits)."""
    best = (LEAVES[n], 1, n) if n in LEAVES else (0, 0, n) if n <= 1 else None
    if n <= max(LEAVES):
        return best
    for extras in (2, 1, 0):
        left = n - extras
        splits = [(left - b, b) for b in range(1, left // 2 + 1)] if extras < 2 else []
        splits += [(left - b - c, b, c) for b in range(1, left // 2 + 1) for c in range(1, b + 1) if left - b - c >= b]
        if n > FINE:
            splits = [(left - left // 2, left // 2)] if extras < 2 else [(left - 2 * (left // 3), left // 3, left // 3)]
        for sizes in splits:
            parts = [shape(size) for size in sizes]
            way = (sum(part[0] for part in parts) + columns([size.bit_length() for size in sizes], extras, n.bit_length()),
                   1 + max(part[1] for part in parts))
            if best is None or way < best[:2]:
                best = *way, (tuple(part[2] for part in parts), extras)
    return best


def cost(n):
    """Tables with which ``n`` inputs are counted."""
    return shape(n)[0]


def triples_of(_):
    """No full adder of three inputs pays, shared or not."""
    return 0


def atom(circuit, bits, carry):
    """The number of ones among five to seven literals, two tables: ``bits`` are up to six of them, ``carry`` the last."""
    bits = [*bits, *[FALSE] * (6 - len(bits))]
    sums = circuit.segment(carry, [Position(tuple(bits), PARITY, LAST), Position(tuple(bits[:5]), ONE_PAIR, TWO_PAIRS),
                                   top(FALSE)])
    return tuple(sums)


def sum_of(circuit, numbers, extras=()):
    """The sum of two or three Numbers and up to two literals more."""
    most = sum(number.most for number in numbers) + len(extras)
    carry = extras[0] if extras else FALSE
    pending = extras[1:]        # literals whose majority is to be added to the next digit; one stands for itself
    positions = []
    for k in range(most.bit_length()):
        bits = [number.bits[k] for number in numbers if k < len(number.bits)]
        if len(bits) == 3 and len(pending) > 1:
            pending = (circuit.lut(pending, table_of(len(pending), lambda *x: majority(x))),)
        inputs, own = (*bits, *pending), len(bits)

        def below(x, own=own):
            return majority(x[own:]) if len(x) > own + 1 else sum(x[own:])
        if not inputs:
            positions.append(top(FALSE))
            break
        through = table_of(len(inputs), lambda *x, own=own, below=below: sum(x[:own]) + below(x) & 1)
        # where propagate is 0 all bits are equal to the carry: one bit alone, else what comes from below
        made = table_of(len(inputs), lambda *x, own=own, below=below:
                        x[0] if own == 1 or own == 2 and len(x) == 2 else below(x) if own else 0)
        positions.append(Position(inputs, through, made))
        pending = tuple(bits) if own == 3 or own == 2 and pending else ()
    sums = circuit.segment(carry, positions)
    return Number(tuple(sums)[:most.bit_length()], most, sum(number.offset for number in numbers),
                  sum(number.least for number in numbers))


def few(circuit, numbers, leave):
    """At most ``leave`` Numbers with the sum of ``numbers``, shortest added first."""
    numbers = sorted(numbers, key=lambda number: number.most)
    while len(numbers) > leave:
        taken = min(3, len(numbers) - leave + 1)
        numbers = sorted([*numbers[taken:], sum_of(circuit, numbers[:taken])], key=lambda number: number.most)
    return numbers


def total(circuit, numbers):
    """The sum of ``numbers``."""
    return (few(circuit, numbers, 1) or [Number((), 0)])[0]


def count(circuit, members, _triples):
    """The sum of ``sign * x[column]`` over ``members``, as :func:`.counters.count`."""
    free = sorted(map(literal, members), key=lambda one: -(one & 1))        # those that are not inverted at the end
    def plain():
        return free.pop()

    def build(tree):
        if isinstance(tree, int):
            if tree == 0:
                return Number((), 0)
            if tree == 1:
                return Number((free.pop(0),), 1)
            if tree < 5:
                bits = [free.pop(0) for _ in range(tree)]
                tables = [table_of(tree, lambda *x, k=k: sum(x) >> k & 1) for k in range(tree.bit_length())]
                return Number(tuple(circuit.lut(bits, table) for table in tables), tree)
            carry = plain() if tree == 7 else FALSE
            last = [plain()] if tree > 5 else []
            return Number(atom(circuit, [*(free.pop(0) for _ in range(5)), *last], carry), tree)
        parts, extras = tree
        taken = [plain() for _ in range(extras)]
        return sum_of(circuit, [build(part) for part in parts], taken)
    return build(shape(len(members))[2])._replace(offset=-sum(sign < 0 for _, sign in members))


def plus_constant(circuit, numbers, constant, width):
    """The codes of one or two ``numbers`` and ``constant``, modulo ``2 ** width``: literals, one table each."""
    positions, before = [], ()
    for k in range(width):
        bits = tuple(number.bits[k] for number in numbers if k < len(number.bits))
        one, one_before = constant >> k & 1, constant >> k - 1 & 1 if k else 0
        inputs, own = (*bits, *before), len(bits)

        def carried(x, own=own, one=one_before):
            return sum(x[own:]) + one >= 2
        positions.append(Position(
            inputs, table_of(len(inputs), lambda *x, own=own, one=one, carried=carried: sum(x[:own]) + one + carried(x) & 1),
            table_of(len(inputs), lambda *x, carried=carried: carried(x))))
        before = bits
    return circuit.segment(FALSE, positions)


def reaches(circuit, x, y, flip, carry):
    """Carry out of ``x + (y ^ flip) + carry``, equally long lists of literals, two digits per table."""
    positions = []
    for k in range(0, len(x), 2):
        a, b = x[k:k + 2], y[k:k + 2]

        own, full = len(a), (1 << len(a)) - 1

        def digits(bits, own=own):
            return sum(bit << j for j, bit in enumerate(bits[:own])) + sum((bit ^ flip) << j for j, bit in enumerate(bits[own:]))
        positions.append(Position((*a, *b), table_of(2 * len(a), lambda *v, digits=digits, full=full: digits(v) == full),
                                  table_of(2 * len(a), lambda *v, digits=digits, full=full: digits(v) > full)))
    return circuit.segment(carry, [*positions, top(FALSE)])[-1]


def thresholds(circuit, plus, minus, first, second):
    """Literals of ``x + y >= first`` and ``x - y >= second``, where x is the sum of ``plus`` and y that of ``minus``.

    Constants are added to x and y, in tables that are there anyway, so that both comparisons become carries.
    """
    x, y = few(circuit, plus, 2), few(circuit, minus, 2)
    if x and y:
        low, high = [[sum(getattr(n, key) for n in side) for side in (x, y)] for key in ("least", "most")]
        offsets = [sum(number.offset for number in side) for side in (x, y)]
        base = max(h - l for l, h in zip(low, high, strict=True)).bit_length()
        for width in (base, base + 1):
            both = (1 << width) - (first - offsets[0] - offsets[1])
            apart = 1 - (second - offsets[0] + offsets[1])
            odd = (both ^ apart) & 1
            for here, there in ((odd, 0), (0, odd)):
                shifts = (both - here + apart - there) // 2, (both - here - apart + there) // 2
                if all(l + s >= 0 and h + s < 1 << width for l, h, s in zip(low, high, shifts, strict=True)):
                    a, b = (plus_constant(circuit, side, shift % (1 << width), width)
                            for side, shift in zip((x, y), shifts, strict=True))
                    return reaches(circuit, a, b, 0, here), reaches(circuit, a, b, 1, there)
    p, d = butterfly(circuit, total(circuit, x), total(circuit, y))
    return at_least(circuit, p, first, 6), at_least(circuit, d, second, 6)
