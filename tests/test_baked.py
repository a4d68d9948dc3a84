"""Constant layers compute what plain integer arithmetic computes: as circuits, as plain Verilog, as synthesized cells."""
import collections
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import baked
from bnnhw.baked.chains import chains
from bnnhw.baked.circuit import Input, Lut, Register, Segment

from . import baked_rig as rig


@st.composite
def layers(draw):
    """(weights, thresholds); some with unused inputs, equal and opposite rows."""
    n_out, n_in = draw(st.integers(1, 13)), draw(st.integers(1, 45))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = rng.choice([-1, 0, 1], (n_out, n_in), p=draw(st.sampled_from([(0.5, 0, 0.5), (0.4, 0.2, 0.4), (0.1, 0, 0.9)])))
    if draw(st.booleans()):
        weights[rng.integers(n_out)] = -weights[0]
    reach = draw(st.sampled_from([1, n_in]))
    return weights, n_in // 2 + rng.integers(-reach, reach + 2, n_out)


@pytest.mark.parametrize("fabric", baked.FABRICS)
@given(layers())
@settings(deadline=None, max_examples=25)
def test_layer(fabric, drawn):
    weights, thresholds = drawn
    made = baked.layer(weights, thresholds, fabric)
    x = rig.vectors(weights, thresholds, 200)
    assert np.array_equal(baked.evaluate(made.circuit, x), rig.matches(weights, x) >= thresholds[:, None])


def numbers(made, y):
    """What :func:`baked.counts` says that its outputs mean."""
    return np.array([sum(y[low + k].astype(int) << k for k in range(bits)) + add + np.zeros(y.shape[1], int)
                     for low, bits, add in made.fields])


@pytest.mark.parametrize("fabric", baked.FABRICS)
@given(layers())
@settings(deadline=None, max_examples=25)
def test_counts(fabric, drawn):
    weights, _ = drawn
    made = baked.counts(weights, fabric)
    x = rig.vectors(weights, weights.shape[1] // 2, 100)
    assert np.array_equal(numbers(made, baked.evaluate(made.circuit, x)), rig.matches(weights, x))


SIZES = [(1, 1), (5, 7), (13, 9), (37, 6)]


@functools.cache
def several(fabric):
    """Layers and scores of :data:`SIZES`, without registers and with: (their Layer, vectors, expected bits) by name."""
    rng, found = np.random.default_rng(0), {}
    for n_in, n_out in SIZES:
        weights = rng.choice([-1, 0, 1] if n_in in (5, 13) else [-1, 1], (n_out, n_in))
        thresholds = rng.integers(n_in // 2 - 2, n_in // 2 + 4, n_out)
        bits = rig.vectors(weights, thresholds, 300)
        for depth, blocks in {5: ((None, 1), (1, 1)), 13: ((2, 1), (2, 3))}.get(n_in, ((None, 1),)):
            how = {"depth": depth, "blocks": blocks}
            made, scores = baked.layer(weights, thresholds, fabric, **how), baked.counts(weights[:10], fabric, **how)
            expected = [baked.evaluate(one.circuit, bits) for one in (made, scores)]
            assert np.array_equal(expected[0], rig.matches(weights, bits) >= thresholds[:, None])
            assert np.array_equal(numbers(scores, expected[1]), rig.matches(weights[:10], bits))
            for name, one, y in (("layer", made, expected[0]), ("scores", scores, expected[1])):
                found[f"{name}{n_in}_{depth or 0}_{blocks}"] = one, bits, y
    return found


def spread(circuit):
    """From which input, so many registers away, each node hears: dict node -> set of (input, registers)."""
    heard = {0: set()}
    for number in circuit.live():
        node = circuit.nodes[number]
        heard[number] = {(node.index, 0)} if isinstance(node, Input) else set().union(
            *({(index, late + isinstance(node, Register)) for index, late in heard[source]} for source in circuit.fanin(number)))
    return heard


@given(layers(), st.sampled_from(list(baked.FABRICS)), st.integers(1, 14))
@settings(deadline=None, max_examples=10)
def test_depth(drawn, fabric, blocks):
    """No way between registers is longer than asked, every way has the same number of registers, the values are the same."""
    weights, _ = drawn
    least, x = None, rig.vectors(weights, weights.shape[1] // 2, 100)
    for depth in (1, 2, 3, 100):
        made = baked.counts(weights, fabric, depth=depth, blocks=blocks)
        circuit, heard = made.circuit, spread(made.circuit)
        assert max(circuit.levels()) <= depth
        assert {late for output in circuit.outputs for _, late in heard[output >> 1]} <= {circuit.latency}
        assert np.array_equal(numbers(made, baked.evaluate(circuit, x)), rig.matches(weights, x))
        assert least is None or circuit.latency <= least
        least = circuit.latency
    assert 1 <= least <= blocks


@pytest.mark.parametrize("blocks", [2, 3, 6])
def test_blocks(blocks):
    """Tables and chains read inputs of one age each, and every age is that of some."""
    weights = np.random.default_rng(0).choice([-1, 1], (24, 70))
    made = baked.layer(weights, np.full(24, 35), "ecp5", depth=100, blocks=blocks)
    circuit, heard = made.circuit, spread(made.circuit)
    logic = [node for node in heard if isinstance(circuit.nodes[node], (Lut, Segment))]
    ages = {node: {late for _, late in heard[node]} for node in logic}
    assert all(len(own) == 1 for own in ages.values())
    assert set().union(*ages.values()) == set(range(blocks)) and circuit.latency == circuit.blocks == blocks
    assert {(circuit.block(node),) for node in logic} == {tuple(own) for own in ages.values()}
    assert made.cells < 1.2 * baked.layer(weights, np.full(24, 35), "ecp5", depth=100).cells


@pytest.mark.parametrize("fabric", ["ice40", "ecp5", "gowin"])
def test_chains_of_blocks(fabric):
    """No carry chain has cells of two blocks."""
    weights = np.random.default_rng(0).choice([-1, 1], (24, 70))
    circuit = baked.layer(weights, np.full(24, 35), fabric, depth=2, blocks=4).circuit
    live, seen = circuit.live(), set()
    for _, cells in chains(circuit, live, collections.defaultdict(int), 48, False):
        blocks = {circuit.block(cell.sum) for cell in cells if cell.sum is not None}
        assert len(blocks) == 1
        seen |= blocks
    assert seen == {0, 1, 2, 3}


def test_plain_verilog():
    found = {f"{fabric}_{name}": one for fabric in baked.FABRICS for name, one in several(fabric).items()}
    circuits = {name: (one.circuit, one.plain(name)) for name, (one, _, _) in found.items()}
    source = "".join(text for _, text in circuits.values()) + rig.joined(circuits)
    y = rig.run(circuits, {name: x for name, (_, x, _) in found.items()}, source)
    for name, (_, _, expected) in found.items():
        assert np.array_equal(y[name], expected), name


@pytest.mark.parametrize("fabric", baked.FABRICS)
def test_cells(fabric, tmp_path):
    """The netlist that synthesis leaves of the cells, on the vendor's models."""
    found = several(fabric)
    circuits = {name: (one.circuit, one.verilog(name)) for name, (one, _, _) in found.items()}
    y = rig.run(circuits, {name: x for name, (_, x, _) in found.items()}, rig.synthesized(circuits, fabric, tmp_path))
    for name, (_, _, expected) in found.items():
        assert np.array_equal(y[name], expected), name


@pytest.mark.parametrize("n_in, n_out", [pytest.param(64, 16), *(pytest.param(*size, marks=pytest.mark.slow)
                                                                for size in ((256, 64), (700, 12)))])
@pytest.mark.parametrize("fabric", baked.FABRICS)
def test_cells_of_large_layers(fabric, n_in, n_out, tmp_path):
    """Of the sizes that benchmarks/area.py counts, and of one with groups of five or six rows and leaves of several blocks."""
    weights = np.random.default_rng(0).integers(0, 2, (n_out, n_in)) * 2 - 1
    made = baked.layer(weights, np.full(n_out, n_in // 2), fabric)
    assert n_in < 700 or made.rows in (5, 6)
    x, circuits = rig.vectors(weights, n_in // 2, 500), {"large": (made.circuit, made.verilog("large"))}
    y = rig.run(circuits, {"large": x}, rig.synthesized(circuits, fabric, tmp_path))
    assert np.array_equal(y["large"], rig.matches(weights, x) >= n_in // 2)


@pytest.mark.parametrize("weights, thresholds, fabric, message", [
    ([[1, 2]], [1], "ice40", r"weights must be -1, 0 or \+1 in an array \(n_out, n_in\), not int64 \(1, 2\)"),
    ([1, 1], [1], "ice40", r"weights must be .*, not int64 \(2,\)"),
    ([[1, 1]], [1, 2], "ice40", r"thresholds must be 1 integers, not int64 \(2,\)"),
    ([[1, 1]], [0.5], "ice40", r"thresholds must be 1 integers, not float64 \(1,\)"),
    ([[1, 1]], [1], "stratix", r"fabric must be one of \[.*\], not 'stratix'"),
])
def test_refusals(weights, thresholds, fabric, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        baked.layer(np.array(weights), np.array(thresholds), fabric)


def test_wrong_depth():
    with pytest.raises(ValueError, match="^depth must be a positive integer or None, not 0$"):
        baked.counts(np.ones((1, 1), int), "ice40", depth=0)


@pytest.mark.parametrize("depth, blocks", [(None, 2), (1, 0), (1, 1.5)])
def test_wrong_blocks(depth, blocks):
    with pytest.raises(ValueError, match=f"^blocks must be a positive integer, and 1 if there are no registers, not {blocks}$"):
        baked.counts(np.ones((1, 1), int), "ice40", depth=depth, blocks=blocks)
