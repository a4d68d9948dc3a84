"""Rows of tables that placement leaves empty, so that there are wires beside those that it fills.

nextpnr's placers shorten wires until a design stands as densely as it can. Of layers of constants that fill a third of a device
that is where wires run out, while half of the device is empty. Cells that stand in every third row while the others are placed,
and are gone before routing, thin it out everywhere; docs/baked.md has what that changes.
"""

import json
from pathlib import Path

__all__ = ["SITES", "hold", "release"]

PERIOD = 3          # one row of so many
HELD = "held row "  # what names of such cells begin with

# device -> the last column and the last row with slices, and the rows of block RAMs and multipliers between; slices begin at
# column and row 2 (Project Trellis, tile grids)
_25F, _45F, _85F = (70, 48, (13, 25, 37)), (88, 69, (10, 22, 34, 46, 58)), (124, 93, (10, 22, 34, 46, 58, 70, 82))
SITES = {"ecp5-12f": _25F, "ecp5-25f": _25F, "ecp5-45f": _45F, "ecp5-85f": _85F, "ecp5um5g-85f": _85F}


def _top(design):
    """The one module of yosys' or nextpnr's JSON that is the design, others are declarations of cells."""
    module, = (module for module in design["modules"].values() if int(str(module["attributes"].get("top", "0")), 2))
    return module


def hold(netlist, wider, device):
    """Write the netlist ``netlist`` to ``wider``, with a table in every place of one row in :data:`PERIOD`.

    Parameters
    ----------
    netlist, wider : path
        JSON of yosys.
    device : Device
        One of :data:`SITES`.

    Returns
    -------
    int
        How many tables that are: none where the design fills more than half of the device.
    """
    design = json.loads(Path(netlist).read_text())
    cells = _top(design)["cells"]
    places = {"LUT4": 1, "CCU2C": 2}
    right, bottom, without = SITES[device.name]
    rows = [row for row in range(2, bottom + 1) if row not in without][1::PERIOD]
    if sum(places.get(cell["type"], 0) for cell in cells.values()) > device.luts // 2:
        rows = []
    sites = [f"X{column}/Y{row}/SLICE{which}.K{k}" for row in rows for column in range(2, right + 1) for which in "ABCD"
             for k in (0, 1)]
    for site in sites:
        cells[HELD + site] = {"type": "LUT4", "parameters": {"INIT": "0" * 16}, "attributes": {"BEL": site},
                              "port_directions": {"Z": "output"}, "connections": {}}
    Path(wider).write_text(json.dumps(design))
    return len(sites)


def release(placed):
    """Take the tables of :func:`hold` out of what nextpnr wrote after placement, and let it route without delays in view.

    nextpnr's settings are in the file, and what they say holds, whatever its arguments say.

    Returns
    -------
    int
        How many tables that were.
    """
    design = json.loads(Path(placed).read_text())
    module = _top(design)
    before = len(module["cells"])
    module["cells"] = {name: cell for name, cell in module["cells"].items() if not name.startswith(HELD)}
    module["settings"]["timing_driven"] = f"{0:032b}"
    Path(placed).write_text(json.dumps(design))
    return before - len(module["cells"])
