"""For all inputs: circuits against integers by trying them all, cells against plain Verilog by SAT."""
import numpy as np
import pytest

from bnnhw import baked, tools

from . import baked_rig as rig
from . import proofs

SIZES = [(24, 4)]
LARGE = [pytest.param(32, 8, marks=pytest.mark.slow)]


def equal(layer, cells, fabric, folder):
    """Whether module ``cells`` is proven to do what the plain Verilog of ``layer`` does."""
    library = "\n".join((tools.yosys_share() / name).read_text() for name in rig.SYNTHESIS[fabric][1])
    n_in, n_out = layer.circuit.n_in, len(layer.circuit.outputs)
    check = (f"module check(input [{n_in - 1}:0] x, output ok); wire [{n_out - 1}:0] a, b; plain p(.x(x), .y(a)); "
             "cells c(.x(x), .y(b)); assign ok = a == b; endmodule\n")
    return proofs.holds(rig.used(library, cells) + layer.plain("plain") + cells + check, "check", folder)


@pytest.mark.parametrize("fabric", baked.FABRICS)
@pytest.mark.parametrize("n_in, n_out", SIZES + LARGE)
def test_cells_are_the_plain_verilog(fabric, n_in, n_out, tmp_path):
    weights = np.random.default_rng(n_in).choice([-1, 1], (n_out, n_in))
    layer = baked.layer(weights, np.full(n_out, n_in // 2), fabric)
    assert equal(layer, layer.verilog("cells"), fabric, tmp_path)


@pytest.mark.parametrize("fabric, table", [("ice40", "LUT_INIT(16'h"), ("ecp5", "INIT0(16'h"), ("gowin", "INIT(16'h"),
                                           ("xc7", "INIT(64'h")])
def test_proof_sees_a_wrong_table(fabric, table, tmp_path):
    """The same proof fails with one table inverted."""
    layer = baked.layer(np.random.default_rng(3).choice([-1, 1], (3, 12)), np.full(3, 6), fabric)
    before, after = layer.verilog("cells").split(table, 1)
    digits = after[:after.index(")")]
    wrong = f"{16 ** len(digits) - 1 - int(digits, 16):0{len(digits)}x}"
    assert not equal(layer, before + table + wrong + after[len(digits):], fabric, tmp_path)


@pytest.mark.parametrize("fabric", baked.FABRICS)
@pytest.mark.parametrize("n_in, n_out", [(6, 5), (11, 3), (14, 9)])
def test_all_inputs(fabric, n_in, n_out):
    rng = np.random.default_rng(n_in)
    weights = rng.choice([-1, 1], (n_out, n_in))
    thresholds = rng.integers(n_in // 2 - 1, n_in // 2 + 3, n_out)
    x = (np.arange(1 << n_in) >> np.arange(n_in)[:, None] & 1).astype(np.uint8)
    layer = baked.layer(weights, thresholds, fabric)
    assert np.array_equal(baked.evaluate(layer.circuit, x), rig.matches(weights, x) >= thresholds[:, None])
