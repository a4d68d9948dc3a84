"""FINN's own foldings of TFC and LFC: LUTs per lane (PE x SIMD) beside FINN-R's published model.

    python benchmarks/finn.py            # each layer on its own, synthesized
    python benchmarks/finn.py --route    # TFC as a whole at that folding, placed and routed on a ULX3S

Layers have random signs as weights, in block RAM, and thresholds; the last ones give their sums. Each is whole: input buffer,
XNOR, popcount, accumulators, control, output slice. ``lut6`` is yosys' count for the 7 series, which FINN-R's model is about:
300 LUTs and 1.1 for each lane of one bit (Blott et al., "FINN-R", 2018, arXiv:1809.04570), block RAMs apart. It is the count of
synthesis, for bnnhw knows no open place and route there; ``ecp5_cells`` is nextpnr's count of packed LUT4.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import designs
import tomlkit
from mvtu import cells
from table import publish, versions

from bnnhw import devices, implement, models, planfile
from bnnhw.lower import lower

FIXED_LUTS, LUTS_PER_LANE = 300, 1.1        # FINN-R's model
LUTS = re.compile(r"LUT\d(_2)?|INV|SRL\w+|RAM\d+\w*")

# network -> layers: inputs, outputs, and FINN's PE and SIMD. Umuroglu et al., 2017, arXiv:1612.07119.
FOLDINGS = {
    "TFC": ((784, 64, 16, 49), (64, 64, 8, 8), (64, 64, 8, 8), (64, 10, 10, 8)),
    "LFC": ((784, 1024, 32, 49), (1024, 1024, 64, 32), (1024, 1024, 32, 64), (1024, 10, 10, 8)),
}
BOARD, NETWORK, CLOCK_HZ = "ulx3s-25f", "mnist-tfc", 60_000_000


def layer(network, number, n_in, n_out, pe, simd, folder):
    result = "" if n_out != 10 else f" width={n_in.bit_length() + 1}"
    line = f"dense n_in={n_in} n_out={n_out} pe={pe} simd={simd} memory=bram{result}"
    device = devices.find("xc7a100t")
    text, top, _ = designs.verilog_of(line, None, device)
    text = re.sub(r"\\(\w+)\[(\d+)\] ", r"\\\1_at_\2 ", text)      # yosys 0.70 takes `o[0]` for a bit of `o` in abc9 for xc7
    (folder / "top.v").write_text(text + designs.plain(text, top))
    counts = implement.synthesize([folder / "top.v"], designs.PLAIN, device, netlist=folder / "xc7.json")
    lut6 = sum(count for kind, count in counts.items() if LUTS.fullmatch(kind))
    lanes, packed = pe * simd, cells(folder, "ecp5-25f", designs.PLAIN)
    model = FIXED_LUTS + LUTS_PER_LANE * lanes
    return {"network": network, "layer": f"fc{number}", "n_in": n_in, "n_out": n_out, "pe": pe, "simd": simd, "lanes": lanes,
            "lut6": lut6, "finn_r_lut6": round(model), "lut6_per_lane": lut6 / lanes, "finn_r_per_lane": model / lanes,
            "ecp5_cells": packed, "ecp5_cells_per_lane": packed / lanes}


def routed():
    """TFC with FINN's foldings through ``bnnhw build``."""
    network = models.load(NETWORK).network
    foldings = iter(FOLDINGS["TFC"])
    layers = {}
    for stage in lower(network, scores=True):
        if stage.kind == "dense":
            _, _, pe, simd = next(foldings)
            layers[stage.name] = {"kind": "dense", "style": "folded", "pe": pe, "simd": simd, "memory": "bram"}
        else:
            layers[stage.name] = {"kind": stage.kind} | ({} if stage.kind == "scores" else {"lanes": FOLDINGS["TFC"][0][3]})
    plan = {"format": planfile.FORMAT, "network": network.digest, "clock_hz": CLOCK_HZ, "result": "scores", "buffers": "rate",
            "layers": layers}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "finn.toml").write_text(tomlkit.dumps(plan))
        subprocess.run([sys.executable, "-m", "bnnhw.build", NETWORK, "--board", BOARD, "--plan", folder / "finn.toml",
                        "--scores", "--verify", "1000", "--bitstream", "--verify-netlist", "20", "-o", folder / "out"],
                       check=True)
        facts = json.loads((folder / "out" / "report.json").read_text())
    device, verified = facts["device"], facts["verified"]
    lanes = sum(pe * simd for _, _, pe, simd in FOLDINGS["TFC"])
    return {"network": NETWORK, "board": BOARD, "lanes": lanes, "cells": device["luts"], "block_rams": device["brams"],
            "fmax_mhz": round(device["fmax_hz"] / 1e6, 2), "cycles_per_image": verified["interval_cycles"],
            "images_per_s_at_fmax": round(device["fmax_hz"] / verified["interval_cycles"]),
            "cells_per_lane": device["luts"] / lanes, "right_of_1000": verified["right"]}


def main(arguments):
    if arguments == ["--route"]:
        publish("finn-routed", [routed()], versions("yosys", "nextpnr-ecp5"))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [layer(network, number, *sizes, Path(folder)) for network, layers in FOLDINGS.items()
                for number, sizes in enumerate(layers, 1)]
    publish("finn", rows, versions("yosys", "nextpnr-ecp5"))


if __name__ == "__main__":
    main(sys.argv[1:])
