"""FINN's own foldings of TFC and LFC: LUTs per lane (PE x SIMD) beside FINN-R's published model.

    python benchmarks/finn.py            # each layer on its own, synthesized
    python benchmarks/finn.py --write    # the table of docs/boards.md

Layers have random signs as weights, in block RAM, and thresholds; the last ones give their sums. Each is whole: input buffer,
XNOR, popcount, accumulators, control, output slice. ``lut6`` is yosys' count for the 7 series, which FINN-R's model is about:
300 LUTs and 1.1 for each lane of one bit (Blott et al., "FINN-R", 2018, arXiv:1809.04570), block RAMs apart. It is the count of
synthesis, for bnnhw knows no open place and route there; ``ecp5_cells`` is nextpnr's count of packed LUT4.
"""

import json
import re
import tempfile
from pathlib import Path

import designs
from mvtu import cells
from page import run_or_write
from table import RESULTS, publish, versions

from bnnhw import devices, implement

FIXED_LUTS, LUTS_PER_LANE = 300, 1.1        # FINN-R's model
LUTS = re.compile(r"LUT\d(_2)?|INV|SRL\w+|RAM\d+\w*")

# network -> layers: inputs, outputs, and FINN's PE and SIMD. Umuroglu et al., 2017, arXiv:1612.07119.
FOLDINGS = {
    "TFC": ((784, 64, 16, 49), (64, 64, 8, 8), (64, 64, 8, 8), (64, 10, 10, 8)),
    "LFC": ((784, 1024, 32, 49), (1024, 1024, 64, 32), (1024, 1024, 32, 64), (1024, 10, 10, 8)),
}


def lut6_of(text, top, folder):
    """LUT6 of a module in Verilog by yosys' synthesis for the 7 series. Leaves ``top.v`` in ``folder``, with a module around it
    that is called :data:`designs.PLAIN`."""
    # yosys 0.70 takes `o[0]` for a bit of `o` in abc9 for xc7
    text = re.sub(r"\\\S*\[\S* ", lambda found: found[0].replace("[", "_at_").replace("]", ""), text)
    (folder / "top.v").write_text(text + designs.plain(text, top))
    counts = implement.synthesize([folder / "top.v"], designs.PLAIN, devices.find("xc7a100t"), netlist=folder / "xc7.json")
    return sum(count for kind, count in counts.items() if LUTS.fullmatch(kind))


def layer(network, number, n_in, n_out, pe, simd, folder):
    result = "" if n_out != 10 else f" width={n_in.bit_length() + 1}"
    line = f"dense n_in={n_in} n_out={n_out} pe={pe} simd={simd} memory=bram{result}"
    text, top, _ = designs.verilog_of(line, None, None)
    lut6 = lut6_of(text, top, folder)
    lanes, packed = pe * simd, cells(folder, "ecp5-25f", designs.PLAIN)
    model = FIXED_LUTS + LUTS_PER_LANE * lanes
    return {"network": network, "layer": f"fc{number}", "n_in": n_in, "n_out": n_out, "pe": pe, "simd": simd, "lanes": lanes,
            "lut6": lut6, "finn_r_lut6": round(model), "lut6_per_lane": lut6 / lanes, "finn_r_per_lane": model / lanes,
            "ecp5_cells": packed, "ecp5_cells_per_lane": packed / lanes}


def rows():
    with tempfile.TemporaryDirectory() as folder:
        return [layer(network, number, *sizes, Path(folder)) for network, layers in FOLDINGS.items()
                for number, sizes in enumerate(layers, 1)]


def page(rows):
    """The table in Markdown."""
    lines = ["| network | layer | PE x SIMD | LUT6 | FINN-R's model | LUT6 per lane | the model's | ECP5 cells | per lane |\n",
             "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"]
    for r in rows:
        lines.append(f"| {r['network']} | {r['n_in']}x{r['n_out']} | {r['pe']} x {r['simd']} | {r['lut6']:,} | "
                     f"{r['finn_r_lut6']:,} | {r['lut6_per_lane']:.2f} | {r['finn_r_per_lane']:.2f} | {r['ecp5_cells']:,} | "
                     f"{r['ecp5_cells_per_lane']:.2f} |\n")
    return "".join(lines)


if __name__ == "__main__":
    run_or_write(__doc__, "boards.md", "finn.py", lambda: page(json.loads((RESULTS / "finn.json").read_text())["rows"]),
                 lambda: publish("finn", rows(), versions("yosys", "nextpnr-ecp5")))
