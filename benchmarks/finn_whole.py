"""TFC and LFC whole, at FINN's own foldings: built for a board, placed and routed; LUTs per lane beside FINN-R's published model.

    python benchmarks/finn_whole.py            # what the result file lacks
    python benchmarks/finn_whole.py --write    # the table of docs/boards.md

TFC is the shipped network; LFC has FINN's sizes, random weights and thresholds: neither area nor timing depends on them.
``lut6`` is yosys' count for the 7 series of the accelerator alone, beside the sum of FINN-R's model over the layers
(``finn.py``); cells are those of the whole ECP5 board, with link, self-test and PLL, routed by ``bnnhw build --plan``, which
simulates the Verilog on test images, too.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tomlkit
from finn import FIXED_LUTS, FOLDINGS, LUTS_PER_LANE, lut6_of
from page import run_or_write
from table import RESULTS, publish, versions

from bnnhw import accelerator, artifact, models, planfile
from bnnhw.ir import ArgMax, Dense, Flatten, Input, Network, TensorType, Threshold
from bnnhw.lower import lower

FILE = RESULTS / "finn-whole.json"
BOARD = "ulx3s-85f"
CLOCK_HZ = {"TFC": 60_000_000, "LFC": 48_000_000}       # LFC is for the router of large designs, whose wires are slower
LANES = {"TFC": 14, "LFC": 7}       # pixels per cycle at the input: enough for the interval
IMAGES = {"TFC": 1000, "LFC": 100}


def lfc():
    """A network of LFC's sizes."""
    rng = np.random.default_rng(0)
    operations = [Input("image", TensorType((28, 28, 1), 0, 255)), Threshold("binarize", "image", [[128]], [False]),
                  Flatten("flat", "binarize")]
    edge, layers = "flat", FOLDINGS["LFC"]
    for number, (n_in, n_out, _, _) in enumerate(layers, 1):
        operations.append(Dense(f"fc{number}", edge, rng.choice([-1, 1], (n_out, n_in))))
        edge = f"fc{number}"
        if number < len(layers):
            operations.append(Threshold(f"act{number}", edge, rng.integers(-9, 10, (n_out, 1)), rng.random(n_out) < 0.3))
            edge = f"act{number}"
    return Network([*operations, ArgMax("class", edge)], "class")


def plan_text(name, network):
    """A plan.toml with FINN's folding."""
    layers, foldings = {}, iter(FOLDINGS[name])
    for stage in lower(network):
        layers[stage.name] = {"kind": stage.kind}
        if stage.kind == "dense":
            _, _, pe, simd = next(foldings)
            layers[stage.name] |= {"pe": pe, "simd": simd, "memory": "bram"}
        elif stage.kind == "threshold":
            layers[stage.name]["lanes"] = LANES[name]
    return tomlkit.dumps({"format": planfile.FORMAT, "network": network.digest, "clock_hz": CLOCK_HZ[name], "result": "class",
                          "buffers": "rate", "layers": layers})


def row(name, folder):
    network = models.load("mnist-tfc").network if name == "TFC" else lfc()
    file, text = folder / f"{name}.bnn", plan_text(name, network)
    lut6 = lut6_of(accelerator.verilog(planfile.loads(text, network, lower)), accelerator.TOP, folder)
    artifact.save(file, artifact.Artifact(network, tuple("0123456789"), {"dataset": "mnist"}))
    Path(folder, "plan.toml").write_text(text)
    subprocess.run([sys.executable, "-m", "bnnhw.build", file, "--plan", folder / "plan.toml", "--board", BOARD, "--bitstream",
                    "--verify", str(IMAGES[name]), "-o", folder / "out"], check=True)
    facts = json.loads(Path(folder, "out", "report.json").read_text())
    lanes = sum(pe * simd for _, _, pe, simd in FOLDINGS[name])
    model = FIXED_LUTS * len(FOLDINGS[name]) + LUTS_PER_LANE * lanes
    device, verified = facts["device"], facts["verified"]
    return {"network": name, "board": BOARD, "lanes": lanes, "lut6": lut6, "finn_r_lut6": round(model),
            "lut6_per_lane": round(lut6 / lanes, 3), "finn_r_per_lane": round(model / lanes, 3),
            "cells": device["luts"], "cells_limit": device["luts_limit"], "cells_per_lane": round(device["luts"] / lanes, 3),
            "block_rams": device["brams"], "block_rams_limit": device["brams_limit"],
            "clock_mhz": facts["clock_hz"] / 1e6, "fmax_mhz": round(device["fmax_hz"] / 1e6, 2),
            "cycles_per_image": verified["interval_cycles"],
            "core_images_per_s": round(facts["clock_hz"] / verified["interval_cycles"]),
            "core_images_per_s_at_fmax": round(device["fmax_hz"] / verified["interval_cycles"]),
            "images": verified["images"], "mismatches": verified["mismatches"]}


def rows_of():
    return json.loads(FILE.read_text())["rows"] if FILE.exists() else []


def run():
    """Measure what is not yet recorded."""
    rows = rows_of()
    for name in FOLDINGS:
        if name not in {own["network"] for own in rows}:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(row(name, Path(folder)))
            publish("finn-whole", rows, versions("yosys", "nextpnr-ecp5", "verilator"))


def page(rows):
    """The table in Markdown."""
    lines = ["| network | lanes | LUT6 | FINN-R's model | LUT6 per lane | the model's | ECP5 cells, whole board | per lane "
             "| block RAMs | clock (routed max.) | cycles per image | images/s (at routed max.) |\n",
             "| --- |" + " ---: |" * 11 + "\n"]
    for r in rows:
        lines.append(f"| {r['network']} | {r['lanes']:,} | {r['lut6']:,} | {r['finn_r_lut6']:,} | {r['lut6_per_lane']:.2f} | "
                     f"{r['finn_r_per_lane']:.2f} | {r['cells']:,} of {r['cells_limit']:,} | {r['cells_per_lane']:.2f} | "
                     f"{r['block_rams']} of {r['block_rams_limit']} | {r['clock_mhz']:.4g} MHz ({r['fmax_mhz']:.1f}) | "
                     f"{r['cycles_per_image']} | {r['core_images_per_s']:,} ({r['core_images_per_s_at_fmax']:,}) |\n")
    return "".join(lines)


if __name__ == "__main__":
    run_or_write(__doc__, "boards.md", "finn_whole.py", lambda: page(rows_of()), run)
