"""Bit heap: columns of weighted digits, reduced by compressors to one number."""

from dataclasses import dataclass

from .compressors import (
    COUNTER_63,
    FULL_ADDER,
    HALF_ADDER,
    MDFA,
    MIXED_53,
    PAIR_FULL_ADDER,
    PAIR_HALF_ADDER,
    PLAIN_53,
)
from .luts import FALSE, TRUE

__all__ = ["CELLS", "Cell", "Digit", "Heap"]

CELLS = ("plain", "coded", "lut6")


@dataclass(frozen=True, eq=False)
class Digit:
    """A bit (one literal) or a coded pair (two) that counts ``2 ** column`` times. Each object is one digit."""
    column: int
    literals: tuple


@dataclass(frozen=True, eq=False)
class Cell:
    """A compressor put to use: the digits that it takes, all in one column, and those that it gives."""
    compressor: object
    inputs: tuple
    outputs: tuple


class Heap:
    """The sum of ``digits`` and ``add``, modulo ``2 ** width``, as a list of cells.

    The cells stand in the order in which they can be evaluated. Columns are reduced from the lowest to the highest, in
    each a constant is taken last.

    Parameters
    ----------
    tables : Tables
        Where the cells' tables go.
    digits : iterable of tuple of int
        Digits of column 0: ``(literal,)`` or ``(p, q)``.
    add : int
        Constant, of either sign.
    width : int
        Bits of the result, at least 1.
    cells : str
        ``"plain"``: full and half adders, which yosys' mapper regroups well. ``"coded"``: MDFA cells on coded pairs, three
        LUT4 for two full adders, fewer where the mapper leaves the cells alone. ``"lut6"``: 6:3 counters.
    earliest : bool
        Whether the bits that come first are taken first, which makes the tree shallow; else they are taken in the order
        in which they joined the column, which maps smaller where only the last carry is wanted.

    Attributes
    ----------
    sources : list of Digit
        The digits given, and a constant one in every column in which ``add`` has a bit.
    cells : list of Cell
    result : list of Digit or None
        One bit per column below ``width``, None where the column is empty.
    """
    def __init__(self, tables, digits, *, add=0, width, cells="plain", earliest=True):
        if cells not in CELLS:
            raise ValueError(f"cells must be one of {list(CELLS)}, not {cells!r}")
        self.tables = tables
        self.width = width
        self.style = cells
        self.earliest = earliest
        self.add = add
        self.sources = [Digit(0, tuple(literals)) for literals in digits]
        self.sources += [Digit(column, (TRUE,)) for column in range(width) if add >> column & 1]
        self.cells = []
        self._columns = [[] for _ in range(width)]
        for digit in self.sources:
            self._columns[digit.column].append(digit)
        self.result = [self._reduce(column) for column in self._columns]
        self.check()

    def bits(self):
        """The literals of the result, lowest first."""
        return [FALSE if digit is None else digit.literals[0] for digit in self.result]

    @property
    def levels(self):
        """Tables in a row from the sources to the last bit of the result."""
        return self.tables.level(*self.bits())

    def check(self):
        """Raise :exc:`AssertionError` unless the cells conserve the sum.

        Each digit is made once (as a source or by a cell) and taken once (by a later cell or as the result), a cell's
        digits have the codes and columns of its compressor, and what is left over counts a multiple of
        ``2 ** width``. As each compressor conserves the sum of its digits, which is proven apart over all its inputs,
        the whole list telescopes: the result is the sum of the sources modulo ``2 ** width``.
        """
        open_digits = {}
        for digit in self.sources:
            assert id(digit) not in open_digits, "a source is there twice"
            open_digits[id(digit)] = digit
        for cell in self.cells:
            column = cell.inputs[0].column
            assert len(cell.inputs) == len(cell.compressor.inputs), cell
            for digit, code in zip(cell.inputs, cell.compressor.inputs, strict=True):
                assert open_digits.pop(id(digit), None) is digit, f"{digit} is taken twice, or before it is made"
                assert digit.column == column and len(digit.literals) == len(code.split(",")), cell
            assert len(cell.outputs) == len(cell.compressor.outputs), cell
            for digit, (code, offset) in zip(cell.outputs, cell.compressor.outputs, strict=True):
                assert digit.column == column + offset and len(digit.literals) == len(code.split(",")), cell
                assert id(digit) not in open_digits, f"{digit} is made twice"
                open_digits[id(digit)] = digit
        assert len(self.result) == self.width
        for column, digit in enumerate(self.result):
            if digit is not None:
                assert open_digits.pop(id(digit), None) is digit, f"{digit} is not there to be the result"
                assert digit.column == column and len(digit.literals) == 1, digit
        assert all(digit.column >= self.width for digit in open_digits.values()), "a digit is left over"

    def _apply(self, compressor, *digits):
        """Take ``digits`` out of their column, put the cell's outputs into theirs."""
        column = digits[0].column
        for digit in digits:
            self._columns[column].remove(digit)
        literals = compressor.build(self.tables, [digit.literals for digit in digits])
        outputs = tuple(Digit(column + offset, bits)
                        for (_, offset), bits in zip(compressor.outputs, literals, strict=True))
        self.cells.append(Cell(compressor, digits, outputs))
        for digit in outputs:
            if digit.column < self.width:
                self._columns[digit.column].append(digit)

    def _reduce(self, column):
        """Reduce one column to at most one bit, which is returned (or None)."""
        while True:
            order = sorted(column, key=lambda digit: (digit.literals == (TRUE,),
                                                      self.earliest and self.tables.level(*digit.literals)))
            bits = [digit for digit in order if len(digit.literals) == 1]
            pairs = [digit for digit in order if len(digit.literals) == 2]
            coded = self.style == "coded"
            if coded and bits and len(pairs) >= 2:
                self._apply(MDFA, bits[0], *pairs[:2])
            elif coded and pairs and len(bits) >= 3:
                self._apply(MIXED_53, bits[0], pairs[0], *bits[1:3])
            elif pairs and bits:
                self._apply(PAIR_FULL_ADDER, bits[0], pairs[0])
            elif pairs:
                self._apply(PAIR_HALF_ADDER, pairs[0])
            elif self.style == "lut6" and len(bits) >= 6:
                self._apply(COUNTER_63, *bits[:6])
            elif coded and len(bits) >= 5:
                self._apply(PLAIN_53, *bits[:5])
            elif len(bits) >= 3:
                self._apply(FULL_ADDER, *bits[:3])
            elif len(bits) == 2:
                self._apply(HALF_ADDER, *bits)
            else:
                return bits[0] if bits else None
