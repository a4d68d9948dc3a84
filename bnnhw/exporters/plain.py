"""ONNX of standard operators only, in floats that are exact, for any number of examples at once."""

import numpy as np
from onnx import TensorProto

from .onnx_graph import TYPES, Exporter

__all__ = ["to_model"]


class _Plain(Exporter):
    batch = "N"
    floats = (np.float32, np.float64)

    def weights(self, name, values):
        return self.constant(name, values)

    def threshold(self, operation, x, shape):
        name, count = operation.name, operation.levels.shape[1]
        levels = np.where(operation.falling[:, None], -operation.levels, operation.levels)
        if count > 1:   # all levels at once, along a last dimension
            at = self.constant(f"{name}.at", [-1], np.int64)
            x = self.add("Unsqueeze", [x, at], f"{name}.one", (*shape, 1))
        full = (*shape, count) if count > 1 else shape
        levels = levels.reshape(len(levels), *[1] * (len(shape) - 2), *([count] if count > 1 else []))
        x = self.add("GreaterOrEqual", [x, self.constant(f"{name}.levels", levels)], f"{name}.reached", full, TensorProto.BOOL)
        x = self.add("Cast", [x], f"{name}.number", full, to=TYPES[self.float])
        if count > 1:
            x = self.add("ReduceSum", [x, at], f"{name}.count", shape, keepdims=0)
        x = self.add("Mul", [x, self.constant(f"{name}.step", operation.step)], f"{name}.steps", shape)
        return self.add("Add", [x, self.constant(f"{name}.base", operation.base)], name, shape, name=name)


def to_model(network, classes=()):
    """The ONNX model of a network: float32 where every sum is exact in it, else float64.

    Raises
    ------
    ExportError
        Where a sum exceeds what float64 holds exactly.
    """
    return _Plain(network).model(classes)
