"""From the counts of classes of inputs to the sums of the rows.

Rows are taken in groups. To a group every input is one of few classes: inputs with the same weights in these rows, up to
one common sign, always count together, so each class is counted once. Two halves of a group are then served from the same counts:
the classes that agree on one half differ only in how they weigh on the other, and a sum and a difference of two counts
serves both halves. With four rows that is the "method of four Russians", transposed.
"""

from .numbers import butterfly, negate, total

__all__ = ["classes", "dot_products"]


def classes(weights):
    """Classes of the columns of ``weights``.

    Parameters
    ----------
    weights : int array (rows, n_in), each -1, 0 or +1

    Returns
    -------
    dict
        Pattern (tuple of weights whose first one that is not 0 is +1) -> list of (column, sign), for columns not all 0.
    """
    found = {}
    for column, pattern in enumerate(map(tuple, weights.T.tolist())):
        sign = next((w for w in pattern if w), 0)
        if sign:
            found.setdefault(tuple(sign * w for w in pattern), []).append((column, sign))
    return found


def dot_products(circuit, counts, rows):
    """The sums of ``pattern[row] * value`` over all patterns, for each row.

    Parameters
    ----------
    circuit : Circuit
    counts : dict
        Pattern -> :class:`~.numbers.Number`.
    rows : int
        Length of a pattern.

    Returns
    -------
    list of Number
    """
    if rows == 1:
        return [total(circuit, counts.values())]
    left = rows // 2
    joined, lefts, rights = {}, {}, {}
    for pattern, value in counts.items():
        ours, theirs = pattern[:left], pattern[left:]
        sign = next((w for w in theirs if w), 0)
        theirs = tuple(sign * w for w in theirs)
        if sign and any(ours):
            joined.setdefault((ours, theirs), {})[sign] = value
        elif sign:
            rights.setdefault(theirs, []).append(value)
        else:
            lefts.setdefault(ours, []).append(value)
    for (ours, theirs), signed in sorted(joined.items()):
        if len(signed) == 2:
            p, d = butterfly(circuit, signed[1], signed[-1])
        else:
            (sign, p), = signed.items()
            d = p if sign > 0 else negate(p)
        lefts.setdefault(ours, []).append(p)
        rights.setdefault(theirs, []).append(d)
    sums = [{pattern: total(circuit, values) for pattern, values in half.items()} for half in (lefts, rights)]
    return dot_products(circuit, sums[0], left) + dot_products(circuit, sums[1], rows - left)
