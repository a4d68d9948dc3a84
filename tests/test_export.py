"""Export to QONNX and plain ONNX: other people's runtimes compute our integers."""
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from bnnhw import artifact, models, reference
from bnnhw.exporters import plain, qonnx
from bnnhw.exporters.onnx_graph import ExportError
from bnnhw.importers import qonnx as importer
from bnnhw.ir import Affine, ArgMax, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, TensorType, Threshold

from .networks import dense_network
from .topologies import inputs, random_network

SEEDS = range(40)


def foreign(x):
    """Channel-last integers as ONNX takes them."""
    return np.moveaxis(x, -1, 1).astype(np.float32)


def ours(array):
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array


def expected(network, x, names):
    found = reference.run(network, x, keep=names)
    return {name: found[name] for name in names}


def by_reference(model, x, batch=None):
    """All outputs by onnx's own evaluator."""
    names = [port.name for port in model.graph.output]
    outputs = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    return {name: ours(np.asarray(v)) for name, v in zip(names, outputs, strict=True)}


@pytest.mark.parametrize("seed", SEEDS)
def test_plain_onnx_gives_the_same_integers(seed):
    network = random_network(seed, largest=5)
    x = inputs(network, 5, seed)
    model = plain.to_model(network)
    found = by_reference(model, foreign(x))
    want = expected(network, x, found)
    assert set(network.outputs) <= set(want)
    for name in want:
        assert np.array_equal(found[name], want[name]), name


def test_onnxruntime_gives_the_same_integers():
    onnxruntime = pytest.importorskip("onnxruntime")
    for seed in SEEDS:
        network = random_network(seed, largest=5)
        x = inputs(network, 5, seed)
        session = onnxruntime.InferenceSession(plain.to_model(network).SerializeToString(), providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_outputs()]
        found = session.run(names, {network.inputs[0]: foreign(x)})
        want = expected(network, x, names)
        for name, values in zip(names, found, strict=True):
            assert np.array_equal(ours(values), want[name]), (seed, name)


@pytest.fixture
def execute(monkeypatch):
    """The qonnx package's execution. It runs each node in onnxruntime, which wants an older ONNX than the onnx package writes."""
    pytest.importorskip("onnxruntime")
    onnx_exec = pytest.importorskip("qonnx.core.onnx_exec")
    make = onnx_exec.qonnx_make_model

    def older(graph, **more):
        model = make(graph, **more)
        model.ir_version = 8
        return model
    monkeypatch.setattr(onnx_exec, "qonnx_make_model", older)
    return onnx_exec.execute_onnx


def by_qonnx(execute, model, x):
    """All outputs by the qonnx package, one example at a time."""
    from qonnx.core.modelwrapper import ModelWrapper
    wrapped = ModelWrapper(model)
    found = [execute(wrapped, {model.graph.input[0].name: one[None]}) for one in x]
    return {name: ours(np.concatenate([f[name] for f in found])) for name in found[0]}


@pytest.mark.parametrize("seed", range(12))
def test_qonnx_gives_the_same_integers(seed, execute):
    network = random_network(seed, largest=5)
    x = inputs(network, 2, seed)
    found = by_qonnx(execute, qonnx.to_model(network), foreign(x))
    want = expected(network, x, found)
    for name in want:
        assert np.array_equal(found[name], want[name]), name


def came_back(network, tmp_path, classes=()):
    path = tmp_path / "net.onnx"
    onnx.save(qonnx.to_model(network, classes), path)
    return importer.read(path)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_network_comes_back_the_same_or_the_difference_is_listed(seed, tmp_path):
    network = random_network(seed, largest=5)
    again = came_back(network, tmp_path)
    x = inputs(network, 20, seed)
    found, want = (reference.run(n, x)[n.outputs[0]] for n in (again.network, network))
    assert np.array_equal(found, want)
    record = again.provenance["imported"]["exported"]
    assert record["network"] == network.digest
    assert all(line.split()[0] in {**network.operations, **again.network.operations} for line in record["differences"])
    assert (again.network.digest == network.digest) == (not record["differences"])


@pytest.mark.parametrize("name", [name for name in models.names() if "lut" not in name])     # ONNX has no tables
def test_shipped_networks_come_back_the_same(name, tmp_path):
    found = artifact.load(models.path(name))
    again = came_back(found.network, tmp_path, found.classes)
    assert again.network.digest == found.network.digest
    assert again.classes == found.classes
    assert again.provenance["imported"]["exported"] == {"network": found.network.digest, "differences": []}


@pytest.mark.parametrize("network", [dense_network([5, 7, 3]), dense_network([9, 4], affine=True),
                                     dense_network([3, 2], shape=(1, 1, 2))])
def test_dense_networks_come_back_the_same(network, tmp_path):
    assert came_back(network, tmp_path).network.digest == network.digest


def test_every_operation_comes_back_the_same(tmp_path):
    rng = np.random.default_rng(1)
    def signs(*shape):
        return rng.choice([-1, 1], shape)
    network = Network([
        Input("image", TensorType((6, 6, 2), 0, 255)),
        Conv2d("conv", "image", signs(3, 3, 3, 2), (1, 1), (1, 1, 1, 1), 7),
        MaxPool2d("pool", "conv", (2, 2), (2, 2), [False, True, False]),
        Threshold("act", "pool", [[0, 10, 20], [-5, 0, 5], [100, 200, 300]], [False, True, False], 0, 1),
        Conv2d("zero", "act", rng.choice([-1, 0, 1], (2, 2, 2, 3)), (1, 1), (1, 0, 0, 1), 0),
        Threshold("act2", "zero", [[1], [-1]], [False, True]),
        Conv2d("last", "act2", signs(2, 3, 3, 2)),
        Flatten("flat", "last"),
        Affine("scores", "flat", [3, -2], [5, 7]),
        ArgMax("class", "scores")], "class")
    again = came_back(network, tmp_path)
    assert again.provenance["imported"]["exported"]["differences"] == []
    assert again.network.digest == network.digest


def test_a_difference_is_listed(tmp_path):
    """A factor that all classes share decides nothing, so it is gone."""
    network = Network([Input("x", TensorType((3,), -1, 1, 2)), Dense("fc", "x", np.ones((2, 3))),
                       Affine("scores", "fc", [3, 3], [1, 1]), ArgMax("class", "scores")], "class")
    again = came_back(network, tmp_path)
    assert again.provenance["imported"]["exported"]["differences"] == ["scores (Affine): gone", "class (ArgMax): other inputs"]


def test_large_sums_need_float64():
    n = 2**17
    network = Network([Input("x", TensorType((n,), 0, 255)), Dense("fc", "x", np.ones((2, n))), ArgMax("class", "fc")], "class")
    with pytest.raises(ExportError, match="^operation 'fc': its sums reach 33423360, which float32 does not hold exactly$"):
        qonnx.to_model(network)
    model = plain.to_model(network)
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.DOUBLE}
    x = np.full((1, n), 255)
    assert ReferenceEvaluator(model).run(["fc"], {"x": x.astype(float)})[0].tolist() == [[255 * n] * 2]


def test_it_can_fail():
    """The comparison sees one wrong level."""
    network = dense_network([5, 7, 3])
    x = inputs(network, 50)
    model = plain.to_model(network)
    levels = next(t for t in model.graph.initializer if t.name.endswith(".levels") and t.dims[0] == 7)
    levels.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(levels) + 2, levels.name))
    found = by_reference(model, foreign(x))
    assert not all(np.array_equal(found[name], values) for name, values in expected(network, x, found).items())


def test_equal_networks_give_equal_files():
    network = dense_network([5, 7, 3])
    one, other = (qonnx.to_model(network).SerializeToString(deterministic=True) for _ in range(2))
    assert one == other
