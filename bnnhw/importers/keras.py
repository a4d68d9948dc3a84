"""Keras models saved as .h5 (HDF5), with the layers of Larq and QKeras, read without Keras and TensorFlow.

Only h5py is needed. The model's layers become integers with rational scales (:mod:`bnnhw.importers.exact`); thresholds follow by
rational arithmetic on the stored parameters.
"""

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from ..artifact import Artifact
from ..ir import NetworkError, TensorType
from .exact import Builder
from .keras_file import stored_in
from .keras_graph import bare, graph_of
from .keras_layers import ACCEPTED, HANDLERS, JOINING
from .onnx_windows import Padded
from .problems import Problem, Refusal
from .rational import Inexpressible
from .value import Value

__all__ = ["read"]

DAMAGE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError, RecursionError,
          MemoryError)
PIXELS = (0, 255, 1)
AXES = {1: "NC", 2: "NHW", 3: "NHWC"}
CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda")
MODELS = ("Functional", "Sequential", "Model")
MOVING = ("Reshape", "Flatten", "Dropout")      # layers that change no number
MOST_WORK = 2**19       # channels, over all layers
IGNORED = {"training": (False, None), "mask": (None,)}     # arguments of a call that say nothing


class _Walk:
    """One pass over a model's layers; with problems it goes on as well as it can, to find them all.

    Attributes
    ----------
    outputs : tuple of keys
        Of the model's last layers.
    """
    def __init__(self, stored, graph, scale, offset, limits):
        self.stored, self.graph, self.outputs = stored, graph, graph.outputs
        self.scale, self.offset, self.limits = scale, offset, limits
        self.build, self.problems, self.facts = Builder(), [], {}
        self.values, self.work = {}, 0

    def expect(self, shape):
        """What shape, without the batch, the layer's result has, should it be refused."""
        self.expected = tuple(shape) if min(shape) > 0 else None

    def assume(self, what):
        self.facts["assumed"] = "; ".join(filter(None, (self.facts.get("assumed"), what)))

    # Inputs

    def _given(self, source):
        """Scale and offset of the integers that the user sends, and what was assumed of them."""
        if self.scale is not None:
            return self.scale, self.offset, None
        if str(source.config["dtype"]).startswith(("int", "uint", "bool")):
            return Fraction(1), self.offset, None
        moved, users = {source.key}, []
        for layer in self.graph.layers:
            if moved.intersection(layer.inputs):
                if layer.kind in MOVING:
                    moved.add(layer.key)
                else:
                    users.append(layer.kind)
        if users and set(users) == {"Rescaling"}:
            return Fraction(1), self.offset, "the model rescales its input itself: it is taken to be the integers 0 to 255"
        return Fraction(1, 255), self.offset, "the model's input is taken to be pixel / 255 (--input-scale sets another)"

    def inputs(self):
        if len(self.graph.inputs) != 1:
            raise Inexpressible(f"the model has {len(self.graph.inputs)} inputs", "one input")
        source, = self.graph.inputs
        shape = source.config["shape"]
        if len(shape) not in (2, 3, 4) or None in shape[1:] or min(shape[1:]) < 1:
            raise Inexpressible(f"input {source.name!r} has the shape {tuple('?' if v is None else v for v in shape)}",
                                "(N, C), (N, H, W) or (N, H, W, C), all but N fixed")
        if shape[0] not in (None, 1):
            raise Inexpressible(f"input {source.name!r} has a fixed batch of {shape[0]}", "a batch of 1, or an open one")
        scale, offset, assumed = self._given(source)
        if assumed:
            self.assume(assumed)
        try:
            type = TensorType(shape[1:] if len(shape) != 3 else (*shape[1:], 1), *self.limits)
        except NetworkError as error:
            raise Inexpressible(f"input {source.name!r}: {error}") from None
        self.values[source.key] = self.build.input("image" if len(shape) > 2 else "x", type, AXES[len(shape) - 1], scale, offset)

    # Layers

    def _result(self, layer):
        kind = bare(layer.kind)
        if kind in CODE:
            raise Inexpressible("it holds Python code, which is never run", "layers of Keras, Larq and QKeras")
        if kind in MODELS:
            raise Inexpressible("it is a model inside the model", "layers alone: rebuild the model from the inner one's layers")
        if kind not in HANDLERS and kind not in JOINING:
            raise Inexpressible("this layer is not known", ACCEPTED)
        layer.check_type()
        said = {key: value for key, value in layer.arguments.items() if value not in IGNORED.get(key, ())}
        if said:
            raise Inexpressible(f"it is called with {str(said)[:60]}", "calls with tensors alone")
        values = [self.values[key] for key in layer.inputs]
        self.work += sum(value.value.channels if isinstance(value, Padded) else value.channels for value in values)
        if self.work > MOST_WORK:
            raise Inexpressible("up to here the model has more channels than a network of its kind needs", "a smaller model")
        if kind in JOINING:
            if len(values) < 2:
                raise Inexpressible(f"it has {len(values)} inputs", "two or more")
            return JOINING[kind](self, layer, values)
        if len(values) != 1:
            raise Inexpressible(f"it has {len(values)} inputs", "one")
        return HANDLERS[kind](self, layer, values[0])

    def _stand_in(self, layer):
        """A value to go on with behind a layer that was refused."""
        first = self.values[layer.inputs[0]] if layer.inputs else None
        first = first.value if isinstance(first, Padded) else first
        if first is None:
            return None
        shape = self.expected or first.type.shape
        try:
            return self.build.assumed(shape, first.axes if len(shape) == len(first.type.shape) else AXES[len(shape)])
        except Inexpressible:       # too big: what follows says nothing
            return None

    def layers(self):
        for layer in self.graph.layers:
            if any(self.values.get(key) is None for key in layer.inputs) or self.work > MOST_WORK:
                self.values[layer.key] = None
                continue
            self.expected, made = None, len(self.build.operations)
            try:
                result = self._result(layer)
            except (Inexpressible, *DAMAGE) as error:
                said = " ".join(f"{type(error).__name__}: {error}".split())
                known = isinstance(error, Inexpressible)
                self.problems.append(Problem(layer.name, layer.kind, *((error.reason, error.accepted) if known else
                                                                       (f"its settings do not fit it ({said})",))))
                result = self._stand_in(layer)
            # Only scaled: should that need an operation, it is called as this layer.
            only_scaled = isinstance(result, Value) and len(self.build.operations) == made
            self.values[layer.key] = replace(result, label=layer.name) if only_scaled else result

    def output(self):
        if len(self.outputs) != 1:
            raise Inexpressible(f"the model has {len(self.outputs)} outputs", "one output")
        value = self.values[self.outputs[0]]
        if not isinstance(value, Value) or value.axes != "NC" or value.channels < 2:
            raise Inexpressible(f"the model's output has the shape {value.shape}", "scores (N, classes) of two classes or more")
        return self.build.argmax("class", value)

    def network(self):
        try:
            self.inputs()
            self.layers()
            return None if self.problems else self.build.finish([self.output()])
        except (Inexpressible, NetworkError) as error:
            self.problems.append(Problem("", "", error.reason, error.accepted) if isinstance(error, Inexpressible)
                                 else Problem("", "", str(error)))
        return None


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path, *, input_scale=None, input_offset=0, input_limits=None):
    """The network of a Keras .h5 file.

    Parameters
    ----------
    path : path of the file
    input_scale, input_offset : numbers
        The model's input is ``scale * integer + offset``. Where no scale is given: 1 where the model takes integers or begins
        with a Rescaling, else 1/255.
    input_limits : (lo, hi, step), optional
        The integers that the user sends; 0 to 255 where it is not given.

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
    stored = stored_in(path)
    try:
        walk = _Walk(stored, graph_of(stored.model), None if input_scale is None else Fraction(input_scale),
                     Fraction(input_offset), input_limits or PIXELS)
        network = walk.network()
    except Inexpressible as error:
        raise Refusal(path, [Problem("", "", error.reason, error.accepted)]) from None
    except DAMAGE as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise Refusal(path, [Problem("", "", f"its model_config does not fit together ({said})")]) from None
    if walk.problems:
        raise Refusal(path, walk.problems)
    imported = {"kind": "Keras .h5", "file": path.name, "file_sha256": _digest(path)}
    imported |= stored.versions | walk.facts | walk.build.facts
    provenance = {"imported": imported, "float32_ties": walk.build.ties, "float32_ties_total": walk.build.tied}
    return Artifact(network, (), provenance)
