"""One threshold function in six-input tables: proven by composition, compared with sums, and the voter's record."""
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import baked, tools
from bnnhw.baked.circuit import Lut
from bnnhw.baked.voting import blif, check, threshold

from . import proofs


def near(n, least, count=200):
    """Bits (n, vectors), most of them with about ``least`` ones."""
    rng = np.random.default_rng(n)
    ones = np.clip(least + rng.integers(-2, 3, count), 0, n)
    x = np.zeros((n, count + 50), np.uint8)
    for k, number in enumerate(ones.tolist()):
        x[rng.permutation(n)[:number], k] = 1
    x[:, count:] = rng.integers(0, 2, (n, 50))
    return x


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
@settings(deadline=None, max_examples=60)
def test_threshold(drawn):
    n, least = drawn
    circuit, cells = threshold(n, least)
    check(circuit, cells, least)
    x = near(n, least)
    assert np.array_equal(baked.evaluate(circuit, x)[0], x.sum(axis=0) >= least)


def test_voter():
    """At least 501 of 1,001: fewer tables than the 1,166 that the EPFL benchmarks list."""
    circuit, cells = threshold(1001, 501)
    check(circuit, cells, 501)
    x = near(1001, 501, 5000)
    assert np.array_equal(baked.evaluate(circuit, x)[0], x.sum(axis=0) >= 501)
    live = [circuit.nodes[number] for number in circuit.live()]
    tables = [node for node in live if isinstance(node, Lut)]
    assert len(tables) == len(live) - 1001 == 992 and max(len(node.inputs) for node in tables) == 6
    assert blif(circuit, "voter").count(".names") == 992 + 1       # and the name of the output


@pytest.mark.parametrize("fault", ["table", "column", "lost"])
def test_check_sees(fault):
    circuit, cells = threshold(100, 37)
    if fault == "table":
        number = next(n for n, node in enumerate(circuit.nodes) if isinstance(node, Lut))
        circuit.nodes[number] = circuit.nodes[number]._replace(table=circuit.nodes[number].table ^ 1 << 7)
    elif fault == "column":
        cells[0] = cells[0]._replace(column=1)
    else:
        cells[3] = cells[3]._replace(inputs=cells[3].inputs[1:])
    with pytest.raises((AssertionError, KeyError)):
        check(circuit, cells, 37)


@pytest.mark.parametrize("n, least", [(1, 1), (9, 5), (13, 4)])
def test_blif(n, least, tmp_path):
    """What another reader makes of the file is proven equal to a sum, for all inputs."""
    (tmp_path / "t.blif").write_text(blif(threshold(n, least)[0], "t"))
    tools.find("yosys").run(["-p", "read_blif t.blif; write_verilog -noattr t.v"], cwd=tmp_path)
    text = (tmp_path / "t.v").read_text()
    assert len(re.findall(r"\binput x\d+", text)) == n
    ports = ", ".join(f".x{k}(x[{k}])" for k in range(n))
    total = " + ".join(f"{{3'b0, x[{k}]}}" for k in range(n))
    for bound, holds in ((least, True), (least + 1, False)):
        source = text + f"module check(input [{n - 1}:0] x, output ok); wire y; t t(.y0(y), {ports}); " \
            f"assign ok = y == ({total} >= {bound}); endmodule\n"
        assert proofs.holds(source, "check", tmp_path) == holds


def test_refusal():
    with pytest.raises(ValueError, match="^threshold must be from 1 to the number of bits, 5, not 6$"):
        threshold(5, 6)
