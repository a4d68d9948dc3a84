"""Lowering: sums as match counts, one stage for each operation, everything else refused."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import reference
from bnnhw.ir import (
    Add,
    Affine,
    ArgMax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    Network,
    TensorType,
    Threshold,
)
from bnnhw.lower import LoweringError, lower
from bnnhw.matching import matching

from .networks import dense_network
from .topologies import inputs, random_network


def match_count(weights, codes, bits):
    """What a unit counts for one neuron: codes, complements, nothing."""
    return int(np.where(weights > 0, codes, np.where(weights < 0, 2**bits - 1 - codes, 0)).sum())


@settings(max_examples=100, deadline=None)
@given(n_in=st.integers(1, 9), seed=st.integers(0, 9999),
       values=st.sampled_from([(-1, 1, 2), (0, 255, 1), (-3, 6, 3), (5, 5, 1)]))
def test_sums_are_match_counts(n_in, seed, values):
    rng = np.random.default_rng(seed)
    type = TensorType((n_in,), *values)
    dense = Dense("fc", "x", rng.integers(-1, 2, (4, n_in)))
    found, result = matching(dense, type), dense.infer(type)
    levels = rng.integers(result.lo - 2, result.hi + 3, 4)
    codes, signs = found.codes(result), found.signs(levels)
    for _ in range(10):
        c = rng.integers(0, type.levels, n_in)
        for n, s in enumerate(dense.weights.astype(int) @ (type.lo + type.step * c)):
            p = match_count(dense.weights[n], c, type.bits)
            assert s == found.base[0, n] + found.step * p and 0 <= p <= found.reach[n]
            assert result.lo + result.step * (codes.offsets[0][n] + codes.scale * p) == s
            assert (p >= signs.thresholds[0][n]) == (s >= levels[n])
            assert 0 <= signs.thresholds[0][n] <= found.reach[n] + 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), fill=st.sampled_from([-1, 0, 1, 7]),
       values=st.sampled_from([(-1, 1, 2), (0, 3, 1), (-3, 3, 2)]))
def test_padding_that_has_no_code(seed, fill, values):
    """Where padding has no code its lanes count the lowest value, and each border's base makes up for it."""
    rng = np.random.default_rng(seed)
    type = TensorType((3, 4, 2), *values)
    conv = Conv2d("c", "x", rng.integers(-1, 2, (3, 3, 2, 2)), (1, 2), (1, 2, 1, 0), fill)
    found = matching(conv, type)
    on_grid = (fill - type.lo) % type.step == 0 and type.lo <= fill <= type.hi
    assert (len(found.base) == 1) == on_grid
    x = inputs(Network([Input("x", type), conv], "c"), 2, seed)[1:]
    want = reference.run(Network([Input("x", type), conv], "c"), x)["c"][0]
    padded = np.full((6, 5, 2), found.fill)
    padded[1:4, 1:] = (x[0] - type.lo) // type.step
    rows, columns = conv.covered(type)
    for (y, row, n), s in np.ndenumerate(want):
        window = padded[y:y + 3, 2 * row:2 * row + 2]
        border = 0
        if not on_grid:
            part = (max(0, 1 - y), min(3, 4 - y)), (max(0, 1 - 2 * row), min(2, 5 - 2 * row))
            border = rows.index(part[0]) * len(columns) + columns.index(part[1])
        assert s == found.base[border, n] + found.step * match_count(conv.weights[n], window, type.bits)


def test_stages():
    stages = lower(dense_network([5, 3], affine=True), scores=True)
    assert [(s.kind, s.name, s.sources, s.edge) for s in stages] == [
        ("threshold", "binarize", (), "binarize"), ("dense", "fc1", ("binarize",), "act1"),
        ("dense", "fc2", ("fc1",), "fc2"), ("affine", "scaled", ("fc2",), "scaled"), ("scores", "class", ("scaled",), "class")]
    assert [(s.elements_in, s.bits_in, s.elements_out, s.bits_out) for s in stages[:3]] == [
        (12, 8, 12, 1), (12, 1, 5, 1), (5, 1, 3, 3)]


def test_conv_pool_threshold_and_branch():
    """A max-pool behind the threshold that a convolution takes up; two stages take what the pool gives."""
    rng = np.random.default_rng(0)
    network = Network([
        Input("x", TensorType((6, 6, 2), 0, 15)),
        Conv2d("conv", "x", rng.choice([-1, 1], (4, 3, 3, 2))), MaxPool2d("pool", "conv", (2, 2), (2, 2)),
        Threshold("act", "pool", np.zeros((4, 1)), [0, 1, 0, 0]),
        Conv2d("again", "act", rng.choice([-1, 1], (4, 1, 1, 4))), Add("sum", "again", "act"), Flatten("flat", "sum"),
        Dense("fc", "flat", rng.choice([-1, 1], (2, 16))), ArgMax("class", "fc"),
    ], "class")
    stages = lower(network)
    assert [(s.kind, s.name, s.sources, s.edge) for s in stages] == [
        ("input", "x", (), "x"), ("conv", "conv", ("x",), None), ("maxpool", "pool", ("conv",), "act"),
        ("conv", "again", ("pool",), "again"), ("add", "sum", ("again", "pool"), "sum"), ("dense", "fc", ("sum",), "fc"),
        ("class", "class", ("fc",), "class")]
    assert stages[2].minimum == [False, True, False, False]
    assert stages[4].scales == (1, 1) and (stages[4].bits(0), stages[4].bits(1)) == (3, 1)


def test_every_random_topology_has_stages():
    for seed in range(100):
        network = random_network(seed)
        stages = lower(network)
        assert len({stage.name for stage in stages}) == len(stages)
        assert stages[0].sources == () and stages[-1].kind == "class"


IMAGE = Input("image", TensorType((6,), 0, 255))
SIGNS = Threshold("binarize", "image", [[128]] * 6, [False] * 6)
FC = Dense("fc", "binarize", np.ones((2, 6)))
NAMES = ("(as i, o, clk, rst, s_axis, m_axis, ..._join, ..._split, ..._fork, ...__payload, ...__valid, ...__ready, ..._to_..., "
         "..._inner...): choose another")


@pytest.mark.parametrize("operations, outputs, message", [
    ([IMAGE, SIGNS, FC], "fc", "operation 'fc': a network must end in one ArgMax, not in 0"),
    ([IMAGE, SIGNS, FC, ArgMax("class", "fc"), ArgMax("again", "fc")], ("class", "again"),
     "operation 'class': a network must end in one ArgMax, not in 2"),
    ([IMAGE, SIGNS, FC, ArgMax("class", "fc")], ("fc", "class"),
     "operation 'class': the outputs must be the class and, after it, its scores, not ('fc', 'class')"),
    ([IMAGE, SIGNS, Dense("i", "binarize", np.ones((2, 6))), ArgMax("class", "i")], "class",
     f"operation 'i': the hardware needs this name for itself {NAMES}"),
    ([IMAGE, SIGNS, Dense("a_join", "binarize", np.ones((2, 6))), ArgMax("class", "a_join")], "class",
     f"operation 'a_join': the hardware needs this name for itself {NAMES}"),
    ([IMAGE, SIGNS, Dense("a__ready", "binarize", np.ones((2, 6))), ArgMax("class", "a__ready")], "class",
     f"operation 'a__ready': the hardware needs this name for itself {NAMES}"),
    ([IMAGE, SIGNS, Dense("a_to_b", "binarize", np.ones((2, 6))), ArgMax("class", "a_to_b")], "class",
     f"operation 'a_to_b': the hardware needs this name for itself {NAMES}"),
    ([IMAGE, SIGNS, Dense("a" * 101, "binarize", np.ones((2, 6))), ArgMax("class", "a" * 101)], "class",
     f"operation '{'a' * 20}...': a name in hardware has at most 100 characters, not 101"),
    ([IMAGE, SIGNS, FC, ArgMax("class", "fc")], ("class", "binarize"),
     "operation 'binarize': only a class and its scores can be outputs"),
    ([IMAGE, SIGNS, FC, ArgMax("class", "fc"), Affine("a", "class", [1], [0]), Threshold("t", "a", [[1]], [0])], ("class", "t"),
     "operation 't': only a class and its scores can be outputs"),
])
def test_refusals(operations, outputs, message):
    with pytest.raises(LoweringError) as refusal:
        lower(Network(operations, outputs))
    assert str(refusal.value) == message


def test_second_input():
    network = Network([IMAGE, Input("task", TensorType((2,), 0, 1)), SIGNS, FC, ArgMax("class", "fc"), ArgMax("t", "task")],
                      ("class", "t"))
    with pytest.raises(LoweringError, match="^operation 'task': one input is possible, not 2$"):
        lower(network)
