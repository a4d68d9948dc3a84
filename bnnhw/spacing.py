"""Rows of tables that placement must not fill, so that there are wires beside those that it does.

nextpnr's placers shorten wires until cells stand as densely as they can. Where there are many, wires run out in dense parts while
other parts of the device stay empty: with layers of constants, with tables that are wired freely, and with folded layers of many
lanes. Tables that nothing is connected to, fixed in every third row, thin out a design everywhere; flip-flops may still stand in
these rows. docs/baked.md has what that changes.
"""

import json
from pathlib import Path

from .families import FAMILIES, MANY_CELLS
from .implement import top_module

__all__ = ["SITES", "hold"]

PERIOD = 3          # one row of so many
HELD = "held row "  # what names of such tables begin with
TABLES = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}      # yosys' cells that take places of tables, and how many

# device -> the last column and the last row with slices, and the rows of block RAMs and multipliers between; slices begin at
# column and row 2 (Project Trellis, tile grids)
_25F, _45F, _85F = (70, 48, (13, 25, 37)), (88, 69, (10, 22, 34, 46, 58)), (124, 93, (10, 22, 34, 46, 58, 70, 82))
SITES = {"ecp5-12f": _25F, "ecp5-25f": _25F, "ecp5-25f-8": _25F, "ecp5-45f": _45F, "ecp5-85f": _85F, "ecp5um5g-85f": _85F}


def hold(netlist, device):
    """Put a table in every place of one row in :data:`PERIOD`, in the netlist file for nextpnr.

    Parameters
    ----------
    netlist : path
        JSON of yosys; written anew if rows are held.
    device : Device

    Returns
    -------
    int
        How many tables that are: none of a design of :data:`~bnnhw.families.MANY_CELLS` cells or fewer, flip-flops apart, of
        one that takes more than half of the device's places of tables, or on a device whose places are not known.
    """
    if device.name not in SITES:
        return 0
    design = json.loads(Path(netlist).read_text())
    cells = top_module(design)["cells"]
    kinds = [cell["type"] for cell in cells.values()]
    many = sum(not FAMILIES[device.family].flipflops.match(kind) for kind in kinds) > MANY_CELLS
    if not many or sum(TABLES.get(kind, 0) for kind in kinds) > device.luts // 2:
        return 0
    right, bottom, without = SITES[device.name]
    rows = [row for row in range(2, bottom + 1) if row not in without][1::PERIOD]
    places = [f"X{column}/Y{row}/SLICE{which}.K{k}" for row in rows for column in range(2, right + 1) for which in "ABCD"
              for k in (0, 1)]
    for place in places:
        cells[HELD + place] = {"type": "LUT4", "parameters": {"INIT": "0" * 16}, "attributes": {"BEL": place},
                               "port_directions": {"Z": "output"}, "connections": {}}
    Path(netlist).write_text(json.dumps(design))
    return len(places)
