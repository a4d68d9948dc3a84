import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as serialize

from bnnhw import artifact
from bnnhw.artifact import Artifact, ArtifactError
from bnnhw.ir import OPERATIONS

from .networks import dense_network, networks


def sample():
    return Artifact(dense_network([5, 3], affine=True), ("a", "b", "c"), {"recipe": "none", "accuracy": 0.5})


@settings(max_examples=30, deadline=None)
@given(network=networks())
def test_round_trip(network):
    data = artifact.dumps(Artifact(network, ("x",), {"seed": 1}))
    read = artifact.loads(data)
    assert read.network.digest == network.digest
    assert (read.classes, read.provenance) == (("x",), {"seed": 1})
    assert artifact.dumps(read) == data
    for name, operation in network.operations.items():
        for key in operation.arrays:
            np.testing.assert_array_equal(getattr(read.network.operations[name], key), getattr(operation, key))


def test_file(tmp_path):
    path = tmp_path / "net.bnn"
    artifact.save(path, sample())
    assert artifact.load(path).network.digest == sample().network.digest
    assert [p.name for p in tmp_path.iterdir()] == ["net.bnn"]


def test_weights_take_one_bit():
    small, large = (len(artifact.dumps(Artifact(dense_network([width, 2], (10, 10, 1))))) for width in (8, 808))
    per_neuron = (large - small) / 800
    assert per_neuron < 100 / 8 + 9 + 2 / 8 + 1     # weights, level and direction, next layer's weights, rounding


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position, bit):
    data = bytearray(artifact.dumps(sample()))
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(ArtifactError):
        artifact.loads(bytes(data))


@settings(max_examples=100, deadline=None)
@given(length=st.integers(0, 10**9))
def test_any_truncation_is_noticed(length):
    data = artifact.dumps(sample())
    with pytest.raises(ArtifactError):
        artifact.loads(data[:length % len(data)])


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_garbage_is_refused(data):
    with pytest.raises(ArtifactError):
        artifact.loads(data)


def altered(change):
    """A whole, well-formed file with another header, its digest made anew."""
    data = artifact.dumps(sample())
    header = json.loads(artifact._metadata(data))
    tensors = {name: array for name, array in artifact._tensors(data).items()}
    change(header, tensors)
    header["digest"] = artifact._digest(header, tensors)
    return serialize(tensors, metadata={"bnnhw": json.dumps(header)})


def newer(header, tensors):
    header["format"] = 3


def other_kind(header, tensors):
    header["network"]["operations"][3]["kind"] = "Conv9d"


def other_weights(header, tensors):
    tensors["fc1.weights"] = tensors["fc1.weights"] ^ 1


@pytest.mark.parametrize("change, message", [
    (newer, "its format is 3, this version of bnnhw reads up to 2: please upgrade bnnhw"),
    (other_kind, "operation 'fc1': unknown kind 'Conv9d'; known are "
                 f"{list(OPERATIONS)}"),
    (other_weights, "its network digest does not match its network"),
])
def test_messages(change, message, tmp_path):
    path = tmp_path / "net.bnn"
    path.write_bytes(altered(change))
    with pytest.raises(ArtifactError) as refusal:
        artifact.load(path)
    assert str(refusal.value) == f"{path}: {message}"


def test_missing_and_folder(tmp_path):
    with pytest.raises(ArtifactError, match="none.bnn: there is no such file$"):
        artifact.load(tmp_path / "none.bnn")
    with pytest.raises(ArtifactError, match="is a folder, not a .bnn file$"):
        artifact.load(tmp_path)
