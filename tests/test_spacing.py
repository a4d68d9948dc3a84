"""Placement with rows of tables left empty, and routing in a second run."""

import json
import re
from types import SimpleNamespace

import pytest

from bnnhw import devices, families, implement, spacing, tools

DESIGN = """
module top(input pad, input d, output reg q);
  wire clk; EHXPLLL #(.CLKI_DIV(1), .CLKFB_DIV(2), .CLKOP_DIV(12), .FEEDBK_PATH("CLKOP"), .CLKOP_ENABLE("ENABLED"))
  pll(.CLKI(pad), .CLKFB(clk), .CLKOP(clk), .RST(1'b0), .STDBY(1'b0), .ENCLKOP(1'b1));
  reg [63:0] s; reg [31:0] sum; always @(posedge clk) begin s <= {s, d ^ s[5]}; sum <= sum + s; q <= ^sum; end
endmodule"""
PINS = (("pad", "G2", "PULLMODE=NONE IO_TYPE=LVCMOS33"), ("d", "R1", "PULLMODE=UP IO_TYPE=LVCMOS25"),
        ("q", "B2", "PULLMODE=NONE IO_TYPE=LVCMOS33 DRIVE=4"))
SETTINGS = r"^enum: (?:PIO|PLL|CLK|MODE|FEEDBK|REFIN|GND|INT|KVCO|LPF|MFG|FREQ|DPHASE|CLKI|CLKOP)\S* \S+$"


@pytest.mark.parametrize("name, cells, expected", [
    ("ecp5-85f", 10_001, [{"static", "router2", "--no-route", "--write"}, {"--no-place", "--no-pack"}]),
    ("ecp5-85f", 9_999, [set()]), ("hx8k", 10_001, [set()])])
def test_runs(name, cells, expected, tmp_path, monkeypatch):
    """Of a large design with layers in blocks the first run places, the second takes up what the first one wrote."""
    seen, words = [], {"static", "router2", "--no-route", "--write", "--no-place", "--no-pack"}

    def run(arguments, cwd, **_):
        seen.append([str(word) for word in arguments])
        if len(seen) == len(expected):
            raise tools.ToolError("stop")
    monkeypatch.setattr(tools, "find", lambda name: SimpleNamespace(run=run))
    monkeypatch.setattr(spacing, "hold", lambda netlist, wider, device: seen.append(["--json", "hold"]) or 0)
    monkeypatch.setattr(spacing, "release", lambda placed: seen.append(["--json", "release"]))
    device = devices.find(name)
    if len(expected) > 1:
        expected = [set(), expected[0], set(), expected[1]]
    with pytest.raises(tools.ToolError, match="^stop$"):
        implement.route(tmp_path / "d.json", device, package=device.packages[0], constraints=None, clock_hz=1e6,
                        output=tmp_path / "d.config", counts={"LUT4": cells}, spread=True)
    assert [words & set(arguments) for arguments in seen] == expected
    if len(expected) > 1:
        _, place, _, route = seen
        assert route[route.index("--json") + 1] == place[place.index("--write") + 1]


def _rows(placed):
    """Rows in which the tables of a placed design stand."""
    top, = json.loads(placed.read_text())["modules"].values()
    return {int(re.match(r"X\d+/Y(\d+)/", cell["attributes"]["NEXTPNR_BEL"])[1]) for cell in top["cells"].values()
            if cell["type"] == "TRELLIS_COMB"}


@pytest.mark.parametrize("name", ["ecp5-12f", *(pytest.param(name, marks=pytest.mark.slow) for name in (
    "ecp5-25f", "ecp5-45f", "ecp5-85f", "ecp5um5g-85f"))])
def test_two_runs_give_what_one_does(name, tmp_path, monkeypatch):
    """Pins, their electrical settings, the PLL and what is used are those of a design routed in one run; held rows are free."""
    (tmp_path / "d.v").write_text(DESIGN)
    lines = [f'LOCATE COMP "{port}" SITE "{pin}";\nIOBUF PORT "{port}" {how};\n' for port, pin, how in PINS]
    (tmp_path / "d.lpf").write_text("".join(lines) + 'FREQUENCY PORT "pad" 25 MHZ;\n')
    device = devices.find(name)
    counts = implement.synthesize([tmp_path / "d.v"], "top", device, netlist=tmp_path / "d.json")
    monkeypatch.setattr(implement, "MANY_CELLS", 0)
    found, held, seen = [], [], {}

    def hold(netlist, *more, original=spacing.hold):
        held.append(original(netlist, *more))
        return held[0]

    def release(placed, original=spacing.release):
        seen["before"] = len(_rows(placed))
        assert original(placed) == held[0]
        seen["rows"] = _rows(placed)
    monkeypatch.setattr(spacing, "hold", hold)
    monkeypatch.setattr(spacing, "release", release)
    for spread in (False, True):
        routed = tmp_path / f"{spread}.config"
        figures = implement.route(tmp_path / "d.json", device, package="CABGA381", constraints=tmp_path / "d.lpf", clock_hz=25e6,
                                  output=routed, counts=counts, spread=spread, log=tmp_path / "nextpnr.log")
        log = (tmp_path / "nextpnr.log").read_text()
        assert "Running router2" in log and ("placer" in log) == (not spread)
        implement.pack(routed, device, tmp_path / f"{spread}.bit")
        settings = re.findall(SETTINGS, routed.read_text(), re.M)
        found.append((sorted(settings), figures.luts, figures.ffs, figures.brams, figures.fmax_hz > 25e6))
    assert len(found[0][0]) > 20 and found[0] == found[1]
    right, bottom, without = spacing.SITES[name]
    rows = [row for row in range(2, bottom + 1) if row not in without]
    assert held == [8 * (right - 1) * len(rows[1::3])] and seen["before"] >= len(rows[1::3])
    assert seen["rows"] <= set(rows) - set(rows[1::3])
    assert "Static placer" in (tmp_path / "nextpnr-place.log").read_text()


def test_error_without_held_tables(tmp_path, monkeypatch):
    """What a design takes that does not fit is said without the tables that are held."""
    def run(arguments, **_):
        error = tools.ToolError("ERROR: Unable to place cell 'a', no BELs remaining")
        error.output = "Info:  TRELLIS_COMB: 13000/24288 53%\nInfo:  DP16KD: 57/ 56 101%\n"
        raise error
    monkeypatch.setattr(tools, "find", lambda name: SimpleNamespace(run=run))
    monkeypatch.setattr(spacing, "hold", lambda netlist, wider, device: 1_000)
    with pytest.raises(implement.ImplementError, match="it takes 12000 logic cells and 57 block RAMs"):
        implement.route(tmp_path / "d.json", devices.find("ecp5-25f"), package="CABGA381", constraints=None, clock_hz=1e6,
                        output=tmp_path / "d.config", counts={"LUT4": 10_001}, spread=True)


def _netlist(path, tables, chains):
    cells = {f"t{k}": {"type": "LUT4"} for k in range(tables)} | {f"c{k}": {"type": "CCU2C"} for k in range(chains)}
    path.write_text(json.dumps({"modules": {"top": {"attributes": {"top": "1"}, "cells": cells | {"r": {"type": "TRELLIS_FF"}}},
                                            "LUT4": {"attributes": {"blackbox": "1"}, "cells": {}}}}))


@pytest.mark.parametrize("tables, holds", [(12_144, True), (12_145, False), (0, True)])
def test_room(tables, holds, tmp_path):
    """Rows are held where no more than half of the device is used."""
    device = devices.find("ecp5-25f")
    _netlist(tmp_path / "n.json", max(tables - 2_000, 0), min(tables, 2_000) // 2)
    before = (tmp_path / "n.json").read_text()
    count = spacing.hold(tmp_path / "n.json", tmp_path / "held.json", device)
    cells = json.loads((tmp_path / "held.json").read_text())["modules"]["top"]["cells"]
    assert (count > 0) == holds and (tmp_path / "n.json").read_text() == before
    places = [cell["attributes"]["BEL"] for name, cell in cells.items() if name.startswith(spacing.HELD)]
    assert len(set(places)) == len(places) == count


def test_devices():
    """Every device whose family is routed in two runs is known."""
    assert set(spacing.SITES) == {device.name for device in devices.DEVICES.values() if families.FAMILIES[device.family].spread}
