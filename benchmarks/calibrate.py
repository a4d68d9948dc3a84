"""Fits the constants of :mod:`bnnhw.estimate` to runs of yosys and nextpnr, compares them with designs kept out of the fit.

    python benchmarks/calibrate.py                     runs what the result file lacks, and designs that are other Verilog now
                                                       than in their row, row by row: it may be broken off
    python benchmarks/calibrate.py --fit               fits bnnhw/estimate/constants.json to the rows; tools are not needed
    python benchmarks/calibrate.py --write             writes the tables of docs/estimates.md

The fit is plain least squares on relative errors, of a family's cells, of its flip-flops, of the paths of a device; a feature
whose constant would be negative is left out, and those left are fitted again. Delays are held near what nextpnr says of single
cells. Rows whose ``use`` is "kept out" take no part.
"""

import argparse
import json
import math
import re
import statistics
import tempfile
import time
from pathlib import Path

import designs
import grid
import numpy as np
from table import RESULTS, digest_of, versions

from bnnhw import devices, estimate, implement, planfile, tools
from bnnhw.estimate.figures import CONSTANTS, SIZE, speed
from bnnhw.estimate.packing import packed
from bnnhw.files import atomic_write

__all__ = ["compared", "fit", "key_of", "measured", "missing", "outdated", "page", "rows_of"]

FILE = RESULTS / "calibration.json"
CONSTANTS_FILE = Path(__file__).parent.parent / "bnnhw" / "estimate" / CONSTANTS
PAGE = Path(__file__).parent.parent / "docs" / "estimates.md"
BEGIN, END = "<!-- python benchmarks/calibrate.py --write -->\n", "<!-- end of tables -->\n"
CELLS_LIMIT, RATE_LIMIT = 0.10, 0.20
SEEDS = (1, 2, 3)
# ns: about what nextpnr says of a flip-flop with its wires, a table, a carry, a block RAM's output, of counting twice as many
# bits, of the loops of a window that turn (four tables), of these and whether the next place is inside the image (six), of
# longer wires in a design twice as large. The search for the longest paths begins with these; as the routed designs are few,
# the fit stays near.
DELAYS = ("path", "levels", "carry", "bram", "counting", "turning", "placing", SIZE)
START = {grade: dict(zip(DELAYS, ns, strict=True)) for grade, ns in {
    "ice40-u": (3, 2.0, 0.3, 4, 2.8, 8.0, 12.0, 0.6), "ice40-hx": (1.5, 0.9, 0.13, 2, 1.3, 3.6, 5.4, 0.25),
    "ecp5-6": (0.5, 0.8, 0.08, 4.8, 1.1, 3.2, 4.8, 0.2), "ecp5-8": (0.4, 0.65, 0.065, 3.9, 0.9, 2.6, 3.9, 0.16),
    "ecp5-5g": (0.3, 0.5, 0.05, 3.1, 0.7, 2.1, 3.15, 0.13), "gowin-gw1n": (1.8, 1.6, 0.06, 3, 1.8, 6.4, 9.6, 0.2),
    "gowin-gw2a": (0.8, 0.8, 0.035, 1.8, 0.9, 3.2, 4.8, 0.1)}.items()}
NEAR = 0.1          # a relative error of a constant counts as one of so much in a design
ROUNDS = 20
HOW = ("packed", "routed")
FEW = 50            # cells or flip-flops: that much in a hundred more or less of less than this matters to nobody
GOAL_HZ = {"ice40-u": 50e6, "ice40-hx": 120e6, "ecp5-6": 150e6, "ecp5-8": 180e6,
           "ecp5-5g": 220e6, "gowin-gw1n": 120e6, "gowin-gw2a": 200e6}
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin")


def rows_of():
    """The recorded rows."""
    return json.loads(FILE.read_text())["rows"] if FILE.exists() else []


def measured(use, line, device_name, routed):
    """Run a design's tools; its row."""
    device = devices.find(device_name)
    plan, constants = "", []
    if line.startswith("network"):
        plan = planfile.dumps(designs.plan_of(line, ""))
        found = [estimate.exact(*own, device) for own in designs.constant_stages(designs.plan_of(line, plan))]
        constants = [[own.luts, own.ffs, own.brams] for own in found]
    start = time.perf_counter()
    routes = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text, top, constraints = designs.verilog_of(line, plan, device)
        verilog = digest_of(text)
        if constraints is None:
            text += designs.harness(text, top) if routed else designs.plain(text, top)
            top = designs.HARNESS if routed else designs.PLAIN
        found = packed(text, top, device, constraints=constraints, folder=folder)
        pins = folder / f"{top}.pins" if constraints else None
        if routed:
            for seed in SEEDS:
                routes.append(implement.route(
                    folder / f"{top}.json", device, package=device.packages[0], constraints=pins, clock_hz=GOAL_HZ[speed(device)],
                    output=folder / "routed", seed=seed, counts=found["counts"]))
    return {"use": use, "design": line, "device": device_name, "verilog": verilog, "plan": plan,
            "constants": json.dumps(constants), "luts": found["luts"], "ffs": found["ffs"], "brams": found["brams"],
            **{f"fmax_mhz_seed_{seed}": round(routes[k].fmax_hz / 1e6, 2) if routes else None for k, seed in enumerate(SEEDS)},
            "path": _path(sorted(routes, key=lambda own: own.fmax_hz)[len(routes) // 2].path) if routes else "",
            "seconds": round(time.perf_counter() - start, 1)}


def outdated(row):
    """Whether the design of a row is other Verilog now than when it was measured."""
    text, *_ = designs.verilog_of(row["design"], row["plan"], devices.find(row["device"]))
    return digest_of(text) != row["verilog"]


def _path(path):
    """A slowest path in words: where the time goes, its cells from first to last."""
    hops = [hop for hop in path["hops"] if hop["kind"] != "routing"]
    cells = [re.sub(r"\$\S*?\$|_(LUT4|SB_LUT4|DFF|TRELLIS_FF|CARRY|CCU2C|LC|COMB)\S*$", "", hop["cell"]) for hop in hops]
    return (f"{path['logic_ns']} ns in {len(hops)} cells, {path['wire_ns']} ns in wires: "
            + " > ".join(cell for k, cell in enumerate(cells) if not k or cell != cells[k - 1]))


def key_of(row):
    """(use, line, device, whether it was routed) of a row, as :func:`grid.all_designs` has it."""
    return row["use"], row["design"], row["device"], median_ns(row) is not None


def missing(rows):
    """The designs of :mod:`grid` that have no row, as :func:`grid.all_designs` has them."""
    found = set(map(key_of, rows))
    return [design for design in grid.all_designs() if design not in found]


def run(wanted):
    """Measure what is not yet recorded, or outdated."""
    rows = rows_of()
    for use, line, device, routed in grid.all_designs():
        if not re.search(wanted, f"{use} {line} {device} {HOW[routed]}"):
            continue
        before = [row for row in rows if (row["design"], row["device"], median_ns(row) is not None) == (line, device, routed)]
        if before and not any(map(outdated, before)):
            continue
        try:
            row = measured(use, line, device, routed)
        except (implement.ImplementError, tools.ToolError) as error:
            print(f"{line} on {device}: {error}", flush=True)       # it does not fit, or a tool breaks on it
            continue
        rows = [other for other in rows if other not in before] + [row]
        print({key: value for key, value in row.items() if key != "plan"}, flush=True)
        atomic_write(FILE, json.dumps({"command": "python benchmarks/calibrate.py", "versions": versions(*TOOLS), "rows": rows},
                                      indent=0) + "\n")


def least_squares(counts, values, least=0):
    """{feature: constant} for which the relative errors of the sums are least, none of them negative. Values below ``least``
    count as if they were that."""
    features = sorted({name for own in counts for name, count in own.items() if count})
    scale = np.maximum(values, least)
    while True:
        matrix = np.array([[own.get(name, 0) for name in features] for own in counts], float) / scale[:, None]
        found, *_ = np.linalg.lstsq(matrix, np.array(values) / scale, rcond=None)
        if found.min() >= 0:
            return {name: round(float(x), 4) for name, x in zip(features, found, strict=True) if x > 0}
        features.remove(features[int(found.argmin())])


def length(path, constants):
    """How long a path takes."""
    return sum(constants.get(name, 0) * count for name, count in path.items())


def fit_paths(designs_paths, values, start):
    """{feature: ns}: in turn each design's longest path by the constants so far, and the constants for these paths; of all turns
    the constants with the least relative errors."""
    constants, found = start, []
    for _ in range(ROUNDS):
        paths = [max(own, key=lambda path: length(path, constants)) for own in designs_paths]
        paths += [{name: NEAR / usual} for name, usual in start.items()]
        constants = least_squares(paths, [*values, *[NEAR] * len(start)], [*values, *[1] * len(start)])
        lengths = [max(length(path, constants) for path in own) for own in designs_paths]
        found.append((sum((ns / value - 1)**2 for ns, value in zip(lengths, values, strict=True)), constants))
    return min(found, key=lambda own: own[0])[1]


def median_ns(row):
    """The path in ns of the median of a row's routed rates, None where it was not routed."""
    rates = [row[f"fmax_mhz_seed_{seed}"] for seed in SEEDS]
    return None if rates[0] is None else 1e3 / statistics.median(rates)


def fit(rows):
    """The content of constants.json from the rows of the result file."""
    found = {"cells": {}, "ffs": {}, "path_ns": {}}
    own = [row for row in rows if row["use"] == "fit"]
    for target, key in (("cells", "luts"), ("ffs", "ffs")):
        for family in sorted({devices.find(row["device"]).family for row in own}):
            some = [row for row in own if devices.find(row["device"]).family == family and median_ns(row) is None and row[key]]
            counts = [designs.parts_of(row["design"], devices.find(row["device"])).counts for row in some]
            found[target][family] = least_squares(counts, [row[key] for row in some], FEW)
    routed = [row for row in own if median_ns(row) is not None]
    for grade in sorted({speed(devices.find(row["device"])) for row in routed}):
        some = [row for row in routed if speed(devices.find(row["device"])) == grade]
        paths = [[{**path, SIZE: math.log2(row["luts"])}
                  for path in designs.parts_of(row["design"], devices.find(row["device"])).paths] for row in some]
        found["path_ns"][grade] = fit_paths(paths, [median_ns(row) for row in some], START[grade])
    return found


def compared(rows):
    """Of each kept-out row: the row, the estimate, relative errors of cells and of the routed rate (None where not measured), and
    whether block RAMs are equal."""
    for row in rows:
        if row["use"] == "kept out":
            figures = designs.estimated(row, devices.find(row["device"]))
            harnessed = median_ns(row) is not None and "board=" not in row["design"]
            cells = None if harnessed else figures.luts / row["luts"] - 1
            rate = None if median_ns(row) is None else figures.fmax_hz * median_ns(row) / 1e9 - 1
            yield row, figures, cells, rate, figures.brams == row["brams"]


def _percent(error):
    return "" if error is None else f"{100 * error:+.0f} %"


def _worst(found, key, what, limit):
    errors = {f"`{row['design']}` on {row['device']}": error for row, *rest in found if (error := rest[key]) is not None}
    if not errors:
        return f"{what}: none was measured.\n"
    within = sum(abs(error) <= limit for error in errors.values())
    worst = max(errors, key=lambda name: abs(errors[name]))
    half = statistics.median(map(abs, errors.values()))
    return (f"{what}: {within} of {len(errors)} within {100 * limit:.0f} %; half of them within {100 * half:.1f} %; the worst is "
            f"{_percent(errors[worst])} ({worst}).\n")


def page(rows):
    """The part of docs/estimates.md between the markers."""
    found = sorted(compared(rows), key=lambda one: (one[0]["device"], one[0]["design"]))
    used = [row for row in rows if row["use"] == "fit"]
    exact = sum(row[4] for row in found)
    designs, lacking = list(grid.all_designs()), missing(rows)
    kept_out_lacking, kept_out = ([routed for use, *_, routed in own if use == "kept out"] for own in (lacking, designs))
    lines = [f"{len(used)} runs of designs in the fit, {len(found)} of designs kept out of it.\n",
             f"Of the {len(designs)} designs of `benchmarks/grid.py` {len(lacking)} have no row, {len(kept_out_lacking)} of "
             f"these kept out of the fit: they have not been run, or do\nnot fit their device. {sum(kept_out)} of those kept out "
             f"are to be routed, {sum(kept_out) - sum(kept_out_lacking)} have been.\n\n",
             "- " + _worst(found, 1, "Cells", CELLS_LIMIT), "- " + _worst(found, 2, "Routed rate", RATE_LIMIT),
             f"- Block RAMs: equal in {exact} of {len(found)}.\n\n",
             "| design | device | cells | estimated | error | block RAMs | estimated | MHz, median of 3 | estimated | error |\n",
             "|" + "---|" * 10 + "\n"]
    for row, figures, cells, rate, _ in found:
        ns = median_ns(row)
        lines.append(f"| {row['design']} | {row['device']} | " + ("| | | " if cells is None else
                     f"{row['luts']:,} | {figures.luts:,.0f} | {_percent(cells)} | ") + f"{row['brams']} | {figures.brams} | "
                     + ("| | |\n" if ns is None else f"{1e3 / ns:.1f} | {figures.fmax_hz / 1e6:.1f} | {_percent(rate)} |\n"))
    found_versions = json.loads(FILE.read_text())["versions"]
    return "".join(lines) + "\nVersions: " + "; ".join(f"{key} {value}" if key not in value.lower() else value
                                                      for key, value in found_versions.items()) + ".\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--only", metavar="PATTERN", default="",
                           help="run only designs that this regular expression finds in \"USE DESIGN DEVICE packed|routed\"")
    arguments.add_argument("--fit", action="store_true", help="fit the constants to the rows")
    arguments.add_argument("--write", action="store_true", help="write the tables into docs/estimates.md")
    given = arguments.parse_args()
    if given.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + page(rows_of()) + "\n" + END + rest.split(END)[1])
    elif given.fit:
        CONSTANTS_FILE.write_text(json.dumps(fit(rows_of()), indent=1) + "\n")
    else:
        run(given.only)


if __name__ == "__main__":
    main()
