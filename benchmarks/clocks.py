"""What ``--clock auto`` makes of a network on a board of each family.

    python benchmarks/clocks.py             runs what the result file lacks, row by row: it may be broken off
    python benchmarks/clocks.py --write     writes the table of docs/timing.md

``usual_mhz`` is the board's clock where none is asked for; ``first_fmax_mhz`` what the first design reached, which is planned for
that clock; ``rebuilds`` how many there were after it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from page import run_or_write
from table import RESULTS, digest_of, publish, versions

FILE = RESULTS / "clocks.json"
CASES = (("mnist-tfc", "icebreaker"), ("mnist-tfc", "ulx3s-25f"), ("mnist-tfc", "tang-nano-9k"))
IMAGES = 20             # through the netlist
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin", "verilator")


def rows_of():
    return json.loads(FILE.read_text())["rows"] if FILE.exists() else []


def build_command(model, board, folder):
    """What is behind ``bnnhw`` on the command line."""
    return ["build", model, "--board", board, "--scores", "--bitstream", "--clock", "auto", "--verify-netlist", str(IMAGES),
            "-o", str(folder)]


def row(model, board):
    """Build, read the report."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bnnhw", *build_command(model, board, f"{folder}/out")], check=True)
        seconds = time.perf_counter() - start
        facts = json.loads(Path(folder, "out", "report.json").read_text())
        verilog = digest_of(Path(folder, "out", f"{model}.v").read_text())
    first, device = facts["rounds"][0], facts["device"]
    return {"network": model, "board": board, "verilog": verilog, "usual_mhz": first["clock_hz"] / 1e6,
            "usual_images_per_s": round(first["clock_hz"] / first["interval"]),
            "first_fmax_mhz": round(first["fmax_hz"] / 1e6, 2), "rebuilds": len(facts["rounds"]),
            "clock_mhz": facts["clock_hz"] / 1e6, "fmax_mhz": round(device["fmax_hz"] / 1e6, 2),
            "images_per_s": round(facts["core_fps"]), "cycles": facts["cycles_per_inference"], "cells": device["luts"],
            "block_rams": device["brams"], "netlist_mismatches": facts["netlist"]["mismatches"], "seconds": round(seconds)}


def page(rows):
    lines = ["| network | board | usual clock | first design reached | rebuilds | clock | reached | cells | images/s |\n",
             "|" + "---|" * 9 + "\n"]
    for own in rows:
        lines.append(f"| {own['network']} | {own['board']} | {own['usual_mhz']:g} MHz | {own['first_fmax_mhz']:.1f} MHz | "
                     f"{own['rebuilds']} | **{own['clock_mhz']:.2f} MHz** | {own['fmax_mhz']:.1f} MHz | {own['cells']:,} | "
                     f"{own['images_per_s']:,} |\n")
    return "".join(lines)


def run():
    rows = rows_of()
    for case in CASES:
        if case not in {(own["network"], own["board"]) for own in rows}:
            rows.append(row(*case))
            publish("clocks", rows, versions(*TOOLS))


if __name__ == "__main__":
    run_or_write(__doc__, "timing.md", "clocks.py", lambda: page(rows_of()), run)
