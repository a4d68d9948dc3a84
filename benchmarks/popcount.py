"""LUTs, levels and speed of popcounts: our bit heaps beside the naive tree of ``+``, through the same yosys.

    python benchmarks/popcount.py

Area: nextpnr's packed cells (iCE40: ICESTORM_LC less the 2 of an empty design; ECP5: TRELLIS_COMB). Levels: cells in a row
in the mapped netlist, carry cells included. Circuits: ``xnor`` counts the agreements of two inputs; ``neuron`` has constant
weights and the threshold lanes / 2; ``layer`` is 16 such neurons over the same inputs (LUTs per lane: per input and neuron).
Flows: the one of ``bnnhw build``; ECP5 also with wide LUTs, which is yosys' default; and ``kept``, the same with an ABC
script that maps without restructuring, so that coded cells stay as they are.
Speed: 16 XNORs, register, popcount, register, 10-bit accumulator on an UP5K, routed; mean of three seeds.
"""

import functools
import operator
import random
import re
import statistics
import tempfile
from pathlib import Path

from amaranth import *
from amaranth.back import verilog
from table import digest_of, publish, versions

from bnnhw import devices, tools
from bnnhw.families import FAMILIES
from bnnhw.gateware.luts import Tables
from bnnhw.gateware.popcount import count, reaches_literal, xnor_digits

LANES = (16, 49, 64)
ICE40, ECP5 = FAMILIES["ice40"].synthesis.format(device=devices.find("up5k")), FAMILIES["ecp5"].synthesis
KEPT = 'scratchpad -set abc9.script "+&scorr; &if -W 250 -D 16000; &mfs"; '
FLOWS = {
    ("ice40", "build"): ICE40,
    ("ice40", "kept"): KEPT + ICE40,
    ("ecp5", "build"): ECP5,
    ("ecp5", "kept"): KEPT + ECP5,
    ("ecp5", "wide LUTs"): ECP5.replace(" -nowidelut", ""),
}
STYLES = ("naive", "plain", "coded")
NEURONS = 16
EMPTY_LCS = 2       # what nextpnr-ice40 reports for a design without logic: its constant drivers
SEEDS = (1, 2, 3)


def naive(bits):
    """The tree of EXAMPLES: halves added with ``+``."""
    if len(bits) <= 1:
        return bits
    half = len(bits) // 2
    return naive(bits[:half]) + naive(bits[half:])


def agreements(m, x, w, style):
    if style == "naive":
        agree = Signal(len(x))
        m.d.comb += agree.eq(~(x ^ w))
        return naive(agree)
    return count(m, xnor_digits(m, x, w, cells=style, name="lanes"), name="count")


def neurons(m, x, rows, threshold, style):
    """One bit per constant row of weights; ours share their tables."""
    if style == "naive":
        agree = [Signal(len(x), name=f"agree{k}") for k in range(len(rows))]
        m.d.comb += [bits.eq(~(x ^ row)) for bits, row in zip(agree, rows, strict=True)]
        return Cat(naive(bits) >= threshold for bits in agree)
    tables = Tables()
    sources = [tables.source() for _ in range(len(x))]
    literals = [reaches_literal(tables, [(bit ^ (~row >> k & 1),) for k, bit in enumerate(sources)], len(x), threshold,
                                cells=style) for row in rows]
    return Cat(tables.emit(m, list(x), literals, name="t"))


def combinational(circuit, lanes, style):
    """Verilog of module ``top``."""
    m = Module()
    x = Signal(lanes, name="x")
    w = Signal(lanes, name="w")
    if circuit == "xnor":
        value, ports = agreements(m, x, w, style), [x, w]
    else:
        rng = random.Random(lanes)
        rows = [rng.getrandbits(lanes) for _ in range(NEURONS if circuit == "layer" else 1)]
        value, ports = neurons(m, x, rows, lanes // 2, style), [x]
    o = Signal(len(value), name="o")
    m.d.comb += o.eq(value)
    return verilog.convert(m, name="top", ports=[*ports, o], emit_src=False)


def accumulating(style, lanes=16, bits=10):
    """Verilog of module ``top`` with one pin in and one out: registers, XNOR, popcount, accumulator."""
    m = Module()
    serial_in = Signal(name="serial_in")
    serial_out = Signal(name="serial_out")
    shift, first = Signal(2 * lanes), Signal()
    x, w = shift[:lanes], shift[lanes:]
    if style == "naive":
        agree = Signal(lanes)
        m.d.sync += agree.eq(~(x ^ w))
        value = naive(agree)
    else:
        value = count(m, xnor_digits(m, x, w, cells=style, name="lanes").registered(m, 1), name="count")
    counted, accumulator = Signal(len(value)), Signal(bits)
    m.d.sync += [
        shift.eq(Cat(serial_in, shift)),
        counted.eq(value),
        first.eq(serial_in & serial_out),
        accumulator.eq(Mux(first, 0, accumulator) + counted),
        serial_out.eq(functools.reduce(operator.xor, accumulator)),
    ]
    return verilog.convert(m, name="top", ports=[serial_in, serial_out], emit_src=False)


def synthesized(source, flow, folder):
    """Map ``source`` to top.json in ``folder``; returns the cells in a row."""
    (folder / "top.v").write_text(source)
    script = f"read_verilog top.v; {flow} -top top -json top.json; ltp -noff"
    output = tools.find("yosys").run(["-p", script], cwd=folder).stdout
    return int(re.findall(r"Longest topological path in top \(length=(\d+)\)", output)[-1])


def packed(folder, family):
    """Cells of top.json in ``folder``."""
    if family == "ice40":
        arguments, cell, empty = ["--up5k", "--package", "sg48"], "ICESTORM_LC", EMPTY_LCS
    else:
        arguments, cell, empty = ["--25k"], "TRELLIS_COMB", 0
    output = tools.find(f"nextpnr-{family}").run([*arguments, "--json", "top.json", "--pack-only"], cwd=folder).stdout
    return int(re.search(cell + r":\s*(\d+)/", output)[1]) - empty


def area(folder):
    for circuit, sizes in (("xnor", LANES), ("neuron", LANES), ("layer", (64,))):
        for lanes in sizes:
            for (family, flow), command in FLOWS.items():
                base = None
                for style in STYLES:
                    text = combinational(circuit, lanes, style)
                    levels = synthesized(text, command, folder)
                    luts = packed(folder, family)
                    base = base or luts
                    yield {"circuit": circuit, "lanes": lanes, "fabric": family, "flow": flow, "tree": style,
                           "verilog": digest_of(text),
                           "luts": luts, "luts_per_lane": round(luts / lanes / (NEURONS if circuit == "layer" else 1), 3),
                           "percent_of_naive": round(100 * luts / base, 1), "levels": levels}


def speed(folder):
    for flow, command in (("build", ICE40), ("kept", KEPT + ICE40)):
        for style in STYLES:
            text = accumulating(style)
            synthesized(text, command, folder)
            rates = []
            for seed in SEEDS:
                output = tools.find("nextpnr-ice40").run([
                    "--up5k", "--package", "sg48", "--json", "top.json", "--seed", str(seed), "--freq", "80",
                    "--pcf-allow-unconstrained", "--timing-allow-fail"], cwd=folder).stdout
                rates.append(float(re.findall(r"Max frequency for clock.*?: ([\d.]+) MHz", output)[-1]))
            yield {"flow": flow, "tree": style, "verilog": digest_of(text), "lcs": packed(folder, "ice40"),
                   "fmax_mhz": round(statistics.mean(rates), 1), "fmax_least_mhz": min(rates)}


def main():
    found = versions("yosys", "nextpnr-ice40", "nextpnr-ecp5")
    with tempfile.TemporaryDirectory() as name:
        publish("popcount", list(area(Path(name))), found)
        publish("popcount-speed", list(speed(Path(name))), found)


if __name__ == "__main__":
    main()
