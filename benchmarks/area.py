"""Cells of fully unfolded layers with constant weights: bnnhw.baked beside three peers, through the same yosys and nextpnr.

    python benchmarks/area.py [--da4ml PYTHON]          # what benchmarks/results/area.json lacks: hours, it may be broken off
    python benchmarks/area.py [--da4ml PYTHON] PATTERN  # these again: a regular expression of `CIRCUIT FABRIC DESIGN`
    python benchmarks/area.py --write                   # the table of docs/baked.md

PYTHON has da4ml 0.6.0 (``pip install da4ml==0.6.0`` in a virtual environment of its own); else its rows stay as they are.
Peers: ``naive``, a balanced tree of ``+`` and a comparison per row; ``full adders``, this project's popcount trees with equal
tables made once (:mod:`bnnhw.gateware`); ``da4ml``, its adder graph and Verilog. Circuits: random rows of +-1 with the threshold
n / 2, and the layers of the shipped networks TFC and SFC (rows that give scores get the threshold n / 2). Of more than
:data:`MAPPED` synapses the two better peers are mapped, to iCE40 only; of more than :data:`MAPPED_ICE40` nothing is: full adders
then have ``by`` "generator", and their own count of tables. What takes longer than :data:`LIMIT_MINUTES` is ended; ``by``
says so.

Cells: iCE40 ICESTORM_LC and ECP5 TRELLIS_COMB as nextpnr packs them; Gowin LUTs and ALUs, xc7 LUTs without CARRY4 by yosys.
Wide multiplexers are switched off, and so is ABC's proof of its own result, which changes no cell and took nearly all
of the time of da4ml's rows. There are no registers. Every layer of ours is compared with plain integer arithmetic first,
on random vectors and on some that just reach a threshold or just do not. Last the EPFL benchmark circuit "voter", in LUT6s,
proven, and written to build/voter.blif. Rows of other versions of the tools are refused. ``verilog``: how the SHA-256 of
ours begins.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from amaranth import *
from amaranth.back import verilog
from page import DOCS, insert
from table import RESULTS, digest_of, publish, save, versions

from bnnhw import baked, models, tools
from bnnhw.baked.circuit import Lut
from bnnhw.baked.voting import blif, check, threshold
from bnnhw.gateware.luts import Tables
from bnnhw.gateware.popcount import reaches_literal
from bnnhw.operations import Dense, Threshold

SYNTHESIS = {
    "ice40": "synth_ice40 -top layer -json layer.json",
    "ecp5": "synth_ecp5 -nowidelut -top layer -json layer.json",
    "gowin": "synth_gowin -nowidelut -noiopads -top layer -json layer.json",
    "xc7": "synth_xilinx -flatten -noclkbuf -noiopad -nowidelut -top layer",
}
PACKERS = {"ice40": ("nextpnr-ice40", ["--hx8k", "--package", "ct256"], "ICESTORM_LC"),
           "ecp5": ("nextpnr-ecp5", ["--85k"], "TRELLIS_COMB")}
EMPTY_LCS = 2       # what nextpnr-ice40 reports for a design without logic: its constant drivers
VOTER, VOTER_BEST = "EPFL voter", 1_166     # LUT6s: the best size that the suite lists
DA4ML_NAME = "da4ml 0.6.0"
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5")
FILE = RESULTS / "area.json"
RANDOM = ((64, 16), (64, 64), (256, 64), (256, 256))
MAPPED, MAPPED_ICE40 = 20_000, 70_000       # synapses up to which peers are mapped
LIMIT_MINUTES = 60
UNENDED = f"not ended after {LIMIT_MINUTES} minutes"
DA4ML = """
import sys
import numpy as np
from da4ml.codegen.rtl.rtl_model import RTLModel
from da4ml.trace import FixedVariableArrayInput, comb_trace
from da4ml.trace.ops import quantize
given = np.load(sys.argv[1])
x = FixedVariableArrayInput(given["weights"].shape[1])
solution = comb_trace(x, quantize(x, 0, 1, 0) @ given["weights"].T.astype(np.float32) >= given["bounds"])
bits = np.random.default_rng(0).integers(0, 2, (200, given["weights"].shape[1]))
assert (solution.predict(bits.astype(float)) == (bits @ given["weights"].T >= given["bounds"])).all()
RTLModel(solution, "layer", sys.argv[2], print_latency=False).write()
print(solution.cost)
"""


def dense_layers(network):
    """(weights, thresholds on the number of agreements) of each dense layer; a row with a falling threshold is negated."""
    operations = list(network.operations.values())
    for dense in operations:
        if isinstance(dense, Dense):
            n_out, n_in = dense.weights.shape
            weights, thresholds = dense.weights.astype(int), np.full(n_out, n_in // 2)
            for after in operations:
                if isinstance(after, Threshold) and after.inputs == (dense.name,):
                    sign = np.where(after.falling, -1, 1)
                    weights, thresholds = weights * sign[:, None], -(-(after.levels[:, 0] * sign + n_in) // 2)
            yield weights, thresholds


def circuits():
    """Name -> (weights, thresholds on the number of agreements)."""
    found = {}
    for n_in, n_out in RANDOM:
        weights = np.random.default_rng(0).integers(0, 2, (n_out, n_in)) * 2 - 1
        found[f"random {n_in}x{n_out}"] = weights, np.full(n_out, n_in // 2)
    for name in ("mnist-tfc", "mnist-sfc"):
        network = models.load(name).network
        for at, (weights, thresholds) in enumerate(dense_layers(network), 1):
            found[f"{name} {at}"] = weights, thresholds
    return found


def naive(weights, thresholds, folder, _):
    """Each peer gives Verilog of module ``layer``, and how many cells its generator counts, or None."""
    n_out, n_in = weights.shape
    m = Module()
    x, y = Signal(n_in, name="x"), Signal(n_out, name="y")

    def tree(bits):
        return bits if len(bits) == 1 else tree(bits[:len(bits) // 2]) + tree(bits[len(bits) // 2:])
    for k, (row, least) in enumerate(zip(weights, thresholds.tolist(), strict=True)):
        agree = Signal(n_in, name=f"agree{k}")
        m.d.comb += [agree.eq(~(x ^ sum(1 << j for j in np.flatnonzero(row > 0).tolist()))), y[k].eq(tree(agree) >= least)]
    return verilog.convert(m, name="layer", ports=[x, y], emit_src=False), None


def full_adders(weights, thresholds, folder, _):
    n_out, n_in = weights.shape
    m, tables = Module(), Tables()
    x, y = Signal(n_in, name="x"), Signal(n_out, name="y")
    sources = [tables.source() for _ in range(n_in)]
    literals = [reaches_literal(tables, [(bit ^ int(w < 0),) for bit, w in zip(sources, row, strict=True)], n_in, threshold)
                for row, threshold in zip(weights.tolist(), thresholds.tolist(), strict=True)]
    m.d.comb += y.eq(Cat(tables.emit(m, list(x), literals, name="t")))
    return verilog.convert(m, name="layer", ports=[x, y], emit_src=False), len(tables)


def da4ml(weights, thresholds, folder, python):
    np.savez(folder / "layer.npz", weights=weights, bounds=thresholds - (weights < 0).sum(axis=1))
    (folder / "da4ml_layer.py").write_text(DA4ML)
    done = subprocess.run([python, "da4ml_layer.py", "layer.npz", "da4ml"], cwd=folder, capture_output=True, text=True,
                          timeout=60 * LIMIT_MINUTES)
    if done.returncode:
        raise SystemExit(f"da4ml: {done.stderr[-500:]}")
    layer = (folder / "da4ml/src/layer.v").read_text()
    parts = [file.read_text() for file in sorted((folder / "da4ml/src/static").glob("*.v")) if f"{file.stem} #" in layer]
    return "\n".join([*parts, layer]), int(float(done.stdout))


PEERS = {"naive": naive, "full adders": full_adders, DA4ML_NAME: da4ml}
LARGE = {"full adders": 784 * 256, DA4ML_NAME: MAPPED_ICE40}        # synapses up to which a peer has a row beside iCE40


def vectors(weights, thresholds):
    """4,096 random ones, and for each row one that just reaches its threshold and one that just does not: uint8 (n_in, some)."""
    rng = np.random.default_rng(1)
    found = rng.integers(0, 2, (weights.shape[1], 4096 + 2 * len(weights)), dtype=np.uint8)
    for k, (row, least) in enumerate(zip(weights, thresholds.tolist(), strict=True)):
        for at, agree in ((2 * k, least), (2 * k + 1, least - 1)):
            if 0 <= agree <= len(row):
                found[:, at] = row < 0
                found[rng.permutation(len(row))[:agree], at] ^= 1
    return found


def ours(weights, thresholds, fabric):
    layer, x = baked.layer(weights, thresholds, fabric), vectors(weights, thresholds)
    expected = (weights @ (2 * x.astype(int) - 1) + weights.shape[1]) // 2 >= thresholds[:, None]
    assert np.array_equal(baked.evaluate(layer.circuit, x), expected)
    return layer


def cells(source, fabric, folder):
    """(cells, carry cells) of module ``layer``."""
    (folder / "layer.v").write_text(source)
    script = f"scratchpad -set abc9.verify false; read_verilog layer.v; {SYNTHESIS[fabric]}; tee -o stat.txt stat"
    tools.find("yosys").run(["-p", script], cwd=folder, limit_s=60 * LIMIT_MINUTES)
    kinds = {kind: int(count) for count, kind in re.findall(r"^\s+(\d+)\s+(\w+)\s*$", (folder / "stat.txt").read_text(), re.M)}
    carries = sum(count for kind, count in kinds.items() if kind in ("SB_CARRY", "CCU2C", "ALU", "CARRY4"))
    if fabric not in PACKERS:
        luts = sum(count for kind, count in kinds.items() if re.fullmatch(r"LUT\d(_2)?|INV", kind))
        return luts + (carries if fabric == "gowin" else 0), carries
    packer, device, cell = PACKERS[fabric]
    output = tools.find(packer).run([*device, "--json", "layer.json", "--pack-only"], cwd=folder).stdout
    return int(re.search(cell + r":\s*(\d+)/", output)[1]) - (EMPTY_LCS if fabric == "ice40" else 0), carries


def measured(name, weights, thresholds, fabric, design, python):
    start, made, group, digest, counted, carries, by = time.perf_counter(), None, None, None, None, None, "generator"
    with tempfile.TemporaryDirectory() as folder:
        try:
            if design == "ours":
                layer = ours(weights, thresholds, fabric)
                source, group = layer.verilog(), layer.rows
                digest = digest_of(source)
            else:
                source, counted = PEERS[design](weights, thresholds, Path(folder), python)
            made = round(time.perf_counter() - start, 2)
            if design == "ours" or weights.size <= (MAPPED_ICE40 if fabric == "ice40" else MAPPED):
                counted, carries = cells(source, fabric, Path(folder))
                by = PACKERS[fabric][0] if fabric in PACKERS else "yosys"
        except (subprocess.TimeoutExpired, tools.ToolUnended):
            counted, by = None, UNENDED
    return {"circuit": name, "fabric": fabric, "design": design, "cells": counted, "by": by, "carry_cells": carries,
            "cells_per_synapse": counted and round(counted / weights.size, 4), "rows_of_a_group": group,
            "verilog": digest, "generation_s": made, "all_s": round(time.perf_counter() - start, 1)}


def voter():
    """The EPFL benchmark circuit: at least 501 of 1,001."""
    start = time.perf_counter()
    circuit, cells = threshold(1001, 501)
    check(circuit, cells, 501)
    x = (np.random.default_rng(0).random((1001, 10_000)) < 0.5).astype(np.uint8)
    assert np.array_equal(baked.evaluate(circuit, x)[0], x.sum(axis=0) >= 501)
    counted = sum(isinstance(circuit.nodes[number], Lut) for number in circuit.live())
    file, text = Path("build/voter.blif"), blif(circuit, "voter")
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    print(f"{VOTER}: {counted} LUT6s, proven by composition (best listed: {VOTER_BEST:,}), in {file}")
    return {"circuit": VOTER, "fabric": "LUT6", "design": "ours", "cells": counted, "by": "generator", "carry_cells": 0,
            "cells_per_synapse": round(counted / 1001, 4), "rows_of_a_group": None, "verilog": digest_of(text),
            "generation_s": None, "all_s": round(time.perf_counter() - start, 1)}


def cases(found):
    """(circuit, fabric, design) of all rows; of large peers those that :data:`LARGE` says, beside iCE40 only."""
    for name, (weights, _) in found.items():
        for fabric in SYNTHESIS:
            for design in (*PEERS, "ours"):
                large = fabric == "ice40" and weights.size <= LARGE.get(design, 0)
                if design == "ours" or weights.size <= MAPPED or large:
                    yield name, fabric, design
    yield VOTER, "LUT6", "ours"


def by_case(rows):
    return {(row["circuit"], row["fabric"], row["design"]): row for row in rows}


def table(rows):
    """The rows as a Markdown table."""
    of = by_case(rows)
    lines = ["| circuit | fabric | `+` | full adders | da4ml | ours |", "|---|---|---:|---:|---:|---:|"]
    for name, (weights, _) in circuits().items():
        for fabric in SYNTHESIS:
            row = [of.get((name, fabric, design)) for design in (*PEERS, "ours")]
            if any(row):
                size = "" if name.startswith("random") else f" ({weights.shape[1]}x{weights.shape[0]})"
                lines.append(f"| {name}{size} | {fabric} | {' | '.join(map(figure, row))} |")
    return "\n".join(lines) + "\n"


def figure(row):
    if row is None or row["cells"] is None:
        return "-" if row is None or row["by"] == "generator" else row["by"]
    mark = "*" if row["by"] == "generator" else "**" if row["design"] == "ours" else ""
    return f"{mark}{row['cells']:,} ({row['cells_per_synapse']:.3f}){mark}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("pattern", nargs="?", metavar="PATTERN", help="make the rows again that this regular expression finds")
    arguments.add_argument("--da4ml", metavar="PYTHON", help="make da4ml's rows too, with this Python that has it")
    arguments.add_argument("--write", action="store_true", help="write the table into docs/baked.md")
    given = arguments.parse_args()
    kept = json.loads(FILE.read_text()) if FILE.exists() else {"versions": {}, "rows": []}
    if given.write:
        insert(DOCS / "baked.md", "area.py", f"\n{table(kept['rows'])}\n")
        return
    if given.da4ml:
        check_da4ml(given.da4ml)
    sys.argv[1:] = ["--da4ml", "PYTHON"]        # what makes all of the file
    found, tools_now = circuits(), versions(*TOOLS) | {"da4ml": DA4ML_NAME.split()[1]}
    of = by_case(kept["rows"])
    if of and any(kept["versions"].get(name) != tools_now[name] for name in (*TOOLS, "da4ml")):
        raise SystemExit(f"error: {FILE} is of other versions of the tools: delete it, for all rows to be made anew")
    for case in cases(found):
        name, fabric, design = case
        if design == DA4ML_NAME and not given.da4ml:
            continue
        if re.search(given.pattern, " ".join(case)) if given.pattern else case not in of:
            of[case] = new = voter() if name == VOTER else measured(name, *found[name], fabric, design, given.da4ml)
            save("area", rows_in_order(found, of), tools_now)
            print(f"{' '.join(case)}: {new['cells']} cells ({new['by']}) in {new['all_s']:.0f} s", flush=True)
    publish("area", rows_in_order(found, of), tools_now)


def rows_in_order(found, of):
    return [of[case] for case in cases(found) if case in of]


def check_da4ml(python):
    """Refuse a Python without this version of da4ml."""
    command = [python, "-c", "import importlib.metadata; print('da4ml', importlib.metadata.version('da4ml'))"]
    try:
        said = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError as error:
        raise SystemExit(f"error: {error}") from None
    if said != DA4ML_NAME:
        raise SystemExit(f"error: {python} has {said or 'no da4ml'}, not {DA4ML_NAME}")


if __name__ == "__main__":
    main()
