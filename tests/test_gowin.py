"""Gowin: cells, synthesis, bitstreams."""
import dataclasses
import json
import re
from collections import Counter

import pytest

from bnnhw import accelerator, bitstream, devices, folding, implement, netlist, tools
from bnnhw.lower import lower
from bnnhw.stages.dense import FoldedOptions

from . import networks
from .test_cells import beside

DEVICE = devices.find("gw1nr-9")
WIDE, NARROW = [(9, 2048), (18, 1024), (36, 512)], [(1, 16384), (2, 8192), (4, 4096)]
KINDS = [
    *(("rom", *shape) for shape in WIDE + NARROW), *(("old", *shape) for shape in WIDE + NARROW),
    ("new", 9, 2048), ("new", 36, 512), ("reset", 18, 1024), ("clear", 18, 1024), ("bytes", 18, 1024), ("bytes", 36, 512),
    *((kind, *shape) for kind in ("single_keep", "single_old", "single_new") for shape in ((4, 4096), (18, 1024))),
    ("rom", 72, 300), ("old", 5, 700), ("new", 4, 4096), ("reset", 2, 8192), ("lut", 4, 16), ("lut", 7, 30),
    ("product", 20, 2), ("signed", 24, 2),
]
FEW = [("rom", 18, 1024), ("rom", 2, 500), ("old", 4, 4096), ("old", 36, 512), ("bytes", 18, 300), ("single_old", 18, 1024)]


def made(mapped):
    """How many block RAMs there are of which cell and width."""
    cells = re.findall(r"^  (\w+) #\((.*?)^  \)", mapped, re.M | re.S)
    return Counter((cell, *map(int, re.findall(r"\.BIT_WIDTH\w*\(32'd(\d+)\)", parameters)))
                   for cell, parameters in cells if "BIT_WIDTH" in parameters)


def test_memories(tmp_path):
    """The models behave as the memories that yosys made them from, in every width, on every cycle."""
    counts, mapped = beside(tmp_path, KINDS, netlist.cell_models(DEVICE), DEVICE)
    assert counts == [0] * len(KINDS)
    found = made(mapped)
    assert {("SPX9", width) for width, _ in WIDE} | {("SP", width) for width, _ in NARROW} <= set(found)
    assert {("DPX9B", 9, 9), ("DPX9B", 18, 18), ("SDPX9B", 36, 36)} | {("DPB", width, width) for width, _ in NARROW} <= set(found)
    assert set(re.findall(r"\.WRITE_MODE\(32'd(\d)\)", mapped)) == set("012")
    assert set(re.findall(r'\.RESET_MODE\("(\w+)"\)', mapped)) == {"SYNC", "ASYNC"}
    assert "RAM16SDP" in mapped and "MULT" not in mapped


@pytest.mark.parametrize("right, wrong, seen", [
    ("{a[2:1], 1'b0}", "{a[1:0]}", (1,)),
    pytest.param("place = 2 * UNIT * a[4];", "place = 16 * a[4];", (0, 4, 5), marks=pytest.mark.slow),
    pytest.param("{UNIT{enables[1]}}, {UNIT{enables[0]}}};", "{UNIT{enables[0]}}, {UNIT{enables[1]}}};", (4,),
                 marks=pytest.mark.slow),
    pytest.param("if (MODE_A == 1) row_a", "if (MODE_A == 2) row_a", (5,), marks=pytest.mark.slow),
])
def test_faults_are_seen(tmp_path, right, wrong, seen):
    models = netlist.cell_models(DEVICE)
    assert right in models
    counts, _ = beside(tmp_path, FEW, models.replace(right, wrong), DEVICE)
    assert [count > 0 for count in counts] == [k in seen for k in range(len(FEW))]


def test_unknown_settings_are_refused(tmp_path):
    models = netlist.cell_models(DEVICE)
    with pytest.raises(tools.ToolError, match="SPX9_output_registers_are_not_modelled"):
        beside(tmp_path, FEW[:1], models.replace("READ_MODE != 0", "READ_MODE == 0"), DEVICE)


MEMORY = """  {cell} #(
    .BIT_WIDTH(32'd18),
    .WRITE_MODE(32'd2)
  ) \\core.{name}  (
    .AD(a),
"""


@pytest.mark.parametrize("cell", ["SP", "SPX9", "SDPB", "SDPX9B"])
def test_memory_that_landed_in_logic(cell):
    network = networks.dense_network([8, 6, 3], (4, 4, 1), seed=5)
    plan = folding.fold(network, lower(network), clock_hz=1_000_000, fps=10_000)
    plan.options["fc1"] = FoldedOptions(pe=2, simd=4, memory="bram")
    bitstream._check_memories(plan, DEVICE, MEMORY.format(cell=cell, name="fc1.source.rom.0.0"))
    for wrong in ((cell, "fc1.buffer.ring.0.0"), ("RAM16SDP4", "fc1.source.rom.0.0")):
        with pytest.raises(implement.ImplementError, match=r"^layer 'fc1': its weights need 1 block RAMs or more, but"):
            bitstream._check_memories(plan, DEVICE, MEMORY.format(cell=wrong[0], name=wrong[1]))


def bits(path):
    """The frames of a bitstream, without what comes before and after them and their checksums."""
    from apycula import bslib
    return bslib.read_bitstream(str(path))[0]


ROM = """module rom(input clk, output reg [17:0] q); (* rom_style = "block" *) reg [17:0] mem [0:1023]; reg [9:0] a = 0;
  integer k; initial for (k = 0; k < 1024; k = k + 1) mem[k] = 40503 * k;
  always @(posedge clk) begin a <= a + 1; q <= mem[a]; end endmodule"""


def test_contents_reach_the_bitstream(tmp_path):
    """Each bit of a memory's contents that is 1 is one bit of the bitstream. And a design needs no pins."""
    (tmp_path / "rom.v").write_text(ROM)
    counts = implement.synthesize([tmp_path / "rom.v"], "rom", DEVICE, netlist=tmp_path / "rom.json")
    figures = implement.route(tmp_path / "rom.json", DEVICE, package=DEVICE.packages[0], constraints=None, clock_hz=27e6,
                              output=tmp_path / "rom_routed.json", counts=counts)
    assert figures.brams == 1 == counts["SPX9"] and figures.fmax_hz > 27e6
    assert (figures.luts_limit, figures.ffs_limit, figures.brams_limit) == (DEVICE.luts, DEVICE.ffs, DEVICE.brams)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rom.json", "rom.v", "rom_routed.json"]
    design = json.loads((tmp_path / "rom_routed.json").read_text())
    cell, = (cell for cell in design["modules"]["top"]["cells"].values() if "INIT_RAM_00" in cell["parameters"])
    rows = {name: value for name, value in cell["parameters"].items() if name.startswith("INIT_RAM_")}
    assert len(rows) == 64 and {len(value) for value in rows.values()} == {288}
    ones = sum(value.count("1") for value in rows.values())
    assert ones == sum((40503 * k % 2**18).bit_count() for k in range(1024))
    implement.pack(tmp_path / "rom_routed.json", DEVICE, tmp_path / "rom.fs")
    first = bits(tmp_path / "rom.fs")
    for change, differ in (({"INIT_RAM_05": rows["INIT_RAM_05"][:100] + "10"[int(rows["INIT_RAM_05"][100])]
                             + rows["INIT_RAM_05"][101:]}, 1), (dict.fromkeys(rows, "0" * 287 + "1"), None)):
        cell["parameters"] |= change
        (tmp_path / "other.json").write_text(json.dumps(design))
        implement.pack(tmp_path / "other.json", DEVICE, tmp_path / "other.fs")
        other = bits(tmp_path / "other.fs")
        different = sum(a != b for one, two in zip(first, other, strict=True) for a, b in zip(one, two, strict=True))
        assert different == differ or (differ is None and different == ones + 64 - 2 * sum(v[-1] == "1" for v in rows.values()))


@pytest.mark.slow
def test_a_gw5a_is_routed_and_packed(tmp_path):
    """A whole small accelerator, without a board: it needs no LUT RAM, which the tools do not have there."""
    device, network = devices.find("gw5a-25"), networks.dense_network([8, 6, 3], (4, 4, 1), seed=5)
    plan = folding.fold(network, lower(network), clock_hz=1_000_000, fps=10_000)
    plan = dataclasses.replace(plan, options=plan.options | {"fc1": FoldedOptions(pe=2, simd=4, memory="bram")})
    (tmp_path / "net.v").write_text(accelerator.verilog(plan))
    counts = implement.synthesize([tmp_path / "net.v"], accelerator.TOP, device, netlist=tmp_path / "net.json",
                                  part=accelerator.TOP, part_verilog=tmp_path / "cells.v")
    bitstream._check_memories(plan, device, (tmp_path / "cells.v").read_text())
    figures = implement.route(tmp_path / "net.json", device, package=device.packages[0], constraints=None, clock_hz=1e6,
                              output=tmp_path / "routed.json", counts=counts)
    assert figures.device == "gw5a-25" and figures.fmax_hz > 1e6
    assert 0 < figures.luts < figures.luts_limit == device.luts and figures.brams == 1
    assert not any("RAM16" in cell for cell in counts)
    implement.pack(tmp_path / "routed.json", device, tmp_path / "net.fs")
    assert (tmp_path / "net.fs").read_text().count("1") > 1000


def test_too_many_ports(tmp_path):
    (tmp_path / "wide.v").write_text("module wide(input clk, input [59:0] d, output reg q); always @(posedge clk) q <= ^d; "
                                     "endmodule")
    implement.synthesize([tmp_path / "wide.v"], "wide", DEVICE, netlist=tmp_path / "wide.json")
    with pytest.raises(implement.ImplementError, match=r"^the design does not fit gw1nr-9: it has 62 ports, but there are "):
        implement.route(tmp_path / "wide.json", DEVICE, package=DEVICE.packages[0], constraints=None, clock_hz=27e6,
                        output=tmp_path / "wide_routed.json")


def test_figures_of_synthesis_only(tmp_path):
    (tmp_path / "rom.v").write_text(ROM)
    counts = implement.synthesize([tmp_path / "rom.v"], "rom", devices.find("xc7a35t"), netlist=tmp_path / "rom.json")
    assert sum(count for cell, count in counts.items() if cell.startswith("RAMB")) == 1
    for name in ("xc7a35t", "xc7a100t"):
        with pytest.raises(implement.ImplementError, match=f"^bnnhw knows no open place and route for {name}: "):
            implement.route(tmp_path / "rom.json", devices.find(name), package="", constraints=None, clock_hz=1e6,
                            output=tmp_path / "rom.fasm")
