"""LUTs per lane (PE x SIMD) of a folded layer: our popcount beside a tree of ``+`` in the same unit.

    python benchmarks/mvtu.py

The layer is 784 -> 64 (64 -> 64 for the smallest folding) with random weights in block RAM and thresholds, whole: input
buffer, XNOR, popcount, accumulators, control, output slice. Area is nextpnr's packed cells (ICESTORM_LC, TRELLIS_COMB), with
the synthesis of ``bnnhw build``. Both styles have the same registers. Fmax is routed on the UP5K, median of three seeds.
"""

import re
import statistics
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from amaranth import *
from amaranth.back import verilog
from popcount import EMPTY_LCS, naive
from table import digest_of, publish, versions

from bnnhw import devices, implement, tools
from bnnhw.gateware import mvtu
from bnnhw.gateware.dense import FoldedDense

LAYERS = ((784, 16, 16), (784, 8, 28), (784, 32, 14), (64, 4, 8))      # n_in, PE, SIMD
DEVICES = {"up5k": ("ICESTORM_LC", ["--up5k", "--package", "sg48"], EMPTY_LCS), "ecp5-25f": ("TRELLIS_COMB", ["--25k"], 0)}
ROUTED = {"up5k": 39}      # pins of the package
GOAL_HZ = 60e6


class NaiveDigits:
    """Match bits with the interface of :class:`bnnhw.gateware.popcount.Digits`."""
    def __init__(self, bits):
        self.bits = bits

    def registered(self, m, en, domain="sync"):
        register = Signal(len(self.bits), reset_less=True)
        with m.If(en):
            m.d[domain] += register.eq(self.bits)
        return NaiveDigits(register)


def naive_digits(m, x, w, *, name):
    agree = Signal(len(x), name=f"{name}_agree")
    m.d.comb += agree.eq(~(x ^ w))
    return NaiveDigits(agree)


def naive_count(m, digits, *, registers, enable, name):
    assert not registers        # of the popcount, which no folding here has
    return naive(digits.bits)


def layer(n_in, pe, simd, style):
    rng = np.random.default_rng(0)
    weights = rng.choice([-1, 1], (64, n_in))
    thresholds = rng.integers(n_in // 2 - 8, n_in // 2 + 8, 64).tolist()
    dut = FoldedDense(weights, mvtu.Signs([thresholds]), reach=[n_in] * 64, pe=pe, simd=simd, memory="bram",
                      depth=2 * n_in // simd)
    if style == "ours":
        return verilog.convert(dut, name="top", emit_src=False)
    with (mock.patch.object(mvtu, "xnor_digits", naive_digits),
          mock.patch.object(mvtu, "count", naive_count)):
        return verilog.convert(dut, name="top", emit_src=False)


def cells(folder, name, top="top"):
    device = devices.find(name)
    cell, arguments, empty = DEVICES[name]
    implement.synthesize([folder / "top.v"], top, device, netlist=folder / "top.json")
    output = tools.find(f"nextpnr-{device.family}").run([*arguments, "--json", "top.json", "--pack-only"], cwd=folder).stdout
    return int(re.search(cell + r":\s*(\d+)/", output)[1]) - empty


def fmax(folder, name, pins):
    """Median routed Fmax in MHz of the design that :func:`cells` has left in ``folder``; None where it has too many pins."""
    if name not in ROUTED or pins > ROUTED[name]:
        return None
    device = devices.find(name)
    return round(statistics.median(implement.route(
        folder / "top.json", device, package=device.packages[0], constraints=None, clock_hz=GOAL_HZ, seed=seed,
        output=folder / "top.asc").fmax_hz for seed in (1, 2, 3)) / 1e6, 1)


def main():
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in DEVICES:
            for n_in, pe, simd in LAYERS:
                for style in ("naive", "ours"):
                    text = layer(n_in, pe, simd, style)
                    (folder / "top.v").write_text(text)
                    found = cells(folder, name)
                    rows.append({"device": name, "n_in": n_in, "n_out": 64, "pe": pe, "simd": simd, "popcount": style,
                                 "verilog": digest_of(text), "cells": found, "cells_per_lane": found / (pe * simd),
                                 "fmax_mhz": fmax(folder, name, pe + simd + 6)})
    publish("mvtu", rows, versions("yosys", "nextpnr-ice40", "nextpnr-ecp5"))


if __name__ == "__main__":
    main()
