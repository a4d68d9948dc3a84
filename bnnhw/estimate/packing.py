"""What yosys and nextpnr make of Verilog: cells, flip-flops, block RAMs, without routing them."""

import json
import re
import tempfile
from pathlib import Path

from .. import tools
from ..families import FAMILIES
from ..implement import synthesize

__all__ = ["packed"]

PADS = ("IBUF", "OBUF")


def packed(text, top, device, *, constraints=None, folder=None):
    """Synthesize and pack; for Gowin place, too, since flip-flops take tables or not by where they are.

    Parameters
    ----------
    text : str
        Verilog.
    top : str
        Its top module.
    device : Device
        Of a family with a router.
    constraints : str, optional
        Pins, in the family's format. Without them a design for Gowin is placed without its ports, each of which would want a pin.
    folder : path, optional
        Where to leave the netlist, ``TOP.json``, and the constraints, ``TOP.pins``.

    Returns
    -------
    dict
        ``luts`` (nextpnr's packed cells, as :func:`bnnhw.implement.route` counts them), ``ffs`` (yosys'), ``brams``; and
        ``counts``, yosys' cells by type.
    """
    family = FAMILIES[device.family]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(folder or temporary)
        source, netlist, pins = (place / f"{top}.{end}" for end in ("v", "json", "pins"))
        source.write_text(text)
        pins.write_text(constraints or "")
        counts = synthesize([source], top, device, netlist=netlist)
        if device.pins:
            luts, brams = _placed(netlist, pins if constraints else None, device, place)
        else:
            used = _packed(netlist, pins if constraints else None, device)
            luts = sum(places * used.get(cell, 0) for cell, places in family.logic_cells.items())
            brams = used.get(family.block_ram, 0)
    return {"luts": luts, "ffs": sum(count for cell, count in counts.items() if family.flipflops.match(cell)), "brams": brams,
            "counts": counts}


def _run(netlist, pins, device, *more):
    """What nextpnr says that does not get as far as routing."""
    family = FAMILIES[device.family]
    words = {"device": device, "package": device.packages[0], "netlist": netlist.name, "constraints": pins and pins.name}
    last = family.router.index("{routed}")      # and the option before it: nothing is routed, so nothing can be written
    command = family.router[:last - 1] + family.router[last + 1:] + (family.pins if pins else family.unconstrained)
    name, *arguments = (word.format(**words) for word in command)
    return tools.find(name).run([*arguments, *more], cwd=netlist.parent).stdout


def _packed(netlist, pins, device):
    """Cells by type, as the packer leaves them."""
    output = _run(netlist, pins, device, "--pack-only")
    return {cell: int(count) for cell, count in re.findall(r"^Info:\s+(\w+):\s*(\d+)/", output, re.M)}


def _placed(netlist, pins, device, folder):
    """(places of tables that are taken, block RAMs) once placed. Until a design is routed, nextpnr's number of Gowin's LUT4s
    includes those whose places ALUs and LUT RAMs take: it is what :func:`bnnhw.implement.route` sums up afterwards."""
    if pins is None:
        design = json.loads(netlist.read_text())
        for module in design["modules"].values():
            module["ports"] = {}
            module["cells"] = {name: cell for name, cell in module["cells"].items() if cell["type"] not in PADS}
        netlist = folder / "bare.json"
        netlist.write_text(json.dumps(design))
    _run(netlist, pins, device, "--no-route", "--report", "placed.json")
    used = json.loads((folder / "placed.json").read_text())["utilization"]
    return used["LUT4"]["used"], used["BSRAM"]["used"]
