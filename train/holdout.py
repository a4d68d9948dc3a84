"""A part of the training set that is held out: which epoch is the best, and when there is none better to come.

The test set has no say in either.
"""

from dataclasses import replace

import numpy as np
import torch

from ..errors import UserError
from .layers import BatchNorm
from .loop import accuracy, reestimate

__all__ = ["HeldOut", "HoldOutError", "best", "parted"]

SEED = 1            # of the lot
STATISTICS = 5000   # training images of which batch norm's statistics are taken to try an epoch


class HoldOutError(UserError, ValueError):
    """A share that is nothing."""


def parted(split, percent):
    """Two :class:`~bnnhw.datasets.Split`: ``split`` without ``percent`` of each class, and these; by a lot that never changes.

    Raises :exc:`HoldOutError` where so small a share of each class is nothing.
    """
    generator, held = np.random.RandomState(SEED), np.zeros(len(split.labels), bool)     # whose stream is frozen
    for label in np.unique(split.labels):
        rows = generator.permutation(np.flatnonzero(split.labels == label))
        held[rows[:round(len(rows) * percent / 100)]] = True
    if not held.any():
        raise HoldOutError(f"--hold-out {percent}: that is no image at all of {len(held)}")
    return tuple(replace(split, images=split.images[rows], labels=split.labels[rows]) for rows in (~held, held))


class HeldOut:
    """Tries a network on what was held out, as export would leave it: batch norm's running averages lag behind.

    Parameters
    ----------
    images : uint8 or int32 tensor (N, ...)
        Training images, of which the first 5,000 give the statistics.
    split : Split
    """
    def __init__(self, images, split):
        self._statistics = images[:STATISTICS]
        self._images, self._labels = torch.from_numpy(np.ascontiguousarray(split.images)), torch.from_numpy(split.labels)

    def accuracy(self, model):
        """Share of the held-out part that ``model`` gets right. Its own statistics are left as they were."""
        norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
        before = [(norm.mean.clone(), norm.var.clone()) for norm in norms]
        reestimate(model, self._statistics)
        found = accuracy(model, self._images, self._labels)
        for norm, (mean, var) in zip(norms, before, strict=True):
            norm.mean.copy_(mean)
            norm.var.copy_(var)
        return found


def best(metrics):
    """The epoch of the greatest accuracy on the held-out part, the first of equals, of those that can be exported; 0 for none."""
    fit = [row for row in metrics if row.get("exportable", True)]      # earlier versions did not write the key
    return max(fit, key=lambda row: (row["held_accuracy"], -row["epoch"]))["epoch"] if fit else 0
