"""Operations of sparse networks: encoding of integers as signs, neurons that are lookup tables, votes.

Between them travel signs, -1 and +1, of which +1 is bit 1: a neuron's table is indexed by its inputs' bits.
"""

import numpy as np

from .operations import Operation
from .tensors import NetworkError, TensorType, integer, integers

__all__ = ["Thermometer", "Lookup", "GroupSum", "MOST_INPUTS"]

MOST_INPUTS = 16        # of a neuron: its table has 2**16 bits
MOST_WIRES = 2**31      # of a Lookup's input: indices are kept in 32 bits


def _signs(type):
    if not type.is_bipolar:
        raise NetworkError(f"its input must be signs, -1 or +1, but its values are {type.lo} to {type.hi} by {type.step}")


class Thermometer(Operation):
    """Each integer as L signs: +1 at each level that it reaches, -1 at the others.

    The last dimension grows from C to C * L: the L signs of an element stand side by side, lowest level first, in the
    element's place in stream order. With one level it is a :class:`~bnnhw.operations.Threshold` whose channels rise.

    Parameters
    ----------
    levels : int array (L,), or (n, L) for an input of n elements in stream order
        A sign is +1 where ``s >= level``. In each row no level is below the one before. Kept in normal form: attainable values
        of the input; "always" and "never" are lo and hi + step.
    """
    arrays = ("levels",)

    def __init__(self, name, source, levels):
        super().__init__(name, source)
        try:
            self.levels = integers("levels", levels, 1 if np.ndim(levels) == 1 else 2)
            if np.any(np.diff(self.levels) < 0):
                raise NetworkError("levels must not fall from one to the next")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    def infer(self, type):
        if self.levels.ndim == 2 and len(self.levels) != type.size:
            raise NetworkError(f"levels for {len(self.levels)} elements, but the input has {type.size}")
        return TensorType.bipolar((*type.shape[:-1], type.channels * self.levels.shape[-1]))

    def normal(self, type):
        """The same function of an input of ``type``, with levels in normal form."""
        steps = np.clip(-(-(self.levels - type.lo) // type.step), 0, type.levels)
        return Thermometer(self.name, self.inputs[0], steps * type.step + type.lo)


class Lookup(Operation):
    """A layer of N neurons with k inputs each, whose function of these is any: a table of ``2**k`` signs.

    Neuron n gives ``tables[n, t]``, where bit j of t is 1 if input ``indices[n, j]`` is +1. Takes and gives signs.

    Parameters
    ----------
    indices : int32 array (N, k)
        Which elements of the input vector a neuron takes, from 0. One may occur more than once.
    tables : int8 array (N, 2**k)
        Signs, -1 and +1.

    Source: Wang et al., "LUTNet", 2019, arXiv:1904.00938; learned wiring: Bacellar et al., "Differentiable Weightless Neural
    Networks", 2024, arXiv:2410.11112.
    """
    arrays = ("indices", "tables")

    def __init__(self, name, source, indices, tables):
        super().__init__(name, source)
        try:
            indices, tables = integers("indices", indices, 2), integers("tables", tables, 2)
            size, fan_in = indices.shape
            if fan_in > MOST_INPUTS:
                raise NetworkError(f"a neuron has at most {MOST_INPUTS} inputs, not {fan_in}")
            if tables.shape != (size, 2**fan_in):
                raise NetworkError(f"tables of {size} neurons of {fan_in} inputs must have shape {(size, 2**fan_in)}, not "
                                   f"{tables.shape}")
            if np.any(np.abs(tables) != 1):
                raise NetworkError(f"tables must be -1 or +1, not {int(tables[np.abs(tables) != 1][0])}")
            if indices.min() < 0 or indices.max() >= MOST_WIRES:
                wrong = indices[(indices < 0) | (indices >= MOST_WIRES)]
                raise NetworkError(f"indices must be 0 to {MOST_WIRES - 1}, not {int(wrong[0])}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None
        self.indices, self.tables = indices.astype(np.int32), tables.astype(np.int8)
        self.indices.setflags(write=False)
        self.tables.setflags(write=False)

    def infer(self, type):
        _signs(type)
        if len(type.shape) != 1:
            raise NetworkError(f"its input must be a vector, but its shape is {type.shape}")
        if self.indices.max() >= type.size:
            raise NetworkError(f"it takes element {int(self.indices.max())}, but the input has {type.size}")
        return TensorType.bipolar((len(self.indices),))


class GroupSum(Operation):
    """Votes: how many of each group's signs are +1.

    The input vector's elements fall into ``groups`` groups of equal size, in order. The result is a vector of that many
    counts, 0 to the size of a group.

    Parameters
    ----------
    groups : int
    """
    settings = ("groups",)

    def __init__(self, name, source, groups):
        super().__init__(name, source)
        try:
            self.groups = integer("groups", groups)
            if self.groups < 1:
                raise NetworkError(f"groups must be at least 1, not {self.groups}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    def infer(self, type):
        _signs(type)
        if len(type.shape) != 1 or type.size % self.groups:
            raise NetworkError(f"its input must be a vector that {self.groups} divides, but its shape is {type.shape}")
        return TensorType((self.groups,), 0, type.size // self.groups)
