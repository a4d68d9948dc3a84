"""Banks of thresholds and affines: graph, golden model, files."""
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import artifact, reference
from bnnhw.artifact import Artifact, ArtifactError
from bnnhw.cli import main
from bnnhw.ir import ArgMax, BankAffine, BankThreshold, Dense, Input, Network, NetworkError, TensorType, Threshold

from .networks import bank_network, bank_networks, dense_network, images


def tasks_of(network, count, seed=0):
    return np.random.default_rng(seed).integers(0, network.tasks, count)


@settings(max_examples=40, deadline=None)
@given(network=bank_networks(), seed=st.integers(0, 1000))
def test_each_task_is_the_network_that_has_its_bank_alone(network, seed):
    x, tasks = images(network, 9, seed), tasks_of(network, 9, seed)
    found = reference.run(network, x, keep="all", task=tasks)
    for k, task in enumerate(tasks.tolist()):
        alone = reference.run(network.of_task(task), x[k:k + 1], keep="all")
        assert network.of_task(task).task is None
        for name, values in alone.items():
            np.testing.assert_array_equal(found[name][k], values[0], err_msg=name)
    one = reference.run(network, x, task=1)
    np.testing.assert_array_equal(one["class"], reference.run(network.of_task(1), x)["class"])


@settings(max_examples=30, deadline=None)
@given(levels=st.lists(st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), min_size=2, max_size=2), min_size=3,
                       max_size=3),
       falling=st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=3, max_size=3),
       scale=st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), min_size=3, max_size=3))
def test_against_plain_python(levels, falling, scale):
    """On maps, too: the channel is the last dimension."""
    type = TensorType((2, 1, 2), -8, 8, 2)
    network = Network([Input("t", TensorType((), 0, 2)), Input("x", type),
                       BankThreshold("counted", "x", "t", levels, falling, base=-3, step=5),
                       BankAffine("scaled", "x", "t", scale, levels[0] + [[1, 2]])], ["counted", "scaled"])
    assert network.inputs == ("x", "t") and (network.task, network.tasks) == ("t", 3)
    values = np.arange(-8, 9, 2)[:8].reshape(2, 2, 1, 2)
    for task in range(3):
        found = reference.run(network, values, task=task)
        for place, v in np.ndenumerate(values):
            c = place[-1]
            reached = sum(v <= t if falling[task][c] else v >= t for t in levels[task][c])
            assert found["counted"][place] == -3 + 5 * reached
            assert found["scaled"][place] == scale[task][c] * v + (levels[0] + [[1, 2]])[task][c]
    type = network.types["scaled"]
    every = [s * v + o for bank, own in zip(scale, levels[0] + [[1, 2]], strict=True) for s, o in zip(bank, own, strict=True)
             for v in (-8, 8)]
    assert (type.lo, type.hi) == (min(every), max(every)) and not any((v - type.lo) % type.step for v in every)


@settings(max_examples=20, deadline=None)
@given(network=bank_networks())
def test_files(network):
    data = artifact.dumps(Artifact(network, (), {}))
    read = artifact.loads(data)
    assert read.network.digest == network.digest and artifact.dumps(read) == data
    assert read.network.task == "task" and read.network.tasks == network.tasks
    assert json.loads(artifact._metadata(data))["format"] == 2


def test_a_network_without_banks_keeps_its_old_format():
    header = json.loads(artifact._metadata(artifact.dumps(Artifact(dense_network([3]), (), {}))))
    assert header["format"] == 1


def test_normal_form():
    def net(levels):
        return Network([Input("x", TensorType((2,), -4, 4, 2)), Input("t", TensorType((), 0, 1)),
                        BankThreshold("s", "x", "t", levels, [[False, True], [True, False]])], "s")
    ours = net([[[-1], [1]], [[-100], [100]]])
    assert ours.operations["s"].levels.tolist() == [[[0], [0]], [[-6], [6]]]
    assert ours.digest == net([[[0], [0]], [[-6], [6]]]).digest != net([[[0], [0]], [[-6], [4]]]).digest


X, T = Input("x", TensorType((2,), -4, 4, 2)), Input("t", TensorType((), 0, 1))
RIGHT = {"levels": np.zeros((2, 2, 1), int), "falling": np.zeros((2, 2), bool)}


@pytest.mark.parametrize("operations, message", [
    ([X, T, BankThreshold("s", "x", "t", np.zeros((3, 2, 1), int), np.zeros((3, 2), bool))],
     r"operation 's': the task must be a scalar of 0 to 2, one for each bank, not of shape \(\), 0 to 1 by 1"),
    ([X, T, BankThreshold("s", "x", "t", np.zeros((2, 3, 1), int), np.zeros((2, 3), bool))],
     r"operation 's': levels for 3 channels, but the input has 2"),
    ([X, T, BankAffine("s", "x", "t", np.zeros((2, 3), int), np.zeros((2, 3), int))],
     r"operation 's': scales for 3 channels, but the input has 2"),
    ([X, Input("t", TensorType((), 0, 0)), BankAffine("s", "x", "t", np.zeros((1, 2), int), np.zeros((1, 2), int))],
     r"operation 's': banks are for two tasks or more"),
    ([X, T, Input("u", TensorType((), 0, 1)), BankThreshold("a", "x", "t", **RIGHT), BankThreshold("s", "a", "u", **RIGHT)],
     r"operation 'u': all banks must have the same task, which is 't'"),
    ([X, ArgMax("t", "x"), BankThreshold("s", "x", "t", **RIGHT)],
     r"operation 's': its task must be an Input, not what 't' gives"),
    ([T, BankThreshold("s", "t", "t", **RIGHT)], r"operation 's': 't' is the number of a task, which only chooses banks"),
    ([X, T, BankThreshold("a", "x", "t", **RIGHT), Threshold("s", "t", [[1]], [False])],
     r"operation 's': 't' is the number of a task, which only chooses banks"),
])
def test_what_is_no_network(operations, message):
    with pytest.raises(NetworkError, match=f"^{message}$"):
        Network(operations, ["s", "a"] if any(op.name == "a" for op in operations) else "s")


@pytest.mark.parametrize("make, message", [
    (lambda: BankThreshold("s", "x", "t", [[1]], [[False]]), "levels must have 3 dimensions and elements, not shape (1, 1)"),
    (lambda: BankThreshold("s", "x", "t", [[[1]]], [[False, True]]),
     "falling has (1, 2) banks and channels, levels (1, 1)"),
    (lambda: BankThreshold("s", "x", "t", [[[1]]], [[2]]), "falling must be false or true"),
    (lambda: BankThreshold("s", "x", "t", [[[1]]], [[0]], step=0), "step must be at least 1, not 0"),
    (lambda: BankAffine("s", "x", "t", [[1], [2]], [[1]]), "scale has (2, 1) banks and channels, offset (1, 1)"),
])
def test_wrong_arrays(make, message):
    with pytest.raises(NetworkError) as caught:
        make()
    assert str(caught.value) == f"operation 's': {message}"


def test_the_task_must_be_said():
    network, plain = bank_network([3, 2], 3), dense_network([3, 2])
    x = images(network, 4)
    with pytest.raises(reference.InputError, match="^the network has 3 tasks: which of them must be said, 0 to 2$"):
        reference.run(network, x)
    with pytest.raises(reference.InputError, match="^input 'task': values must be 0, 1, ..., 2; there are 3 to 3$"):
        reference.run(network, x, task=3)
    with pytest.raises(reference.InputError, match="^inputs must have the same number of examples$"):
        reference.run(network, x, task=[0, 1])
    with pytest.raises(reference.InputError, match="^the network has one task only, so that none can be chosen$"):
        reference.run(plain, images(plain, 4), task=0)
    by_name = reference.run(network, {"image": x, "task": np.array([0, 1, 2, 0])})
    np.testing.assert_array_equal(by_name["class"], reference.run(network, x, task=[0, 1, 2, 0])["class"])
    assert reference.accuracy(network, x, by_name["class"], task=[0, 1, 2, 0]) == (4, 4)


def test_a_file_whose_banks_are_wrong_is_refused():
    data = artifact.dumps(Artifact(bank_network([3, 2], 3), (), {}))
    header, tensors = json.loads(artifact._metadata(data)), dict(artifact._tensors(data))
    tensors["act1.levels"] = tensors["act1.levels"][:2]
    header["digest"] = artifact._digest(header, tensors)
    with pytest.raises(ArtifactError, match=r"operation 'act1': falling has \(3, 3\) banks and channels, levels \(2, 3\)"):
        artifact.loads(artifact.serialize(tensors, metadata={"bnnhw": json.dumps(header)}))


def test_a_layer_of_its_own():
    """Banks that are not behind a dense layer have a meaning, too."""
    network = Network([X, T, BankThreshold("s", "x", "t", **RIGHT), Dense("d", "s", [[1, -1]]), ArgMax("c", "d")], "c")
    assert reference.run(network, np.array([[2, -2]]), task=1)["c"].tolist() == [0]


@pytest.mark.parametrize("task", [-1, 3])
def test_a_task_that_there_is_not(task):
    with pytest.raises(NetworkError, match=f"the task must be from 0 to 2, not {task}"):
        bank_network([4, 3], 3).of_task(task)


@pytest.mark.parametrize("arguments, why", [
    (["build", "FILE", "--board", "icebreaker", "-o", "BUILD"], "a board's link cannot choose one"),
    (["run", "--virtual", "--target", "FILE"], "a board's link cannot choose one"),
    (["explore", "FILE"], "a board's link cannot choose one"),
    (["explore", "FILE", "--route", "-o", "BUILD.sqlite"], "a board's link cannot choose one"),
    (["export", "FILE", "-o", "BUILD.onnx"], "there is no ONNX of such"),
    (["info", "FILE", "--plot", "BUILD.png"], "there is no picture of such"),
])
def test_commands_for_networks_of_one_task(arguments, why, tmp_path, capsys):
    file = tmp_path / "tasks.bnn"
    artifact.save(file, Artifact(bank_network([4, 3], 2), ("a", "b", "c"), {}))
    arguments = [word.replace("FILE", str(file)).replace("BUILD", str(tmp_path / "build")) for word in arguments]
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: the network has 2 tasks: ") and why in told and told.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]
