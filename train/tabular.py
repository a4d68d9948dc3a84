"""Networks on tables: a column's levels are quantiles of the training rows; classes of different costs."""

import numpy as np

from ..datasets import WORD
from ..ir import Affine, ArgMax, Network
from .sparse import SparseNet

__all__ = ["TableNet", "at_costs", "column_levels", "pixel_levels"]

PIXEL_TAIL = 0.02   # share of the images at either end that does not count for a pixel's range


def column_levels(rows, count, never):
    """Levels for each column of a table, learned from ``rows``.

    A column that has at most ``count + 1`` different values gets each but the lowest, so that any set of categories can be told
    by a few bits; the others get ``count`` quantiles, equal ones once. Columns with fewer levels than others are filled with
    ``never``.

    Parameters
    ----------
    rows : int array (N, columns)
        Of the training alone.
    count : int
        The most that a column gets.
    never : int
        More than any value.

    Returns
    -------
    int64 array (columns, L)
        Rising in each row.
    """
    found = []
    for column in np.sort(rows, axis=0).T:
        values = np.unique(column)
        if len(values) > count + 1:
            values = np.unique(column[[k * len(column) // (count + 1) for k in range(count + 1)]])
        found.append(values[1:])
    size = max(map(len, found))
    return np.array([[*own, *[never] * (size - len(own))] for own in found], np.int64)


def pixel_levels(rows, count, never):
    """Levels for each pixel of images, learned from ``rows``: ``count`` that divide its range into equal steps.

    The range is that of the middle 96 % of the rows, or, where those are all equal, of all rows. Arguments and result are as of
    :func:`column_levels`: a pixel that never changes has ``never`` alone.
    """
    ordered = np.sort(rows, axis=0).astype(np.int64)
    cut = round(PIXEL_TAIL * len(rows))
    low, high = ordered[cut], ordered[-1 - cut]
    flat = low == high
    low, high = np.where(flat, ordered[0], low), np.where(flat, ordered[-1], high)
    steps = np.arange(1, count + 1)
    levels = low[:, None] + -(-(high - low)[:, None] * steps // (count + 1))
    return np.where((low == high)[:, None], never, levels)


class TableNet(SparseNet):
    """A :class:`~bnnhw.train.sparse.SparseNet` whose levels differ from column to column.

    Takes int32 rows (N, columns) of 0 to :attr:`greatest`; the :class:`~bnnhw.train.recipe.TableRecipe` says how many levels a
    column has at most.
    """
    greatest = WORD

    @classmethod
    def encoder(cls, recipe, rows):
        return column_levels(rows, recipe.column_levels, cls.greatest + 1)


def at_costs(network, model, costs):
    """``network``, which decides for the likelier class, made to decide for the one whose error would cost more.

    The model takes the exponential of a class's score as its odds. So each class's sum of votes or signs gets what the logarithm
    of its cost is in such, rounded: an Affine, for which there is hardware.

    Parameters
    ----------
    network : Network
        Of ``model``, by :func:`~bnnhw.train.export.to_network`.
    model : TableNet or LevelMlp
        Without a batch norm behind its last layer.
    costs : list of float
        Of taking another class for this one, each greater than 0; those of a class are all the same.
    """
    *operations, decision = network.operations.values()
    offset = np.rint(np.log(np.asarray(costs) / min(costs)) / model.score_scale).astype(np.int64)
    costly = Affine("costs", decision.inputs[0], np.ones(len(costs), np.int64), offset)
    return Network([*operations, costly, ArgMax(decision.name, costly.name)], decision.name)
