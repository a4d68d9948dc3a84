"""Fixed places of block RAMs: in the netlist, and in what nextpnr makes of it."""
import json
import re

import pytest

from bnnhw import anchors, devices, implement
from bnnhw.gateware.gather import Image


def netlist(folder, names):
    path = folder / "n.json"
    cells = {name: {"type": kind, "attributes": {}} for name, kind in names}
    path.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    return path


def places(path):
    cells = json.loads(path.read_text())["modules"]["top"]["cells"]
    return {name: cell["attributes"].get("BEL") for name, cell in cells.items()}


@pytest.mark.parametrize("name", list(anchors.SITES))
@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_places_differ_and_neighbours_are_near(tmp_path, name, count):
    device = devices.find(name)
    path = netlist(tmp_path, [(f"a.core.class.image.block{k}", "SB_RAM40_4K") for k in reversed(range(count))])
    assert anchors.anchor(path, device) == count
    found = [places(path)[f"a.core.class.image.block{k}"] for k in range(count)]
    assert len(set(found)) == count
    columns, rows = anchors.SITES[name]
    sites = [tuple(map(int, re.fullmatch(r"X(\d+)/Y(\d+)/ram", place).groups())) for place in found]
    assert all(x in columns and y in rows for x, y in sites)
    assert len(columns) * len(rows) == device.brams
    up, down = ([y for x, y in sites if x == column] for column in columns)
    assert up == sorted(up) and down == sorted(down, reverse=True) and abs(len(up) - len(down)) <= 1


def test_others_are_left_alone(tmp_path):
    names = [("link.ring.memory.0.0", "SB_RAM40_4K"), ("a.image.block0", "SB_LUT4"), ("a.image.blocks1", "SB_RAM40_4K")]
    path = netlist(tmp_path, names)
    before = path.read_bytes()
    assert anchors.anchor(path, devices.find("up5k")) == 0 and path.read_bytes() == before
    path = netlist(tmp_path, [("a.image.block0", "SB_RAM40_4K")])
    before = path.read_bytes()
    assert anchors.anchor(path, devices.find("ecp5-25f")) == 0 and path.read_bytes() == before


@pytest.mark.parametrize("name", list(anchors.SITES))
def test_nextpnr_puts_them_there(tmp_path, name):
    device = devices.find(name)
    (tmp_path / "d.v").write_text(Image(3).verilog("held") + """
module top (input clk, d, input [1:0] at, output reg q);
  wire [47:0] y; reg [47:0] mask; reg [5:0] k;
  always @(posedge clk) begin mask <= {mask, d}; k <= k + 1; q <= y[k]; end
  held image (.clk(clk), .we({3{d}}), .mask(mask), .data({d, at}), .page(at[0]), .re(1'b1), .y(y));
endmodule
""")
    counts = implement.synthesize([tmp_path / "d.v"], "top", device, netlist=tmp_path / "n.json")
    assert counts["SB_RAM40_4K"] == 3
    assert anchors.anchor(tmp_path / "n.json", device) == 3
    implement.route(tmp_path / "n.json", device, package=device.packages[0], constraints=None, clock_hz=10e6,
                    output=tmp_path / "o.asc", counts=counts)
    asked = set(re.findall(r"X(\d+)/Y(\d+)/ram", (tmp_path / "n.json").read_text()))
    # A block RAM stands in two tiles, the lower of which holds what it is initialised with.
    used = re.findall(r"^\.ram_data (\d+) (\d+)$", (tmp_path / "o.asc").read_text(), re.M)
    assert len(asked) == 3 and {(x, str(int(y))) for x, y in used} == asked
