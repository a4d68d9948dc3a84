"""An ONNX graph under construction, and how each operation on integers is written as one on floats.

Maps are (N, C, H, W) there. Every number is an integer that the float type holds exactly, so any tool that computes in it gives
our integers. Node names and tensor names are our operations' names.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .. import __version__
from ..errors import UserError
from ..ir import Conv2d, Dense, DepthwiseConv2d, SumPool2d
from ..reference import exact_dtype
from .record import METADATA, record

__all__ = ["ExportError", "Exporter"]

OPSET = 13
IR_VERSION = 8      # of the ONNX format, which every onnxruntime since 2021 reads
UNKNOWN = ("Thermometer", "Lookup", "GroupSum")      # for which ONNX has no layer
TYPES = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE}


class ExportError(UserError, ValueError):
    """A network that the format cannot hold exactly."""


class Exporter:
    """Writes one network; subclasses say what weights and thresholds look like, and which floats there are.

    Attributes
    ----------
    batch : int or str
        First size of every tensor.
    floats : tuple of numpy types
        Of these the smallest that is exact is taken.
    domains : dict
        Further operator sets, domain -> version.
    """
    domains = {}

    def __init__(self, network):
        self.network = network
        self.nodes, self.constants, self.infos = [], [], []
        self.float = self._float()

    def _float(self):
        for name, operation in self.network.operations.items():
            types = [self.network.types[source] for source in operation.inputs] or [self.network.types[name]]
            own = self.network.types[name]
            magnitude = max(abs(v) for type in (*types, own) for v in (type.lo, type.hi))
            if hasattr(operation, "levels"):    # "never" lies one step beyond
                magnitude += types[0].step
            if isinstance(operation, SumPool2d):
                terms, magnitude = int(np.prod(operation.kernel)), max(abs(types[0].lo), abs(types[0].hi))
            elif isinstance(operation, (Dense, Conv2d, DepthwiseConv2d)):
                fill = abs(getattr(operation, "fill", 0))
                terms, magnitude = operation.weights[0].size, max(abs(types[0].lo), abs(types[0].hi), fill)
            else:
                terms = 2   # an Affine's product and sum
            needed = exact_dtype(terms, magnitude)
            if needed not in self.floats:
                raise ExportError(f"operation {name!r}: its sums reach {terms * magnitude}, which "
                                  f"{np.dtype(self.floats[-1]).name} does not hold exactly")
            if needed != self.floats[0]:
                return needed
        return self.floats[0]

    # Parts

    def shape(self, type):
        if len(type.shape) == 3:
            return (self.batch, type.shape[2], *type.shape[:2])
        if len(type.shape) > 1:
            raise ExportError(f"tensors of shape {type.shape} have no place in ONNX's layers")
        return (self.batch, *type.shape)

    def constant(self, name, values, dtype=None):
        values = np.asarray(values, dtype or self.float)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def add(self, operation, inputs, output, shape, kind=None, name=None, domain="", **attributes):
        """One node; returns its output."""
        name = name or f"{output}_{operation}"
        self.nodes.append(helper.make_node(operation, inputs, [output], name, domain=domain, **attributes))
        self.infos.append(helper.make_tensor_value_info(output, kind or TYPES[self.float], shape))
        return output

    def per_channel(self, values, rank):
        return np.asarray(values).reshape(-1, *[1] * (rank - 2))

    def scaled(self, x, output, factor, shape):
        factor = self.constant(f"{output}.factor", self.per_channel(factor, len(shape)))
        return self.add("Mul", [x, factor], output, shape)

    def signed(self, name, x, negative, shape):
        """``x``, or ``x`` with the channels ``negative`` negated."""
        return self.scaled(x, f"{name}.turned", np.where(negative, -1, 1), shape) if np.any(negative) else x

    def weights(self, name, values):
        """Weights -1, 0, +1 as a tensor's name."""
        raise NotImplementedError  # pragma: no cover - either format has its own

    def threshold(self, operation, x, shape):
        """Nodes of a Threshold."""
        raise NotImplementedError  # pragma: no cover - either format has its own

    # Operations

    def _input(self, operation, shape):
        self.infos.append(helper.make_tensor_value_info(operation.name, TYPES[self.float], shape))

    def _flatten(self, operation, shape, x):
        type = self.network.types[operation.inputs[0]]
        if len(type.shape) != 3:
            return self.add("Identity", [x], operation.name, shape, name=operation.name)
        x = self.add("Transpose", [x], f"{operation.name}.last", (self.batch, *type.shape), perm=[0, 2, 3, 1])
        return self.add("Flatten", [x], operation.name, shape, name=operation.name, axis=1)

    def _dense(self, operation, shape, x):
        weights = self.weights(f"{operation.name}.weights", operation.weights.T)
        return self.add("MatMul", [x, weights], operation.name, shape, name=operation.name)

    def _convolved(self, operation, shape, x, weights, group, padding=(0, 0, 0, 0), fill=0):
        if any(padding) and fill:
            before = self.shape(self.network.types[operation.inputs[0]])
            pads = [0, 0, padding[0], padding[2], 0, 0, padding[1], padding[3]]
            padded = (*before[:2], before[2] + sum(padding[:2]), before[3] + sum(padding[2:]))
            x = self.add("Pad", [x, self.constant(f"{operation.name}.pads", pads, np.int64),
                                 self.constant(f"{operation.name}.fill", fill)], f"{operation.name}.padded", padded)
            padding = (0, 0, 0, 0)
        weights = self.weights(f"{operation.name}.weights", weights)
        top, bottom, left, right = padding
        return self.add("Conv", [x, weights], operation.name, shape, name=operation.name, kernel_shape=list(operation.kernel),
                        strides=list(operation.stride), pads=[top, left, bottom, right], group=group)

    def _conv2d(self, operation, shape, x):
        weights = operation.weights.transpose(0, 3, 1, 2)
        return self._convolved(operation, shape, x, weights, 1, operation.padding, operation.fill)

    def _depthwiseconv2d(self, operation, shape, x):
        weights = operation.weights[:, None]
        return self._convolved(operation, shape, x, weights, len(weights), operation.padding, operation.fill)

    def _sumpool2d(self, operation, shape, x):
        channels = shape[1]     # a mean of floats would round
        return self._convolved(operation, shape, x, np.ones((channels, 1, *operation.kernel), np.int8), channels)

    def _maxpool2d(self, operation, shape, x):
        before = self.shape(self.network.types[operation.inputs[0]])
        least = operation.least(shape[1])
        x = self.signed(operation.name, x, least, before)
        output = f"{operation.name}.greatest" if least.any() else operation.name
        x = self.add("MaxPool", [x], output, shape, name=operation.name, kernel_shape=list(operation.kernel),
                     strides=list(operation.stride))
        return self.scaled(x, operation.name, np.where(least, -1, 1), shape) if least.any() else x

    def _affine(self, operation, shape, x):
        x = self.scaled(x, f"{operation.name}.scaled", operation.scale, shape)
        offset = self.constant(f"{operation.name}.offset", self.per_channel(operation.offset, len(shape)))
        return self.add("Add", [x, offset], operation.name, shape, name=operation.name)

    def _threshold(self, operation, shape, x):
        return self.threshold(operation, self.signed(operation.name, x, operation.falling, shape), shape)

    def _add(self, operation, shape, first, second):
        return self.add("Add", [first, second], operation.name, shape, name=operation.name)

    def _argmax(self, operation, shape, x):
        return self.add("ArgMax", [x], operation.name, shape, TensorProto.INT64, operation.name, axis=1, keepdims=0)

    def model(self, classes=()):
        """The ONNX model; its outputs are the network's and, of a class, the scores."""
        network = self.network
        for name, operation in network.operations.items():
            if operation.kind in UNKNOWN:
                raise ExportError(f"operation {name!r}: ONNX has no layer that is a {operation.kind}")
            getattr(self, f"_{operation.kind.lower()}")(operation, self.shape(network.types[name]), *operation.inputs)
        infos = {info.name: info for info in self.infos}
        scores = [network.operations[name].inputs[0] for name in network.outputs if network.operations[name].kind == "ArgMax"]
        outputs = tuple(dict.fromkeys((*network.outputs, *scores)))
        ports = {*network.inputs, *outputs}
        ends = ([infos[name] for name in names] for names in (network.inputs, outputs))
        graph = helper.make_graph(self.nodes, "network", *ends, self.constants,
                                  value_info=[info for name, info in infos.items() if name not in ports])
        domains = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(*entry) for entry in self.domains.items())]
        model = helper.make_model(graph, opset_imports=domains, producer_name="bnnhw", producer_version=__version__)
        model.ir_version = IR_VERSION
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA, record(network, classes)
        onnx.checker.check_model(model)
        return model
