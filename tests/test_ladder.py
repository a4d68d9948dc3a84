"""The ladder from Verilog to netlist on a whole small network: exact, and each rung shown to fail when broken."""
import dataclasses
import json
import re

import pytest

from bnnhw import accelerator, compare, devices, folding, implement, netlist, simulator, tools
from bnnhw.ir import Network
from bnnhw.lower import lower
from bnnhw.stages.base import LanesOptions
from bnnhw.stages.dense import FoldedOptions

from .networks import dense_network, images

NETWORK = dense_network([8, 6, 3], (4, 4, 1), seed=5)


def plan_of(network, **more):
    """Folded 4 x 4 in front, so that each kind of memory and several output folds are there."""
    plan = folding.fold(network, lower(network, scores=True), clock_hz=1_000_000, fps=20_000)
    options = plan.options | {"fc1": FoldedOptions(pe=2, simd=4, memory="bram")} | more
    return dataclasses.replace(plan, options=options)


@pytest.fixture(scope="module")
def whole():
    plan = plan_of(NETWORK)
    return plan, accelerator.verilog(plan)


def run(plan, text, network=NETWORK, count=60, **stalls):
    x = images(network, count)
    chip = simulator.Simulator.of_plan(plan, text, taps=accelerator.taps(plan))
    return compare.compare(network, x, chip.run(simulator.encode(network, x), taps=True, patience=5_000, **stalls))


def test_exact(whole):
    assert run(*whole) == []
    assert run(*whole, p_valid=0.4, p_ready=0.5) == []


def altered(name, **changes):
    """The network with one operation changed."""
    operations = []
    for operation in NETWORK.operations.values():
        if operation.name == name:
            keys = operation.arrays + operation.settings
            operation = type(operation)(name, *operation.inputs, **({key: getattr(operation, key) for key in keys} | changes))
        operations.append(operation)
    return Network(operations, NETWORK.outputs)


def test_flipped_weight():
    weights = NETWORK.operations["fc2"].weights.copy()
    weights[4, 2] *= -1
    plan = plan_of(altered("fc2", weights=weights))
    found = run(plan, accelerator.verilog(plan))
    assert found and {m.layer for m in found if m.image == found[0].image} >= {"fc2"}
    assert found[0].layer == "fc2" and found[0].channel == (4,)


def test_threshold_off_by_one():
    levels = NETWORK.operations["act1"].levels.copy()
    assert abs(levels[3, 0]) < 14      # neither always nor never
    levels[3] += 2                     # the next value that a sum can have
    plan = plan_of(altered("act1", levels=levels))
    found = run(plan, accelerator.verilog(plan), count=400)
    assert found and found[0].layer == "fc1" and found[0].channel == (3,)


def test_dropped_ready():
    """A stage that does not wait for a slower one behind it loses words."""
    plan = plan_of(NETWORK, binarize=LanesOptions(kind="threshold", lanes=16), fc1=FoldedOptions(pe=8, simd=16, memory="lut"),
                   fc2=FoldedOptions(pe=1, simd=1, memory="lut"))
    text = accelerator.verilog(plan)
    assert run(plan, text) == []
    broken, count = re.subn(r"(\.\\?o__ready\S* ?)\(fc1__ready\)", r"\1(1'h1)", text)
    assert count == 1
    with pytest.raises((simulator.SimulationError, AssertionError)):
        assert run(plan, broken) == []


def test_hang_is_reported(whole):
    plan, text = whole
    broken, count = re.subn(r"(\.\\?o__ready\S* ?)\(fc2__ready\)", r"\1(1'h0)", text)
    assert count == 1
    with pytest.raises(simulator.HangError) as hang:
        run(plan, broken)
    assert hang.value.streams["fc2"][:1] == (1,)


@pytest.fixture(scope="module")
def mapped(whole, tmp_path_factory):
    """The network's cells on an iCE40 UP5K."""
    plan, text = whole
    folder = tmp_path_factory.mktemp("netlist")
    (folder / "small.v").write_text(text)
    counts = implement.synthesize([folder / "small.v"], accelerator.TOP, devices.find("up5k"), netlist=folder / "small.json",
                                  part=accelerator.TOP, part_verilog=folder / "cells.v")
    return plan, (folder / "cells.v").read_text(), counts


def test_netlist_is_exact(mapped):
    plan, cells, counts = mapped
    assert counts["SB_RAM40_4K"] >= 1
    x = images(NETWORK, 60)
    assert compare.compare(NETWORK, x, netlist.run(plan, cells, x, devices.find("up5k"))) == []
    assert compare.compare(NETWORK, x, netlist.run(plan, cells, x, devices.find("up5k"), p_valid=0.5, p_ready=0.5)) == []


def test_flipped_bit_in_a_block_ram(mapped):
    plan, cells, _ = mapped
    position = max(m.start(1) for m in re.finditer(r"\.INIT_0\(256'h([0-9a-fx]+)\)", cells)
                   if set(m.group(1)) - set("0x"))
    end = cells.index(")", position) - 1
    wrong = cells[:end] + format(int(cells[end].replace("x", "0"), 16) ^ 1, "x") + cells[end + 1:]
    x = images(NETWORK, 60)
    assert compare.compare(NETWORK, x, netlist.run(plan, wrong, x, devices.find("up5k")))


STORAGE = ("$dff", "$dffe", "$sdff", "$sdffe", "$sdffce", "$adff", "$adffe", "$mem_v2", "$memrd_v2", "$memwr_v2")


def paths(text, module, folder):
    """(input, output) ports of a module between which there is combinational logic alone."""
    (folder / "net.v").write_text(text)
    tools.find("yosys").run(["-p", f"read_verilog {folder}/net.v; hierarchy -top \\{module}; proc; flatten; opt_clean; "
                                   f"write_json {folder}/net.json"])
    facts = json.loads((folder / "net.json").read_text())["modules"][module]
    drives = {}     # bit -> bits that follow from it without a register
    for cell in facts["cells"].values():
        sides = {"input": [], "output": []}
        for port, bits in cell["connections"].items():
            sides[cell["port_directions"][port]] += [bit for bit in bits if isinstance(bit, int)]
        for bit in sides["input"] if cell["type"] not in STORAGE else ():
            drives.setdefault(bit, set()).update(sides["output"])
    outputs = {bit: name for name, port in facts["ports"].items() if port["direction"] == "output" for bit in port["bits"]}
    found = set()
    for name, port in facts["ports"].items():
        if port["direction"] == "output" or name in ("clk", "rst"):
            continue
        seen, todo = set(), [bit for bit in port["bits"] if isinstance(bit, int)]
        while todo:
            bit = todo.pop()
            if bit not in seen:
                seen.add(bit)
                todo += drives.get(bit, ())
        found |= {(name, outputs[bit]) for bit in seen & set(outputs)}
    return found


def test_no_combinational_path_crosses_a_stage(whole, tmp_path):
    plan, text = whole
    for element in plan.elements:
        assert paths(text, f"bnnhw_top.core.{element.name}", tmp_path) == set(), element.name
    assert paths(text, "bnnhw_top", tmp_path) == set()


def test_a_path_would_be_seen(tmp_path):
    text = "module m(input clk, input a, input b, output x, output y); reg r; always @(posedge clk) r <= b; "
    assert paths(text + "assign x = a & r; assign y = r; endmodule", "m", tmp_path) == {("a", "x")}
