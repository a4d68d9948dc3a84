"""Compressors: small cells that turn bits of one weight into fewer bits of the same sum."""

from dataclasses import dataclass
from typing import NamedTuple

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .luts import Tables

__all__ = ["COMPRESSORS", "Compressor", "CompressorCell", "Lut"]


class Lut(NamedTuple):
    """One look-up table of a compressor: ``output = function(*inputs)``, on the integers 0 and 1."""
    output: str
    inputs: str
    function: object


@dataclass(frozen=True)
class Compressor:
    """A cell that keeps a sum.

    A *digit* is a bit ``x``, which counts x, or a *pair* ``p,q``, which stands for two bits x = q and y = p ^ q and
    counts x + y. The sum of all input digits equals the sum of all output digits, a digit in column 1 (2) counting
    twice (four times). That is the cell's contract, and what the proofs check over all inputs.

    Parameters
    ----------
    name : str
    inputs : tuple of str
        Input digits, all in column 0: ``"x"`` is a bit, ``"p,q"`` a pair.
    outputs : tuple of (str, int)
        Output digits with their columns.
    luts : tuple of Lut
        In order: inputs of a table are inputs of the cell or outputs of tables before it.
    source : str
        Where the cell was first described.
    """
    name: str
    inputs: tuple
    outputs: tuple
    luts: tuple
    source: str

    @property
    def input_names(self):
        """Names of the input bits."""
        return tuple(name for digit in self.inputs for name in digit.split(","))

    @property
    def output_names(self):
        """Names of the output bits."""
        return tuple(name for digit, _ in self.outputs for name in digit.split(","))

    def build(self, tables, literals):
        """Add the cell to ``tables``.

        ``literals`` has one tuple per input digit; returns one tuple of literals per output digit.
        """
        bits = dict(zip(self.input_names, (bit for digit in literals for bit in digit), strict=True))
        for output, inputs, function in self.luts:
            bits[output] = tables.table(function, *(bits[name] for name in inputs.split()))
        return [tuple(bits[name] for name in digit.split(",")) for digit, _ in self.outputs]


class CompressorCell(wiring.Component):
    """One compressor as a module of its own: what the proofs are run on. Combinational.

    Parameters
    ----------
    compressor : Compressor

    Members
    -------
    i_NAME : :py:`In(1)`
        Each input bit.
    o_NAME : :py:`Out(1)`
        Each output bit.
    """
    def __init__(self, compressor):
        self.compressor = compressor
        super().__init__({f"i_{name}": In(1) for name in compressor.input_names}
                         | {f"o_{name}": Out(1) for name in compressor.output_names})

    def elaborate(self, platform):
        m = Module()

        tables = Tables()
        digits = [tuple(tables.source() for _ in digit.split(",")) for digit in self.compressor.inputs]
        literals = [bit for digit in self.compressor.build(tables, digits) for bit in digit]
        sources = [getattr(self, f"i_{name}") for name in self.compressor.input_names]
        for name, bit in zip(self.compressor.output_names, tables.emit(m, sources, literals, name="lut"), strict=True):
            m.d.comb += getattr(self, f"o_{name}").eq(bit)

        return m


def _parity(*bits):
    return sum(bits) & 1


def _both(x, y):
    return x & y


def _majority(x, y, z):
    return int(x + y + z >= 2)


def _carry(z, p, q):
    """The carry of z + x + y, where q = x and p = x ^ y."""
    return z if p else q


def _bit1(*bits):
    return sum(bits) >> 1 & 1


def _bit2(*bits):
    return sum(bits) >> 2


HALF_ADDER = Compressor(
    "half_adder", ("x", "y"), (("s", 0), ("c", 1)),
    (Lut("s", "x y", _parity), Lut("c", "x y", _both)),
    "textbook")

PAIR_HALF_ADDER = Compressor(
    "pair_half_adder", ("p,q",), (("p", 0), ("c", 1)),  # the sum of a pair is its p
    (Lut("c", "p q", lambda p, q: q & (1 ^ p)),),
    "the half adder on a coded pair")

FULL_ADDER = Compressor(
    "full_adder", ("x", "y", "z"), (("s", 0), ("c", 1)),
    (Lut("s", "x y z", _parity), Lut("c", "x y z", _majority)),
    "textbook; Wallace 1964, 'A suggestion for a fast multiplier'")

PAIR_FULL_ADDER = Compressor(
    "pair_full_adder", ("z", "p,q"), (("s", 0), ("c", 1)),
    (Lut("s", "z p", _parity), Lut("c", "z p q", _carry)),
    "the full adder on a coded pair")

# Two full adders in a row, (z, D1) -> t, a and (t, D2) -> s, b; the carries a and b leave as a pair: q = a, p = a ^ b.
_MDFA = "Demenkov, Kojevnikov, Kulikov, Yaroslavtsev 2010, 'New upper bounds on the Boolean circuit complexity of " \
        "symmetric functions'"

MDFA = Compressor(
    "mdfa", ("z", "p1,q1", "p2,q2"), (("s", 0), ("p,q", 1)),
    (Lut("s", "z p1 p2", _parity),
     Lut("q", "z p1 q1", _carry),
     Lut("p", "q s p2 q2", lambda a, s, p, q: a ^ _carry(s ^ p, p, q))),  # t = s ^ p2
    _MDFA)

MIXED_53 = Compressor(
    "mixed_53", ("z", "p1,q1", "x2", "y2"), (("s", 0), ("p,q", 1)),
    (Lut("t", "z p1", _parity),
     Lut("s", "t x2 y2", _parity),
     Lut("q", "z p1 q1", _carry),
     Lut("p", "q t x2 y2", lambda a, t, x, y: a ^ _majority(t, x, y))),
    _MDFA)

PLAIN_53 = Compressor(
    "plain_53", ("z", "x1", "y1", "x2", "y2"), (("s", 0), ("p,q", 1)),
    (Lut("t", "z x1 y1", _parity),
     Lut("s", "t x2 y2", _parity),
     Lut("q", "z x1 y1", _majority),
     Lut("p", "q t x2 y2", lambda a, t, x, y: a ^ _majority(t, x, y))),
    _MDFA)

COUNTER_63 = Compressor(
    "counter_63", ("x0", "x1", "x2", "x3", "x4", "x5"), (("s0", 0), ("s1", 1), ("s2", 2)),
    (Lut("s0", "x0 x1 x2 x3 x4 x5", _parity),
     Lut("s1", "x0 x1 x2 x3 x4 x5", _bit1),
     Lut("s2", "x0 x1 x2 x3 x4 x5", _bit2)),
    "Parandeh-Afshar, Brisk, Ienne 2008, 'Efficient synthesis of compressor trees on FPGAs'")

COMPRESSORS = (HALF_ADDER, PAIR_HALF_ADDER, FULL_ADDER, PAIR_FULL_ADDER, MDFA, MIXED_53, PLAIN_53, COUNTER_63)
