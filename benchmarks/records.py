"""Networks of lookup tables: place and route them, and compare all 10,000 test images.

    python benchmarks/records.py [NAME ...]

NAMEs are those of :data:`CASES`; what is not run keeps the rows that the result file has. On boards the whole top counts:
encoder, tables, votes, argmax, AXI4-Stream, link to the host, PLL. All test images go through Verilog, where every layer's signs,
the votes and the class are compared, and through a synthesized netlist, where the class is. Simulated is the accelerator, without
link and PLL: that of the very top that is placed, or, where that is slow to simulate, of another plan of the same network with
all its inputs side by side, an image per clock; ``images_through_board`` go through the former at least. ``interval_cycles`` is
always that of the latter. A latency is from the last pixel's cycle to the class. On xc7, for which no open tool routes, it is the
accelerator with AXI4-Stream, as synthesized, without block RAMs (yosys has no models of them); ``cells`` are LUTs, inverters
and shift registers. What is placed takes its pixels one by one, in ``board_interval_cycles``. No power is estimated. TFC, all
layers unfolded, is in ``benchmarks/unfolded.py``.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import RESULTS, digest_of, publish, versions

from bnnhw import accelerator, boards, devices, folding, implement, models, netlist, planfile, tools, verify
from bnnhw.lower import lower
from bnnhw.planner.goals import Planner
from bnnhw.simulator import Simulator, encode

IMAGES = 10_000
# name -> (network, board or fabric, test images through the top that is placed, the clock to build for)
CASES = {
    "up5k": ("mnist-lut4", "icebreaker", IMAGES, 60e6),
    "up5k-fashion": ("fashion-lut4", "icebreaker", 500, 48e6),
    "ecp5-25f": ("mnist-lut6-wide", "ulx3s-25f", 500, 48e6),
    "xc7": ("mnist-lut6", "xc7", IMAGES, 100e6),
}
SYNTHESIS = "synth_xilinx -flatten -noclkbuf -noiopad -nowidelut -top bnnhw_top"
CELLS = re.compile(r"LUT\d(_2)?|INV|SRL\w+|RAM\d+\w*")
MODELS = "xilinx/cells_sim.v"       # in yosys' folder of cell libraries


def through(found, plan, text, images, level, taps=(), optimize="-O0"):
    """What report.json holds of the first ``images`` test images in the Verilog or netlist ``text`` of ``plan``, compared. With
    an image per clock there are so few cycles that the compiler's time is what counts."""
    x, labels = verify.images_for(found.network, images, found.provenance["dataset"])
    simulator = Simulator.of_plan(plan, text, taps=taps, optimize=optimize, say=print)
    result = simulator.run(encode(found.network, x), taps=bool(taps))
    verify.check_timing(plan, result)
    return verify.summary(found.network, x, labels, result, level)


def side_by_side(found, clock_hz, fabric):
    """The plan of an image per clock, with all inputs at once; cycles per image and how many images are right, simulated and
    compared."""
    plan = folding.fold(found.network, lower(found.network), clock_hz=clock_hz, fps=clock_hz, fabric=fabric)
    facts = through(found, plan, accelerator.verilog(plan), IMAGES, "Verilog", accelerator.taps(plan))
    return plan, facts["interval_cycles"], facts["right"]


def right_in_netlist(found, plan, device):
    """All images through the synthesized netlist of ``plan``, compared: how many are right."""
    with tempfile.TemporaryDirectory() as folder:
        source, mapped = Path(folder, "cells.v"), Path(folder, "netlist.v")
        source.write_text(accelerator.verilog(plan, cells=True))
        implement.synthesize([source], accelerator.TOP, device, netlist=Path(folder, "netlist.json"), part=accelerator.TOP,
                             part_verilog=mapped)
        text = netlist.cell_models(device) + mapped.read_text()
    return through(found, plan, text, IMAGES, "netlist")["right"]


def plan_of(network, board, clock_hz):
    """The planner's plan for a board where no rate is asked for: a bit per cycle."""
    device = devices.find(board.device)
    planner = Planner(lower(network), device, board.whole_hz(clock_hz), board, fabric=device.family)
    return folding.choose(network, planner, fps=1).plan


def behind_the_last_pixel(plan, verified):
    """Cycles from the last beat's to the class's, of a frame whose beats are taken at an even pace."""
    interval = verified["interval_cycles"]
    return verified["latency_cycles"] - interval + interval // plan.beats


def on_board(network, board, images, clock_hz):
    start, plan = time.perf_counter(), plan_of(models.load(network).network, boards.find(board), clock_hz)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "plan.toml").write_text(planfile.dumps(plan))
        command = [sys.executable, "-m", "bnnhw.build", network, "--board", board, "--plan", f"{folder}/plan.toml",
                   "--verify", str(images), "--bitstream", "--verify-netlist", str(images), "-o", f"{folder}/out"]
        subprocess.run(command, check=True)
        facts = json.loads(Path(folder, "out", "report.json").read_text())
        digest = digest_of(Path(folder, "out", f"{network}_cells.v").read_text())
    device, verified = facts["device"], facts["verified"]
    cycles = behind_the_last_pixel(plan, verified)
    return {"cells": device["luts"], "cells_limit": device["luts_limit"], "flipflops": device["ffs"],
            "block_rams": device["brams"], "fmax_mhz": round(device["fmax_hz"] / 1e6, 2), "seed_of_placement": device["seed"],
            "latency_cycles": cycles, "latency_ns": round(cycles / device["fmax_hz"] * 1e9),
            "board_interval_cycles": verified["interval_cycles"], "right_in_verilog": verified["right"],
            "right_in_netlist": facts["netlist"]["right"], "verilog": digest, "all_s": round(time.perf_counter() - start)}


def plan_of_fabric(network, fabric, clock_hz):
    return folding.fold(network, lower(network), clock_hz=int(clock_hz), fps=1, fabric=fabric)


def synthesized(network, fabric, images, clock_hz):
    start, found = time.perf_counter(), models.load(network)
    plan = plan_of_fabric(found.network, fabric, clock_hz)
    verified = verify.in_verilog(plan, accelerator.verilog(plan), images, dataset=found.provenance["dataset"])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        cells = accelerator.verilog(plan, cells=True)
        (folder / "cells.v").write_text(cells.replace('"block"', '"logic"'))
        tools.find("yosys").run(["-p", f"read_verilog cells.v; {SYNTHESIS}; write_verilog -noattr netlist.v; "
                                 "tee -o stat.txt stat"], cwd=folder)
        counted = re.findall(r"^\s+(\d+)\s+(\w+)\s*$", (folder / "stat.txt").read_text(), re.M)
        text = (tools.yosys_share() / MODELS).read_text() + "\n" + (folder / "netlist.v").read_text()
    kinds = {kind: int(count) for count, kind in counted}
    checked = through(found, plan, text, images, "netlist", optimize="-O1")
    cycles = behind_the_last_pixel(plan, verified)
    return {"cells": sum(count for kind, count in kinds.items() if CELLS.fullmatch(kind)), "cells_limit": None,
            "flipflops": sum(count for kind, count in kinds.items() if kind.startswith("FD")),
            "block_rams": sum(count for kind, count in kinds.items() if kind.startswith("RAMB")), "fmax_mhz": None,
            "seed_of_placement": None, "latency_cycles": cycles, "latency_ns": None,
            "board_interval_cycles": verified["interval_cycles"],
            "right_in_verilog": verified["right"], "right_in_netlist": checked["right"], "verilog": digest_of(cells),
            "all_s": round(time.perf_counter() - start)}


def row(name):
    network, where, images, clock_hz = CASES[name]
    found, make = models.load(network), synthesized if where == "xc7" else on_board
    fabric = {"icebreaker": "ice40", "xc7": "xc7"}.get(where, "ecp5")
    plan, cycles, right = side_by_side(found, int(clock_hz), fabric)
    made = make(network, where, images, clock_hz)
    print(made, flush=True)
    if images < IMAGES:
        device = devices.find(boards.find(where).device)
        made |= {"right_in_verilog": right, "right_in_netlist": right_in_netlist(found, plan, device)}
    assert right == made["right_in_verilog"] == made["right_in_netlist"]
    layers = [op.tables.shape for op in found.network.operations.values() if op.kind == "Lookup"]
    return {"name": name, "network": network, "where": where, "tables": "+".join(str(count) for count, _ in layers),
            "table_inputs": (layers[0][1] - 1).bit_length(), "images": IMAGES, "images_through_board": images,
            "interval_cycles": cycles} | made


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("names", nargs="*", choices=[[], *CASES], metavar="NAME", help=f"of {', '.join(CASES)}; default: all")
    names = arguments.parse_args().names or list(CASES)
    del sys.argv[1:]        # the file names the command that makes all of it
    file = RESULTS / "records.json"
    for name in names:
        made = row(name)
        kept = {old["name"]: old for old in json.loads(file.read_text())["rows"]} if file.exists() else {}
        kept[name] = made
        publish("records", [kept[case] for case in CASES if case in kept],
                versions("yosys", "nextpnr-ice40", "nextpnr-ecp5", "verilator"))


if __name__ == "__main__":
    main()
