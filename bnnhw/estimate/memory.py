"""What yosys makes of a memory: how many block RAMs, LUT RAMs, or logic, by the rules of its pass ``memory_libmap``.

For every kind of memory cell that a family has, the pass looks at each of the cell's widths, counts cells and the multiplexers
that join them, and takes what costs least; a memory may stay logic, too. The numbers below are those of yosys' own description
of the cells (``brams*.txt``, ``lutrams*.txt`` in its folder of cell libraries). Tests hold it to recorded runs.
"""

import functools
from dataclasses import dataclass

__all__ = ["Mapped", "mapped"]

MUX_COST = 0.5              # of a bit of a two-way multiplexer, and of a gate in front of a write enable
EMULATION_COST = 2          # of a unit of emulated behaviour
OLD_VALUE = 6               # units: a read must see the value before a write of the same cycle, which these cells do not promise
OWN_READ_PORT = 1
LOGIC_COST_RAM, LOGIC_COST_ROM = 1.0, 1 / 16        # of a bit that stays logic


@dataclass(frozen=True)
class Cell:
    """A memory cell: its ``widths`` have ``2**address_bits`` words at the first, half as many at each further one.

    ``byte``: granularity of writing, 0 for the whole width; ``least_write``: the narrowest width that it can write.
    """
    kind: str
    address_bits: int
    widths: tuple
    cost: int
    byte: int
    least_write: int = 0
    rom: bool = True
    scales: bool = False        # its cost is that of the bits in use


CELLS = {
    "ice40": (Cell("block", 11, (2, 4, 8), 64, 0), Cell("block", 11, (2, 4, 8, 16), 64, 1, least_write=16)),
    "ecp5": (Cell("block", 14, (1, 2, 4, 9, 18), 128, 9), Cell("block", 14, (1, 2, 4, 9, 18, 36), 128, 9, least_write=36),
             Cell("lut", 4, (4,), 4, 0, rom=False)),
    "gowin": (Cell("block", 14, (1, 2, 4, 9, 18), 128, 9), Cell("block", 14, (1, 2, 4, 9, 18, 36), 128, 9),
              Cell("lut", 4, (4,), 4, 0, rom=False, scales=True)),
}


@dataclass(frozen=True)
class Mapped:
    """``kind`` is ``"block"``, ``"lut"`` or ``"logic"``; ``cells`` of that kind; ``banks`` of addresses that are joined by
    multiplexers of ``width`` bits."""
    kind: str
    cells: int
    banks: int
    width: int


def _up(number, step):
    return -(-number // step) * step


def _geometry(cell, width, depth, rom):
    """The cheapest (cost, cells, banks) of one kind of cell."""
    best = None
    byte_width = max((k for k, bits in enumerate(cell.widths) if cell.byte >= bits), default=len(cell.widths) - 1)
    for k, unit in enumerate(cell.widths):
        if not rom and unit < cell.least_write and k < byte_width:
            continue
        byte = 1 if rom else min(cell.byte or unit, unit)
        words = 1 << cell.address_bits - k
        banks = -(-depth // words)
        padded = _up(width, byte)
        cells = -(-banks * padded // unit)
        cost = cell.cost * (banks * width / unit if cell.scales else cells)
        cost += MUX_COST * ((banks - 1) * width + (banks * (banks > 1 and not rom)))
        cost += EMULATION_COST * (OWN_READ_PORT + OLD_VALUE * (not rom and cell.kind == "block"))
        if best is None or cost < int(best[0]):
            best = cost, cells, banks
    return best


@functools.lru_cache(maxsize=None)
def mapped(family, width, depth, *, rom=False, style=None):
    """What a memory of ``depth`` words of ``width`` bits becomes.

    Parameters
    ----------
    family : str
        A key of :data:`CELLS`.
    rom : bool
        Nothing writes it. Otherwise there is one write port, and a read port with a register.
    style : str or None
        ``"block"`` or ``"logic"`` where the memory asks for it.
    """
    if style == "logic":
        return Mapped("logic", width * depth, 1, width)
    found = [(*_geometry(cell, width, depth, rom), cell.kind) for cell in CELLS[family]
             if (cell.rom or not rom) and style in (None, cell.kind)]
    if style is None:
        found.append(((LOGIC_COST_ROM if rom else LOGIC_COST_RAM) * width * depth, width * depth, 1, "logic"))
    _, cells, banks, kind = min(found, key=lambda own: own[0])
    return Mapped(kind, cells, banks, width)
