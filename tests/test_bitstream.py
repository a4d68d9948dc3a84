"""Bitstreams: the whole way through yosys and nextpnr, and what happens where it does not go."""
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from bnnhw import accelerator, artifact, bitstream, devices, folding, implement, tools
from bnnhw.artifact import Artifact
from bnnhw.lower import lower
from bnnhw.stages.dense import FoldedOptions

from .networks import dense_network


def build(*arguments, cwd):
    return subprocess.run([sys.executable, "-m", "bnnhw.build", *map(str, arguments)], cwd=cwd, text=True, capture_output=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small network's file."""
    folder = tmp_path_factory.mktemp("bitstream")
    artifact.save(folder / "small.bnn", Artifact(dense_network([8, 6, 3], (4, 4, 1), seed=5), ("a", "b", "c")))
    return folder


# Board, clock, (cells, block RAMs) of its device, nextpnr's name of a cell, (bitstream, its preamble, pins).
@pytest.mark.parametrize("board, clock_hz, limits, cell, files", [
    ("icebreaker", 30_000_000, (5280, 30), "ICESTORM_LC", (".bin", b"\x7e\xaa\x99\x7e", ".pcf")),
    pytest.param("ulx3s-12f", 60_000_000, (24288, 56), "TRELLIS_COMB", (".bit", b"\xff\xff\xbd\xb3", ".lpf"),
                 marks=pytest.mark.slow),
])
def test_small_network(small, board, clock_hz, limits, cell, files):
    done = build("small.bnn", "--board", board, "--scores", "--bitstream", "--verify-netlist", 12, cwd=small)
    assert done.returncode == 0, done.stderr
    out = small / "build" / f"small-{board}"
    facts = json.loads((out / "report.json").read_text())
    device = facts["device"]
    assert device["fmax_hz"] >= device["clock_hz"] == facts["clock_hz"] == clock_hz
    assert (device["luts_limit"], device["brams_limit"]) == limits
    assert 0 < device["luts"] <= limits[0] and 0 < device["brams"] <= limits[1]
    assert device["ffs"] > 100
    assert facts["netlist"]["mismatches"] == 0 and facts["netlist"]["images"] == 12
    log = (out / "nextpnr.log").read_text()     # the figures are nextpnr's own
    assert int(re.findall(rf"{cell}:\s*(\d+)/", log)[-1]) == device["luts"]
    assert re.findall(r"Max frequency for clock .*: ([\d.]+) MHz", log)[-1] == f"{device['fmax_hz'] / 1e6:.2f}"
    ending, preamble, pins = files
    assert preamble in (out / f"small{ending}").read_bytes()[:200] and (out / f"small_board{pins}").exists()
    for file in out.iterdir():
        if file.suffix in (".v", ".toml", ".json", ".core", ".pcf", ".lpf"):
            assert str(small) not in file.read_text(), file.name


def test_rebuild_leaves_no_old_bitstream(small):
    """A folder never holds the bitstream of one build beside the report of another."""
    out = small / "again"
    out.mkdir()
    old = [out / f"small{ending}" for ending in (".bin", ".bit", "_board.lpf")]     # of either family
    for file in old:
        file.write_bytes(b"of an earlier build")
    (out / "mine.txt").write_text("not ours")
    assert build("small.bnn", "--board", "icebreaker", "-o", out, cwd=small).returncode == 0
    assert not any(file.exists() for file in old) and (out / "mine.txt").exists()


MEMORY = """  {cell} #(
    .INIT_0(256'h0),
    .MODE(32'd0)
  ) \\core.{name}  (
    .CLK(aclk),
"""


@pytest.mark.parametrize("name, cell", [("up5k", "SB_RAM40_4K"), ("ecp5-25f", "DP16KD")])
def test_memory_that_landed_in_logic(name, cell):
    network = dense_network([8, 6, 3], (4, 4, 1), seed=5)
    plan = folding.fold(network, lower(network), clock_hz=1_000_000, fps=10_000)
    plan.options["fc1"] = FoldedOptions(pe=2, simd=4, memory="bram")
    device = devices.find(name)
    other = MEMORY.format(cell=cell, name="fc2.source.rom.0.0")
    bitstream._check_memories(plan, device, other + MEMORY.format(cell=cell, name="fc1.source.rom.0.0"))
    for wrong in ((cell, "fc1.source.rom.0.0_RCLKE_SB_LUT4_O"), (cell, "fc1.buffer.ring.0.0"), ("LUT4", "fc1.source.rom.0.0")):
        with pytest.raises(implement.ImplementError, match=r"^layer 'fc1': its weights need 1 block RAMs or more, but"):
            bitstream._check_memories(plan, device, other + MEMORY.format(cell=wrong[0], name=wrong[1]))


def in_netlist(plan, text, device, folder):
    """``text``, the Verilog of ``plan``, as synthesized."""
    (folder / "net.v").write_text(text)
    implement.synthesize([folder / "net.v"], accelerator.TOP, device, netlist=folder / "net.json", part=accelerator.TOP,
                         part_verilog=folder / "cells.v")
    return (folder / "cells.v").read_text()


def test_memories_that_yosys_puts_into_logic(tmp_path):
    """A memory without its attribute. Of a layer's two, weights and thresholds, the block RAMs of one do not stand for those of
    the other: weights of 64 bits side by side take four, and their bits are those of fewer."""
    network, device = dense_network([32, 3], (4, 4, 1), seed=5), devices.find("hx8k")
    stages = lower(network)
    plan = folding.fold(network, stages, clock_hz=1_000_000, fps=10_000)
    first = FoldedOptions(pe=4, simd=16, memory="updatable")
    plan = dataclasses.replace(plan, options=plan.options | {"fc1": first})
    text = accelerator.verilog(plan)
    starts = [found.start() for found in re.finditer(r'\(\* rom_style = "block" \*\)', text)]
    sizes = plan.stages[1].resources(first)["bram_words"]
    assert len(starts) == len(sizes) == 2 and sum(device.least_block_rams(*size) for size in sizes) < 4
    cells = in_netlist(plan, text, device, tmp_path)
    bitstream._check_memories(plan, device, cells)
    assert sorted(Counter(re.findall(r"\\core\.fc1\.(\S*rom)\.\d+\.\d+ +\(", cells)).values())[-1] >= 4
    for start in starts:
        wrong = text[:start] + text[start:].replace('"block"', '"logic"', 1)
        with pytest.raises(implement.ImplementError,
                           match="^layer 'fc1': 2 memories were meant for block RAM, but synthesis put 1 "):
            bitstream._check_memories(plan, device, in_netlist(plan, wrong, device, tmp_path))


def test_design_that_does_not_fit(tmp_path):
    """nextpnr's refusal becomes one line with what the device has."""
    (tmp_path / "big.v").write_text(
        "module big(input clk, input d, output q); reg [1999:0] r; always @(posedge clk) r <= {r, d ^ r[1999] & r[7]};"
        "assign q = r[1999]; endmodule")
    device = devices.find("hx1k")
    implement.synthesize([tmp_path / "big.v"], "big", device, netlist=tmp_path / "big.json")
    with pytest.raises(implement.ImplementError, match=r"^the design does not fit hx1k \(1280 logic cells, 16 block RAMs\): "):
        implement.route(tmp_path / "big.json", device, package="tq144", constraints=None, clock_hz=1e6,
                        output=tmp_path / "big.asc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.json", "big.v"]


@pytest.mark.parametrize("counts, crowded", [({"LUT4": 9_999, "TRELLIS_FF": 50}, False), ({"LUT4": 6_000, "CCU2C": 4_001}, True)])
def test_router_of_large_designs(counts, crowded, tmp_path, monkeypatch):
    seen = []

    def run(arguments, **_):
        seen.extend(arguments)
        raise tools.ToolError("stop")
    monkeypatch.setattr(tools, "find", lambda name: SimpleNamespace(run=run))
    with pytest.raises(tools.ToolError, match="^stop$"):
        implement.route(tmp_path / "d.json", devices.find("ecp5-85f"), package="CABGA381", constraints=None, clock_hz=1e6,
                        output=tmp_path / "d.config", counts=counts)
    assert ("router2" in seen) == crowded and not list(tmp_path.iterdir())


def test_routing_that_does_not_end(tmp_path, monkeypatch):
    """It is ended after so many minutes, with what nextpnr said last; the setting must be a number."""
    router = tmp_path / "router"
    router.write_text("#!/bin/sh\necho 'Info: 31 arcs overused'\nsleep 60\n")
    router.chmod(0o755)
    monkeypatch.setenv("BNNHW_NEXTPNR_ICE40", str(router))
    tools.find.cache_clear()

    def route():
        implement.route(tmp_path / "d.json", devices.find("hx1k"), package="tq144", constraints=None, clock_hz=1e6,
                        output=tmp_path / "d.asc")
    try:
        monkeypatch.setenv("BNNHW_ROUTE_MINUTES", "0.01")
        with pytest.raises(implement.ImplementError, match=r"^not routed after 0.01 minutes on hx1k \(nextpnr's last line: Info: "
                           r"31 arcs overused\): fewer lanes .* BNNHW_ROUTE_MINUTES gives it longer$"):
            route()
        for wrong in ("no", "0", "-1", "nan", "inf", ""):
            monkeypatch.setenv("BNNHW_ROUTE_MINUTES", wrong)
            with pytest.raises(implement.ImplementError, match=f"^BNNHW_ROUTE_MINUTES must be .* above 0, not '{wrong}'$"):
                route()
    finally:
        tools.find.cache_clear()


@pytest.mark.slow
def test_missed_clock(small):
    done = build("small.bnn", "--board", "icebreaker", "--clock", "96e6", "--bitstream", "-o", "fast", cwd=small)
    assert done.returncode == 1
    assert re.search(r"^error: the clock is missed: 96 MHz are needed, 3 placements reach at most \d+\.\d+ MHz",
                     done.stderr, re.M)
    assert not Path(small, "fast").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model, board, bitstream, link_fps", [
    ("mnist-tfc", "icebreaker", "bin", 127), ("mnist-tfc", "ulx3s-25f", "bit", 382), ("mnist-sfc", "ulx3s-85f", "bit", 382)])
def test_shipped_network(tmp_path, model, board, bitstream, link_fps):
    """It fits with margin, and at the routed clock the core does 100,000 images a second."""
    done = build(model, "--board", board, "--scores", "--verify", 200, "--bitstream", "--verify-netlist", 50, "-o", "out",
                 cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "report.json").read_text())
    device = facts["device"]
    assert device["luts"] < 0.8 * device["luts_limit"] and device["brams"] < device["brams_limit"]
    assert device["fmax_hz"] / facts["verified"]["interval_cycles"] >= facts["core_fps"] >= 100_000
    assert facts["netlist"]["mismatches"] == facts["verified"]["mismatches"] == 0
    assert int(facts["link_fps"]) == link_fps
    assert os.path.getsize(tmp_path / "out" / f"{model}.{bitstream}") > 100_000
