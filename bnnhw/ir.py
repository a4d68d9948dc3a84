"""Networks: a graph of integer operations with named edges.

An operation has a name, and the edge that it produces has the same name; its inputs are the names of other edges.
A :class:`Network` checks itself when it is made, so whatever holds one holds a correct one. What an operation *means* is
in :mod:`bnnhw.reference`; what it becomes in hardware is in :mod:`bnnhw.lower`.

Arrays are channel-last. Every tensor has a shape and the values ``lo, lo + step, ..., hi``.
"""

import hashlib
import json

import numpy as np

from .banks import BankAffine, BankThreshold
from .operations import Add, Affine, ArgMax, Dense, Flatten, Input, Operation, Threshold
from .sparse import GroupSum, Lookup, Thermometer
from .spatial import Conv2d, DepthwiseConv2d, MaxPool2d, SumPool2d
from .tensors import NetworkError, TensorType

__all__ = ["NetworkError", "TensorType", "Operation", "Input", "Flatten", "Threshold", "Dense", "Conv2d", "DepthwiseConv2d",
           "MaxPool2d", "SumPool2d", "Affine", "Add", "Thermometer", "Lookup", "GroupSum", "ArgMax", "BankThreshold",
           "BankAffine", "OPERATIONS", "Network"]

OPERATIONS = {kind.__name__: kind for kind in (Input, Flatten, Threshold, Dense, Conv2d, DepthwiseConv2d, MaxPool2d, SumPool2d,
                                               Affine, Add, Thermometer, Lookup, GroupSum, ArgMax, BankThreshold, BankAffine)}
BANKS = (BankThreshold, BankAffine)


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
        The task number, if there is one, is the last input.
    task : str or None
        The input that says which bank holds (:mod:`bnnhw.banks`), if there are banks.

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
        self.task = self._task()
        self.inputs = tuple(sorted((name for name, op in self.operations.items() if isinstance(op, Input)),
                                   key=lambda name: name == self.task))
        if not self.inputs or self.inputs == (self.task,):
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
                if isinstance(operation, (Threshold, Thermometer, BankThreshold)):
                    self.operations[name] = operation.normal(*types)
            except NetworkError as error:
                raise NetworkError(f"operation {name!r}: {error}") from None
        for name in self.operations:
            if not self.consumers(name) and name not in self.outputs:
                raise NetworkError(f"operation {name!r}: nothing uses its result and it is not an output")

    def _task(self):
        """The one input that banks, and nothing else, take as their task; None where there are no banks."""
        banks = [op for op in self.operations.values() if isinstance(op, BANKS)]
        found = list(dict.fromkeys(op.inputs[1] for op in banks))
        for task in found[:1]:
            if not isinstance(self.operations[task], Input):
                raise NetworkError(f"operation {banks[0].name!r}: its task must be an Input, not what {task!r} gives")
            if len(found) > 1:
                raise NetworkError(f"operation {found[1]!r}: all banks must have the same task, which is {task!r}")
            for op in self.operations.values():
                if task in (op.inputs[:1] if isinstance(op, BANKS) else op.inputs):
                    raise NetworkError(f"operation {op.name!r}: {task!r} is the number of a task, which only chooses banks")
            return task
        return None

    @property
    def tasks(self):
        """How many tasks there are: 1 without banks."""
        return self.types[self.task].levels if self.task else 1

    def of_task(self, task):
        """The network that this one is for one of its tasks: without banks and without the task's input.

        Raises :exc:`NetworkError` where there is no such task.
        """
        if not 0 <= task < self.tasks:
            raise NetworkError(f"the task must be from 0 to {self.tasks - 1}, not {task}")
        return Network([op.bank(task) if isinstance(op, BANKS) else op for name, op in self.operations.items()
                        if name != self.task], self.outputs)

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
