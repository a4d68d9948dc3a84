"""Small QONNX graphs for the tests: a builder, random ones, and what they give by code that is not ours.

Everything is float64, so that onnx's evaluator, with the ``qonnx`` package's own functions for the quantizers, is exact on the
numbers used here.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

DOMAIN = "qonnx.custom_op.general"
DYADIC = [0.25, 0.5, 1.0, 2.0, -0.5, -1.0, 1.5, -3.0]


class Graph:
    """Collects nodes; ``x`` is the current tensor, ``shape`` its shape."""
    def __init__(self, shape=(1, 2, 4, 4), dtype=np.float64):
        self.nodes, self.constants, self.x, self.shape, self.dtype = [], [], "x", tuple(shape), dtype
        self.input = self.shape

    def const(self, values, dtype=None):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype or self.dtype), name))
        return name

    def add(self, operation, *inputs, x=None, shape=None, domain="", outputs=1, **attributes):
        """A node on the current tensor (or ``x``) and further inputs: names, or arrays as constants."""
        inputs = [v if isinstance(v, str) else self.const(v) for v in inputs]
        names = [f"t{len(self.nodes)}" + (f"_{k}" if k else "") for k in range(outputs)]
        self.nodes.append(helper.make_node(operation, [self.x if x is None else x, *inputs], names,
                                           f"{operation}_{len(self.nodes)}", domain=domain, **attributes))
        if x is None:
            self.x, self.shape = names[-1], tuple(shape or self.shape)
        return names[-1]

    def quant(self, x, scale=1.0, zero=0.0, bits=2, **attributes):
        attributes = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"} | attributes
        return self.add("Quant", scale, zero, np.array(float(bits)), x=x, domain=DOMAIN, **attributes)

    def bipolar(self, x, scale=1.0):
        return self.add("BipolarQuant", scale, x=x, domain=DOMAIN)

    def model(self, opset=15, **changes):     # the evaluator takes an older BatchNormalization for one in training
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", dtype, changes.get("input", self.input))],
                                  [helper.make_tensor_value_info(self.x, dtype, None)], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)])
        model.ir_version = 8
        return model

    def save(self, path, **changes):
        onnx.save(self.model(**changes), path)
        return path


def quantizer_operators():
    """The qonnx package's quantizers, as operators of onnx's evaluator."""
    from qonnx.custom_op.general.bipolar_quant import binary_quant
    from qonnx.custom_op.general.intquant import int_quant
    from qonnx.custom_op.general.multithreshold import multithreshold

    class BipolarQuant(OpRun):
        op_domain = DOMAIN

        def _run(self, x, scale):
            return (binary_quant(x, scale),)

    class Quant(OpRun):
        op_domain = DOMAIN

        def _run(self, x, scale, zero, bits, signed=None, narrow=None, rounding_mode=None):
            return (int_quant(x, scale, zero, np.asarray(bits), signed, narrow, rounding_mode),)

    class MultiThreshold(OpRun):
        op_domain = DOMAIN

        def _run(self, x, levels, out_dtype=None, out_scale=None, out_bias=None, data_layout=None):
            return (np.asarray(multithreshold(x, levels, out_scale, out_bias), x.dtype),)
    return [BipolarQuant, Quant, MultiThreshold]


def evaluator(model):
    """onnx's own evaluator, with the quantizers."""
    return ReferenceEvaluator(model, new_ops=quantizer_operators())


def scores(model, x):
    """The graph's output for channel-last integers ``x``, one example at a time."""
    run = evaluator(model).run
    dtype = helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    x = np.moveaxis(x, -1, 1).astype(dtype)
    return np.concatenate([np.atleast_2d(run(None, {"x": one[None]})[0]) for one in x])


class RandomGraph(Graph):
    """A random graph of the supported operations, with scores of several classes at its end."""
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        super().__init__((1, int(self.rng.integers(1, 4)), *map(int, self.rng.integers(1, 6, 2))))
        self.used = set()
        for _ in range(int(self.rng.integers(1, 4))):
            self.step(self.chance(0.3))
        self.flatten()
        for _ in range(int(self.rng.integers(0, 2))):
            self.scalings()
            self.quantizer()
            self.matrix(int(self.rng.integers(1, 6)))
        self.scalings()
        self.quantizer()
        self.matrix(6)
        if self.chance(0.5):
            self.scalings(1)

    def chance(self, p):
        return self.rng.random() < p

    def per_channel(self, choices=DYADIC):
        """One number, or one for each channel, in a shape that broadcasts."""
        if self.chance(0.5):
            return self.rng.choice(choices)
        return self.rng.choice(choices, self.shape[1]).reshape(1, -1, *[1] * (len(self.shape) - 2))

    def note(self, kind):
        self.used.add(kind)
        return kind

    def scalings(self, most=3):
        for _ in range(int(self.rng.integers(0, most + 1))):
            kind = self.note(self.rng.choice(["Mul", "Add", "Sub", "Div", "Neg", "BatchNormalization", "Relu", "Clip", "from"]))
            if kind == "BatchNormalization":
                c = self.shape[1]
                values = [self.rng.choice(DYADIC, c) for _ in range(3)] + [self.rng.choice([0.25, 1.0, 4.0, 3.0, 0.5], c)]
                self.add(kind, *values, epsilon=0.0)
            elif kind == "Clip":
                self.add(kind, np.array(-2.0), np.array(2.5))
            elif kind in ("Neg", "Relu"):
                self.add(kind)
            elif kind == "from":    # a constant minus the tensor
                name = self.const(self.rng.choice(DYADIC))
                self.nodes.append(helper.make_node("Sub", [name, self.x], [f"t{len(self.nodes)}"], f"Sub_{len(self.nodes)}"))
                self.x = self.nodes[-1].output[0]
            else:
                self.add(kind, self.per_channel([0.5, 2.0, -1.0, 4.0] if kind == "Div" else DYADIC))

    def centre(self):
        """Subtract what divides the values of some inputs into two halves, to a quarter: else most signs are constant."""
        x = np.moveaxis(data(self, 12, 1), -1, 1).astype(np.float64)
        run = evaluator(self.model()).run
        found = np.stack([run(None, {"x": one[None]})[0] for one in x])
        channels = np.moveaxis(found.reshape(-1, *self.shape[1:]), 1, -1).reshape(-1, self.shape[1])
        middle = np.rint(4 * np.median(channels, axis=0)) / 4
        self.add("Sub", middle.reshape(1, -1, *[1] * (len(self.shape) - 2)))

    def quantizer(self):
        if self.nodes and self.chance(0.7):
            self.centre()
        kind = self.note(self.rng.choice(["BipolarQuant", "Quant", "MultiThreshold", "Sign"]))
        if kind == "BipolarQuant":
            self.add(kind, self.rng.choice([0.5, 1.0, 2.0]), domain=DOMAIN)
        elif kind == "Quant":
            bits, signed = int(self.rng.integers(1, 5)), int(self.rng.integers(0, 2))
            narrow = int(self.rng.integers(0, 2)) if bits > 1 else 0
            mode = self.note(str(self.rng.choice(["ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])))
            zero = 0.0 if signed else float(self.rng.integers(0, 2))
            self.add(kind, self.rng.choice([0.5, 1.0, 2.0]), zero, np.array(float(bits)), domain=DOMAIN, signed=signed,
                     narrow=narrow, rounding_mode=mode)
        elif kind == "MultiThreshold":
            rows = self.shape[1] if self.chance(0.5) else 1
            levels = np.sort(self.rng.integers(-6, 7, (rows, int(self.rng.integers(1, 4)))) / 2.0)
            self.add(kind, levels, domain=DOMAIN, out_dtype="INT8", out_scale=float(self.rng.choice([1.0, 2.0, 0.5])),
                     out_bias=float(self.rng.choice([0.0, -1.0])), data_layout="NCHW" if len(self.shape) == 4 else "NC")
        else:
            self.add(kind)

    def weights(self, *shape):
        name = self.const(self.rng.normal(size=shape))
        if self.chance(0.5):
            return self.bipolar(name, self.rng.choice([1.0, 0.5]))
        return self.quant(name, 0.75)

    def step(self, residual):
        if residual:
            start, shape = self.x, self.shape
            self.quantizer()
            self.convolution(same=True)
            if self.shape == shape:
                self.note("residual")
                self.add("Add", start)
        else:
            self.scalings()
            if self.chance(0.7):
                self.quantizer()
            self.pool() if self.chance(0.4) else self.convolution()

    def convolution(self, same=False):
        c, h, w = self.shape[1:]
        kh, kw = (int(self.rng.integers(1, min(3, n) + 1)) for n in (h, w))
        stride = [1, 1] if same else [int(v) for v in self.rng.integers(1, 3, 2)]
        some = self.chance(0.4)
        pads = [kh // 2, kw // 2, (kh - 1) // 2, (kw - 1) // 2] if same else [int(self.rng.integers(0, k)) if some else 0
                                                                              for k in (kh, kw, kh, kw)]
        if any(pads):
            self.note("padding")
        depthwise = self.chance(0.25)
        n_out = c if same or depthwise else int(self.rng.integers(1, 5))
        weights = self.weights(n_out, 1 if depthwise else c, kh, kw)
        self.note("depthwise" if depthwise else "Conv")
        bias = [self.rng.choice(DYADIC, n_out)] if self.chance(0.3) else []
        size = [(n + a + b - k) // s + 1 for n, a, b, k, s in zip((h, w), pads[:2], pads[2:], (kh, kw), stride, strict=True)]
        self.add("Conv", weights, *bias, shape=(1, n_out, *size), kernel_shape=[kh, kw], strides=stride, pads=pads,
                 group=c if depthwise else 1)

    def pool(self):
        c, h, w = self.shape[1:]
        kind = self.note(self.rng.choice(["MaxPool", "AveragePool", "GlobalAveragePool"]))
        if kind == "GlobalAveragePool":
            if h * w in (1, 2, 4, 8, 16):
                self.add(kind, shape=(1, c, 1, 1))
            return
        k = [min(2, h), min(2, w)]
        stride = [int(v) for v in self.rng.integers(1, 3, 2)]
        self.add(kind, shape=(1, c, *[(n - a) // s + 1 for n, a, s in zip((h, w), k, stride, strict=True)]), kernel_shape=k,
                 strides=stride)

    def flatten(self):
        size = int(np.prod(self.shape))
        if self.chance(0.3):
            self.note("Transpose")
            c, h, w = self.shape[1:]
            self.add("Transpose", perm=[0, 2, 3, 1], shape=(1, h, w, c))
        if self.chance(0.5):
            self.add("Flatten", shape=(1, size), axis=1)
        else:
            self.note("Reshape")
            self.add("Reshape", self.const([1, -1], np.int64), shape=(1, size))

    def matrix(self, n_out):
        n_in = self.shape[1]
        if self.chance(0.5):
            self.note("Gemm")
            self.add("Gemm", self.weights(n_out, n_in), self.rng.choice(DYADIC, n_out), shape=(1, n_out), transB=1)
        else:
            weights = self.add("Transpose", x=self.weights(n_out, n_in), perm=[1, 0])
            self.add("MatMul", weights, shape=(1, n_out))


def data(graph, count, seed=0):
    """Inputs 0 to 7, channel-last, all least and all greatest among them."""
    _, c, h, w = graph.input
    x = np.random.default_rng(seed).integers(0, 8, (count, h, w, c))
    x[0], x[1] = 0, 7
    return x


LIMITS = (0, 7, 1)
FLOAT = TensorProto.FLOAT
