"""What an updatable bitstream costs, and how long another network takes to go into it, beside a build of it.

    python benchmarks/update.py             runs what the result file lacks, board by board: it may be broken off
    python benchmarks/update.py --write     writes the table of docs/update.md

The network is the shipped mnist-tfc; the other one has its weights and thresholds drawn anew. ``build_s`` is of the updatable
build, ``update_s`` of the update without the check; each is a command of its own, and ``processor_s`` what it kept one core busy.
``mismatches`` is of 20 images in the updated netlist, against the other network's golden model.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from page import run_or_write
from table import RESULTS, publish, versions

from bnnhw import artifact, models
from bnnhw.artifact import Artifact
from bnnhw.ir import Dense, Network, Threshold

BOARDS = ("icebreaker", "ulx3s-25f", "tang-nano-9k")
MODEL, RATE, IMAGES = "mnist-tfc", "1000", "20"
FILE = RESULTS / "update.json"
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin", "verilator")
SHOWN = ("board", "cells", "cells_updatable", "block_rams", "block_rams_updatable", "build_s", "build_processor_s", "update_s",
         "update_processor_s", "mismatches")


def drawn_anew(network):
    """The network with other weights, and other thresholds behind them."""
    rng, operations = np.random.default_rng(1), []
    for operation in network.operations.values():
        if isinstance(operation, Dense):
            operation = Dense(operation.name, *operation.inputs, rng.choice([-1, 1], operation.weights.shape))
        elif isinstance(operation, Threshold) and any(isinstance(network.operations[name], Dense) for name in operation.inputs):
            operation = Threshold(operation.name, *operation.inputs, rng.permutation(operation.levels), operation.falling)
        operations.append(operation)
    return Network(operations, "class")


def seconds(*arguments):
    """Of a command: how long it took, how long it kept processors busy."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(time.perf_counter() - start, 1), round(busy, 1)


def row(board):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        other = folder / "other.bnn"
        artifact.save(other, Artifact(drawn_anew(models.load(MODEL).network), models.load(MODEL).classes))
        build = ("bnnhw.build", MODEL, "--board", board, "--fps", RATE, "--bitstream", "-o")
        seconds(*build, folder / "plain")
        build_s, build_busy_s = seconds(*build, folder / "updatable", "--updatable")
        seconds("bnnhw.update", folder / "updatable", other, "--verify-netlist", IMAGES, "-o", folder / "checked")
        update_s, update_busy_s = seconds("bnnhw.update", folder / "updatable", other, "-o", folder / "updated")
        plain, updatable, checked = (json.loads((folder / own / "report.json").read_text())
                                     for own in ("plain", "updatable", "checked"))
    return {"network": MODEL, "board": board, "cells": plain["device"]["luts"], "cells_updatable": updatable["device"]["luts"],
            "block_rams": plain["device"]["brams"], "block_rams_updatable": updatable["device"]["brams"],
            "cycles_per_image": plain["cycles_per_inference"],
            "cycles_per_image_updatable": updatable["cycles_per_inference"],
            "build_s": build_s, "build_processor_s": build_busy_s, "update_s": update_s, "update_processor_s": update_busy_s,
            "images": checked["netlist"]["images"], "mismatches": checked["netlist"]["mismatches"]}


def page(rows):
    """The table of docs/update.md."""
    lines = [[name.replace("_", " ").removesuffix(" s") + (", s" if name.endswith("_s") else "") for name in SHOWN],
             ["---"] + ["---:"] * (len(SHOWN) - 1)]
    lines += [[f"{row[name]:,}" if isinstance(row[name], int) else str(row[name]) for name in SHOWN] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows_of():
    return json.loads(FILE.read_text())["rows"] if FILE.exists() else []


def run():
    rows = rows_of()
    for board in BOARDS:
        if board not in {own["board"] for own in rows}:
            rows.append(row(board))
            publish("update", rows, versions(*TOOLS))


if __name__ == "__main__":
    run_or_write(__doc__, "update.md", "update.py", lambda: page(rows_of()), run)
