"""Shipped networks on the boards that they fit: placed and routed, simulated, every figure read back.

    python benchmarks/boards.py

``core_images_per_s`` is the simulated interval at the board's clock; ``core_images_per_s_at_fmax`` the same at the routed
maximum. Seconds are of the whole build command with 1,000 images through the Verilog and 20 through the netlist.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import publish, versions

CASES = (
    ("mnist-tfc", "icebreaker", []), ("mnist-tfc", "icebreaker", ["--fps", "130000"]),
    ("mnist-sfc", "icebreaker", ["--fps", "5000"]),
    ("mnist-cnn-small", "icebreaker", []),
    ("mnist-sfc", "ulx3s-25f", []), ("mnist-cnn", "ulx3s-25f", []), ("mnist-cnn", "ulx3s-85f", ["--fps", "9000"]),
    ("mnist-tfc", "hx8k", []), ("mnist-tfc", "orangecrab", []), ("mnist-tfc", "colorlight-i5", []),
    ("mnist-tfc", "tang-nano-9k", []), ("mnist-tfc", "tang-nano-20k", []), ("mnist-cnn-small", "tang-nano-9k", []),
)


def row(model, board, extra):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bnnhw.build", model, "--board", board, "--scores", "--verify", "1000", "--bitstream",
                   "--verify-netlist", "20", *extra, "-o", f"{folder}/out"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        what = {"network": model, "board": board, "options": " ".join(extra)}
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1]
            return what | {"fits": reason, "cells": None, "cells_limit": None, "block_rams": None, "block_rams_limit": None,
                           "fmax_mhz": None, "clock_mhz": None, "cycles_per_image": None, "core_images_per_s": None,
                           "core_images_per_s_at_fmax": None, "link_images_per_s": None, "latency_us": None,
                           "right_of_1000": None, "build_s": round(seconds, 1)}
        facts = json.loads(Path(folder, "out", "report.json").read_text())
    device, verified = facts["device"], facts["verified"]
    return what | {
        "fits": "yes", "cells": device["luts"], "cells_limit": device["luts_limit"], "block_rams": device["brams"],
        "block_rams_limit": device["brams_limit"], "fmax_mhz": round(device["fmax_hz"] / 1e6, 2),
        "clock_mhz": facts["clock_hz"] / 1e6, "cycles_per_image": verified["interval_cycles"],
        "core_images_per_s": round(facts["clock_hz"] / verified["interval_cycles"]),
        "core_images_per_s_at_fmax": round(device["fmax_hz"] / verified["interval_cycles"]),
        "link_images_per_s": int(facts["link_fps"]), "latency_us": round(verified["latency_cycles"] / facts["clock_hz"] * 1e6, 1),
        "right_of_1000": verified["right"], "build_s": round(seconds, 1)}


def main():
    rows = []
    for case in CASES:
        rows.append(row(*case))
        publish("boards", rows, versions("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin", "verilator"))


if __name__ == "__main__":
    main()
