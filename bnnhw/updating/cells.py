"""Where the bits of block RAM stand: in synthesized Verilog, in routed designs, and which address and data bit each one is.

A *layout* is an int array (addresses, data bits) of places among all the bits that a block RAM's text gives, its words in order
and each from its least significant bit on. Sources: yosys' own mapping (``ice40/brams_map.v``, ``lattice/brams_map_16kd.v``,
``gowin/brams_map.v``), nextpnr's ``bitstream.cc`` of each family, and for ECP5 Lattice FPGA-TN-02204.
"""

import re
from dataclasses import dataclass

import numpy as np

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """How a kind of text gives the contents of block RAMs.

    Attributes
    ----------
    block, word : re.Pattern
        What gives one block RAM; within that, each of its words: ``literal``, in that ``digits`` and, where the text says them,
        their ``base`` and the word's ``bits``; with a ``name`` the words' order is that of the names.
    digits : str
        A word of ``value`` and ``bits`` as this text writes it.
    base : int
        Of the digits, where the text does not say it.
    word_bits : int
        Of a word, where the text does not say it by ``bits``.
    layouts : tuple of int arrays
    """
    block: re.Pattern
    word: re.Pattern
    digits: str
    base: int
    word_bits: int
    layouts: tuple

    def words(self, text):
        """(start, end, value, bits) of each word of a block's match, by their places; bits that are not known are 0."""
        for found in sorted(self.word.finditer(text), key=lambda found: found.groupdict().get("name", "")):
            groups = found.groupdict()
            base = {"h": 16, "b": 2}[groups["base"]] if groups.get("base") else self.base
            digits = found["digits"]
            bits = int(groups.get("bits") or 0) or self.word_bits or len(digits)
            yield *found.span("literal"), int(re.sub("[xz]", "0", digits), base), bits


def _grid(width, size):
    """Places of the data bits of ``width`` where addresses follow each other in ``size`` bits: (size / width, width)."""
    return np.arange(size // width * width).reshape(-1, width)


def _ice40():
    """A row of 16 bits, in narrow widths several words: their place in it is turned around."""
    for width in (16, 8, 4, 2):
        places = _grid(width, 4096)
        turned = sum((places >> k & 1) << 3 - k for k in range(4))
        yield places & ~15 | turned


def _ecp5():
    """Places in 512 rows of 36 bits: four units of nine, of which narrow widths leave out the last."""
    for width in (36, 18, 9):
        yield _grid(width, 18432)
    for width in (4, 2, 1):
        places = _grid(width, 16384)
        yield places // 8 * 9 + places % 8


def _apart(places):
    """As INITVAL has them: half rows of 18 bits, 20 apart."""
    return places // 18 * 20 + places % 18


def _gowin():
    for width in (36, 18, 9):
        yield _grid(width, 18432)
    for width in (32, 16, 8, 4, 2, 1):
        yield _grid(width, 16384)


def _verilog(cell, parameter, layouts):
    """As yosys writes cells."""
    return Format(re.compile(rf"^  {cell} #\(\n(?:    .*\n)+?  \) ", re.M),
                  re.compile(rf"\.(?P<name>{parameter})\((?P<literal>(?P<bits>\d+)'(?P<base>[hb])(?P<digits>[0-9a-fxz]+))\)"),
                  "{bits}'h{value:x}", 16, 0, tuple(layouts))


# Of each family: its netlist as Verilog, and what its router writes.
FORMATS = {
    "ice40": (
        _verilog("SB_RAM40_4K", "INIT_[0-9A-F]", _ice40()),
        Format(re.compile(r"^\.ram_data \d+ \d+\n(?:[0-9a-f]{64}\n){16}", re.M),
               re.compile("^(?P<literal>(?P<digits>[0-9a-f]{64}))$", re.M), "{value:064x}", 16, 256, tuple(_ice40()))),
    "ecp5": (
        _verilog("DP16KD", "INITVAL_[0-9A-F]{2}", map(_apart, _ecp5())),
        Format(re.compile(r"(?:^(?:[0-9a-f]{3} ){7}[0-9a-f]{3} ?\n){256}", re.M),
               re.compile(r"(?P<literal>(?P<digits>[0-9a-f]{3}))"), "{value:03x}", 16, 9, tuple(_ecp5()))),
    "gowin": (
        _verilog("(?:SP|SPX9|SDPB|SDPX9B|DPB|DPX9B|pROM|pROMX9)", "INIT_RAM_[0-9A-F]{2}", _gowin()),
        Format(re.compile(r'(?:^ *"INIT_RAM_[0-9A-F]{2}": "[01xz]+",?\n)+', re.M),
               re.compile(r'"(?P<name>INIT_RAM_[0-9A-F]{2})": "(?P<literal>(?P<digits>[01xz]+))"'), "{value:0{bits}b}", 2, 0,
               tuple(_gowin()))),
}
