"""Layers whose weights are constants, as the fewest cells: row groups, shared adders, packed carry chains."""

from .circuit import Circuit, evaluate
from .layers import FABRICS, Layer, counts, layer

__all__ = ["FABRICS", "Circuit", "Layer", "counts", "evaluate", "layer"]
