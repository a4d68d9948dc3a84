"""Lowering: each rewrite exact, everything else refused."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnhw import reference
from bnnhw.ir import Affine, ArgMax, Dense, Flatten, Input, Network, TensorType, Threshold
from bnnhw.lower import LoweringError, lower, match_thresholds

from .networks import dense_network


@given(n_in=st.integers(1, 9), level=st.integers(-12, 12), falling=st.booleans(), seed=st.integers(0, 99))
def test_thresholds_on_match_counts(n_in, level, falling, seed):
    """For every vector of signs the match count with the new weights decides as the sum does."""
    weights = np.random.default_rng(seed).choice([-1, 1], (1, n_in)).astype(np.int8)
    threshold = Threshold("act", "fc", [[level]], [falling])
    network = Network([Input("x", TensorType.bipolar((n_in,))), Dense("fc", "x", weights), threshold], "act")
    x = np.array(np.meshgrid(*[[-1, 1]] * n_in)).reshape(n_in, -1).T
    new_weights, counts = match_thresholds(weights, network.operations["act"])
    matches = (x == new_weights).sum(axis=1)
    assert 0 <= counts[0] <= n_in + 1
    assert np.array_equal(np.where(matches >= counts[0], 1, -1), reference.run(network, x)["act"][:, 0])


def test_stages():
    stages = lower(dense_network([5, 3], affine=True), scores=True)
    assert [(s.kind, s.name, s.sources, s.edge) for s in stages] == [
        ("threshold", "binarize", (), "binarize"), ("dense", "fc1", ("binarize",), "act1"),
        ("dense", "fc2", ("fc1",), "fc2"), ("affine", "scaled", ("fc2",), "scaled"), ("scores", "class", ("scaled",), "class")]
    assert [(s.elements_in, s.bits_in, s.elements_out, s.bits_out) for s in stages[:3]] == [
        (12, 8, 12, 1), (12, 1, 5, 1), (5, 1, 3, 3)]


IMAGE = Input("image", TensorType((6,), 0, 255))
SIGNS = Threshold("binarize", "image", [[128]] * 6, [False] * 6)
FC = Dense("fc", "binarize", np.ones((2, 6)))


@pytest.mark.parametrize("operations, outputs, message", [
    ([IMAGE, Dense("fc", "image", np.ones((2, 6))), ArgMax("class", "fc")], "class",
     "operation 'fc': the input's values 0 to 255 must go through a Threshold first"),
    ([IMAGE, Threshold("binarize", "image", [[3, 9]] * 6, [False] * 6), Dense("fc", "binarize", np.ones((2, 6))),
      ArgMax("class", "fc")], "class",
     "operation 'binarize': the hardware's thresholds give signs (one level, base -1, step 2), "
     "not 2 levels with base -1 and step 2"),
    ([IMAGE, SIGNS, FC], "fc", "operation 'fc': its result must go to exactly one operation, not to none"),
    ([IMAGE, SIGNS, FC, Threshold("act", "fc", [[0]] * 2, [False] * 2), ArgMax("class", "act")], "class",
     "operation 'class': its input must be the sums of a Dense or an Affine of them"),
    ([IMAGE, SIGNS, FC, Threshold("act", "fc", [[0]] * 2, [False] * 2), Affine("a", "act", [1] * 2, [1] * 2),
      ArgMax("class", "a")], "class", "operation 'a': its input must be the sums of a Dense"),
    ([IMAGE, SIGNS, FC, Affine("a", "fc", [1] * 2, [1] * 2), Dense("fc2", "a", np.ones((2, 2))), ArgMax("class", "fc2")],
     "class", "operation 'fc2': its input must be signs, not values -5 to 7"),
    ([IMAGE, SIGNS, FC, ArgMax("class", "fc"), ArgMax("again", "fc")], ("class", "again"),
     "operation 'fc': its result must go to exactly one operation, not to ['class', 'again']"),
    ([IMAGE, SIGNS, FC, Affine("a", "fc", [1] * 2, [1] * 2), Affine("b", "a", [2] * 2, [0] * 2), ArgMax("class", "b")], "class",
     "operation 'b': its input must be the sums of a Dense"),
    ([IMAGE, SIGNS, FC, ArgMax("class", "fc")], ("fc", "class"),
     "operation 'class': the outputs must be the class and, after it, its scores, not ('fc', 'class')"),
    ([IMAGE, SIGNS, Dense("i", "binarize", np.ones((2, 6))), ArgMax("class", "i")], "class",
     "operation 'i': the hardware needs this name for itself (as i, o, clk, rst, ..._join, ..._split): choose another"),
    ([IMAGE, SIGNS, Dense("a_join", "binarize", np.ones((2, 6))), ArgMax("class", "a_join")], "class",
     "operation 'a_join': the hardware needs this name for itself (as i, o, clk, rst, ..._join, ..._split): choose another"),
    ([IMAGE, SIGNS, FC, ArgMax("class", "fc")], ("class", "binarize"),
     "operation 'binarize': only a class and its scores can be outputs"),
    ([IMAGE, SIGNS, FC, Affine("a", "fc", [1] * 2, [1] * 2), Threshold("act", "a", [[0]] * 2, [False] * 2),
      Flatten("f", "act"), Dense("fc2", "f", np.ones((2, 2))), ArgMax("class", "fc2")], "class",
     "operation 'act': a Threshold can stand on the input or behind a Dense, not here"),
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
