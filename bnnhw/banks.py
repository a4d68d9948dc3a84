"""Banks: thresholds and affines of which each task of a network has its own, chosen by a task number that comes with the input.

In continual learning (Laborieux et al., "Synaptic metaplasticity in binarized neural networks", Nature Communications 12:2549,
2021, arXiv:2003.03533) all tasks share the weights, and each has its own batch norms. The task number is an edge of its
own: the :class:`~bnnhw.operations.Input` of shape () that banks name as their second input.
"""

import numpy as np

from .operations import Affine, Operation, Threshold
from .tensors import NetworkError, TensorType, integer, integers

__all__ = ["BankAffine", "BankThreshold"]


class _Banks(Operation):
    """Base: the second input is the task number; ``array`` below has a leading axis of banks."""
    def __init__(self, name, source, task):
        super().__init__(name, source, task)

    @property
    def tasks(self):
        """Number of banks."""
        return len(getattr(self, self.arrays[0]))

    @property
    def banks(self):
        """What stands in its place for each task: a list of operations."""
        return [self.bank(task) for task in range(self.tasks)]

    def check_task(self, type):
        """Raise :exc:`NetworkError` unless ``type`` is that of a task number of so many tasks, two or more."""
        if self.tasks < 2:
            raise NetworkError("banks are for two tasks or more")
        if type != TensorType((), 0, self.tasks - 1):
            raise NetworkError(f"the task must be a scalar of 0 to {self.tasks - 1}, one for each bank, not of shape "
                               f"{type.shape}, {type.lo} to {type.hi} by {type.step}")


class BankThreshold(_Banks):
    """A :class:`~bnnhw.operations.Threshold` whose levels are those of the task.

    Parameters
    ----------
    levels : int array (B, C, L)
        Of each bank what a Threshold has; kept in normal form.
    falling : bool array (B, C)
    base, step : int
        The same for all.
    """
    arrays = ("levels", "falling")
    settings = ("base", "step")

    def __init__(self, name, source, task, levels, falling, base=-1, step=2):
        super().__init__(name, source, task)
        try:
            self.levels = integers("levels", levels, 3)
            falling = integers("falling", falling, 2)
            if falling.shape != self.levels.shape[:2]:
                raise NetworkError(f"falling has {falling.shape} banks and channels, levels {self.levels.shape[:2]}")
            if np.any((falling != 0) & (falling != 1)):
                raise NetworkError("falling must be false or true")
            self.base, self.step = integer("base", base), integer("step", step)
            if self.step < 1:
                raise NetworkError(f"step must be at least 1, not {self.step}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None
        self.falling = falling.astype(bool)
        self.falling.setflags(write=False)

    def bank(self, task):
        """The Threshold of ``task``."""
        return Threshold(self.name, self.inputs[0], self.levels[task], self.falling[task], self.base, self.step)

    def infer(self, type, task):
        self.check_task(task)
        return self.bank(0).infer(type)

    def normal(self, type, task):
        """The same function of an input of ``type``, with levels in normal form."""
        levels = np.stack([bank.normal(type).levels for bank in self.banks])
        return BankThreshold(self.name, *self.inputs, levels, self.falling, self.base, self.step)


class BankAffine(_Banks):
    """An :class:`~bnnhw.operations.Affine` whose scales and offsets are those of the task.

    Parameters
    ----------
    scale, offset : int array (B, C)
    """
    arrays = ("scale", "offset")

    def __init__(self, name, source, task, scale, offset):
        super().__init__(name, source, task)
        try:
            self.scale, self.offset = integers("scale", scale, 2), integers("offset", offset, 2)
            if self.scale.shape != self.offset.shape:
                raise NetworkError(f"scale has {self.scale.shape} banks and channels, offset {self.offset.shape}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    def bank(self, task):
        """The Affine of ``task``."""
        return Affine(self.name, self.inputs[0], self.scale[task], self.offset[task])

    def infer(self, type, task):
        """The range is that of all banks together."""
        self.check_task(task)
        for bank in self.banks:
            bank.infer(type)
        whole = Affine(self.name, self.inputs[0], self.scale.reshape(-1), self.offset.reshape(-1))
        found = whole.infer(TensorType((self.scale.size,), type.lo, type.hi, type.step))
        return TensorType(type.shape, found.lo, found.hi, found.step)
