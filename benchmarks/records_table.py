"""The table of docs/records.md, from the files that the other benchmarks wrote.

    python benchmarks/records_table.py            prints it
    python benchmarks/records_table.py --write    puts it into docs/records.md
"""

import json

from area import VOTER, VOTER_BEST
from page import run_or_write
from table import RESULTS

__all__ = ["table"]

PLACES = {"icebreaker": "iCEBreaker (iCE40 UP5K)", "ulx3s-25f": "ULX3S-25F (ECP5)", "ecpix5-85f": "ECPIX-5 (ECP5-5G 85F)",
          "xc7": "xc7, by synthesis alone"}
FABRICS = {"ice40": "iCE40", "ecp5": "ECP5", "gowin": "Gowin", "xc7": "xc7"}
CIRCUIT, AIMS = "random 256x64", {"ice40": "at most 0.50", "xc7": "at most 0.25"}


def read(name):
    found = json.loads((RESULTS / f"{name}.json").read_text())
    return found["rows"], f"`{found['command']}`", f"[{name}.json](../benchmarks/results/{name}.json)"


def sparse():
    rows, command, file = read("records")
    for r in rows:
        routed, board = r["fmax_mhz"], r["board_interval_cycles"]
        facts = [f"{r['right_in_netlist'] / r['images']:.2%}".replace("%", " %"),
                 f"{r['cells']:,} of {r['cells_limit']:,} cells" if routed else f"{r['cells']:,} LUT6"]
        if routed:
            facts += [f"{r['block_rams']} block RAMs", f"{routed} MHz",
                      f"last pixel to class {r['latency_cycles']} cycles, {r['latency_ns']} ns",
                      f"{board:,} cycles per image as placed, {routed * 1e6 / board:,.0f} images/s"]
        else:
            facts += [f"{r['flipflops']:,} flip-flops", f"last pixel to class {r['latency_cycles']} cycles",
                      f"{board:,} cycles per image as counted"]
        facts.append(f"with all pixels at once an image in {r['interval_cycles']} cycle{'s' * (r['interval_cycles'] != 1)}")
        own, all_of = r["images_through_board"], r["images"]
        exact = f"{all_of:,} images" if own == all_of else f"{own:,} images; {all_of:,} with all pixels at once"
        yield f"`{r['network']}`, {PLACES[r['where']]}", "; ".join(facts), exact, command, file, "[more](sparse.md#records)"


def dense():
    (r,), command, file = read("unfolded")
    facts = [f"{r['right'] / r['images_in_verilog']:.2%}".replace("%", " %"), f"{r['cells']:,} of {r['cells_limit']:,} cells",
             f"{r['fmax_mhz']} MHz", f"latency {r['latency_cycles']} cycles, {r['latency_ns']:.0f} ns",
             f"{r['cycles_per_image']} cycle per image with all pixels at once, "
             f"{r['core_images_per_s'] / 1e6:.2f} million images/s"]
    exact = f"{r['images_in_board_netlist']:,} images; {r['images_in_netlist']:,} with all pixels at once"
    yield (f"`{r['network']}` unfolded, {r['weights']:,} weights, {PLACES[r['board']]}", "; ".join(facts), exact, command, file,
           "[more](baked.md#all-of-tfc-an-image-per-clock)")


def credit():
    rows, command, file = read("credit-board")
    for r in rows:
        facts = [f"{r['right'] / r['rows_in_verilog']:.1%}".replace("%", " %"), f"{r['cells']:,} of {r['cells_limit']:,} cells",
                 f"{r['block_rams']} block RAMs", f"{r['fmax_mhz']} MHz ({r['clock_mhz']:g} asked)",
                 f"latency {r['latency_cycles']} cycles, {r['latency_cycles'] / r['fmax_mhz'] * 1e3:,.0f} ns",
                 f"{r['cycles_per_row']} cycles per row, {r['fmax_mhz'] * 1e6 / r['cycles_per_row']:,.0f} rows/s"]
        exact = f"Verilog {r['rows_in_verilog']} rows, netlist {r['rows_in_netlist']}"
        yield f"`{r['recipe']}`, {PLACES[r['board']]}", "; ".join(facts), exact, command, file, "[more](credit.md)"


def circuits():
    rows, command, file = read("area")
    for r in rows:
        if r["circuit"] == CIRCUIT and r["design"] == "ours":
            aim = f" (aim: {AIMS[r['fabric']]})" if r["fabric"] in AIMS else ""
            yield (f"{r['circuit']}, {FABRICS[r['fabric']]}",
                   f"{r['cells']:,} cells, {r['cells_per_synapse']:.3f} per synapse{aim}",
                   "circuit, 4,096 random vectors and near thresholds", command, file, "[more](baked.md#figures)")
    voter = next(r for r in rows if r["circuit"] == VOTER)
    yield ("EPFL's voter, at least 501 of 1,001", f"{voter['cells']:,} LUT6 ({VOTER_BEST:,} listed)", "proven, by composition",
           command, file, "[more](baked.md#thresholds-alone-the-epfl-voter)")


def table():
    lines = [("record", "figures", "compared", "command", "results", ""), ("---",) * 6]
    lines += [row for part in (sparse, dense, credit, circuits) for row in part()]
    return "\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def main():
    run_or_write(__doc__, "records.md", "records_table.py", table, lambda: print(table()))


if __name__ == "__main__":
    main()
