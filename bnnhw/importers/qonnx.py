"""QONNX, and ONNX that is binarized: what Brevitas, QKeras and FINN write.

Only the ``onnx`` package is needed. Constants are computed where the graph is read; tensors that depend on the input become
integers with rational scales (:mod:`bnnhw.importers.exact`), thresholds follow by rational arithmetic on the stored
parameters.

Source of the quantizers' meaning: Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks",
2022, arXiv:2206.07527, and the operator definitions of github.com/fastmachinelearning/qonnx.
"""

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..artifact import Artifact
from ..exporters.record import METADATA, differences
from ..ir import NetworkError, TensorType
from . import constants, onnx_file
from .exact import Builder
from .folding import FOLDERS
from .onnx_nodes import ACCEPTED, HANDLERS
from .onnx_windows import Padded
from .problems import Problem, Refusal
from .rational import Inexpressible
from .value import Value

__all__ = ["read"]

PIXELS = (0, 255, 1)
DATATYPES = {"BIPOLAR": (-1, 1, 2), "BINARY": (0, 1, 1), "TERNARY": (-1, 1, 1)} | {
    f"UINT{bits}": (0, 2**bits - 1, 1) for bits in range(1, 17)} | {
    f"INT{bits}": (-2**(bits - 1), 2**(bits - 1) - 1, 1) for bits in range(2, 17)}
ELEMENTWISE = ("Identity", "Cast", "Add", "Sub", "Mul", "Div", "Neg", "Quant", "IntQuant", "BipolarQuant", "Sign", "Clip",
               "QuantizeLinear", "DequantizeLinear", "MultiThreshold")
RANKED = ("Identity", "Softmax", "LogSoftmax")
MOST_WORK = 2**27       # elements of constants, and FRACTION_WORK for each channel of a tensor that depends on the input
FRACTION_WORK = 256
EITHER = ("Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Conv")     # they say themselves which input must be constant
DAMAGE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError,
          RecursionError, MemoryError)


class _Walk:
    """One pass over a graph's nodes; with problems it goes on as well as it can, to find them all."""
    def __init__(self, graph, record, scale, offset, limits):
        self.graph, self.record = graph, record
        self.scale, self.offset, self.limits = scale, offset, limits
        self.build, self.problems, self.facts = Builder(), [], {}
        self.tensors, self.work = dict(graph.constants), 0
        self.users = {}     # tensor -> nodes that take it
        for node in graph.nodes:
            for name in set(node.inputs):
                self.users.setdefault(name, []).append(node)
        self.dtypes = {name: array.dtype for name, array in graph.constants.items()} | {
            node.outputs[0]: node.attributes["value"].dtype for node in graph.nodes
            if node.operation == "Constant" and isinstance(node.attributes.get("value"), np.ndarray) and node.outputs}

    def expect(self, rank, shape):
        """What shape (channel-last, without the batch) the node's result has, should it be refused."""
        self.expected = tuple(shape) if len(shape) == rank and min(shape, default=0) > 0 else None

    def _behind(self, tensor, through):
        """The nodes behind a tensor, and behind those of them whose operation is in ``through``."""
        seen, waiting = set(), [tensor]
        while waiting:
            for node in self.users.get(waiting.pop(), ()):
                if id(node) not in seen:
                    seen.add(id(node))
                    waiting += node.outputs if node.operation in through else ()
                    yield node

    def only_ranked(self, tensor):
        """Whether nothing but the order of a tensor's elements is used."""
        return all(node.operation in (*RANKED, "ArgMax", "TopK") for node in self._behind(tensor, RANKED))

    def _spend(self, elements):
        """Count work, so that a small file cannot ask for hours of it."""
        self.work += elements
        if self.work > MOST_WORK:
            raise Inexpressible("up to here the graph computes more than a network of its kind needs", "a smaller graph")

    def problem(self, node, operation, error):
        accepted = error.accepted if isinstance(error, Inexpressible) else ""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        reason = error.reason if isinstance(error, Inexpressible) else f"its attributes or inputs do not fit it ({said})"
        self.problems.append(Problem(node, operation, reason, accepted))

    # Inputs

    def _range(self, port):
        """(lo, hi, step), scale, offset of the integers that the user sends, and what was assumed of them."""
        own = self.record.get("inputs", {}).get(port.name)
        limits, offset = self.limits, self.offset
        if own:
            return tuple(own), 1, 0, None
        if self.scale is not None:
            return limits, self.scale, offset, None
        if port.dtype.kind in "iu":
            info = np.iinfo(port.dtype)
            return (info.min, info.max, 1) if info.bits <= 16 else limits, 1, offset, None
        if self.graph.annotations.get(port.name) in DATATYPES:
            return DATATYPES[self.graph.annotations[port.name]], 1, offset, None
        if any(self._is_pixels_to_unit(node, port.name) for node in self.graph.nodes):
            return limits, 1, offset, "the graph divides by 255 itself: its input is taken to be the integers 0 to 255"
        return limits, Fraction(1, 255), offset, "the graph's float input is taken to be pixel / 255 (--input-scale sets another)"

    def _is_pixels_to_unit(self, node, name):
        if name not in node.inputs[:1] or node.operation not in ("Div", "Mul") or len(node.inputs) < 2:
            return False
        other = self.tensors.get(node.inputs[1])
        if other is None or other.size != 1 or other.dtype.kind not in "fi":
            return False
        return float(other.item()) in ((255.0,) if node.operation == "Div" else (float(np.float32(1 / 255)), 1 / 255))

    def _turns(self, tensor):
        """Whether a tensor goes, scaled or quantized at most, to a Transpose that brings its last dimension forward."""
        return any(node.operation == "Transpose" and tuple(node.attributes.get("perm", ())) == (0, 3, 1, 2)
                   for node in self._behind(tensor, ELEMENTWISE))

    def inputs(self):
        if not self.graph.inputs:
            raise Inexpressible("the graph has no input")
        for port in self.graph.inputs:
            shape = port.shape
            if not shape or None in shape[1:] or len(shape) not in (2, 3, 4):
                shown = tuple("?" if size is None else size for size in shape)
                raise Inexpressible(f"input {port.name!r} has the shape {shown}",
                                    "(N, C), (N, H, W) or (N, C, H, W), all but N fixed")
            if shape[0] not in (None, 1):
                raise Inexpressible(f"input {port.name!r} has a fixed batch of {shape[0]}", "a batch of 1, or an open one")
            if len(shape) == 2:
                axes, size = "NC", shape[1:]
            elif len(shape) == 3:
                axes, size = "NHW", (*shape[1:], 1)
            else:
                axes, size = (("NHWC", shape[1:]) if self._turns(port.name) else ("NCHW", (*shape[2:], shape[1])))
            limits, scale, offset, assumed = self._range(port)
            if assumed:
                self.facts["assumed"] = assumed
            name = port.name if port.name[:1].isalpha() else "image" if len(shape) > 2 else "x"
            try:
                type = TensorType(size, *limits)
            except NetworkError as error:
                raise Inexpressible(f"input {port.name!r}: {error}") from None
            self.tensors[port.name] = self.build.input(name, type, axes, scale, offset)

    # Nodes

    def _fold(self, node, inputs):
        arrays = inputs
        if node.operation in ("Quant", "IntQuant"):
            x, scale, zero, bits = arrays
            signed = bool(node.attributes.get("signed", 1))
            low, high = constants.integer_limits(bits, signed, bool(node.attributes.get("narrow", 1)))
            if signed and bits.item() == 1:
                if np.any(zero != 0):
                    raise Inexpressible("signs with a zero point", "a zero point of 0")
                return constants.bipolar(x, scale)
            mode = node.attributes.get("rounding_mode", "ROUND").upper()
            array, differing = constants.quantized(x, scale, zero, low, high, mode)
            if differing:
                self.facts.setdefault("float32_weights", {})[node.name] = differing
            return array
        if node.operation not in FOLDERS:
            raise Inexpressible("this operation is not known for constants", ", ".join(FOLDERS))
        out = constants.widened(np.asarray(FOLDERS[node.operation](node, *arrays)))
        self._spend(out.size * (FRACTION_WORK if out.dtype == object else 1))
        return out

    @staticmethod
    def _channels(x):
        return (x.value if isinstance(x, Padded) else x).channels

    def _results(self, node):
        inputs = [self.tensors[name] if name else None for name in node.inputs]
        for x in inputs:
            self._spend(x.size if isinstance(x, np.ndarray) else 0 if x is None else FRACTION_WORK * self._channels(x))
        inputs = [constants.widened(x) if isinstance(x, np.ndarray) else x for x in inputs]
        known = [x for x in inputs if x is not None]
        if all(isinstance(x, np.ndarray) for x in known):
            return [self._fold(node, inputs)]
        if node.operation not in HANDLERS:
            raise Inexpressible("this operation is not known", ACCEPTED)
        if any(isinstance(x, Padded) for x in known) and node.operation != "Conv":
            raise Inexpressible("its input is padded", "padding in front of a convolution")
        if node.operation not in EITHER and any(isinstance(x, Value) for x in inputs[1:]):
            raise Inexpressible("a parameter of it depends on the input", "constant parameters")
        return HANDLERS[node.operation](self, node, *inputs)

    def _stand_in(self, node):
        """A tensor to go on with behind a node that was refused."""
        first = next((self.tensors[name] for name in node.inputs if isinstance(self.tensors.get(name), (Value, Padded))), None)
        first = first.value if isinstance(first, Padded) else first
        if first is None or node.operation in ("ArgMax", "TopK"):
            return None
        shape = self.expected or first.type.shape
        axes = first.axes if len(shape) == len(first.type.shape) else "NCHW" if len(shape) == 3 else "NC"
        return self.build.assumed(shape, axes)

    def nodes(self):
        for node in self.graph.nodes:
            if self.work > MOST_WORK:
                break
            self.expected, made = None, len(self.build.operations)
            missing = [name for name in node.inputs if name and self.tensors.get(name) is None]
            if missing and node.operation in HANDLERS:
                results = [None] * len(node.outputs)    # behind what could not even be replaced
            else:
                try:
                    if missing:
                        raise Inexpressible("this operation is not known", ACCEPTED)
                    results = self._results(node)
                except (Inexpressible, *DAMAGE) as error:
                    self.problem(node.name, node.operation, error)
                    results = [self._stand_in(node)]
            for name, result in zip(node.outputs, [*results, *[None] * len(node.outputs)], strict=False):
                # Only scaled: should that need an operation, it is called as this node.
                only_scaled = isinstance(result, Value) and len(self.build.operations) == made
                self.tensors[name] = replace(result, label=node.name) if only_scaled else result

    def outputs(self):
        """The classes that the graph's outputs decide."""
        found = []
        for port in self.graph.outputs:
            value = self.tensors.get(port.name)
            if value is None or isinstance(value, (np.ndarray, Padded)):
                raise Inexpressible(f"output {port.name!r} does not depend on the input, or is none that can be given")
            if value.axes == "N":
                found.append(value)
                continue
            decided = [v for v in self.tensors.values() if isinstance(v, Value) and v.axes == "N" and self._decides(v, value)]
            if value.axes != "NC" or (value.channels < 2 and not decided):
                raise Inexpressible(f"output {port.name!r} has the shape {value.shape}",
                                    "a class, or scores (N, classes) of two classes or more")
            found.append(decided[0] if decided else self.build.argmax("class", value))
        if not found:
            raise Inexpressible("the graph has no output")
        return found

    def _decides(self, chosen, scores):
        """Whether a class is that of these scores."""
        source = self.build.operations[chosen.edge].inputs[0]
        return scores.edge in (source, *self.build.operations[source].inputs[:1])

    def network(self):
        try:
            self.inputs()
            self.nodes()
            values = self.outputs() if not self.problems else None
            return None if values is None else self.build.finish(values)
        except (Inexpressible, NetworkError) as error:
            self.problems.append(Problem("", "", error.reason, error.accepted) if isinstance(error, Inexpressible)
                                 else Problem("", "", str(error)))
        return None


def read(path, *, input_scale=None, input_offset=0, input_limits=None):
    """The network of a QONNX or ONNX file.

    Parameters
    ----------
    path : path of the file
    input_scale, input_offset : numbers
        The graph's input is ``scale * integer + offset``. Where no scale is given: 1 where the graph says that its input is
        integers (by type, by a datatype of FINN's, or by dividing by 255 itself), else 1/255.
    input_limits : (lo, hi, step), optional
        The integers that the user sends; 0 to 255 where neither this nor the file says so.

    Returns
    -------
    Artifact
        Its network takes integers (H, W, C) or (C,), channel-last, and gives the class. The provenance has the file's
        SHA-256, what was assumed, and the ties with float32.

    Raises
    ------
    Refusal
        With all problems that were found.
    """
    path = Path(path)
    graph = onnx_file.read(path)
    scale = None if input_scale is None else Fraction(input_scale)
    damage = (json.JSONDecodeError, *DAMAGE) if METADATA in graph.metadata else ()
    try:
        record = json.loads(graph.metadata.get(METADATA, "{}"))
        walk = _Walk(graph, record, scale, Fraction(input_offset), input_limits or PIXELS)
        network = walk.network()
        differing = differences(record, network) if record and network else []
        classes = tuple(map(str, record.get("classes", ())))
    except damage:
        raise Refusal(path, [Problem("", "", f"its metadata {METADATA!r} is damaged")]) from None
    if walk.problems:
        raise Refusal(path, walk.problems)
    imported = {"kind": "QONNX", "file": path.name, "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "producer": graph.producer, "opset": graph.opset} | walk.facts | walk.build.facts
    provenance = {"imported": imported, "float32_ties": walk.build.ties, "float32_ties_total": walk.build.tied}
    if record:
        imported["exported"] = {"network": record["network"], "differences": differing}
    return Artifact(network, classes, provenance)
