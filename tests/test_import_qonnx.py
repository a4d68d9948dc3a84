"""QONNX in: the same classes as other people's code gives."""
import collections
import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bnnhw import datasets, evaluate, reference
from bnnhw.importers import constants, qonnx
from bnnhw.importers.problems import Refusal
from bnnhw.importers.rational import REACHES, Inexpressible, fractions

from .qonnx_graphs import DOMAIN, LIMITS, Graph, RandomGraph, data, evaluator, scores
from .test_import_core import rounded

PEERS = Path(__file__).parent.parent.parent / "shared" / "peers"
TFC = PEERS / "qonnx_model_zoo" / "TFC_1W1A.onnx"
needs_peers = pytest.mark.skipif(not TFC.exists(), reason="the networks of other projects are not here")


@needs_peers
def test_tfc_of_the_model_zoo():
    found = qonnx.read(TFC)
    assert evaluate.evaluate(found.network, datasets.load("mnist", "test")) == (9296, 10000)
    images = np.load(PEERS / "finn" / "build_dataflow_input.npy").transpose(0, 2, 3, 1).astype(int)
    classes = np.load(PEERS / "finn" / "build_dataflow_expected_output.npy")
    assert reference.run(found.network, images)["class"].tolist() == classes.tolist() == [7, 2, 1, 0]
    imported = found.provenance["imported"]
    assert imported["file_sha256"] == hashlib.sha256(TFC.read_bytes()).hexdigest()
    assert imported["assumed"].startswith("the graph's float input is taken to be pixel / 255")
    assert [op.kind for op in found.network.operations.values()] == [
        "Input", "Flatten", *["Threshold", "Dense"] * 4, "ArgMax"]


@needs_peers
def test_tfc_with_another_input():
    """Of pixels 0 to 255 the first sign of 2x - 1 is that of x >= 1, of (x / 128 - 1) that of x >= 192."""
    levels = {scale: qonnx.read(TFC, input_scale=scale, input_offset=offset).network.operations["BipolarQuant_11"].levels[0, 0]
              for scale, offset in ((1, 0), (Fraction(1, 128), -1), (Fraction(1, 255), 0))}
    assert list(levels.values()) == [1, 192, 128]


def decided(found, x):
    return reference.run(found.network, x)[found.network.outputs[0]]


def imported(graph, path, **options):
    return qonnx.read(graph.save(path), input_scale=1, input_limits=LIMITS, **options)


def check(graph, path, seed=0):
    """Import, and compare with the evaluator of onnx."""
    x = data(graph, 24, seed)
    want = scores(graph.model(), x)
    found = decided(imported(graph, path), x)
    assert np.array_equal(found, want.argmax(axis=1))
    return want


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_graphs(tmp_path_factory, seed):
    pytest.importorskip("qonnx")
    graph = RandomGraph(seed)
    try:
        check(graph, tmp_path_factory.getbasetemp() / "random.onnx", seed)
    except Refusal:
        pass


def test_random_graphs_are_mostly_taken(tmp_path):
    """So that the test above speaks of something: most are imported, with each operation in several of them."""
    pytest.importorskip("qonnx")
    used, different, taken = collections.Counter(), 0, 0
    for seed in range(120):
        graph = RandomGraph(seed)
        try:
            want = check(graph, tmp_path / "random.onnx", seed)
        except Refusal:
            continue
        taken += 1
        used.update(graph.used)
        different += len(set(want.argmax(axis=1))) > 1
    assert taken >= 80 and different >= 40, (taken, different)
    for kind in ("Mul", "Add", "Sub", "Div", "Neg", "BatchNormalization", "Relu", "Clip", "from", "BipolarQuant", "Quant",
                 "MultiThreshold", "Sign", "Conv", "depthwise", "padding", "residual", "MaxPool", "AveragePool",
                 "GlobalAveragePool", "Transpose", "Reshape", "Gemm", "ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP",
                 "HALF_DOWN"):
        assert used[kind] >= 3, (kind, used)


def dense_graph(n_in=3, n_out=4, seed=0):
    graph = Graph((1, n_in))
    rng = np.random.default_rng(seed)
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("MatMul", rng.choice([-1.0, 1.0], (n_in, n_out)), shape=(1, n_out))
    return graph


def all_vectors(n=3, limits=(0, 7)):
    axes = [np.arange(limits[0], limits[1] + 1)] * n
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, n)


def run_float(graph, x):
    run = evaluator(graph.model()).run
    return [run(None, {"x": row[None].astype(np.float64)}) for row in x]


@pytest.mark.parametrize("end", ["ArgMax", "TopK", "Softmax", "LogSoftmax", "Softmax ArgMax"])
def test_how_a_class_is_given(end, tmp_path):
    pytest.importorskip("qonnx")
    graph = Graph((1, 3))
    graph.add("Sub", np.array([3.5, 2.5, 1.5]))
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("MatMul", np.random.default_rng(3).choice([-1.0, 1.0], (3, 5)), shape=(1, 5))
    x = all_vectors()
    want = np.array([row[0].argmax() for row in run_float(graph, x)])
    if "Softmax" in end:
        graph.add(end.split()[0], axis=1)
    if "ArgMax" in end:
        graph.add("ArgMax", axis=1, keepdims=0, shape=(1,))
    if end == "TopK":
        graph.add("TopK", graph.const([1], np.int64), outputs=2, axis=-1, shape=(1, 1))
    assert np.array_equal(decided(imported(graph, tmp_path / "g.onnx"), x), want)
    assert len(set(want)) > 2


def test_classes_of_different_scales(tmp_path):
    """A last batch norm whose roots are irrational: every vector of inputs decides as the real scores do."""
    pytest.importorskip("qonnx")
    rng = np.random.default_rng(5)
    graph = Graph((1, 3))
    graph.add("MatMul", rng.choice([-1.0, 1.0], (3, 5)), shape=(1, 5))
    graph.add("BatchNormalization", rng.uniform(0.5, 2, 5), rng.normal(size=5), rng.normal(size=5), np.array([1.0, 2, 3, 5, 7]),
              epsilon=1e-5)
    found = imported(graph, tmp_path / "g.onnx")
    x = all_vectors()
    want = np.array([row[0].argmax() for row in run_float(graph, x)])
    assert np.array_equal(decided(found, x), want)
    assert len(set(want.tolist())) > 2
    assert found.provenance["imported"]["scores"]["compared"] == "every two values of every two classes"
    assert [op.name for op in found.network.operations.values() if op.kind == "Affine"] == ["BatchNormalization_1"]


@pytest.mark.parametrize("signed", [0, 1])
def test_quantize_and_dequantize_linear(signed, tmp_path):
    pytest.importorskip("qonnx")
    graph = Graph((1, 3))
    zero = graph.const(3 if not signed else -2, np.int8 if signed else np.uint8)
    scale = graph.const(0.75)
    graph.add("Sub", np.array([3.5, 2.25, -1.5]))
    graph.add("QuantizeLinear", scale, zero)
    graph.add("DequantizeLinear", scale, zero)
    graph.add("Clip", np.array(-1.5), np.array(2.25))
    weights = graph.add("DequantizeLinear", graph.const(0.5), graph.const(0, np.int8),
                        x=graph.const(np.random.default_rng(1).choice([-1, 1], (3, 5)), np.int8))
    graph.add("MatMul", weights, shape=(1, 5))
    # The evaluator has no float64 QuantizeLinear of mixed types: plain arithmetic says what it is.
    x = all_vectors()
    real = x - np.array([3.5, 2.25, -1.5])
    low, high = (-128, 127) if signed else (0, 255)
    shift = -2 if signed else 3
    real = np.clip((np.clip(np.rint(real / 0.75) + shift, low, high) - shift) * 0.75, -1.5, 2.25)
    want = real @ (np.random.default_rng(1).choice([-1, 1], (3, 5)) * 0.5)
    assert np.array_equal(decided(imported(graph, tmp_path / "g.onnx"), x), want.argmax(axis=1))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NHW", "padded"])
def test_layouts(layout, tmp_path):
    rng = np.random.default_rng(9)
    weights, dense = rng.choice([-1.0, 1.0], (2, 1, 3, 3)), rng.choice([-1.0, 1.0], (8, 5))
    graph = Graph({"NHWC": (1, 4, 4, 1), "NHW": (1, 4, 4)}.get(layout, (1, 1, 4, 4)))
    pad = 0
    if layout == "NHWC":
        graph.add("Transpose", perm=[0, 3, 1, 2])
    elif layout == "NHW":
        graph.add("Unsqueeze", graph.const([1], np.int64))
    elif layout == "padded":
        graph.add("Pad", graph.const([0, 0, 1, 0, 0, 0, 0, 1], np.int64), graph.const(2.0))
        pad, dense = 2, rng.choice([-1.0, 1.0], (18, 5))
    graph.add("Conv", weights)
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("Flatten")
    graph.add("MatMul", dense)
    x = np.random.default_rng(1).integers(0, 8, (60, 4, 4, 1))
    maps = np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)), constant_values=pad) if pad else x
    views = np.lib.stride_tricks.sliding_window_view(maps[..., 0], (3, 3), axis=(1, 2))
    sums = np.einsum("nhwij,cij->nchw", views, weights[:, 0])
    want = (np.where(sums >= 0, 1, -1).reshape(60, -1) @ dense).argmax(axis=1)
    assert np.array_equal(decided(imported(graph, tmp_path / "g.onnx"), x), want)
    assert len(set(want.tolist())) > 2


def test_what_the_file_says_of_its_input(tmp_path):
    def input_of(change, dtype=np.float32):
        graph = Graph((1, 3), dtype)
        graph.add("BipolarQuant", 1.0, domain=DOMAIN)
        graph.add("MatMul", np.ones((3, 2)))
        model = graph.model()
        change(model)
        onnx.save(model, tmp_path / "g.onnx")
        found = qonnx.read(tmp_path / "g.onnx")
        type = found.network.types["x"]
        return (type.lo, type.hi, type.step), found.provenance["imported"].get("assumed", "")

    def annotated(model):
        entry = model.graph.quantization_annotation.add()
        entry.tensor_name = "x"
        entry.quant_parameter_tensor_names.append(onnx.StringStringEntryProto(key="finn_datatype", value="BIPOLAR"))

    def of_type(kind):
        def change(model):
            model.graph.input[0].type.tensor_type.elem_type = kind
        return change
    assert input_of(lambda model: None) == (
        (0, 255, 1), "the graph's float input is taken to be pixel / 255 (--input-scale sets another)")
    assert input_of(annotated) == ((-1, 1, 2), "")
    assert input_of(of_type(TensorProto.UINT8)) == ((0, 255, 1), "")
    assert input_of(of_type(TensorProto.INT8)) == ((-128, 127, 1), "")
    graph = Graph((1, 3), np.float32)
    graph.add("Div", np.array(255))
    graph.add("Sub", np.array(0.5))
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("MatMul", np.ones((3, 2)))
    found = qonnx.read(graph.save(tmp_path / "g.onnx"))
    assert found.provenance["imported"]["assumed"].startswith("the graph divides by 255 itself")
    assert found.network.operations["BipolarQuant_2"].levels.tolist() == [[128]] * 3


def test_ties_are_reported(tmp_path):
    """0.1 x 10 - 1 is 0 in float32, but the stored 0.1 is more than a tenth: at most at these sums a Quant differs."""
    graph = Graph((1, 3), np.float32)
    graph.add("Mul", np.array(0.1))
    graph.add("Sub", np.array(0.7))
    graph.add("Sub", np.array(1e-9))
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("MatMul", np.ones((3, 2)))
    found = qonnx.read(graph.save(tmp_path / "g.onnx"), input_scale=1, input_limits=LIMITS)
    x = np.float32(np.arange(8))
    single = (x * np.float32(0.1) - np.float32(0.7)) - np.float32(1e-9) >= 0
    exact = [Fraction(float(np.float32(0.1))) * t - Fraction(float(np.float32(0.7))) - Fraction(float(np.float32(1e-9))) >= 0
             for t in range(8)]
    differing = [t for t in range(8) if single[t] != exact[t]]
    assert found.provenance["float32_ties"] == [
        {"layer": "BipolarQuant_3", "channel": channel, "sum": t} for channel in range(3) for t in differing]
    assert found.provenance["float32_ties_total"] == 3 * len(differing) > 0


def test_external_data_beside_the_model(tmp_path):
    graph = dense_graph()
    model = graph.model()
    onnx.save(model, tmp_path / "g.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    inside = qonnx.read(tmp_path / "g.onnx", input_scale=1, input_limits=LIMITS)
    assert inside.network.digest == imported(graph, tmp_path / "whole.onnx").network.digest


NUMBERS = st.one_of(st.floats(-100, 100, width=32), st.sampled_from([0.1, 0.5, 0.75, 3.0, 1e-20, 2.0**-140, 1e30]))


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMBERS, min_size=3, max_size=3), st.lists(NUMBERS, min_size=3, max_size=3),
       st.sampled_from(["Add", "Sub", "Mul", "Div"]))
def test_constants_are_exact(a, b, operation):
    a, b = np.float32(a).astype(np.float64), np.float32(b).astype(np.float64)
    if operation == "Div" and np.any(b == 0):
        with pytest.raises(Inexpressible, match="^it divides by 0$"):
            constants.arithmetic(operation, a, b)
        return
    want = [{"Add": x + y, "Sub": x - y, "Mul": x * y, "Div": x / y if y else 0}[operation]
            for x, y in zip(fractions("a", a), fractions("b", b), strict=True)]
    once = constants.arithmetic(operation, a, b)
    assert fractions("found", once).tolist() == want
    again = constants.arithmetic("Mul", once, b)
    assert fractions("found", again).tolist() == [x * y for x, y in zip(want, fractions("b", b), strict=True)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(NUMBERS, st.integers(-9, 9).map(lambda k: k * 0.375)), min_size=4, max_size=4),
       st.sampled_from([0.1, 0.25, 0.75, 3.0]), st.integers(-2, 2), st.sampled_from(sorted(REACHES)),
       st.sampled_from([(-1, 1), (-2, 1), (0, 3), (-127, 127)]))
def test_weights_are_quantized_exactly(x, scale, zero, mode, limits):
    x, scale = np.float32(x).astype(np.float64), np.float64(np.float32(scale))
    found, _ = constants.quantized(x, np.array(scale), np.array(float(zero)), *limits, mode)
    unit = Fraction(float(scale))
    want = [(min(max(rounded(Fraction(v) / unit + zero, mode), limits[0]), limits[1]) - zero) * unit for v in x.tolist()]
    assert fractions("found", found).tolist() == want


def test_weights_that_float32_quantizes_otherwise(tmp_path):
    graph = Graph((1, 3), np.float32)
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    # 0.3 / 0.2 in float32 is 1.5, which rounds to 2; the stored numbers' quotient is more or less.
    scale, weight = np.float32(0.2), np.float32(0.3)
    exact = Fraction(float(weight)) / Fraction(float(scale))
    assert weight / scale == np.float32(1.5) and exact != Fraction(3, 2)
    weights = graph.quant(graph.const(np.full((3, 2), weight)), scale, bits=3)
    graph.add("MatMul", weights)
    found = qonnx.read(graph.save(tmp_path / "g.onnx"), input_scale=1, input_limits=LIMITS)
    differs = round(exact) != 2
    assert found.provenance["imported"].get("float32_weights", {}) == ({"Quant_1": 6} if differs else {})


def test_names_are_those_of_the_nodes(tmp_path):
    graph = dense_graph()
    for node, name in zip(graph.nodes, ["/features/0/act", ""], strict=True):
        node.name = name
    found = imported(graph, tmp_path / "g.onnx")
    assert list(found.network.operations) == ["x", "features_0_act", "MatMul_1", "class"]


def test_parameters_among_the_inputs(tmp_path):
    """Older files list their parameters among the graph's inputs."""
    graph = dense_graph()
    model = graph.model(opset=9)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, tmp_path / "g.onnx")
    found = qonnx.read(tmp_path / "g.onnx", input_scale=1, input_limits=LIMITS)
    assert found.network.digest == imported(graph, tmp_path / "h.onnx").network.digest
    assert numpy_helper.to_array(model.graph.initializer[-1]).shape == (3, 4)
