"""Which rows make a group: such that the classes of inputs have sizes that are cheap to count.

A class of 31 inputs has a count of five bits, one of 32 has six, and the adders after it are one digit longer too.
"""

import math

import numpy as np

__all__ = ["grouped"]

STEPS = 300             # exchanges tried per row
HOT, COLD = 8.0, 0.3    # cells by which an exchange may be worse, first and last


def _pair_costs(largest, class_cost):
    """Cells of two classes that one butterfly joins, by their sizes, as an array: counts, its adders and about one after it."""
    counts = [class_cost(n) for n in range(largest + 1)]
    costs = np.zeros((largest + 1, largest + 1))
    for a in range(largest + 1):
        for b in range(largest + 1 - a):
            carry = int(a > 0 and b > 0)        # one input goes into the butterfly's own carry
            costs[a, b] = counts[a - carry] + counts[b] + (3 if a and b else 1) * (a + b).bit_length()
    return costs


class _Costs:
    def __init__(self, weights, rows, class_cost):
        self.positive = weights > 0
        self.pairs = _pair_costs(weights.shape[1], class_cost)
        self.classes = 1 << rows - 1
        self.rows = rows

    def __call__(self, group):
        """Cells of a group of ``rows`` rows, up to what does not depend on the sizes of its classes."""
        bits = self.positive[group]
        index = np.zeros(bits.shape[1], np.int64)
        for k in range(1, self.rows):
            index += (bits[k] == bits[0]).astype(np.int64) << k - 1
        sizes = np.bincount(index, minlength=self.classes)
        left = self.rows // 2
        # classes joined by a butterfly differ in all rows of the second half
        half = sum(1 << k - 1 for k in range(left, self.rows))
        first = np.flatnonzero(np.arange(self.classes) >> left - 1 & 1)
        return self.pairs[sizes[first], sizes[first ^ half]].sum()


def grouped(weights, rows, class_cost):
    """Lists of rows, each a group; by simulated annealing, the same for the same weights.

    Parameters
    ----------
    weights : int8 array (n_out, n_in)
    rows : int
        Of a group; the last one may be smaller.
    class_cost : callable (int) -> float
        Cells with which so many inputs are counted.
    """
    n_out = weights.shape[0]
    order = np.arange(n_out)
    whole = n_out // rows
    if rows == 1 or whole == 0 or n_out == rows and rows < 3:
        return [order[first:first + rows].tolist() for first in range(0, n_out, rows)]
    cost, rng = _Costs(weights, rows, class_cost), np.random.default_rng(0)

    def group(k):
        return order[k * rows:(k + 1) * rows]

    def worth(k):
        return cost(group(k)) if k < whole else 0.0
    costs = [worth(k) for k in range(whole + 1)]
    steps = STEPS * n_out
    for step in range(steps):
        heat = HOT * (COLD / HOT) ** (step / steps)
        a, b = rng.integers(n_out, size=2).tolist()
        order[a], order[b] = order[b], order[a]
        changed = {a // rows, b // rows}
        new = {k: worth(k) for k in changed}
        worse = sum(new.values()) - sum(costs[k] for k in changed)
        if worse <= 0 or rng.random() < math.exp(-worse / heat):
            for k, value in new.items():
                costs[k] = value
        else:
            order[a], order[b] = order[b], order[a]
    return [order[first:first + rows].tolist() for first in range(0, n_out, rows)]
