"""What yosys and nextpnr's packer make of Verilog: cells, flip-flops, block RAMs, without placing them."""

import re
import tempfile
from pathlib import Path

from .. import tools
from ..families import FAMILIES
from ..implement import synthesize

__all__ = ["packed"]


def packed(text, top, device, *, constraints=None, folder=None):
    """Synthesize and pack.

    Parameters
    ----------
    text : str
        Verilog.
    top : str
        Its top module.
    device : Device
        Of a family whose nextpnr packs without places for the pins: not Gowin.
    constraints : str, optional
        Pins, in the family's format.
    folder : path, optional
        Where to leave the netlist, ``TOP.json``, and the constraints, ``TOP.pins``.

    Returns
    -------
    dict
        ``luts`` (nextpnr's packed cells), ``ffs`` (yosys'), ``brams``; and ``counts``, yosys' cells by type.
    """
    family = FAMILIES[device.family]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(folder or temporary)
        source, netlist, pins = (place / f"{top}.{end}" for end in ("v", "json", "pins"))
        source.write_text(text)
        pins.write_text(constraints or "")
        counts = synthesize([source], top, device, netlist=netlist)
        used = _packed(netlist, pins if constraints else None, device)
    return {"luts": sum(places * used.get(cell, 0) for cell, places in family.logic_cells.items()),
            "ffs": sum(count for cell, count in counts.items() if family.flipflops.match(cell)),
            "brams": used.get(family.block_ram, 0), "counts": counts}


def _packed(netlist, pins, device):
    """Cells by type, as the packer leaves them."""
    family = FAMILIES[device.family]
    words = {"option": device.option, "package": device.packages[0], "netlist": netlist.name, "constraints": pins and pins.name}
    last = family.router.index("{routed}")      # and the option before it: nothing is routed, so nothing can be written
    command = family.router[:last - 1] + family.router[last + 1:] + (family.pins if pins else family.unconstrained)
    name, *arguments = (word.format(**words) for word in command)
    output = tools.find(name).run([*arguments, "--pack-only"], cwd=netlist.parent).stdout
    return {cell: int(count) for cell, count in re.findall(r"^Info:\s+(\w+):\s*(\d+)/", output, re.M)}
