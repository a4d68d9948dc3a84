"""Networks: a graph of integer operations with named edges.

An operation has a name, and the edge that it produces has the same name; its inputs are the names of other edges.
A :class:`Network` checks itself when it is made, so whatever holds one holds a correct one. What an operation *means* is
in :mod:`bnnhw.reference`; what it becomes in hardware is in :mod:`bnnhw.lower`.

Arrays are channel-last. Every tensor has a shape and the values ``lo, lo + step, ..., hi``.
"""

import hashlib
import json

import numpy as np

from .operations import Add, Affine, ArgMax, Dense, Flatten, Input, Operation, Threshold
from .sparse import GroupSum, Lookup, Thermometer
from .spatial import Conv2d, DepthwiseConv2d, MaxPool2d, SumPool2d
from .tensors import NetworkError, TensorType

__all__ = ["NetworkError", "TensorType", "Operation", "Input", "Flatten", "Threshold", "Dense", "Conv2d", "DepthwiseConv2d",
           "MaxPool2d", "SumPool2d", "Affine", "Add", "Thermometer", "Lookup", "GroupSum", "ArgMax", "OPERATIONS", "Network"]

OPERATIONS = {kind.__name__: kind for kind in (Input, Flatten, Threshold, Dense, Conv2d, DepthwiseConv2d, MaxPool2d, SumPool2d,
                                               Affine, Add, Thermometer, Lookup, GroupSum, ArgMax)}


class Network:
    """A validated graph of operations.

    Parameters
    ----------
    operations : iterable of Operation
        In any order; names are unique; every input edge is produced by one of them; no cycle.
    outputs : sequence of str
        Edges that the network gives, at least one.

    Attributes
    ----------
    operations : dict name -> Operation
        In topological order (of equals, the order given).
    types : dict name -> TensorType
        The type of each edge.
    inputs, outputs : tuple of str

    Raises
    ------
    NetworkError
        Naming the operation that is wrong and why.
    """
    def __init__(self, operations, outputs):
        given = {}
        for operation in operations:
            if operation.name in given:
                raise NetworkError(f"operation {operation.name!r}: the name is taken twice")
            given[operation.name] = operation
        self.outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        self.operations = self._sorted(given)
        self.inputs = tuple(name for name, op in self.operations.items() if isinstance(op, Input))
        if not self.inputs:
            raise NetworkError("the network has no Input")
        if not self.outputs:
            raise NetworkError("the network has no outputs")
        for name in self.outputs:
            if name not in self.operations:
                raise NetworkError(f"output {name!r} is produced by no operation; there are {list(self.operations)}")
        self.types = {}
        for name, operation in list(self.operations.items()):
            try:
                types = [self.types[source] for source in operation.inputs]
                self.types[name] = operation.infer(*types)
                if isinstance(operation, (Threshold, Thermometer)):
                    self.operations[name] = operation.normal(*types)
            except NetworkError as error:
                raise NetworkError(f"operation {name!r}: {error}") from None
        for name in self.operations:
            if not self.consumers(name) and name not in self.outputs:
                raise NetworkError(f"operation {name!r}: nothing uses its result and it is not an output")

    @staticmethod
    def _sorted(given):
        for operation in given.values():
            for source in operation.inputs:
                if source not in given:
                    raise NetworkError(f"operation {operation.name!r}: input {source!r} is produced by no operation")
        placed, waiting = {}, dict(given)
        while waiting:
            ready = next((op for op in waiting.values() if all(s in placed for s in op.inputs)), None)
            if ready is None:
                raise NetworkError(f"operation {next(iter(waiting))!r}: it is on a cycle")
            placed[ready.name] = waiting.pop(ready.name)
        return placed

    def consumers(self, edge):
        """Names of the operations that take ``edge``, in topological order."""
        return [name for name, op in self.operations.items() if edge in op.inputs]

    def describe(self):
        """The graph as plain JSON values, without the arrays; the same for equal graphs."""
        def plain(value):
            return vars(value) | {"shape": list(value.shape)} if isinstance(value, TensorType) else value
        return {
            "operations": [{"kind": op.kind, "name": name, "inputs": list(op.inputs)}
                           | {key: plain(getattr(op, key)) for key in op.settings}
                           for name, op in self.operations.items()],
            "outputs": list(self.outputs),
        }

    @property
    def digest(self):
        """SHA-256 (hex) over the graph and all its integers: what the hardware computes, and nothing else."""
        state = hashlib.sha256(json.dumps(self.describe(), sort_keys=True, separators=(",", ":")).encode())
        for operation in self.operations.values():
            for key in operation.arrays:
                array = np.ascontiguousarray(getattr(operation, key), dtype="<i8")
                state.update(f"{operation.name}.{key}{array.shape}".encode() + array.tobytes())
        return state.hexdigest()
