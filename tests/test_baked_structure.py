"""The parts of which baked layers are made: classes, groups of rows, shared leaves, counts, butterflies, comparisons, chains."""
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import baked, tools
from bnnhw.baked import counters, wide
from bnnhw.baked.chains import chains
from bnnhw.baked.circuit import Circuit, Segment, evaluate, table_of
from bnnhw.baked.grouping import grouped
from bnnhw.baked.groups import classes
from bnnhw.baked.leaves import shared_triples
from bnnhw.baked.numbers import Number, add, at_least, butterfly, negate

STRUCTURES = (counters, wide)


def values(circuit, number, x):
    """What a Number is, for each vector; and whether its code stays within what it says."""
    circuit.outputs = list(number.bits)
    y = evaluate(circuit, x)
    code = sum((row.astype(int) << k for k, row in enumerate(y)), np.zeros(x.shape[1], int))
    assert number.least <= code.min() and code.max() <= number.most
    return code + number.offset


def every(n):
    return (np.arange(1 << n) >> np.arange(n)[:, None] & 1).astype(np.uint8)


@given(st.integers(0, 6), st.integers(0, 6), st.booleans(), st.randoms())
@settings(deadline=None, max_examples=60)
def test_adders(wide_a, wide_b, carried, random):
    """Sums, differences and negations of numbers of any lengths and offsets, all inputs."""
    circuit = Circuit(wide_a + wide_b + 1)
    x = every(circuit.n_in)
    literals = [2 * (k + 1) ^ random.randrange(2) for k in range(circuit.n_in)]
    a = Number(tuple(literals[:wide_a]), (1 << wide_a) - 1, random.randrange(-9, 9))
    b = Number(tuple(literals[wide_a:-1]), (1 << wide_b) - 1, random.randrange(-9, 9))
    va, vb = values(circuit, a, x), values(circuit, b, x)
    carry = literals[-1] if carried else 0
    vc = x[-1] ^ (carry & 1) if carried else 0
    assert np.array_equal(values(circuit, add(circuit, a, b, carry), x), va + vb + vc)
    assert np.array_equal(values(circuit, negate(a), x), -va)
    if wide_a and wide_b:
        p, d = butterfly(circuit, a, b, carry)
        assert np.array_equal(values(circuit, p, x), va + vb + vc)
        assert np.array_equal(values(circuit, d, x), va - vb + vc)
        assert p.bits[0] == d.bits[0]
        for bound in (-70, -3, 0, 5, 70):
            circuit.outputs = [at_least(circuit, d, bound, 4)]
            assert np.array_equal(evaluate(circuit, x)[0], va - vb + vc >= bound)


@pytest.mark.parametrize("structure", STRUCTURES, ids=["narrow", "wide"])
@given(n=st.integers(0, 70), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_counts_of_a_class(structure, n, seed):
    rng = np.random.default_rng(seed)
    members = [(k, int(sign)) for k, sign in enumerate(rng.choice([-1, 1], n))]
    some = rng.permutation(n)[:3 * rng.integers(0, structure.triples_of(n) + 1)].reshape(-1, 3)
    circuit = Circuit(max(n, 1))
    number = structure.count(circuit, members, [tuple(members[k] for k in sorted(triple)) for triple in some.tolist()])
    x = rng.integers(0, 2, (circuit.n_in, 300), dtype=np.uint8)
    assert np.array_equal(values(circuit, number, x), sum((sign * x[k].astype(int) for k, sign in members), np.zeros(300, int)))


def test_classes():
    found = classes(np.array([[1, -1, 1, 0, 0], [-1, 1, 1, -1, 0]]))
    assert found == {(1, -1): [(0, 1), (1, -1)], (1, 1): [(2, 1)], (0, 1): [(3, -1)]}


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 14))
@settings(deadline=None, max_examples=20)
def test_groups_are_a_partition(seed, rows, n_out):
    weights = np.random.default_rng(seed).choice([-1, 1], (n_out, 20))
    groups = grouped(weights, rows, counters.cost)
    assert sorted(row for group in groups for row in group) == list(range(n_out))
    assert {len(group) for group in groups[:-1]} <= {rows} and len(groups[-1]) == (n_out - 1) % rows + 1
    assert groups == grouped(weights, rows, counters.cost)


def test_grouping_helps():
    weights = np.random.default_rng(0).choice([-1, 1], (32, 128))
    def worth(groups):
        return sum(counters.cost(len(own)) for group in groups for own in classes(weights[group]).values())
    assert worth(grouped(weights, 4, counters.cost)) < worth([list(range(k, k + 4)) for k in range(0, 32, 4)])


@given(st.integers(0, 2**32), st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_shared_triples(seed, quota):
    rng = np.random.default_rng(seed)
    members = [[(int(k), int(rng.choice([-1, 1]))) for k in rng.permutation(24)[:12]] for _ in range(7)]
    chosen = shared_triples(members, [quota] * 7, 24)
    uses = {}
    for own, triples in zip(members, chosen, strict=True):
        flat = [member for triple in triples for member in triple]
        assert len(triples) <= quota and len(set(flat)) == len(flat) and set(flat) <= set(own)
        for triple in triples:
            first = triple[0][1]
            key = tuple((k, sign * first) for k, sign in triple)
            uses[key] = uses.get(key, 0) + 1
    assert all(count >= 2 for count in uses.values())


@pytest.mark.parametrize("own_guard", [False, True])
def test_chains_are_capped(own_guard):
    rng = np.random.default_rng(0)
    circuit = baked.layer(rng.choice([-1, 1], (16, 64)), np.full(16, 32), "ice40").circuit
    live = circuit.live()
    segments = [number for number in live if isinstance(circuit.nodes[number], Segment)]
    lengths = {}
    for cap in (16, 40, 1000):
        packed = chains(circuit, live, dict.fromkeys(segments, 0), cap, own_guard)
        lengths[cap] = [len(cells) for _, cells in packed]
        assert max(lengths[cap]) <= cap
        sums = [cell.sum for _, cells in packed for cell in cells if cell.sum is not None]
        assert len(sums) == len(set(sums))
    assert sum(lengths[1000]) <= sum(lengths[40]) <= sum(lengths[16])


def test_tables_are_made_once():
    circuit = Circuit(3)
    a, b, c = 2, 4, 6
    majority, parity = table_of(3, lambda *x: sum(x) >= 2), table_of(3, lambda *x: sum(x) & 1)
    assert circuit.lut([a, b, c], majority) == circuit.lut([c, a, b], majority)
    assert circuit.lut([a, b, c], majority) == circuit.lut([a ^ 1, b ^ 1, c ^ 1], majority) ^ 1
    assert circuit.lut([a, b, c], parity) == circuit.lut([a ^ 1, b, c], parity) ^ 1
    assert circuit.lut([a, a, b], majority) == a and circuit.lut([a, a ^ 1, b], majority) == b
    assert circuit.lut([a, 1, 0], majority) == a and circuit.lut([a, a, 0], parity) == 0
    assert len(circuit.nodes) == 4 + 2


LIBRARIES = {"ice40": ["ice40/cells_sim.v"], "ecp5": ["ecp5/cells_sim.v", "ecp5/cells_bb.v"], "gowin": ["gowin/cells_sim.v"],
             "xc7": ["xilinx/cells_sim.v"]}


@pytest.mark.parametrize("fabric", baked.FABRICS)
def test_no_loops(fabric, tmp_path):
    """Every cell taken for a way from each input to each output, as timing analysis does, there is no loop."""
    rng = np.random.default_rng(0)
    (tmp_path / "layer.v").write_text(baked.layer(rng.choice([-1, 1], (24, 64)), np.full(24, 32), fabric).verilog("layer"))
    files = " ".join(str(tools.yosys_share() / name) for name in LIBRARIES[fabric])
    script = f"read_verilog -lib {files}; read_verilog layer.v; hierarchy -top layer; scc -all_cell_types -expect 0 layer"
    tools.find("yosys").run(["-p", script], cwd=tmp_path)


def test_ice40_digits_stay_together(tmp_path):
    """yosys joins each carry with the table of its own digit, though many guards have the same operands."""
    rng = np.random.default_rng(0)
    (tmp_path / "layer.v").write_text(baked.layer(rng.choice([-1, 1], (64, 64)), np.full(64, 32), "ice40").verilog("layer"))
    script = ("read_verilog -lib +/ice40/cells_sim.v; read_verilog layer.v; hierarchy -top layer; opt_clean; ice40_wrapcarry; "
              "write_verilog -noattr out.v")
    tools.find("yosys").run(["-p", script], cwd=tmp_path)
    own = re.findall(r"I3_IS_CI\(1'h([01])\)", (tmp_path / "out.v").read_text())
    assert len(own) > 1000 and set(own) == {"1"}


def test_no_digit_of_an_ecp5_has_one_signal_twice():
    """A router that may exchange the two pins could do so for ever, as it does on iCE40."""
    rng = np.random.default_rng(0)
    text = baked.layer(rng.choice([-1, 1], (24, 64)), np.full(24, 32), "ecp5").verilog("layer")
    digits = re.findall(r"\.A([01])\(([^)]*)\), \.B\1\(([^)]*)\)", text)
    assert len(digits) > 200 and sum(a == "1'b0" != b for _, a, b in digits) > 20
    assert not [digit for digit in digits if digit[1] == digit[2] != "1'b0"]
