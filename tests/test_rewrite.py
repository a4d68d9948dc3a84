"""Rewrites: the same integers, and nothing left to do."""
import collections

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import reference
from bnnhw.ir import Affine, ArgMax, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, TensorType, Threshold
from bnnhw.rewrite import rewrite

from .topologies import inputs, random_network


def same(network, x):
    """Rewrite, compare all edges that kept their names; returns the rewritten network and its titles."""
    changed, titles = rewrite(network)
    shared = [name for name in network.operations if name in changed.operations]
    want, got = reference.run(network, x, keep=shared), reference.run(changed, x, keep=shared)
    for edge in shared:
        assert np.array_equal(want[edge], got[edge]), edge
    assert set(network.outputs) <= set(shared)
    return changed, titles


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_networks(seed):
    network = random_network(seed)
    changed, _ = same(network, inputs(network, 30, seed))
    assert rewrite(changed)[0].digest == changed.digest
    for name, operation in changed.operations.items():
        sole = [changed.operations[c] for c in changed.consumers(name)]
        if len(sole) == 1 and isinstance(sole[0], Threshold):
            assert not isinstance(operation, (Affine, MaxPool2d))
            assert not (hasattr(operation, "weights") and sole[0].levels.shape[1] == 1 and sole[0].falling.any())


def test_random_networks_use_every_rule():
    counts = collections.Counter()
    for seed in range(60):
        network = random_network(seed)
        changed, _ = rewrite(network)
        counts.update(name.rpartition("_")[2] for name in changed.operations if name not in network.operations)
        counts["scaled"] += sum(op.kind == "Affine" for name, op in network.operations.items() if name not in changed.operations)
    assert min(counts[key] for key in ("early", "flipped", "scaled")) >= 5, counts


@settings(max_examples=80, deadline=None)
@given(scale=st.integers(-4, 4), offset=st.integers(-30, 30), level=st.integers(-60, 60), falling=st.booleans())
def test_scale_into_threshold(scale, offset, level, falling):
    network = Network([Input("x", TensorType((1,), -9, 9, 3)), Affine("a", "x", [scale], [offset]),
                       Threshold("t", "a", [[level]], [falling])], "t")
    changed, _ = same(network, np.arange(-9, 10, 3)[:, None])
    assert list(changed.operations) == ["x", "t"]


def test_every_pair_of_pool_and_threshold():
    """Rising and falling, greatest and least: all windows of three small values."""
    x = np.stack(np.meshgrid(*[range(4)] * 3, indexing="ij"), -1).reshape(-1, 3, 1, 1).repeat(4, 3)
    network = Network([Input("x", TensorType((3, 1, 4), 0, 3)), MaxPool2d("p", "x", (3, 1), (1, 1), [0, 1, 0, 1]),
                       Threshold("t", "p", [[1, 2]] * 4, [0, 0, 1, 1], 0, 1)], "t")
    changed, titles = same(network, x)
    assert changed.operations["t"].minimum.tolist() == [False, True, True, False]
    assert titles == {"p_early": "p", "t": "p"}


def test_chain_of_all_three():
    """Conv, batch norm, pool, sign, as many networks have it."""
    rng = np.random.default_rng(0)
    network = Network([
        Input("x", TensorType((6, 6, 2), -1, 1, 2)),
        Conv2d("conv", "x", rng.choice([-1, 1], (5, 3, 3, 2))),
        Affine("norm", "conv", [3, -2, 0, 1, -1], [1, 5, -1, 0, 2]),
        MaxPool2d("pool", "norm", (2, 2), (2, 2)),
        Threshold("act", "pool", np.zeros((5, 1)), np.zeros(5)),
        Flatten("flat", "act"), Dense("fc", "flat", rng.choice([-1, 1], (3, 20))), ArgMax("class", "fc"),
    ], "class")
    changed, titles = same(network, inputs(network, 50))
    assert list(changed.operations) == ["x", "conv_flipped", "pool_early", "act", "flat", "fc", "class"]
    assert titles == {"conv_flipped": "conv", "pool_early": "pool", "act": "pool"}
    assert not changed.operations["pool_early"].falling.any()


def test_a_sum_that_others_need_stays():
    network = Network([Input("x", TensorType((2,), -1, 1, 2)), Dense("fc", "x", [[1, 1], [1, -1]]),
                       Threshold("t", "fc", [[0], [0]], [True, True]), Dense("out", "t", [[1, 1]]), ArgMax("class", "out")],
                      ("class", "fc"))
    changed, titles = same(network, inputs(network, 4))
    assert changed.digest == network.digest and titles == {}
