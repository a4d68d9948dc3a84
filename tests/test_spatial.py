"""Convolutions and pools in the graph and in the golden model: types, refusals, values against written-out sums and PyTorch."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import artifact, reference
from bnnhw.ir import Conv2d, DepthwiseConv2d, Input, MaxPool2d, Network, NetworkError, SumPool2d, TensorType

from .topologies import coverage, inputs, random_network


def windows(op, shape, fill):
    """{output position: {(row, column) of the kernel: (row, column) of the map, or None for padding}}."""
    (down, right), (rows, columns) = op.stride, op.kernel
    top, bottom, left, right_side = op.padding
    found = {}
    for y, oy in zip(range(-top, shape[0] + bottom - rows + 1, down), itertools.count()):
        for x, ox in zip(range(-left, shape[1] + right_side - columns + 1, right), itertools.count()):
            places = itertools.product(range(rows), range(columns))
            found[oy, ox] = {(i, j): (y + i, x + j) if 0 <= y + i < shape[0] and 0 <= x + j < shape[1] else None
                             for i, j in places}
    return found


def written_out(op, x, fill=0):
    """One map through one operation, one Python integer at a time: {(row, column, channel): value}."""
    found = {}
    for (oy, ox), places in windows(op, x.shape, fill).items():
        taps = {place: [fill] * x.shape[2] if at is None else x[at].tolist() for place, at in places.items()}
        if op.kind == "Conv2d":
            values = [sum(int(op.weights[(n, *place)][c]) * v for place, pixel in taps.items() for c, v in enumerate(pixel))
                      for n in range(len(op.weights))]
        elif op.kind == "DepthwiseConv2d":
            values = [sum(int(op.weights[(c, *place)]) * pixel[c] for place, pixel in taps.items()) for c in range(x.shape[2])]
        else:
            channels = zip(*taps.values(), strict=True)
            values = [sum(v) if op.kind == "SumPool2d" else min(v) if op.least(x.shape[2])[c] else max(v)
                      for c, v in enumerate(channels)]
        found |= {(oy, ox, c): v for c, v in enumerate(values)}
    return found


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["conv", "depthwise", "max", "min", "sum"]))
def test_against_plain_python(seed, kind):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 6, 3))
    type = TensorType(shape, *[(0, 255, 1), (-1, 1, 2), (-3, 5, 4)][seed % 3])
    padded = kind in ("conv", "depthwise") and seed % 2
    kernel = tuple(int(rng.integers(1, n + 1 + padded)) for n in shape[:2])
    padding = [int(rng.integers(0, k)) for k in np.repeat(kernel, 2)] if padded else (0, 0, 0, 0)
    if any(n + sum(p) < k for n, p, k in zip(shape, (padding[:2], padding[2:]), kernel, strict=False)):
        padding = [k - 1 for k in np.repeat(kernel, 2)]
    stride, fill = tuple(map(int, rng.integers(1, 4, 2))), int(rng.choice([-1, 0, 1, 9]))
    op = {
        "conv": lambda: Conv2d("op", "x", rng.integers(-1, 2, (3, *kernel, shape[2])), stride, padding, fill),
        "depthwise": lambda: DepthwiseConv2d("op", "x", rng.integers(-1, 2, (shape[2], *kernel)), stride, padding, fill),
        "max": lambda: MaxPool2d("op", "x", kernel, stride),
        "min": lambda: MaxPool2d("op", "x", kernel, stride, rng.random(shape[2]) < 0.5),
        "sum": lambda: SumPool2d("op", "x", kernel, stride),
    }[kind]()
    network = Network([Input("x", type), op], "op")
    x = inputs(network, 4, seed)
    found = reference.run(network, x)["op"]
    for got, given_map in zip(found, x, strict=True):
        assert {place: int(v) for place, v in np.ndenumerate(got)} == written_out(op, given_map, fill)
    of = network.types["op"]
    assert of.lo <= found.min() and found.max() <= of.hi and not ((found - of.lo) % of.step).any()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_against_torch(seed):
    """PyTorch's convolution in float64, in which these sums are exact."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    channels, n_out, k = rng.integers(1, 9), rng.integers(1, 9), rng.integers(1, 5)
    pad, stride = int(rng.integers(0, k)), int(rng.integers(1, 4))
    size = tuple(rng.integers(k, 12, 2))
    weights, depthwise = rng.integers(-1, 2, (n_out, k, k, channels)), seed % 2
    if depthwise:
        op = DepthwiseConv2d("op", "x", weights[0].transpose(2, 0, 1), (stride, stride), (pad,) * 4, 0)
        kernel = op.weights[:, None]
    else:
        op = Conv2d("op", "x", weights, (stride, stride), (pad,) * 4, 0)
        kernel = op.weights.transpose(0, 3, 1, 2)
    network = Network([Input("x", TensorType((*size, channels), 0, 255)), op], "op")
    x = inputs(network, 3, seed)
    maps = torch.from_numpy(x.transpose(0, 3, 1, 2)).double()
    want = torch.nn.functional.conv2d(maps, torch.from_numpy(kernel.copy()).double(), stride=stride, padding=pad,
                                      groups=int(channels) if depthwise else 1)
    assert np.array_equal(reference.run(network, x)["op"], want.long().numpy().transpose(0, 2, 3, 1))
    for kind, torch_kind in ((MaxPool2d, torch.nn.functional.max_pool2d), (SumPool2d, torch.nn.functional.avg_pool2d)):
        network = Network([Input("x", network.types["x"]), kind("op", "x", (k, k), (stride, stride))], "op")
        want = torch_kind(maps, int(k), stride).numpy().transpose(0, 2, 3, 1)
        want = np.rint(want * k * k) if kind is SumPool2d else want
        assert np.array_equal(reference.run(network, x)["op"], want)


def test_range_of_sums_is_that_of_the_weights():
    """Each end of the type is reached, by the row and at the border where that is so."""
    def type_of(weights, **more):
        return Network([Input("x", TensorType.bipolar((3, 3, 2))), Conv2d("c", "x", weights, **more)], "c").types["c"]
    assert type_of(np.ones((1, 2, 2, 2))) == TensorType((2, 2, 1), -8, 8, 2)
    one = np.zeros((1, 2, 2, 2))
    one[0, 0, 0, 0] = 1
    assert type_of(one) == TensorType((2, 2, 1), -1, 1, 2)
    assert type_of(np.ones((1, 2, 2, 2)), padding=(1, 1, 1, 1), fill=-1) == TensorType((4, 4, 1), -8, 8, 2)
    assert type_of(np.ones((1, 3, 3, 1)).repeat(2, 3), padding=(1, 1, 1, 1), fill=0) == TensorType((3, 3, 1), -18, 18, 2)
    assert type_of(np.ones((1, 2, 1, 2)), padding=(1, 0, 0, 0), fill=0) == TensorType((3, 3, 1), -4, 4, 2)
    odd = Conv2d("c", "x", np.ones((1, 2, 1, 1)), padding=(1, 0, 0, 0), fill=0)
    assert Network([Input("x", TensorType.bipolar((2, 1, 1))), odd], "c").types["c"] == TensorType((2, 1, 1), -2, 2, 1)


MAP = Input("x", TensorType((4, 5, 2), 0, 255))


@pytest.mark.parametrize("make, message", [
    (lambda: Conv2d("c", "x", np.ones((1, 3, 3, 3))), "operation 'c': weights take 3 channels, but the input has 2"),
    (lambda: DepthwiseConv2d("c", "x", np.ones((3, 3, 3))), "operation 'c': weights take 3 channels, but the input has 2"),
    (lambda: Conv2d("c", "x", np.ones((1, 5, 3, 2))),
     "operation 'c': a kernel of (5, 3) does not fit into a map of (4, 5), padding included"),
    (lambda: Conv2d("c", "x", np.ones((1, 3, 3, 2)), padding=(1, 1, 3, 1)),
     "operation 'c': padding at the left must be less than the kernel's 3, not 3"),
    (lambda: Conv2d("c", "x", np.ones((1, 3, 3, 2)), stride=(0, 1)),
     "operation 'c': stride must be 2 integers, each at least 1, not (0, 1)"),
    (lambda: Conv2d("c", "x", np.ones((1, 3, 3, 2)), padding=(1, 1)),
     "operation 'c': padding must be 4 integers, each at least 0, not (1, 1)"),
    (lambda: Conv2d("c", "x", np.full((1, 3, 3, 2), 3)), "operation 'c': weights must be -1, 0 or +1, not 3"),
    (lambda: MaxPool2d("c", "x", (2, 2), (2, 2), [1]), "operation 'c': minimum for 1 channels, but the input has 2"),
    (lambda: MaxPool2d("c", "x", (2, 2), (2, 2), [1, 2]), "operation 'c': minimum must be false or true"),
    (lambda: SumPool2d("c", "x", (2,), (2, 2)), "operation 'c': kernel must be 2 integers, each at least 1, not (2,)"),
])
def test_refusals(make, message):
    with pytest.raises(NetworkError) as refusal:
        Network([MAP, make()], "c")
    assert str(refusal.value) == message


def test_maps_only():
    with pytest.raises(NetworkError, match=r"^operation 'c': its input must be a map \(H, W, C\), but its shape is \(4,\)$"):
        Network([Input("x", TensorType((4,), 0, 1)), MaxPool2d("c", "x", (1, 1), (1, 1))], "c")


def test_files_keep_every_kind_of_network():
    networks = [random_network(seed) for seed in range(40)]
    assert set(coverage(networks)) >= {"branch", "padding", "zero padding of signs", "stride", "pool", "depthwise",
                                       "k-bit threshold", "falling channel", "ternary"}
    for network in networks:
        read = artifact.loads(artifact.dumps(artifact.Artifact(network))).network
        assert read.digest == network.digest
        assert read.types == network.types


def test_values_stay_in_their_types():
    for seed in range(40):
        network = random_network(seed)
        for edge, values in reference.run(network, inputs(network, 20, seed), keep="all").items():
            type = network.types[edge]
            assert type.lo <= values.min() and values.max() <= type.hi and not ((values - type.lo) % type.step).any(), edge
