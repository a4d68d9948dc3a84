"""Block RAMs that hold a vector get their places before all else is placed.

An analytic placer draws everything to the middle and then spreads it; which parts of a network belong apart it does not find
out. The RAMs where the parts begin, fixed along the device's columns in their order, hold them apart.
"""

import json
import re
from pathlib import Path

__all__ = ["anchor"]

# device -> columns of block RAMs, and the rows in each (Project IceStorm, chip databases)
SITES = {"hx1k": ((3, 10), range(1, 16, 2)), "up5k": ((6, 19), range(1, 30, 2)), "hx8k": ((8, 25), range(1, 32, 2))}
IMAGE = re.compile(r"(?:^|\.)image\.block(\d+)$")     # instances of bnnhw.gateware.gather.Image's module


def _sites(device, count):
    """Places for ``count`` block RAMs: up the first column and down the second, those in the middle left for others."""
    (left, right), rows = SITES[device.name]
    each = -(-count // 2)
    low = -(-each // 2)
    rows = [*rows[:low], *rows[len(rows) - (each - low):]]
    return [f"X{left}/Y{y}/ram" for y in rows] + [f"X{right}/Y{y}/ram" for y in reversed(rows)]


def anchor(netlist, device):
    """Fix the places of the block RAMs that hold a lookup stage's input, in the netlist file for nextpnr; others stay free.

    Parameters
    ----------
    netlist : path
        JSON of yosys; written anew if there is something to fix.
    device : Device

    Returns
    -------
    int
        How many were fixed: none of a device whose columns are not known.
    """
    if device.name not in SITES:
        return 0
    design = json.loads(Path(netlist).read_text())
    found = []
    for module in design["modules"].values():
        for name, cell in module["cells"].items():
            if cell["type"] == "SB_RAM40_4K" and (match := IMAGE.search(name)):
                found.append((name[:match.start(1)], int(match[1]), cell))
    if not found or len(found) > device.brams:
        return 0
    found.sort(key=lambda block: block[:2])
    for (*_, cell), place in zip(found, _sites(device, len(found)), strict=False):
        cell["attributes"]["BEL"] = place
    Path(netlist).write_text(json.dumps(design))
    return len(found)
