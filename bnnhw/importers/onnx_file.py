"""Reads an ONNX file into plain Python, in bounded time and memory, without running anything in it.

Weights may lie in other files beside it ("external data"): only plain files inside the model's own folder are read, and no
more of them than the tensor needs.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .onnx_wire import WireError, count
from .problems import Problem, Refusal

__all__ = ["Node", "Port", "Graph", "read"]

MOST_BYTES = 2**28          # of the file, and of the files beside it
MOST_ENTRIES = 2**20        # of the model's messages
MOST_NODES = 10_000
MOST_PORTS = 64             # outputs of the graph
MOST_ELEMENTS = 2**25       # of one tensor
OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
DTYPES = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16,
          TensorProto.INT64: np.int64, TensorProto.INT32: np.int32, TensorProto.INT16: np.int16, TensorProto.INT8: np.int8,
          TensorProto.UINT8: np.uint8, TensorProto.UINT16: np.uint16, TensorProto.UINT32: np.uint32, TensorProto.BOOL: np.bool_}


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    name : str
        Its own, or one made from its operation and place.
    operation, domain : str
    inputs, outputs : tuple of str
        Names of tensors, "" where an optional one is left out.
    attributes : dict
        Numbers, strings, tuples of them; tensors as arrays.
    """
    name: str
    operation: str
    domain: str
    inputs: tuple
    outputs: tuple
    attributes: dict


@dataclass(frozen=True)
class Port:
    """An input or output of the graph: dtype and shape, whose sizes are None where the file leaves them open."""
    name: str
    dtype: object
    shape: tuple


@dataclass
class Graph:
    """What the file holds. ``nodes`` stand in the order in which they can be computed."""
    nodes: list
    inputs: list
    outputs: list
    constants: dict
    opset: int
    producer: str
    metadata: dict
    annotations: dict = field(default_factory=dict)     # tensor -> datatype, as FINN writes it


class _Reader:
    def __init__(self, path):
        self.path, self.left = Path(path), MOST_BYTES

    def refuse(self, reason, accepted="", node="", operation=""):
        raise Refusal(self.path, [Problem(node, operation, reason, accepted)])

    def model(self):
        size = self.path.stat().st_size
        if size > MOST_BYTES:
            self.refuse(f"it has {size} bytes", f"up to {MOST_BYTES}")
        data = self.path.read_bytes()
        try:
            count(data, MOST_ENTRIES)
        except WireError as error:
            self.refuse(f"it is not an ONNX file, or {error}")
        try:
            model = onnx.load_model_from_string(data)
        except Exception:   # protobuf's own errors have no common base
            self.refuse("it is not an ONNX file, or it is truncated or damaged")
        if not model.graph.node:
            self.refuse("it is not an ONNX file, or its graph has no nodes")
        return model

    def opset(self, model):
        found = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
        if len(found) != 1 or found[0] not in OPSETS:
            self.refuse(f"its operator set is {found[0] if found else 'not given'}", f"{OPSETS[0]} to {OPSETS[-1]}")
        return found[0]

    def external(self, tensor, size):
        """The bytes of a tensor that lies in another file."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        folder, location = self.path.parent.resolve(), entries.get("location", "")
        path = (folder / location).resolve()
        if not location or folder not in path.parents:
            self.refuse(f"tensor {tensor.name!r}: its data lie in {location!r}", "a file inside the model's folder")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            self.refuse(f"tensor {tensor.name!r}: offset and length of its data are not numbers")
        if not path.is_file() or offset < 0 or length != size or path.stat().st_size < offset + size:
            self.refuse(f"tensor {tensor.name!r}: {location!r} does not hold {size} bytes of it at {offset}")
        self.left -= size
        if self.left < 0:
            self.refuse(f"its files hold more than {MOST_BYTES} bytes of tensors")
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def tensor(self, tensor, what):
        """A tensor as a plain array, of the size that its dimensions say."""
        if tensor.data_type not in DTYPES:
            kind = TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in TensorProto.DataType.values() else "unknown"
            self.refuse(f"{what}: its elements are of type {kind}", "floats of 16 to 64 bits, integers, bool")
        shape = tuple(tensor.dims)
        if min(shape, default=1) < 0 or len(shape) > 8 or math.prod(shape) > MOST_ELEMENTS:
            self.refuse(f"{what}: its shape is {shape}", f"up to {MOST_ELEMENTS} elements")
        dtype = np.dtype(DTYPES[tensor.data_type])
        if tensor.data_location == TensorProto.EXTERNAL:
            data = self.external(tensor, math.prod(shape) * dtype.itemsize)
            return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        try:
            array = numpy_helper.to_array(tensor)
        except Exception:   # whatever a damaged tensor makes it raise
            array = None
        if array is None or array.shape != shape:
            self.refuse(f"{what}: its data do not fill the shape {shape}")
        return array

    def attributes(self, node, name):
        out = {}
        for attribute in node.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                continue    # the operations that have one are refused by name
            if attribute.type == onnx.AttributeProto.TENSOR:
                out[attribute.name] = self.tensor(attribute.t, f"node {name!r}: attribute {attribute.name!r}")
                continue
            try:
                value = helper.get_attribute_value(attribute)
                value = value.decode() if isinstance(value, bytes) else tuple(value) if not np.isscalar(value) else value
            except (ValueError, TypeError, UnicodeDecodeError):
                self.refuse(f"attribute {attribute.name!r} has no plain value", node=name, operation=node.op_type)
            out[attribute.name] = value
        return out

    def nodes(self, graph):
        if len(graph.node) > MOST_NODES:
            self.refuse(f"it has {len(graph.node)} nodes", f"up to {MOST_NODES}")
        names = [node.name or f"{node.op_type}_{k}" for k, node in enumerate(graph.node)]
        return [Node(name, node.op_type, node.domain, tuple(node.input), tuple(node.output), self.attributes(node, name))
                for name, node in zip(names, graph.node, strict=True)]

    def ordered(self, nodes, known):
        """The nodes so that each stands behind those that make its inputs."""
        makers, made = {}, set(known)
        for node in nodes:
            for tensor in filter(None, node.outputs):
                if tensor in makers or tensor in made:
                    self.refuse(f"tensor {tensor!r} is made twice", node=node.name, operation=node.operation)
                makers[tensor] = node
        missing = {id(node): {t for t in node.inputs if t and t not in made} for node in nodes}
        users = {}
        for node in nodes:
            for tensor in missing[id(node)]:
                if tensor not in makers:
                    self.refuse(f"its input {tensor!r} comes from nowhere", node=node.name, operation=node.operation)
                users.setdefault(tensor, []).append(node)
        ready, out = [node for node in nodes if not missing[id(node)]], []
        for node in ready:      # grows while it is read
            out.append(node)
            for tensor in node.outputs:
                for user in users.get(tensor, ()):
                    missing[id(user)].discard(tensor)
                    if not missing[id(user)]:
                        ready.append(user)
        if len(out) < len(nodes):
            stuck = next(node for node in nodes if missing[id(node)])
            self.refuse("it is on a cycle, or behind one", node=stuck.name, operation=stuck.operation)
        return out

    def port(self, info):
        tensor = info.type.tensor_type
        if not info.type.HasField("tensor_type") or tensor.elem_type not in DTYPES:
            self.refuse(f"{info.name!r} is not a tensor of numbers")
        shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" and d.dim_value > 0 else None for d in tensor.shape.dim)
        return Port(info.name, np.dtype(DTYPES[tensor.elem_type]), shape)

    def graph(self):
        model = self.model()
        opset, graph = self.opset(model), model.graph
        if model.functions:
            self.refuse(f"it defines functions of its own, such as {model.functions[0].name!r}",
                        "a graph of operators, as exporters give it when they inline functions")
        if len(graph.output) > MOST_PORTS:
            self.refuse(f"it has {len(graph.output)} outputs", f"up to {MOST_PORTS}")
        if graph.sparse_initializer:
            self.refuse("it has sparse tensors", "dense ones")
        constants = {tensor.name: self.tensor(tensor, f"tensor {tensor.name!r}") for tensor in graph.initializer}
        # Older files list their parameters among the inputs.
        inputs = [self.port(info) for info in graph.input if info.name not in constants]
        nodes = self.ordered(self.nodes(graph), {*constants, *(port.name for port in inputs)})
        annotations = {entry.tensor_name: pair.value for entry in graph.quantization_annotation
                       for pair in entry.quant_parameter_tensor_names if pair.key == "finn_datatype"}
        return Graph(nodes, inputs, [self.port(info) for info in graph.output], constants, opset, model.producer_name,
                     {entry.key: entry.value for entry in model.metadata_props}, annotations)


def read(path):
    """The :class:`Graph` of an ONNX file. Raises :exc:`~bnnhw.importers.problems.Refusal`, one line, and :exc:`OSError`."""
    return _Reader(path).graph()
