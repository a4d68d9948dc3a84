"""What yosys and nextpnr's packer make of Verilog: cells, flip-flops, block RAMs, without placing them."""

import re
import tempfile
from pathlib import Path

from .. import tools
from ..families import FAMILIES
from ..implement import synthesize

__all__ = ["packed"]


def packed(text, top, device, *, folder=None):
    """Synthesize and pack. Where nextpnr wants every pin placed before it packs (Gowin), the cells are yosys' own, which it
    packs one by one.

    Parameters
    ----------
    text : str
        Verilog.
    top : str
        Its top module.
    device : Device
        Of a family with a router.
    folder : path, optional
        Where to leave the netlist, ``TOP.json``.

    Returns
    -------
    dict
        ``luts`` (nextpnr's packed cells), ``ffs`` (yosys'), ``brams``; and ``counts``, yosys' cells by type.
    """
    family = FAMILIES[device.family]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(folder or temporary)
        source, netlist = place / f"{top}.v", place / f"{top}.json"
        source.write_text(text)
        counts = synthesize([source], top, device, netlist=netlist)
        ffs = sum(count for cell, count in counts.items() if family.flipflops.match(cell))
        if device.pins:
            return {"luts": sum(places * count for cell, count in counts.items()
                                for kind, places in family.logic_cells.items() if re.fullmatch(f"{kind.rstrip('4')}[1-4]?", cell)),
                    "ffs": ffs, "brams": sum(count for cell, count in counts.items() if re.fullmatch(family.memory, cell)),
                    "counts": counts}
        words = {"option": device.option, "package": device.packages[0], "netlist": netlist.name}
        last = family.router.index("{routed}")      # and the option before it: nothing is routed, so nothing can be written
        command = family.router[:last - 1] + family.router[last + 1:] + family.unconstrained
        name, *arguments = (word.format(**words) for word in command)
        output = tools.find(name).run([*arguments, "--pack-only"], cwd=place).stdout
    used = {cell: int(count) for cell, count in re.findall(r"^Info:\s+(\w+):\s*(\d+)/", output, re.M)}
    return {"luts": sum(places * used.get(cell, 0) for cell, places in family.logic_cells.items()),
            "ffs": ffs, "brams": used.get(family.block_ram, 0), "counts": counts}
