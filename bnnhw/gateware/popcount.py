"""XNOR and popcount: the dot product of two vectors of signs."""

import functools

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from .heap import CELLS, Heap
from .luts import FALSE, TRUE, Tables

__all__ = ["Digits", "XnorPopcount", "carry_column", "count", "cuts_of", "held_bits", "reaches_literal", "xnor_digits"]

PLAIN_LANES = 8  # one lane in so many stays a plain bit: in coded digits: fewer make longer chains, more cost a table each


class Digits:
    """Bits to be counted, coded so that counting them is cheap.

    A digit is a bit, or a coded pair ``(p, q)`` that stands for the two bits q and p ^ q. Each of these is a Value and
    a flag that says whether it is inverted (inversions cost nothing: they disappear in the tables).

    Attributes
    ----------
    digits : list of tuple of (Value, bool)
    lanes : int
        Number of bits that are counted: one per bit, two per pair.
    cells : str
        Cells with which to count them, see :class:`.heap.Heap`.
    name : str
    """
    def __init__(self, digits, *, cells, name):
        if cells not in CELLS:
            raise ValueError(f"{name}: cells must be one of {list(CELLS)}, not {cells!r}")
        self.digits = list(digits)
        self.cells = cells
        self.lanes = sum(len(digit) for digit in self.digits)
        self.name = name

    def registered(self, m, en, domain="sync"):
        """The same digits one cycle later: a register without reset that moves when ``en`` is 1."""
        name = f"{self.name}_r"
        values = [value for digit in self.digits for value, _ in digit]
        register = Signal(len(values), name=name, reset_less=True)
        with m.If(en):
            m.d[domain] += register.eq(Cat(values))
        bits = iter(register)
        digits = [tuple((next(bits), inverted) for _, inverted in digit) for digit in self.digits]
        return Digits(digits, cells=self.cells, name=name)

    def literals(self, tables):
        """Make the digits sources of ``tables``; returns their literals and the sources' Values in order."""
        values = [value for digit in self.digits for value, _ in digit]
        return [tuple(tables.source() ^ int(inverted) for _, inverted in digit) for digit in self.digits], values


def xnor_digits(m, x, w, *, cells="plain", name):
    """The positions at which ``x`` and ``w`` agree, as :class:`Digits`. One table and one level per lane.

    Each lane is a bit, unless ``cells`` is ``"coded"``. Then a pair takes two lanes, p in one four-input table and q in
    one two-input table; one lane in eight, and one where their number is odd, stays a bit.

    Parameters
    ----------
    m : Module
    x, w : Value
        Unsigned, of equal length.
    cells : str
        ``"plain"``, ``"coded"`` or ``"lut6"``, see :class:`.heap.Heap`.
    name : str
        Prefix of the signals' names.
    """
    x, w = Value.cast(x), Value.cast(w)
    lanes = len(x)
    if len(w) != lanes:
        raise ValueError(f"{name}: x and w must be equally long, not {lanes} and {len(w)}")
    pairs = (lanes - lanes // PLAIN_LANES) // 2 if cells == "coded" else 0
    agree = Signal(lanes, name=f"{name}_agree")
    m.d.comb += agree.eq(~(x ^ w))
    digits = []
    if pairs:
        differ = Signal(pairs, name=f"{name}_p")
        m.d.comb += differ.eq(agree[0:2 * pairs:2] ^ agree[1:2 * pairs:2])
        digits += [((differ[k], False), (agree[2 * k], False)) for k in range(pairs)]
    digits += [((agree[k], False),) for k in range(2 * pairs, lanes)]
    return Digits(digits, cells=cells, name=name)


def cuts_of(levels, registers):
    """Levels after which so many ``registers`` stand in a tree of so many ``levels``, at equal distances."""
    return tuple(levels * (k + 1) // (registers + 1) for k in range(registers))


def count(m, digits, *, add=0, width=None, registers=0, enable=None, name):
    """The number of ones among ``digits`` plus the constant ``add``, which costs at most a table or two.

    Parameters
    ----------
    m : Module
    digits : Digits
    add : int
        May be negative.
    width : int or None
        Bits of the result, which is taken modulo ``2 ** width``. None: as many as the largest sum needs, or, where
        ``add`` is negative, the largest count.
    registers : int
        Registers inside the tree: so many cycles pass before the count is there.
    enable : Value or None
        They move when it is 1. Needed if there are any.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Signal, unsigned
        Combinational behind the last of the registers. It may be added to an accumulator as it is.
    """
    if width is None:
        width = bits_for(digits.lanes + max(add, 0))
    tables = Tables()
    literals, sources = digits.literals(tables)
    heap = Heap(tables, literals, add=add, width=width, cells=digits.cells)
    result = Signal(width, name=name)
    cuts = cuts_of(heap.levels, registers)
    m.d.comb += result.eq(Cat(tables.emit(m, sources, heap.bits(), name=name, cuts=cuts, enable=enable)))
    return result


@functools.cache
def held_bits(lanes, registers):
    """Flip-flops of so many ``registers`` inside a tree over ``lanes`` plain bits."""
    tables = Tables()
    heap = Heap(tables, [(tables.source(),) for _ in range(lanes)], width=bits_for(lanes))
    return tables.held(heap.bits(), cuts_of(heap.levels, registers))


def carry_column(lanes, threshold):
    """Where ``count >= threshold`` shows: the least k such that bit k of ``count + 2 ** k - threshold`` tells it.

    For 1 <= threshold <= lanes. The sum is below ``2 ** (k + 1)``, and the constant is not negative.
    """
    assert 1 <= threshold <= lanes
    return max((threshold - 1).bit_length(), (lanes - threshold).bit_length())


def reaches_literal(tables, literals, lanes, threshold, *, cells="plain"):
    """Add to ``tables`` whether at least ``threshold`` (any integer) of ``lanes`` bits are ones.

    There is no comparator: ``2 ** k - threshold`` is added inside the tree, and the carry out of column k - 1 is the answer.

    Parameters
    ----------
    tables : Tables
    literals : list of tuple of int
        Digits, as :meth:`Digits.literals` gives them.
    lanes, threshold : int
    cells : str
        See :class:`.heap.Heap`.

    Returns
    -------
    int
        A literal; a constant one where the threshold is below 1 or above the number of lanes.
    """
    if threshold <= 0:
        return TRUE
    if threshold > lanes:
        return FALSE
    k = carry_column(lanes, threshold)
    heap = Heap(tables, literals, add=(1 << k) - threshold, width=k + 1, cells=cells, earliest=False)
    return heap.bits()[k]


class XnorPopcount(wiring.Component):
    """Counts the positions at which two vectors of signs agree.

    A bit is a sign: 1 is +1, 0 is -1. For vectors ``x`` and ``w`` of length ``simd``,
    ``dot(x, w) == 2 * o - simd``. One pair of vectors per cycle, latency 1 cycle.

    Source: Courbariaux et al., "Binarized Neural Networks", 2016, arXiv:1602.02830; the tree is :class:`.heap.Heap`.

    Parameters
    ----------
    simd : int
        Vector length, at least 1.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"x": simd, "w": simd})))`
        Inputs and weights.
    o : :py:`Out(stream.Signature(range(simd + 1)))`
        Number of agreements.
    """
    def __init__(self, simd):
        if not isinstance(simd, int) or simd < 1:
            raise TypeError(f"SIMD must be a positive integer, not {simd!r}")
        self.simd = simd
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"x": simd, "w": simd}))),
            "o": Out(stream.Signature(range(simd + 1))),
        })

    def elaborate(self, platform):
        m = Module()

        digits = xnor_digits(m, self.i.p.x, self.i.p.w, name="lanes")
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += self.o.payload.eq(count(m, digits, name="agreements"))

        return m
