"""TFC with all its 59,008 weights as constants on an ECP5: an image per clock, placed and routed, all MNIST test images exact.

    python benchmarks/unfolded.py

Two plans of the same layers. The board's has a pixel per cycle at its input, for a serial line brings them, and is placed
and routed whole; its netlist is what the bitstream holds. The other takes an image per cycle: all test images go through its
Verilog, where interval and latency are measured, and through its netlist. Both go from the vector of 784 signs on through the
same cells, so that images per second are those of the board's clock after routing. Latency is from an image's beat to its
class, at the AXI4-Stream ports. No estimate of power is made.
"""

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tomlkit
from table import digest_of, publish, versions

from bnnhw import accelerator, boards, devices, implement, models, netlist, planfile, verify
from bnnhw.lower import lower
from bnnhw.simulator import Simulator, encode

MODEL, BOARD, DEPTH, BLOCKS, CLOCK_HZ = "mnist-tfc", "ecpix5-85f", 2, 11, 80_000_000
IMAGES, BOARD_IMAGES = 10_000, 100


def plan_text(network, lanes):
    """A plan.toml with ``lanes`` pixels per cycle, dense layers unfolded, and all scores compared at once."""
    layers = {}
    for stage in lower(network):
        own = {"dense": {"style": "unfolded", "fabric": "ecp5", "depth": DEPTH, "blocks": BLOCKS if stage.name == "fc1" else 1},
               "class": {"lanes": 10}}
        layers[stage.name] = {"kind": stage.kind} | own.get(stage.kind, {"lanes": lanes})
    return tomlkit.dumps({"format": planfile.FORMAT, "network": network.digest, "clock_hz": CLOCK_HZ, "result": "class",
                          "buffers": "rate", "layers": layers})


def on_board(network, folder):
    """The report of the board's bitstream, how the SHA-256 of its cells begins, and the wall time of the command in seconds."""
    plan, out = Path(folder, "plan.toml"), Path(folder, "out")
    plan.write_text(plan_text(network, 1))
    command = [sys.executable, "-m", "bnnhw.build", MODEL, "--plan", plan, "--board", BOARD, "--bitstream", "--verify-netlist",
               str(BOARD_IMAGES), "-o", out]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    return json.loads((out / "report.json").read_text()), digest_of((out / f"{MODEL}_cells.v").read_text()), seconds


def an_image_per_cycle(network, folder):
    """All images through the Verilog and through the netlist: what report.json holds of such runs."""
    plan, device = planfile.loads(plan_text(network, 784), network, lower), devices.find(boards.find(BOARD).device)
    source, mapped = Path(folder, "cells.v"), Path(folder, "netlist.v")
    source.write_text(accelerator.verilog(plan, cells=True))
    implement.synthesize([source], accelerator.TOP, device, netlist=Path(folder, "netlist.json"), part=accelerator.TOP,
                         part_verilog=mapped)
    x, labels = verify.images_for(network, IMAGES, "mnist")
    for level, text, taps in (("Verilog", accelerator.verilog(plan), accelerator.taps(plan)),
                              ("netlist", netlist.cell_models(device) + mapped.read_text(), ())):
        # so few cycles that the compiler's time is what counts
        result = Simulator.of_plan(plan, text, taps=taps, optimize="-O0").run(encode(network, x), taps=bool(taps))
        verify.check_timing(plan, result)
        yield verify.summary(network, x, labels, result, level)


def main():
    network = models.load(MODEL).network
    with tempfile.TemporaryDirectory() as folder:
        with ThreadPoolExecutor() as pool:      # mostly other programs' time
            whole = pool.submit(on_board, network, folder)
            verified, mapped = an_image_per_cycle(network, folder)
            board, digest, seconds = whole.result()
    device = board["device"]
    fmax = device["fmax_hz"]
    publish("unfolded", [{
        "network": MODEL, "weights": sum(op.weights.size for op in network.operations.values() if hasattr(op, "weights")),
        "board": BOARD, "depth": DEPTH, "blocks_fc1": BLOCKS,
        "cells": device["luts"], "cells_limit": device["luts_limit"], "flip_flops": device["ffs"],
        "block_rams": device["brams"], "fmax_mhz": round(fmax / 1e6, 2), "seed": device["seed"],
        "cycles_per_image": verified["interval_cycles"], "core_images_per_s": round(fmax / verified["interval_cycles"]),
        "latency_cycles": verified["latency_cycles"], "latency_ns": round(verified["latency_cycles"] / fmax * 1e9, 1),
        "images_in_verilog": verified["images"], "right": verified["right"], "images_in_netlist": mapped["images"],
        "netlist_cycles_per_image": mapped["interval_cycles"], "images_in_board_netlist": board["netlist"]["images"],
        "mismatches": sum(one["mismatches"] for one in (verified, mapped, board["netlist"])),
        "verilog": digest, "board_build_s": round(seconds),
    }], versions("yosys", "nextpnr-ecp5", "verilator"))


if __name__ == "__main__":
    main()
