"""QONNX files that cannot be taken in: name -> (function that gives the bytes, a part of the message)."""

import pickle

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .qonnx_graphs import DOMAIN, Graph


def small(n_in=4, n_out=3):
    """A graph that is taken: signs and a matrix."""
    graph = Graph((1, n_in), np.float32)
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("MatMul", np.ones((n_in, n_out)), shape=(1, n_out))
    return graph


def maps(*, quantized=True):
    """The beginning of a graph on maps (1, 2, 6, 6)."""
    graph = Graph((1, 2, 6, 6), np.float32)
    if quantized:
        graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    return graph


def ended(graph, n_in):
    graph.add("Flatten", shape=(1, n_in))
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("MatMul", np.ones((n_in, 3)), shape=(1, 3))
    return graph


def model_of(graph, change=lambda model: None):
    model = graph.model()
    change(model)
    return model.SerializeToString()


def changed(change):
    return lambda: model_of(small(), change)


def behind(operation, *inputs, **attributes):
    """A small graph whose tensor then goes through one operation."""
    def make():
        graph = small()
        graph.add(operation, *inputs, **attributes)
        return model_of(graph)
    return make


def on_maps(operation, *inputs, quantized=True, **attributes):
    def make():
        graph = maps(quantized=quantized)
        graph.add(operation, *inputs, **attributes)
        return model_of(ended(graph, 72))
    return make


def dense(weights, before="BipolarQuant"):
    def make():
        graph = Graph((1, 4), np.float32)
        graph.add("BipolarQuant", 1.0, domain=DOMAIN)
        graph.add("MatMul", np.asarray(weights, np.float32))
        return model_of(graph)
    return make


def norm(**parameters):
    values = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0} | parameters

    def make():
        graph = small()
        graph.add("BatchNormalization", *(np.full(3, v, np.float32) for k, v in values.items() if k != "epsilon"),
                  epsilon=values.get("epsilon", 1e-5))
        return model_of(graph)
    return make


def input_shape(*shape):
    def change(model):
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    return changed(change)


def opset(version):
    def change(model):
        model.opset_import[0].version = version
    return changed(change)


def cyclic(model):
    model.graph.node[0].input[0] = model.graph.node[1].output[0]


def external(location, **more):
    def change(model):
        tensor = model.graph.initializer[1]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    return changed(change)


def tensor(**fields):
    def change(model):
        found = model.graph.initializer[1]
        for key, value in fields.items():
            if key == "dims":
                del found.dims[:]
                found.dims.extend(value)
            else:
                setattr(found, key, value)
    return changed(change)


def filled(shape):
    """A few bytes that ask for a huge tensor."""
    def make():
        graph = small()
        name = graph.add("ConstantOfShape", x=graph.const(shape, np.int64))
        graph.add("Add", name)
        return model_of(graph)
    return make


def doubled(times):
    def make():
        graph = small()
        name = graph.const(np.ones((1, 3)))
        for _ in range(times):
            name = graph.add("Concat", name, x=name, axis=0)
        graph.add("Add", name)
        return model_of(graph)
    return make


def many_fills():
    graph = small()
    for _ in range(60):
        graph.add("ConstantOfShape", x=graph.const([2**24], np.int64))
    return model_of(graph)


def precise():
    """Numbers that grow with every node."""
    graph = small()
    for _ in range(3000):
        graph.add("Mul", np.array(np.float32(1) / 3))
    return model_of(graph)


def wide():
    """Many operations on very many channels."""
    graph = Graph((1, 2**17), np.float32)
    for _ in range(500):
        graph.add("Add", np.array(1.0))
    return model_of(graph)


def entries():
    """Two bytes for each node."""
    return b"\x08\x08" + b"\x3a" + b"\x80\x80\x80\x02" + b"\x0a\x00" * 2**21


def nested():
    """Attributes of graphs within graphs."""
    graph = b""
    for _ in range(200):
        attribute = b"\x32" + varint(len(graph)) + graph
        node = b"\x2a" + varint(len(attribute)) + attribute
        graph = b"\x0a" + varint(len(node)) + node
    return b"\x08\x08\x3a" + varint(len(graph)) + graph


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def with_function(model):
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])],
                                                [helper.make_opsetid("", 15)]))


def with_sparse(model):
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64)), [4]))


def record(text):
    def change(model):
        entry = model.metadata_props.add()
        entry.key, entry.value = "bnnhw", text
    return changed(change)


def two_matrices():
    graph = small()
    graph.add("MatMul", graph.x)
    return model_of(graph)


def product():
    graph = small()
    graph.add("Mul", graph.x)
    return model_of(graph)


def relu_goes_on():
    graph = small()
    graph.add("Add", np.array(0.3))
    graph.add("Relu")
    graph.add("MatMul", np.ones((3, 2)))
    return model_of(graph)


def padded_between_signs():
    graph = maps()
    graph.add("Mul", np.float32([[[0.1]], [[0.3]]]))
    graph.add("Add", np.array(0.7))
    graph.add("Conv", SIGNS, pads=[1, 1, 1, 1])
    return model_of(ended(graph, 72))


def no_nodes():
    model = small().model()
    del model.graph.node[:]
    return model.SerializeToString()


def two_makers(model):
    model.graph.node[1].output[0] = model.graph.node[0].output[0]


def in_a_map(operation, **attributes):
    return on_maps(operation, kernel_shape=[2, 2], **attributes)


SIGNS = np.sign(np.random.default_rng(0).normal(size=(2, 2, 3, 3))).astype(np.float32)
HUGE = 2**40
CASES = {
    # The file
    "empty": (lambda: b"", "it is not recognised; accepted: BNN-PYNQ folder, Keras .h5, QONNX"),
    "text": (lambda: b"hello world, this is no network", "it is not recognised"),
    "truncated": (lambda: model_of(small())[:-40], "it is not an ONNX file, or it is truncated or damaged"),
    "half a tag": (lambda: b"\x08\x08\x3a\xff\xff", "it is not an ONNX file, or it is truncated or damaged"),
    "no nodes": (no_nodes, "it is not an ONNX file, or its graph has no nodes"),
    "entries": (entries, "it is not an ONNX file, or it has more than 1048576 entries"),
    "nested": (nested, "it is not an ONNX file, or its graphs are nested more than 16 deep"),
    "pickle": (lambda: pickle.dumps({"weights": [1, 2]}, protocol=4), "it is a Python pickle, which is never opened"),
    "another network of ours": (lambda: b"\x10\0\0\0\0\0\0\0" + b'{"__metadata__":{}}', "it is a .bnn file"),
    "record": (record("{"), "its metadata 'bnnhw' is damaged"),
    "record of numbers": (record('{"inputs": 3}'), "its metadata 'bnnhw' is damaged"),
    # The graph
    "opset 1": (opset(1), f"its operator set is 1; accepted: 7 to {onnx.defs.onnx_opset_version()}"),
    "opset 999": (opset(999), "its operator set is 999"),
    "cycle": (changed(cyclic), "node 'BipolarQuant_0' (BipolarQuant): it is on a cycle, or behind one"),
    "two makers": (changed(two_makers), "node 'MatMul_1' (MatMul): tensor 't0' is made twice"),
    "from nowhere": (changed(lambda m: m.graph.node[0].input.__setitem__(1, "scale")),
                     "node 'BipolarQuant_0' (BipolarQuant): its input 'scale' comes from nowhere"),
    "functions": (changed(with_function), "it defines functions of its own, such as 'F'"),
    "sparse": (changed(with_sparse), "it has sparse tensors; accepted: dense ones"),
    "dynamic height": (input_shape(1, 3, "height", 8), "input 'x' has the shape (1, 3, '?', 8)"),
    "no shape": (input_shape(), "input 'x' has the shape ()"),
    "batch of 4": (input_shape(4, 4), "input 'x' has a fixed batch of 4; accepted: a batch of 1, or an open one"),
    "huge input": (input_shape(1, 2**15, 2**15, 3), "its result has"),
    "output of a map": (lambda: model_of(maps()), "output 't0' has the shape (1, 2, 6, 6)"),
    "output of a constant": (changed(lambda m: m.graph.output[0].__setattr__("name", "c0")), "output 'c0' does not depend"),
    # Tensors
    "huge tensor": (tensor(dims=[2**20, 2**20]), f"tensor 'c1': its shape is ({2**20}, {2**20}); accepted: up to"),
    "negative size": (tensor(dims=[-4, 3]), "tensor 'c1': its shape is (-4, 3)"),
    "too few bytes": (tensor(dims=[4, 30]), "tensor 'c1': its data do not fill the shape (4, 30)"),
    "strings": (tensor(data_type=TensorProto.STRING), "tensor 'c1': its elements are of type STRING"),
    "complex": (tensor(data_type=TensorProto.COMPLEX64), "tensor 'c1': its elements are of type COMPLEX64"),
    "outside": (external("../secret"), "tensor 'c1': its data lie in '../secret'; accepted: a file inside the model's folder"),
    "absolute": (external("/etc/passwd"), "tensor 'c1': its data lie in '/etc/passwd'"),
    "not there": (external("w.bin"), "tensor 'c1': 'w.bin' does not hold 48 bytes of it at 0"),
    "a far offset": (external("net.onnx", offset=HUGE), f"tensor 'c1': 'net.onnx' does not hold 48 bytes of it at {HUGE}"),
    "offset of letters": (external("net.onnx", offset="x"), "tensor 'c1': offset and length of its data are not numbers"),
    "filled": (filled([2**30, 2**30]), "node 'ConstantOfShape_2' (ConstantOfShape): its shape is"),
    "many filled": (many_fills, "up to here the graph computes more than a network of its kind needs"),
    "doubled": (doubled(60), "up to here the graph computes more than a network of its kind needs"),
    "precise": (precise, "its numbers have more than 8192 bits"),
    "wide": (wide, "up to here the graph computes more than a network of its kind needs"),
    # Parameters
    "weight NaN": (dense(np.full((4, 3), np.nan)), "node 'MatMul_1' (MatMul): a weight is nan"),
    "mean NaN": (norm(mean=np.nan), "node 'BatchNormalization_2' (BatchNormalization): the batch norm's mean is nan"),
    "gamma inf": (norm(gamma=np.inf), "node 'BatchNormalization_2' (BatchNormalization): the batch norm's gamma is inf"),
    "variance 0": (norm(variance=0.0, epsilon=0.0), "channel 0: the batch norm's variance is 0.0 and epsilon 0.0"),
    "variance below 0": (norm(variance=-1.0), "channel 0: the batch norm's variance is -1.0"),
    "threshold NaN": (behind("MultiThreshold", np.full((3, 1), np.nan), domain=DOMAIN, out_dtype="INT2"), "the levels is nan"),
    "real weights": (dense([[0.1, 1, 1], [0.2, 1, 1], [0.3, 1, 1], [0.4, 1, 1]]),
                     "output channel 0 has weights of magnitudes 0.1"),
    "scale 0": (behind("Quant", 0.0, 0.0, np.array(2.0), domain=DOMAIN, signed=1, narrow=0), "a scale is 0.0"),
    "half a bit": (behind("Quant", 1.0, 0.0, np.array(2.5), domain=DOMAIN, signed=1, narrow=0), "its bit width is 2.5"),
    "64 bits": (behind("Quant", 1.0, 0.0, np.array(64.0), domain=DOMAIN, signed=1, narrow=0), "its bit width is 64"),
    "rounding": (behind("Quant", 1.0, 0.0, np.array(2.0), domain=DOMAIN, signed=1, narrow=0, rounding_mode="STOCHASTIC"),
                 "the rounding mode is 'STOCHASTIC'; accepted: ROUND"),
    # Operations
    "unknown": (behind("Sigmoid"), "node 'Sigmoid_2' (Sigmoid): this operation is not known; accepted: Quant"),
    "If": (behind("If"), "node 'If_2' (If): this operation is not known"),
    "product": (product, "it multiplies two tensors that both depend on the input"),
    "product of matrices": (two_matrices, "its second input is not constant"),
    "too few inputs": (changed(lambda m: m.graph.node[1].input.pop()),
                       "node 'MatMul_1' (MatMul): its attributes or inputs do not fit"),
    "divided by 0": (behind("Div", np.zeros(3)), "node 'Div_2' (Div): it divides by 0"),
    "constant of another shape": (behind("Add", np.ones(7)), "node 'Add_2' (Add): a term of shape (7,)"),
    "zero padding between signs": (
        padded_between_signs, "node 'Conv_3' (Conv): the channels of its input have scales without a common unit"),
    "dilations": (on_maps("Conv", SIGNS, dilations=[2, 2]), "node 'Conv_1' (Conv): its dilations are (2, 2); accepted: 1"),
    "groups": (on_maps("Conv", SIGNS, group=7), "it has 7 groups for 2 channels in and 2 out"),
    "huge padding": (on_maps("Conv", SIGNS, pads=[HUGE] * 4), "padding at the top must be less than the kernel's 3"),
    "huge stride": (on_maps("Conv", SIGNS, strides=[0, 1]), "its strides are (0, 1)"),
    "pool with padding": (in_a_map("MaxPool", pads=[1, 1, 1, 1]), "it pads by (1, 1, 1, 1); accepted: pools without padding"),
    "huge pool": (on_maps("MaxPool", kernel_shape=[HUGE, HUGE]), "does not fit into a map"),
    "ceil mode": (on_maps("MaxPool", kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1),
                  "ceil_mode gives windows that reach beyond"),
    "reshape": (on_maps("Reshape", "shape"), "node 'Reshape_1' (Reshape): its input 'shape' comes from nowhere"),
    "transposed batch": (on_maps("Transpose", perm=[1, 0, 2, 3]), "it moves the batch dimension"),
    "a ReLU goes on": (
        relu_goes_on, "node 'MatMul_4' (MatMul): a ReLU or clip whose values are not evenly spaced goes on without a quantizer"),
    "training": (behind("BatchNormalization", *[np.ones(3)] * 4, training_mode=1), "it is in training mode"),
    "k 2": (behind("TopK", np.array([2]), outputs=2), "it is not the greatest one along the last axis"),
    "scores of one class": (dense(np.ones((4, 1))), "output 't1' has the shape (1, 1)"),
}
