"""Sparse networks in graph and golden model: types, refusals, values against plain Python; files; what has no hardware."""
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as serialize

from bnnhw import artifact, reference
from bnnhw.artifact import Artifact, ArtifactError
from bnnhw.ir import ArgMax, Flatten, GroupSum, Input, Lookup, Network, NetworkError, TensorType, Thermometer, Threshold
from bnnhw.lower import LoweringError, lower

from .topologies import inputs

VALUES = [(0, 255, 1), (-1, 1, 2), (-5, 7, 3), (4, 4, 1)]


def lookup(rng, name, source, size, wires, fan_in):
    return Lookup(name, source, rng.integers(0, wires, (size, fan_in)), rng.choice([-1, 1], (size, 2**fan_in)))


def sparse_network(seed, shape=None):
    """Input -> signs -> one or two layers of tables -> votes -> class."""
    rng = np.random.default_rng(seed)
    type = TensorType(shape or tuple(map(int, rng.integers(1, 4, rng.integers(1, 4)))), *VALUES[seed % len(VALUES)])
    count = int(rng.integers(1, 4))
    levels = np.sort(rng.integers(type.lo - 2, type.hi + 3, (type.size, count) if seed % 3 else (count,)))
    groups = int(rng.integers(1, 5))
    operations = [Input("x", type), Thermometer("bits", "x", levels), Flatten("flat", "bits")]
    wires, edge = type.size * count, "flat"
    for k in range(1, int(rng.integers(2, 4))):
        size = groups * int(rng.integers(1, 6))
        operations.append(lookup(rng, f"lut{k}", edge, size, wires, int(rng.integers(1, 7))))
        wires, edge = size, f"lut{k}"
    return Network([*operations, GroupSum("votes", edge, groups), ArgMax("class", "votes")], "class")


def written_out(network, x):
    """One input through the network, one Python integer at a time."""
    edges = {}
    for name, op in network.operations.items():
        source = edges[op.inputs[0]] if op.inputs else None
        match op.kind:
            case "Input":
                edges[name] = [int(v) for v in np.ravel(x)]
            case "Flatten":
                edges[name] = source
            case "Thermometer":
                rows = op.levels.tolist() if op.levels.ndim == 2 else [op.levels.tolist()] * len(source)
                edges[name] = [1 if value >= level else -1 for value, row in zip(source, rows, strict=True) for level in row]
            case "Lookup":
                edges[name] = [int(table[sum(2**j for j, wire in enumerate(wires) if source[wire] == 1)])
                               for wires, table in zip(op.indices.tolist(), op.tables.tolist(), strict=True)]
            case "GroupSum":
                size = len(source) // op.groups
                edges[name] = [source[k * size:(k + 1) * size].count(1) for k in range(op.groups)]
            case "ArgMax":
                edges[name] = [source.index(max(source))]
    return edges


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_against_plain_python(seed):
    network = sparse_network(seed)
    x = inputs(network, 5, seed)
    edges = reference.run(network, x, keep="all")
    for k in range(len(x)):
        for name, values in written_out(network, x[k]).items():
            assert edges[name][k].ravel().tolist() == values, name
    for name, values in edges.items():
        type = network.types[name]
        assert type.lo <= values.min() and values.max() <= type.hi and not ((values - type.lo) % type.step).any(), name


def test_every_entry_of_a_table_has_its_place():
    """Input j is bit j of the index."""
    bits = np.array([[1 if t >> j & 1 else -1 for j in range(5)] for t in range(32)])
    x = Input("x", TensorType.bipolar((5,)))
    for t in range(32):
        network = Network([x, Lookup("lut", "x", [range(5)], [[1 if k == t else -1 for k in range(32)]])], "lut")
        found = reference.run(network, bits)["lut"].ravel()
        assert np.flatnonzero(found == 1).tolist() == [t]
    swapped = Network([x, Lookup("lut", "x", [[3, 0]], [[-1, 1, -1, -1]])], "lut")     # input 3 without input 0
    assert np.array_equal(reference.run(swapped, bits)["lut"][:, 0] == 1, (bits[:, 3] == 1) & (bits[:, 0] == -1))


def test_thermometer_of_maps_grows_the_channels():
    network = Network([Input("x", TensorType((1, 2, 2), 0, 9)), Thermometer("t", "x", [3, 3, 7])], "t")
    assert network.types["t"] == TensorType.bipolar((1, 2, 6))
    found = reference.run(network, np.array([[[[2, 3], [6, 7]]]]))["t"]
    assert found.ravel().tolist() == [-1, -1, -1, 1, 1, -1, 1, 1, -1, 1, 1, 1]


def test_one_level_is_a_threshold():
    x = Input("x", TensorType((3, 3, 2), 0, 255))
    ours = Network([x, Thermometer("t", "x", [64])], "t")
    theirs = Network([x, Threshold("t", "x", [[64]] * 2, [False] * 2)], "t")
    values = inputs(ours, 9)
    assert ours.types == theirs.types
    assert np.array_equal(reference.run(ours, values)["t"], reference.run(theirs, values)["t"])


def test_levels_in_normal_form():
    """Equal functions have equal digests; always and never are lo and hi + step."""
    def network(levels):
        return Network([Input("x", TensorType((2,), -5, 7, 3)), Thermometer("t", "x", levels)], "t")
    one = network([[-99, 0, 99], [-5, -4, 7]])
    assert one.operations["t"].levels.tolist() == [[-5, 1, 10], [-5, -2, 7]]
    assert one.digest == network([[-6, -1, 8], [-7, -3, 5]]).digest != network([[-6, -1, 8], [-7, -3, 4]]).digest


def test_group_sum():
    network = Network([Input("x", TensorType.bipolar((6,))), GroupSum("votes", "x", 3)], "votes")
    assert network.types["votes"] == TensorType((3,), 0, 2)
    assert reference.run(network, np.array([[1, -1, 1, 1, -1, -1]]))["votes"].tolist() == [[1, 2, 0]]


PIXELS = Input("x", TensorType((4,), 0, 255))
SIGNS = Input("x", TensorType.bipolar((4,)))
MAP = Input("x", TensorType.bipolar((1, 2, 2)))


@pytest.mark.parametrize("given_input, make, message", [
    (PIXELS, lambda: Thermometer("s", "x", [3, 2]), "levels must not fall from one to the next"),
    (PIXELS, lambda: Thermometer("s", "x", []), "levels must have 1 dimension and elements, not shape (0,)"),
    (PIXELS, lambda: Thermometer("s", "x", 3), "levels must have 2 dimensions and elements, not shape ()"),
    (PIXELS, lambda: Thermometer("s", "x", [[1], [2], [3]]), "levels for 3 elements, but the input has 4"),
    (PIXELS, lambda: Lookup("s", "x", [[0]], [[1, 1]]),
     "its input must be signs, -1 or +1, but its values are 0 to 255 by 1"),
    (MAP, lambda: Lookup("s", "x", [[0]], [[1, 1]]), "its input must be a vector, but its shape is (1, 2, 2)"),
    (SIGNS, lambda: Lookup("s", "x", [[0, 4]], [[1, 1, 1, 1]]), "it takes element 4, but the input has 4"),
    (SIGNS, lambda: Lookup("s", "x", [[0, -1]], [[1, 1, 1, 1]]), "indices must be 0 to 2147483647, not -1"),
    (SIGNS, lambda: Lookup("s", "x", [[0, 2**31]], [[1, 1, 1, 1]]), "indices must be 0 to 2147483647, not 2147483648"),
    (SIGNS, lambda: Lookup("s", "x", [[0, 1]], [[1, 1, 1]]),
     "tables of 1 neurons of 2 inputs must have shape (1, 4), not (1, 3)"),
    (SIGNS, lambda: Lookup("s", "x", [[0]], [[1, 0]]), "tables must be -1 or +1, not 0"),
    (SIGNS, lambda: Lookup("s", "x", [[0] * 17], [[1, 1]]), "a neuron has at most 16 inputs, not 17"),
    (PIXELS, lambda: GroupSum("s", "x", 2), "its input must be signs, -1 or +1, but its values are 0 to 255 by 1"),
    (SIGNS, lambda: GroupSum("s", "x", 3), "its input must be a vector that 3 divides, but its shape is (4,)"),
    (MAP, lambda: GroupSum("s", "x", 2), "its input must be a vector that 2 divides, but its shape is (1, 2, 2)"),
    (SIGNS, lambda: GroupSum("s", "x", 0), "groups must be at least 1, not 0"),
])
def test_refusals(given_input, make, message):
    with pytest.raises(NetworkError) as refusal:
        Network([given_input, make()], "s")
    assert str(refusal.value) == f"operation 's': {message}"


def test_arrays_cannot_be_written():
    op = Lookup("s", "x", [[0, 1]], [[1, -1, 1, 1]])
    for array in (op.indices, op.tables, Thermometer("t", "x", [1]).levels):
        with pytest.raises(ValueError):
            array[0] = 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_files(seed):
    network = sparse_network(seed)
    data = artifact.dumps(Artifact(network))
    read = artifact.loads(data).network
    assert read.digest == network.digest and read.types == network.types and artifact.dumps(Artifact(read)) == data
    for name, operation in network.operations.items():
        for key in operation.arrays:
            kept = getattr(read.operations[name], key)
            assert kept.dtype == getattr(operation, key).dtype and np.array_equal(kept, getattr(operation, key))


def test_tables_take_one_bit_and_wires_four_bytes():
    def network(size):
        rng = np.random.default_rng(0)
        return Network([Input("x", TensorType.bipolar((99,))), lookup(rng, "lut", "x", size, 99, 6)], "lut")
    small, large = (len(artifact.dumps(Artifact(network(size)))) for size in (1000, 2000))
    assert abs(large - small - 1000 * (64 // 8 + 6 * 4)) < 16


def altered(change):
    """A whole file of a sparse network with other tensors or another header, its digest made anew."""
    data = artifact.dumps(Artifact(sparse_network(1)))
    header, tensors = json.loads(artifact._metadata(data)), dict(artifact._tensors(data))
    change(header, tensors)
    header["digest"] = artifact._digest(header, tensors)
    return serialize(tensors, metadata={"bnnhw": json.dumps(header)})


def shorter(header, tensors):
    tensors["lut1.tables"] = tensors["lut1.tables"][:-1]


def larger(header, tensors):
    header["packed"]["lut1.tables"][0] = 10**12


def beyond(header, tensors):
    tensors["lut1.indices"] = tensors["lut1.indices"] + 1000


@pytest.mark.parametrize("change, message", [
    (shorter, r"^tensor 'lut1.tables': \d+ bits take (\d+) bytes, but its shape is \(\d+,\)$"),
    (larger, r"^tensor 'lut1.tables': \d{12,} bits take \d+ bytes, but its shape is \(\d+,\)$"),
    (beyond, r"^operation 'lut1': it takes element 1\d\d\d, but the input has \d+$"),
])
def test_files_that_do_not_fit(change, message):
    with pytest.raises(ArtifactError, match=message):
        artifact.loads(altered(change))


BITS = Thermometer("bits", "x", [64])
LUT = Lookup("lut", "bits", [[0, 1], [2, 3]], [[-1, 1, 1, 1]] * 2)


@pytest.mark.parametrize("operations, message", [
    ([BITS, LUT, ArgMax("class", "lut")], "operation 'lut': what alone takes a Lookup must be another one, or a GroupSum"),
    ([BITS, GroupSum("votes", "bits", 2), ArgMax("class", "votes")],
     "operation 'votes': there is hardware for votes behind a Lookup only"),
])
def test_no_hardware_yet(operations, message):
    with pytest.raises(LoweringError) as refusal:
        lower(Network([PIXELS, *operations], "class"))
    assert str(refusal.value) == message


def test_onnx_has_no_such_layer():
    pytest.importorskip("onnx")
    from bnnhw.exporters.onnx_graph import ExportError
    from bnnhw.exporters.plain import to_model
    with pytest.raises(ExportError, match="^operation 'bits': ONNX has no layer that is a Thermometer$"):
        to_model(sparse_network(0))
