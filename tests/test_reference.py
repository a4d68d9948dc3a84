"""The golden model against arithmetic written out with Python integers."""
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import reference
from bnnhw.ir import Affine, ArgMax, Dense, Input, Network, TensorType, Threshold

from .networks import dense_network, images, networks


def slow(network, image):
    """One input through the network, one Python integer at a time."""
    edges = {}
    for name, op in network.operations.items():
        source = edges.get(op.inputs[0]) if op.inputs else None
        match op.kind:
            case "Input":
                edges[name] = [int(v) for v in np.asarray(image).ravel()]
            case "Flatten":
                edges[name] = source
            case "Threshold":
                channels = len(op.falling)
                edges[name] = [
                    op.base + op.step * sum(value <= int(t) if op.falling[k % channels] else value >= int(t)
                                            for t in op.levels[k % channels])
                    for k, value in enumerate(source)]
            case "Dense":
                edges[name] = [sum(int(w) * v for w, v in zip(row, source, strict=True)) for row in op.weights]
            case "Affine":
                edges[name] = [int(a) * v + int(b) for a, v, b in zip(op.scale, source, op.offset, strict=True)]
            case "ArgMax":
                edges[name] = [source.index(max(source))]
    return edges


@settings(max_examples=60, deadline=None)
@given(network=networks())
def test_against_plain_python(network):
    x = images(network, 4)
    edges = reference.run(network, x, keep="all")
    for k in range(len(x)):
        for name, values in slow(network, x[k]).items():
            assert edges[name][k].ravel().tolist() == values, name


@settings(max_examples=30, deadline=None)
@given(levels=st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=2, max_size=2),
       base=st.integers(-4, 4), step=st.integers(1, 3))
def test_several_levels(levels, base, step):
    network = Network([Input("x", TensorType((2,), -8, 8, 2)), Threshold("t", "x", levels, [False, True], base, step)], "t")
    for value in range(-8, 9, 2):
        want = [base + step * sum(value >= t for t in levels[0]), base + step * sum(value <= t for t in levels[1])]
        assert reference.run(network, np.array([[value, value]]))["t"][0].tolist() == want


def test_argmax_takes_the_lowest_of_equals():
    network = Network([Input("x", TensorType((4,), 0, 9)), ArgMax("class", "x")], "class")
    assert reference.run(network, np.array([[1, 7, 7, 7], [5, 5, 5, 5]]))["class"].tolist() == [1, 0]


def test_sums_too_large_for_float32_are_exact():
    n, weight = 300, np.ones((1, 300))
    network = Network([Input("x", TensorType((n,), 0, 2**40)), Dense("fc", "x", weight)], "fc")
    x = np.full((1, n), 2**40 - 1)
    assert reference.run(network, x)["fc"][0, 0] == n * (2**40 - 1)
    assert reference.exact_dtype(2**12, 2**12) is np.float32
    assert reference.exact_dtype(2**12, 2**12 + 1) is np.float64
    assert reference.exact_dtype(2**12, 2**42) is np.int64


def test_affine_beyond_float32():
    network = Network([Input("x", TensorType((1,), 0, 255)), Affine("a", "x", [2**40 + 1], [-3])], "a")
    assert reference.run(network, np.array([[255]]))["a"].tolist() == [[255 * (2**40 + 1) - 3]]


@pytest.mark.parametrize("x, message", [
    (np.zeros((2, 4, 3)), r"input 'image': shape must be \(N, 4, 3, 1\), not \(2, 4, 3\)"),
    (np.zeros((2, 4, 3, 1)), "input 'image': values must be integers, not float64"),
    (np.full((2, 4, 3, 1), 256), "input 'image': values must be 0, 1, ..., 255; there are 256 to 256"),
    ({"picture": np.zeros(1)}, r"inputs must be \['image'\], not \['picture'\]"),
])
def test_wrong_input(x, message):
    with pytest.raises(reference.InputError, match=f"^{message}$"):
        reference.run(dense_network([2]), x)


def test_signs_must_be_signs():
    network = Network([Input("x", TensorType.bipolar((2,))), Dense("fc", "x", [[1, 1]])], "fc")
    with pytest.raises(reference.InputError, match="values must be -1, 1, ..., 1; there are 0 to 1"):
        reference.run(network, np.array([[0, 1]]))


def test_batches_do_not_matter(monkeypatch):
    network = dense_network([7, 3])
    x = images(network, 50)
    whole = reference.run(network, x)["class"]
    monkeypatch.setattr(reference, "BATCH", 7)
    assert np.array_equal(reference.run(network, x)["class"], whole)
    assert reference.run(network, x[:0])["class"].shape == (0,)


def test_ten_thousand_images_within_a_second():
    network = dense_network([256, 256, 256, 10], (28, 28, 1))
    x = images(network, 10_000)
    reference.run(network, x[:10])
    times = []
    for _ in range(3):
        start = time.perf_counter()
        reference.run(network, x)
        times.append(time.perf_counter() - start)
    assert min(times) < 1
