"""What yosys makes of an accelerator gives the golden results with the vendor's cell models, and faults in it are seen."""
import dataclasses
import re

import pytest

from bnnhw import accelerator, devices, folding, implement, netlist
from bnnhw.buffers import with_buffers
from bnnhw.compare import compare
from bnnhw.lower import lower
from bnnhw.stages.dense import FoldedOptions

from . import networks

CELLS = {"up5k": ("SB_LUT4", "SB_RAM40_4K", "SB_CARRY", "SB_DFF"),
         "ecp5-25f": ("LUT4", "DP16KD", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4"),
         "gw1nr-9": ("LUT4", "SPX9", "ALU", "DFF", "RAM16SDP4")}


@pytest.fixture(scope="module", params=CELLS)
def small(request, tmp_path_factory):
    """(device, plan, netlist, images) of a network with weights in block RAM and in tables, synthesized."""
    folder, device = tmp_path_factory.mktemp("netlist"), devices.find(request.param)
    network = networks.dense_network((24, 7, 4), (8, 8, 1), affine=True, seed=2, spread=12)
    plan = folding.fold(network, lower(network, scores=True), clock_hz=100_000, fps=1000)
    short = FoldedOptions(pe=3, simd=5, memory="lut")       # of 7 neurons and 24 inputs
    plan = with_buffers(dataclasses.replace(plan, options=plan.options | {"fc2": short}))
    (folder / "small.v").write_text(accelerator.verilog(plan))
    counts = implement.synthesize([folder / "small.v"], accelerator.TOP, device, netlist=folder / "small.json",
                                  part=accelerator.TOP, part_verilog=folder / "netlist.v")
    text = (folder / "netlist.v").read_text()
    for cell in CELLS[device.name]:
        assert f" {cell}" in text and any(name.startswith(cell) for name in counts)
    return device, plan, text, networks.images(network, 80)


def test_equal(small):
    device, plan, text, x = small
    result = netlist.run(plan, text, x, device)
    assert compare(plan.network, x, result) == []
    assert (result.interval, result.latency) == (plan.cycles_per_inference, plan.latency_cycles)
    assert compare(plan.network, x, netlist.run(plan, text, x, device, p_valid=0.6, p_ready=0.2, seed=4)) == []


def invert(text, cell, parameter):
    """``text`` with the bits of one constant inverted: ``parameter`` of the first ``cell`` where it is not 0."""
    for found in re.finditer(rf"\b{cell} #\((.*?)\) ", text, re.S):
        value = re.search(rf"\.{parameter}\((\d+)'h([0-9a-fx]+)\)", found[1])
        if value and value[2].strip("0x"):
            bits = int(value[1])
            inverted = f"{int(value[2].replace('x', '0'), 16) ^ (1 << bits) - 1:x}"
            start = found.start(1) + value.start(2)
            return text[:start] + inverted + text[start + len(value[2]):]
    raise AssertionError(f"no {cell} with {parameter}")


def test_wrong_weight_memory(small):
    device, plan, text, x = small
    cell, parameter = {"up5k": ("SB_RAM40_4K", "INIT_0"), "ecp5-25f": ("DP16KD", "INITVAL_00"),
                       "gw1nr-9": ("SPX9", "INIT_RAM_00")}[device.name]
    mismatches = compare(plan.network, x, netlist.run(plan, invert(text, cell, parameter), x, device))
    assert len({mismatch.image for mismatch in mismatches}) > 20


def test_yosys_without_cell_models(monkeypatch, tmp_path):
    monkeypatch.setattr(netlist.tools, "yosys_share", lambda: tmp_path)
    with pytest.raises(netlist.NetlistError, match=r"^device 'ecp5-25f': this yosys has no cell models .*common_sim.vh"):
        netlist.cell_models(devices.find("ecp5-25f"))
