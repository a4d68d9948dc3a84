"""Placement with rows of tables that it must not fill."""

import json
import re
from types import SimpleNamespace

import pytest

from bnnhw import bitstream, devices, families, folding, implement, spacing, tools
from bnnhw.lower import lower
from bnnhw.stages.dense import UnfoldedOptions
from bnnhw.stages.lookup import LookupOptions

from . import networks

DESIGN = """
module top(input pad, input d, output reg q);
  wire clk; EHXPLLL #(.CLKI_DIV(1), .CLKFB_DIV(2), .CLKOP_DIV(12), .FEEDBK_PATH("CLKOP"), .CLKOP_ENABLE("ENABLED"))
  pll(.CLKI(pad), .CLKFB(clk), .CLKOP(clk), .RST(1'b0), .STDBY(1'b0), .ENCLKOP(1'b1));
  reg [8:0] memory [0:299]; reg [8:0] at, read;
  always @(posedge clk) begin at <= at + 3; read <= memory[at]; if (d) memory[at] <= s; end
  reg [63:0] s; reg [31:0] sum; always @(posedge clk) begin s <= {s, d ^ s[5]}; sum <= sum + s; q <= ^sum ^ ^read; end
endmodule"""
PINS = (("pad", "G2", "PULLMODE=NONE IO_TYPE=LVCMOS33"), ("d", "R1", "PULLMODE=UP IO_TYPE=LVCMOS25"),
        ("q", "B2", "PULLMODE=NONE IO_TYPE=LVCMOS33 DRIVE=4"))
# of pins, PLL, block RAM, and of block RAMs' and multipliers' inputs that are tied to a constant
SETTINGS = r"^enum: (?:PIO|PLL|CLK|MODE|FEEDBK|REFIN|GND|INT|KVCO|LPF|MFG|FREQ|DPHASE|CLKI|CLKOP|EBR|CIB)\S* \S+$"


def _rows(netlist):
    """Rows in which the tables of a placed design stand: those that are held, and the others."""
    found = {True: set(), False: set()}
    for name, cell in implement.top_module(json.loads(netlist.read_text()))["cells"].items():
        if cell["type"] == "TRELLIS_COMB":
            found[name.startswith(spacing.HELD)].add(int(re.match(r"X\d+/Y(\d+)/", cell["attributes"]["NEXTPNR_BEL"])[1]))
    return found[True], found[False]


@pytest.mark.parametrize("name", ["ecp5-12f", *(pytest.param(name, marks=pytest.mark.slow) for name in (
    "ecp5-25f", "ecp5-25f-8", "ecp5-45f", "ecp5-85f", "ecp5um5g-85f"))])
def test_same_design(name, tmp_path, monkeypatch):
    """Settings and what is used are those without held rows; only what was held is in them."""
    (tmp_path / "d.v").write_text(DESIGN)
    lines = [f'LOCATE COMP "{port}" SITE "{pin}";\nIOBUF PORT "{port}" {how};\n' for port, pin, how in PINS]
    (tmp_path / "d.lpf").write_text("".join(lines) + 'FREQUENCY PORT "pad" 25 MHZ;\n')
    device = devices.find(name)
    counts = implement.synthesize([tmp_path / "d.v"], "top", device, netlist=tmp_path / "d.json")
    monkeypatch.setattr(spacing, "MANY_CELLS", 0)
    found, find = [], tools.find

    def and_write(name):
        """nextpnr writes the placed design, too."""
        more = ["--write", "placed.json"] if name.startswith("nextpnr") else []
        return SimpleNamespace(run=lambda arguments, **others: find(name).run([*arguments, *more], **others))
    monkeypatch.setattr(tools, "find", and_write)
    for with_rows in (False, True):
        held = spacing.hold(tmp_path / "d.json", device) if with_rows else 0
        routed = tmp_path / f"{with_rows}.config"
        figures = implement.route(tmp_path / "d.json", device, package="CABGA381", constraints=tmp_path / "d.lpf", clock_hz=25e6,
                                  output=routed, counts=counts, held=held, log=tmp_path / "nextpnr.log")
        assert ("Static placer" in (tmp_path / "nextpnr.log").read_text()) == with_rows
        implement.pack(routed, device, tmp_path / f"{with_rows}.bit")
        settings = re.findall(SETTINGS, routed.read_text(), re.M)
        # Wherever the block RAM stands: where in a tile says which wires its inputs have, and what these are tied to.
        settings = [re.sub(r"EBR\d|CIB.*", lambda found: found[0][:3], line) for line in settings]
        found.append((sorted(settings), figures.luts, figures.ffs, figures.brams,
                      figures.fmax_hz > 25e6))
    assert len(found[0][0]) > 40 and found[0][3] == 1 and found[0] == found[1]
    right, bottom, without = spacing.SITES[name]
    rows = [row for row in range(2, bottom + 1) if row not in without]
    assert held == 8 * (right - 1) * len(rows[1::3])
    filled, used = _rows(tmp_path / "placed.json")
    assert filled == set(rows[1::3]) and used <= set(rows) - filled


def test_error_without_held_tables(tmp_path, monkeypatch):
    """What a design takes that does not fit is said without the tables that are held."""
    def run(arguments, **_):
        raise tools.ToolError("ERROR: Unable to place cell 'a', no BELs remaining",
                              "Info:  TRELLIS_COMB: 13000/24288 53%\nInfo:  DP16KD: 57/ 56 101%\n")
    monkeypatch.setattr(tools, "find", lambda name: SimpleNamespace(run=run))
    with pytest.raises(implement.ImplementError, match="it takes 12000 logic cells and 57 block RAMs"):
        implement.route(tmp_path / "d.json", devices.find("ecp5-25f"), package="CABGA381", constraints=None, clock_hz=1e6,
                        output=tmp_path / "d.config", counts={"LUT4": 10_001}, held=1_000)


@pytest.mark.parametrize("name, counts, held", [
    ("ecp5-25f", {"LUT4": 8_000, "CCU2C": 2_072}, True), ("ecp5-25f", {"LUT4": 8_000, "CCU2C": 2_073}, False),
    ("ecp5-25f", {"LUT4": 10_000}, False), ("ecp5-25f", {"LUT4": 10_000, "TRELLIS_DPR16X4": 1}, True),
    ("ecp5-25f", {"LUT4": 7_000, "PFUMX": 3_001}, True), ("ecp5-25f", {"LUT4": 12_130, "TRELLIS_DPR16X4": 3}, False),
    ("hx8k", {"SB_LUT4": 12_000}, False)])
def test_room(name, counts, held, tmp_path):
    """Rows are held in designs of many cells, where no more than half of the tables' places are used: 12,144 of a 25F."""
    cells = {f"{kind}{k}": {"type": kind} for kind, count in (counts | {"TRELLIS_FF": 20_000}).items() for k in range(count)}
    (tmp_path / "n.json").write_text(json.dumps({"modules": {
        "top": {"attributes": {"top": "1"}, "cells": cells}, "LUT4": {"attributes": {"blackbox": "1"}, "cells": {}}}}))
    count = spacing.hold(tmp_path / "n.json", devices.find(name))
    after = json.loads((tmp_path / "n.json").read_text())["modules"]["top"]["cells"]
    places = {cell["attributes"]["BEL"] for name, cell in after.items() if name not in cells}
    assert (count > 0) == held and len(places) == count == len(after) - len(cells)


@pytest.mark.parametrize("blocks, untimed", [(1, False), (2, True)])
def test_networks(blocks, untimed):
    """Layers of constants in several blocks are routed for wires alone; blocks of tables are something else."""
    network = networks.dense_network((8, 6, 3), (4, 4, 1), seed=5)
    stages = lower(network)
    options = folding.fold(network, stages, clock_hz=1_000_000, fps=100).options
    first = next(stage.name for stage in stages if stage.kind == "dense")
    own = {first: UnfoldedOptions(fabric="ecp5", depth=2, blocks=blocks),
           "other": LookupOptions(kind="lookup", lanes=1, fabric="ice40", depth=2, blocks=2)}
    assert bitstream._in_blocks(SimpleNamespace(options=options | own)) == untimed


@pytest.mark.parametrize("held, untimed, wanted", [
    (0, False, []), (5, False, ["--placer", "static", "--router", "router2"]),
    (5, True, ["--placer", "static", "--router", "router2", "--no-tmdriv"])])
def test_arguments(held, untimed, wanted, tmp_path, monkeypatch):
    given = []

    def run(arguments, **_):
        given.extend(arguments)
        raise tools.ToolError("ERROR: no", "")
    monkeypatch.setattr(tools, "find", lambda name: SimpleNamespace(run=run))
    with pytest.raises(tools.ToolError):
        implement.route(tmp_path / "d.json", devices.find("ecp5-25f"), package="CABGA381", constraints=None, clock_hz=1e6,
                        output=tmp_path / "d.config", counts={"LUT4": 10}, held=held, untimed=untimed)
    assert given[given.index("--lpf-allow-unconstrained") + 1:given.index("--freq")] == wanted


def test_devices():
    """Every device of a family that is told how to route such designs is known."""
    able = {name for name, family in families.FAMILIES.items() if family.held_rows}
    assert set(spacing.SITES) == {device.name for device in devices.DEVICES.values() if device.family in able}
