"""The README's results, from the files that the other benchmarks wrote.

    python benchmarks/readme.py            prints them
    python benchmarks/readme.py --write    puts them into README.md

A test holds the README to what this prints.
"""

import json
import sys
from pathlib import Path

from boards import PICKED, key

__all__ = ["results"]

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results: python benchmarks/readme.py --write -->\n", "<!-- end of results -->\n"


def _rows(name):
    found = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return found["rows"], found["command"]


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def results():
    """The Markdown between the markers."""
    text = []
    rows, command = _rows("training")
    text += ["**Networks**, all weights one bit, official 10,000 test images; trained model and golden model agree in every "
             f"decision and every hidden value (`{command}`):\n\n",
             _table(["recipe", "weights", "test accuracy", "epochs", "processor time"],
                    [[r["recipe"], f"{r['weights_bits']:,}", f"{r['test_accuracy_percent']:.2f} %", r["epochs"],
                      f"{r['processor_s'] / 60:.0f} min"] for r in rows])]
    rows, command = _rows("boards")
    picked = [key(*case) for case in PICKED]
    rows = [r for r in rows if key(r["network"], r["board"], r["options"].split()) in picked]
    text += [f"\n**Placed and routed**, complete board with UART link and PLL (`{command}`):\n\n",
             _table(["network", "board", "cells", "block RAMs", "clock (routed max.)", "cycles per image",
                     "images/s: core (at routed max.)", "images/s: link", "latency"],
                    [[f"{r['network']} {r['options']}".strip(), r["board"], f"{r['cells']:,} of {r['cells_limit']:,}",
                      f"{r['block_rams']} of {r['block_rams_limit']}", f"{r['clock_mhz']:g} MHz ({r['fmax_mhz']:.1f})",
                      r["cycles_per_image"], f"{r['core_images_per_s']:,} ({r['core_images_per_s_at_fmax']:,})",
                      r["link_images_per_s"], f"{r['latency_us']} us"] for r in rows if r["fits"] == "yes"])]
    refused = [r for r in rows if r["fits"] != "yes"]
    text += [f"\n`{r['network']}` does not fit the {r['board']}, and the build says so: `{r['fits']}`\n" for r in refused]
    rows, command = _rows("records")
    text += ["\n**Networks of lookup tables**, taking a pixel or a bit per cycle where placed, or an image per clock where all "
             "come at once; all 10,000 test images through Verilog and netlist of the one or the other "
             f"(`{command}`, [more](docs/records.md)):\n\n",
             _table(["network", "board", "tables", "right of 10,000", "images through what is placed", "cells", "block RAMs",
                     "routed max.", "last pixel to class"],
                    [[r["network"], r["where"], r["tables"].replace("+", " + "), f"{r['right_in_netlist']:,}",
                      f"{r['images_through_board']:,}",
                      f"{r['cells']:,} of {r['cells_limit']:,}", r["block_rams"], f"{r['fmax_mhz']:.1f} MHz",
                      f"{r['latency_ns']} ns"] for r in rows if r["fmax_mhz"]])]
    (dense,), command = _rows("unfolded")
    text += [f"\n**A dense network as constants**: {dense['network']}, {dense['weights']:,} weights, an image per clock, placed "
             f"and routed for the {dense['board']} at {dense['fmax_mhz']} MHz: {dense['cells']:,} of "
             f"{dense['cells_limit']:,} cells, {dense['latency_ns']:.0f} ns; {dense['images_in_netlist']:,} images through "
             f"Verilog and netlist, {dense['mismatches']} mismatches (`{command}`, "
             "[more](docs/baked.md#all-of-tfc-an-image-per-clock)).\n"]
    (cnv,), command = _rows("cnv")
    text += [f"\n**FINN's CNV**, {cnv['weights']:,} weights, at the folding FINN publishes (`{command}`): "
             f"{cnv['cycles_per_image_planned']:,} cycles per image planned, {cnv['cycles_per_image_simulated']:,} simulated, "
             f"FINN's figure is {cnv['cycles_per_image_finn']:,}; {cnv['images_simulated']} images through the Verilog, "
             f"{cnv['mismatches']} mismatches; Verilog in {cnv['build_s']:.0f} s and {cnv['build_peak_memory_mb']} MB; the "
             f"golden model takes {cnv['golden_model_1000_images_s']:.0f} s for 1,000 images.\n"]
    rows, command = _rows("speed")
    text += [f"\n**Speed of the tools** on two cores (`{command}`):\n\n",
             _table(["what", "seconds", "images/s", "peak memory"],
                    [[r["what"], f"{r['seconds']:.2f}", f"{r['images_per_s']:,.0f}" if r["images_per_s"] else "",
                      f"{r['peak_memory_mb']} MB" if r["peak_memory_mb"] else ""] for r in rows])]
    rows, command = _rows("mvtu")
    pairs = [(a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    text += ["\n**Cells per lane** (PE x SIMD) of a whole folded layer: input buffer, XNOR, popcount, accumulators, thresholds, "
             f"control; beside the same layer with a tree of `+` (`{command}`):\n\n",
             _table(["device", "layer", "PE x SIMD", "ours", "tree of +", "routed Fmax, ours", "tree of +"],
                    [[b["device"], f"{b['n_in']}x{b['n_out']}", f"{b['pe']}x{b['simd']}", f"{b['cells_per_lane']:.2f}",
                      f"{a['cells_per_lane']:.2f}", *(f"{r['fmax_mhz']:.1f} MHz" if r["fmax_mhz"] else "" for r in (b, a))]
                     for a, b in pairs])]
    versions = json.loads((ROOT / "benchmarks" / "results" / "boards.json").read_text())["versions"]
    text += ["\nVersions: " + "; ".join(f"{key} {value}" if key not in value.lower() else value
                                        for key, value in versions.items()) + ".\n"]
    return "".join(text)


def main():
    text = results()
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    readme.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
