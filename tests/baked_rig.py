"""Runs the Verilog of circuits: many modules in one Verilator program, as they stand or synthesized, on the vendor's models."""
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from bnnhw import tools, verilated

HARNESS = Path(__file__).with_name("baked.cpp")
SYNTHESIS = {
    "ice40": ("synth_ice40", ["ice40/cells_sim.v"]),
    "ecp5": ("synth_ecp5 -nowidelut", ["ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"]),
    "gowin": ("synth_gowin -nowidelut -noiopads", ["gowin/cells_sim.v"]),
    "xc7": ("synth_xilinx -noclkbuf -noiopad", ["xilinx/cells_sim.v"]),
}


def matches(weights, x):
    """Positions at which rows agree with vectors, of weights that are not 0: int array (n_out, vectors); plain arithmetic."""
    signs = 2 * x.astype(np.int64) - 1
    return (weights.astype(np.int64) @ signs + np.abs(weights).sum(axis=1)[:, None]) // 2


def vectors(weights, thresholds, count, seed=0):
    """Random vectors, and for each row vectors that reach its threshold just, and just do not: uint8 (n_in, some)."""
    rng = np.random.default_rng(seed)
    n_out, n_in = weights.shape
    found = [rng.integers(0, 2, (n_in, count), dtype=np.uint8)]
    for row, threshold in zip(weights, np.broadcast_to(thresholds, n_out), strict=True):
        used = np.flatnonzero(row)
        for agree in {int(threshold) + d for d in (-1, 0, 1)}:
            if 0 <= agree <= len(used):
                x = rng.integers(0, 2, n_in, dtype=np.uint8)
                x[used] = row[used] < 0
                x[rng.permutation(used)[:agree]] ^= 1
                found.append(x[:, None])
    return np.concatenate(found, axis=1)


def joined(circuits, top="top"):
    """Verilog of module ``top`` with all modules side by side; ports at least 96 bits wide, which are arrays in C++."""
    parts, at, to = [], 0, 0
    for name, (circuit, _) in circuits.items():
        clocked = ".clk(clk), .en(en), " if circuit.latency else ""
        parts.append(f"  {name} i_{name} ({clocked}.x(x[{at} +: {circuit.n_in}]), .y(y[{to} +: {len(circuit.outputs)}]));\n")
        at, to = at + circuit.n_in, to + len(circuit.outputs)
    return (f"module {top}(input clk, input en, input [{max(96, at) - 1}:0] x, output [{max(96, to) - 1}:0] y);\n"
            f"{''.join(parts)}endmodule\n")


def used(library, netlist):
    """The modules of ``library`` that a netlist names, and those that they name."""
    modules = dict(re.findall(r"^module (\w+)\b(.*?^endmodule)", library, re.M | re.S))
    wanted, found = set(re.findall(r"\w+", netlist)) & set(modules), set()
    while wanted:
        found |= wanted
        wanted = {word for name in wanted for word in re.findall(r"\w+", modules[name])} & set(modules) - found
    preamble = library[:re.search(r"^(module|\(\*)", library, re.M).start()]
    return preamble + "".join(f"module {name}{modules[name]}\n" for name in sorted(found))


def synthesized(circuits, fabric, folder):
    """Modules {name: (Circuit, Verilog)} side by side in module ``top``, after synthesis, with the models of its cells."""
    (folder / "in.v").write_text("".join(text for _, text in circuits.values()) + joined(circuits))
    script = f"read_verilog in.v; {SYNTHESIS[fabric][0]} -top top; write_verilog -noattr out.v"
    tools.find("yosys").run(["-p", script], cwd=folder)
    netlist = (folder / "out.v").read_text()
    library = "\n".join((tools.yosys_share() / name).read_text() for name in SYNTHESIS[fabric][1])
    return used(library, netlist) + netlist


def run(circuits, x, source):
    """Simulate ``source``, a module ``top`` as of :func:`joined`.

    ``circuits``: name -> (Circuit, Verilog); ``x``: name -> uint8 (n_in, vectors), one per clock. Returns name -> uint8
    (outputs, vectors), where each circuit's latency is taken off.
    """
    ins = sum(circuit.n_in for circuit, _ in circuits.values())
    outs = sum(len(circuit.outputs) for circuit, _ in circuits.values())
    harness = f"#define X {ins}\n#define Y {outs}\n" + HARNESS.read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as file:
        file.write(harness)
        file.flush()
        program = verilated.compile(source, file.name, top="top", optimize="-O0")
    count = max(x[name].shape[1] + circuit.latency for name, (circuit, _) in circuits.items())
    padded = np.concatenate([np.pad(x[name], ((0, 0), (0, count - x[name].shape[1]))) for name in circuits])
    data = np.packbits(padded.T, axis=1, bitorder="little").tobytes()
    done = subprocess.run([program], input=data, capture_output=True, check=True)
    bits = np.frombuffer(done.stdout, np.uint8).reshape(count, -1)
    y, results, to = np.unpackbits(bits, axis=1, bitorder="little").T, {}, 0
    for name, (circuit, _) in circuits.items():
        late = max(circuit.latency - 1, 0)
        results[name] = y[to:to + len(circuit.outputs), late:late + x[name].shape[1]]
        to += len(circuit.outputs)
    return results
