"""Published networks of other projects, imported: right images, Verilog against the golden model, TFC and LFC on boards.

    python benchmarks/peers.py FOLDER

FOLDER has ``TFC_1W1A.onnx`` (QONNX model zoo, fastmachinelearning/qonnx_model_zoo) and the parameter folders ``lfcW1A1`` and
``cnvW1A1`` (Xilinx/BNN-PYNQ), anywhere below it. What their authors, or their own runs, say of them stands beside what is found.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import publish, versions

# file or folder, data set, test images, right ones by its own project, images through the Verilog, board for a bitstream
PEERS = (("TFC_1W1A.onnx", "mnist", 10_000, 9296, 10_000, "icebreaker"), ("lfcW1A1", "mnist", 10_000, 9834, 1000, "ulx3s-85f"),
         ("cnvW1A1", "cifar10", 1000, 806, 50, ""))


def command(*words):
    """Standard output of a verb, and its wall time in seconds."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "bnnhw.cli", *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout, time.perf_counter() - start


def row(source, dataset, images, published, simulated, board, folder):
    net, out = Path(folder, f"{source.stem}.bnn"), Path(folder, source.stem)
    _, seconds = command("import", source, "-o", net, "--dataset", dataset)
    counted = json.loads(command("evaluate", net, "--images", images, "--json")[0])
    command("build", net, "--verify", simulated, "-o", out)
    report = json.loads((out / "report.json").read_text())
    verified = report["verified"]
    device = {}
    if board:
        command("build", net, "--board", board, "--bitstream", "-o", out)
        report = json.loads((out / "report.json").read_text())
        device = report["device"]
    return {
        "network": source.name, "import_s": round(seconds, 1), "right_images": counted["right"], "of_images": counted["total"],
        "right_images_published": published, "images_in_verilog": verified["images"], "mismatches": verified["mismatches"],
        "cycles_per_image": verified["interval_cycles"], "board": board, "cells": device.get("luts", ""),
        "block_rams": device.get("brams", ""), "fmax_mhz": round(device["fmax_hz"] / 1e6, 1) if device else "",
        "core_images_per_s": round(report["core_fps"]) if board else "",
    }


def main():
    top = Path(sys.argv[1])
    sys.argv[1] = "FOLDER"      # what the result file says of the command
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(next(top.rglob(name)), *rest, folder) for name, *rest in PEERS]
    publish("peers", rows, versions("verilator", "yosys", "nextpnr-ice40", "nextpnr-ecp5"))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    main()
