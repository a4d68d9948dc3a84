"""What yosys makes of an accelerator gives the golden results with the vendor's cell models, and faults in it are seen."""
import re

import pytest

from bnnhw import accelerator, devices, folding, implement, netlist
from bnnhw.compare import compare
from bnnhw.lower import lower

from . import networks

DEVICE = devices.find("up5k")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(plan, netlist, images) of a network with weights in block RAM and in tables, synthesized for iCE40."""
    folder = tmp_path_factory.mktemp("netlist")
    network = networks.dense_network((24, 7, 4), (8, 8, 1), affine=True, seed=2, spread=12)
    plan = folding.fold(network, lower(network, scores=True), clock_hz=100_000, fps=1000)
    (folder / "small.v").write_text(accelerator.verilog(plan))
    counts = implement.synthesize([folder / "small.v"], accelerator.TOP, DEVICE, netlist=folder / "small.json",
                                  part=accelerator.TOP, part_verilog=folder / "netlist.v")
    text = (folder / "netlist.v").read_text()
    assert counts["SB_RAM40_4K"] >= 1 and "SB_LUT4" in text and "SB_RAM40_4K" in text and "SB_CARRY" in text
    return plan, text, networks.images(network, 80)


def test_equal(small):
    plan, text, x = small
    result = netlist.run(plan, text, x, DEVICE)
    assert compare(plan.network, x, result) == []
    assert (result.interval, result.latency) == (plan.cycles_per_inference, plan.latency_cycles)
    assert compare(plan.network, x, netlist.run(plan, text, x, DEVICE, p_valid=0.6, p_ready=0.2, seed=4)) == []


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
    plan, text, x = small
    mismatches = compare(plan.network, x, netlist.run(plan, invert(text, "SB_RAM40_4K", "INIT_0"), x, DEVICE))
    assert len({mismatch.image for mismatch in mismatches}) > 20


def test_no_models():
    with pytest.raises(netlist.NetlistError,
                       match=r"^device 'ecp5-25f': a netlist can be simulated for ice40, not for ecp5$"):
        netlist.cell_models(devices.find("ecp5-25f"))
