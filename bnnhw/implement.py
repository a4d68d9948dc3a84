"""Synthesis, place and route: Verilog to a bitstream, with the figures read back from the tools."""

import json
import math
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from . import timing_path, tools
from .errors import UserError
from .families import FAMILIES, MANY_CELLS

__all__ = ["ImplementError", "Implementation", "synthesize", "route", "route_minutes", "pack", "top_module"]

ROUTE_MINUTES = 60      # for a placement and its routing, unless the setting says otherwise
LIMIT_SETTING = "BNNHW_ROUTE_MINUTES"

# What nextpnr says then.
DOES_NOT_FIT = r"Unable to place|no BELs remaining|too many|not enough|failed to place|Failed to expand region"


class ImplementError(UserError):
    """A design that does not fit the device or does not reach its clock; the message has the figures."""


@dataclass(frozen=True)
class Implementation:
    """Figures of a placed and routed design.

    Attributes
    ----------
    device : str
    luts, ffs, brams : int
        nextpnr's packed logic cells (of Gowin LUTs, ALUs and the LUTs of memories), yosys' flip-flops, nextpnr's block RAMs.
    luts_limit, ffs_limit, brams_limit : int
        How many the device has.
    fmax_hz : float
        Of the slowest clock, after routing.
    clock_hz : float
        The clock that was asked for.
    seed : int
        nextpnr's.
    path : dict or None
        What sets ``fmax_hz``, as :func:`bnnhw.timing_path.slowest` gives it.
    """
    device: str
    luts: int
    luts_limit: int
    ffs: int
    ffs_limit: int
    brams: int
    brams_limit: int
    fmax_hz: float
    clock_hz: float
    seed: int
    path: dict | None = None

    def as_dict(self):
        return asdict(self)


def synthesize(sources, top, device, *, netlist, part=None, part_verilog=None, log=None):
    """Run yosys.

    Parameters
    ----------
    sources : list of path
        Verilog files.
    top : str
    device : Device
    netlist : path
        JSON netlist to write, for nextpnr.
    part : str, optional
        A module that keeps its border while it is mapped, so that it can be simulated on its own.
    part_verilog : path, optional
        Where the mapped ``part`` goes as Verilog: the very cells that are in ``netlist``.

    Returns
    -------
    dict cell type -> count
    """
    stat = Path(f"{netlist}.stat")
    family = FAMILIES[device.family]
    command = family.synthesis.format(device=device) + f" -top {top}"
    script = [f"read_verilog {_quoted(source)}" for source in sources]
    if part:
        script += [f"hierarchy -top {top}", f"setattr -mod -set keep_hierarchy 1 {part}"]
    script += [command]
    if part:
        script += [f"select {part}", f"write_verilog -noattr -selected {_quoted(part_verilog)}", "select -clear",
                   f"setattr -mod -unset keep_hierarchy {part}", "flatten", "opt_clean -purge"]
    if family.pads:
        script += [family.pads]
    script += [f"write_json {_quoted(netlist)}", f"tee -q -o {_quoted(stat)} stat -json"]
    tools.find("yosys").run(["-p", "\n".join(script)], log=log)
    counts = json.loads(stat.read_text())["design"]["num_cells_by_type"]
    stat.unlink()
    return counts


def _quoted(path):
    return '"' + str(path).replace('"', '\\"') + '"'


def route(netlist, device, *, package, constraints, clock_hz, output, seed=1, log=None, counts=None, held=0,
          untimed=False):
    """Run nextpnr and read its figures back.

    Parameters
    ----------
    netlist : path
        From :func:`synthesize`.
    constraints : path or None
        Pins, in the family's format; None places the pins somewhere, for figures of a design without a board.
    clock_hz : float
        The clock to reach.
    output : path
        Routed design, in the family's format.
    counts : dict, optional
        What :func:`synthesize` returned, for the flip-flops and for the router to choose.
    held : int
        How many of the netlist's tables :func:`bnnhw.spacing.hold` put there. They are not counted.
    untimed : bool
        Whether placement and routing go for wires alone.

    Returns
    -------
    Implementation

    Raises
    ------
    ImplementError
        It does not fit, the device is known for synthesis only, or it is not routed after :data:`ROUTE_MINUTES` or what the
        environment's BNNHW_ROUTE_MINUTES says. A missed clock is for the caller to judge: see ``fmax_hz``.
    """
    minutes = route_minutes()
    family = FAMILIES[device.family]
    if not family.router:
        raise ImplementError(f"bnnhw knows no open place and route for {device.name}: there are but the figures of synthesis")
    folder = Path(output).resolve().parent
    with tempfile.TemporaryDirectory(prefix=".route-", dir=folder) as temporary:
        report = Path(temporary, "report.json")
        if constraints is None and device.pins:
            constraints = Path(temporary, "pins.cst")
            constraints.write_text(_some_pins(netlist, device))
        words = {"device": device, "package": package, "netlist": _within(netlist, folder), "routed": _within(output, folder),
                 "constraints": constraints and _within(constraints, folder)}
        words_of_pins = family.pins if constraints else family.unconstrained
        name, *arguments = (word.format(**words) for word in family.router + words_of_pins)
        cells = sum(count for cell, count in (counts or {}).items() if not family.flipflops.match(cell))
        own = family.held_rows if held else family.crowded if cells > MANY_CELLS else ()
        arguments += [*own, *(family.untimed if untimed else ()), "--freq", f"{clock_hz / 1e6:.4f}", "--seed", seed,
                      "--report", _within(report, folder), "--timing-allow-fail"]
        try:
            tools.find(name).run(arguments, cwd=folder, log=log, limit_s=60 * minutes)
        except tools.ToolUnended as unended:
            raise ImplementError(_unended(unended, device, minutes)) from None
        except tools.ToolError as error:
            raise _explained(error, device, held) from None
        figures = json.loads(report.read_text())
    found, (luts, *_) = figures["utilization"], family.logic_cells
    used = sum(places * found[cell]["used"] for cell, places in family.logic_cells.items() if cell in found) - held
    brams = found[family.block_ram]
    if not figures["fmax"]:
        raise ImplementError("nextpnr found no clock to time")
    slowest = min(entry["achieved"] for entry in figures["fmax"].values()) * 1e6
    ffs = sum(count for cell, count in (counts or {}).items() if family.flipflops.match(cell))
    return Implementation(device.name, used, found[luts]["available"], ffs, device.ffs, brams["used"], brams["available"],
                          slowest, clock_hz, seed, timing_path.slowest(figures))


def route_minutes():
    """How long nextpnr may take, as ``BNNHW_ROUTE_MINUTES`` says it; :exc:`ImplementError` where that is no time."""
    text = os.environ.get(LIMIT_SETTING, str(ROUTE_MINUTES))
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise ImplementError(f"{LIMIT_SETTING} must be a number of minutes above 0, not {text!r}")
    return minutes


def _unended(unended, device, minutes):
    """What to say of a run of nextpnr that was ended."""
    said = [line.strip() for line in unended.output.splitlines() if line.strip()]
    return (f"not routed after {minutes:g} minutes on {device.name} (nextpnr's last line: {said[-1] if said else 'none'}): fewer "
            f"lanes need fewer wires (--fps), a larger device has more; {LIMIT_SETTING} gives it longer")


def top_module(netlist):
    """The design in yosys' JSON ``netlist``, whose other modules only declare cells."""
    top, = (module for module in netlist["modules"].values() if int(module["attributes"].get("top", "0"), 2))
    return top


def _some_pins(netlist, device):
    """Constraints in which every port of the design has a pin of ``device``, whichever."""
    top = top_module(json.loads(Path(netlist).read_text()))
    ports = [port if len(bits["bits"]) == 1 else f"{port}[{k}]" for port, bits in top["ports"].items()
             for k in range(len(bits["bits"]))]
    pins = device.pins.split()
    if len(ports) > len(pins):
        raise ImplementError(f"the design does not fit {device.name}: it has {len(ports)} ports, but there are {len(pins)} pins")
    return "".join(f'IO_LOC "{port}" {pin};\n' for port, pin in zip(ports, pins, strict=False))


def _within(path, folder):
    """``path`` as seen from ``folder``: the WebAssembly builds of the tools see a /tmp of their own, but the working folder."""
    return os.path.relpath(Path(path).resolve(), folder)


def _explained(error, device, held):
    """What to say of an error of nextpnr's, where ``held`` of the tables are no part of the design."""
    text = str(error)
    if re.search(DOES_NOT_FIT, text, re.I):
        family = FAMILIES[device.family]
        used = {cell: int(count) for cell, count in re.findall(r"(\w+): *(\d+)/ *\d+ +\d+%", error.output)}
        luts = sum(places * used.get(cell, 0) for cell, places in family.logic_cells.items()) - held
        reason = next(line.strip() for line in text.split("\n") if re.search(DOES_NOT_FIT, line, re.I))
        return ImplementError(f"the design does not fit {device.name} ({device.luts} logic cells, {device.brams} block RAMs): "
                              f"it takes {luts} logic cells and {used.get(family.block_ram, 0)} block RAMs; {reason}")
    return error


def pack(routed, device, bitstream):
    """Turn a routed design into a bitstream file."""
    folder = Path(bitstream).resolve().parent
    words = {"device": device, "routed": _within(routed, folder), "bitstream": _within(bitstream, folder)}
    name, *arguments = (word.format(**words) for word in FAMILIES[device.family].packer)
    tools.find(name).run(arguments, cwd=folder)
