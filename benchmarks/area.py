"""Cells of fully unfolded layers with constant weights: bnnhw.baked beside three peers, through the same yosys and nextpnr.

    python benchmarks/area.py [--da4ml PYTHON] [CIRCUIT ...]

What is not run keeps the rows that the result file has. PYTHON has da4ml 0.6.0 (``pip install da4ml==0.6.0`` in a virtual
environment of its own); without it no peer runs. Peers: ``naive``, a balanced tree of ``+`` and a comparison per row;
``full adders``, this project's popcount trees with equal tables made once (:mod:`bnnhw.gateware`); ``da4ml``, its adder graph and
Verilog. Circuits: random rows of +-1 with the threshold n / 2, and the layers of the shipped networks (rows that give scores get
the threshold n / 2). Peers of more than 3,000 synapses are mapped for iCE40 and xc7 only, those of more than 20,000 not at all,
which would take hours: ``by`` is then "generator", and their figure is their own count (tables; da4ml's cost). ECP5 and Gowin are
for layers of up to 20,000 synapses.

Cells: iCE40 ICESTORM_LC and ECP5 TRELLIS_COMB as nextpnr packs them; Gowin LUTs and ALUs, xc7 LUTs without CARRY4 by yosys.
Wide multiplexers are switched off. There are no registers. Every layer of ours is compared with plain integer arithmetic first.
Last the EPFL benchmark circuit "voter", in LUT6s.
"""

import argparse
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from amaranth import *
from amaranth.back import verilog
from table import RESULTS, publish, versions

from bnnhw import baked, models, tools
from bnnhw.baked.circuit import Lut
from bnnhw.baked.voting import check, threshold
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
RANDOM = ((64, 16), (64, 64), (256, 64), (256, 256))
EVERYWHERE = 3_000  # synapses up to which peers are mapped for every fabric
MAPPED = 20_000     # and for two
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
    done = subprocess.run([python, "da4ml_layer.py", "layer.npz", "da4ml"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"da4ml: {done.stderr[-500:]}")
    layer = (folder / "da4ml/src/layer.v").read_text()
    parts = [file.read_text() for file in sorted((folder / "da4ml/src/static").glob("*.v")) if f"{file.stem} #" in layer]
    return "\n".join([*parts, layer]), int(float(done.stdout))


PEERS = {"naive": naive, "full adders": full_adders, "da4ml 0.6.0": da4ml}


def ours(weights, thresholds, fabric):
    layer = baked.layer(weights, thresholds, fabric)
    x = np.random.default_rng(1).integers(0, 2, (weights.shape[1], 4096), dtype=np.uint8)
    expected = (weights @ (2 * x.astype(int) - 1) + weights.shape[1]) // 2 >= thresholds[:, None]
    assert np.array_equal(baked.evaluate(layer.circuit, x), expected)
    return layer


def cells(source, fabric, folder):
    """(cells, carry cells) of module ``layer``."""
    (folder / "layer.v").write_text(source)
    tools.find("yosys").run(["-p", f"read_verilog layer.v; {SYNTHESIS[fabric]}; tee -o stat.txt stat"], cwd=folder)
    kinds = {kind: int(count) for count, kind in re.findall(r"^\s+(\d+)\s+(\w+)\s*$", (folder / "stat.txt").read_text(), re.M)}
    carries = sum(count for kind, count in kinds.items() if kind in ("SB_CARRY", "CCU2C", "ALU", "CARRY4"))
    if fabric not in PACKERS:
        luts = sum(count for kind, count in kinds.items() if re.fullmatch(r"LUT\d(_2)?|INV", kind))
        return luts + (carries if fabric == "gowin" else 0), carries
    packer, device, cell = PACKERS[fabric]
    output = tools.find(packer).run([*device, "--json", "layer.json", "--pack-only"], cwd=folder).stdout
    return int(re.search(cell + r":\s*(\d+)/", output)[1]) - (EMPTY_LCS if fabric == "ice40" else 0), carries


def measured(name, weights, thresholds, fabric, design, python):
    start, group, counted = time.perf_counter(), None, None
    with tempfile.TemporaryDirectory() as folder:
        if design == "ours":
            layer = ours(weights, thresholds, fabric)
            source, group = layer.verilog(), layer.rows
        else:
            source, counted = PEERS[design](weights, thresholds, Path(folder), python)
        made, by, carries = time.perf_counter() - start, "generator", None
        if design == "ours" or weights.size <= MAPPED:
            counted, carries = cells(source, fabric, Path(folder))
            by = PACKERS[fabric][0] if fabric in PACKERS else "yosys"
    return {"circuit": name, "fabric": fabric, "design": design, "cells": counted, "by": by, "carry_cells": carries,
            "cells_per_synapse": counted and round(counted / weights.size, 4), "rows_of_a_group": group,
            "generation_s": round(made, 2), "all_s": round(time.perf_counter() - start, 1)}


def rows_of(name, weights, thresholds, python):
    for fabric in SYNTHESIS:
        main = fabric in ("ice40", "xc7")
        for design in PEERS if python else []:
            if weights.size <= EVERYWHERE or weights.size <= MAPPED and main or design != "naive" and fabric == "ice40":
                yield measured(name, weights, thresholds, fabric, design, python)
        if weights.size <= MAPPED or main:
            yield measured(name, weights, thresholds, fabric, "ours", python)


def voter():
    """The EPFL benchmark circuit: at least 501 of 1,001."""
    start = time.perf_counter()
    circuit, cells = threshold(1001, 501)
    check(circuit, cells, 501)
    x = (np.random.default_rng(0).random((1001, 10_000)) < 0.5).astype(np.uint8)
    assert np.array_equal(baked.evaluate(circuit, x)[0], x.sum(axis=0) >= 501)
    counted = sum(isinstance(circuit.nodes[number], Lut) for number in circuit.live())
    return {"circuit": "EPFL voter", "fabric": "LUT6", "design": "ours", "cells": counted, "by": "generator", "carry_cells": 0,
            "cells_per_synapse": round(counted / 1001, 4), "rows_of_a_group": None, "generation_s": None,
            "all_s": round(time.perf_counter() - start, 1)}


def with_new(row):
    """The rows of the result file with ``row`` in its place; the file is written, so that a long run may be broken off."""
    file = RESULTS / "area.json"
    result = json.loads(file.read_text()) if file.exists() else {"rows": []}
    kept = {(old["circuit"], old["fabric"], old["design"]): old for old in [*result["rows"], row]}
    order, fabrics, designs = [*circuits(), "EPFL voter"], [*SYNTHESIS, "LUT6"], [*PEERS, "ours"]
    rows = sorted(kept.values(), key=lambda one: (order.index(one["circuit"]), fabrics.index(one["fabric"]),
                                                  designs.index(one["design"])))
    file.write_text(json.dumps(result | {"rows": rows}))
    return rows


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("circuits", nargs="*", metavar="CIRCUIT", help=f"of {', '.join(circuits())}; default: all")
    arguments.add_argument("--da4ml", metavar="PYTHON", help="run the peers too, with this Python that has da4ml")
    given = arguments.parse_args()
    for name, (weights, thresholds) in circuits().items():
        if name in given.circuits or not given.circuits:
            for new in rows_of(name, weights, thresholds, given.da4ml):
                print(new, flush=True)
                rows = with_new(new)
    rows = with_new(voter())
    publish("area", rows, versions("yosys", "nextpnr-ice40", "nextpnr-ecp5") | {"da4ml": "0.6.0"})


if __name__ == "__main__":
    main()
