"""From the counts of classes of inputs to the sums of the rows.

Rows are taken in groups. To a group every input is one of few classes: inputs with the same weights in these rows, up to
one common sign, always count together, so each class is counted once. Two halves of a group are then served from the same counts:
the classes that agree on one half differ only in how they weigh on the other, and a sum and a difference of two counts
serves both halves. With four rows that is the "method of four Russians", transposed.
"""

from .circuit import FALSE
from .numbers import butterfly, negate

__all__ = ["classes", "halves", "numbers_of", "partner"]


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


def partner(pattern):
    """The class with which this one goes into a butterfly as its first operand, or None where it is the second or has none."""
    left = len(pattern) // 2
    ours, theirs = pattern[:left], pattern[left:]
    first = any(ours) and next((w for w in theirs if w), 0) > 0
    return ours + tuple(-w for w in theirs) if first else None


def halves(circuit, counts, rows, total, carries):
    """From the counts of a group to those of its single rows and pairs of rows.

    Parameters
    ----------
    circuit : Circuit
    counts : dict
        Pattern -> list of :class:`~.numbers.Number`.
    rows : int
        Length of a pattern.
    total : callable (circuit, list of Number) -> Number
    carries : dict
        Pattern that has a :func:`partner` -> literal of an input of that class which was not counted with it.

    Returns
    -------
    list of (int, dict)
        One or two rows, and the same for these; in order. Row k is the sum of ``pattern[k]`` times the numbers of each pattern.
    """
    if rows <= 2:
        return [(rows, counts)]
    left = rows // 2
    joined, lefts, rights = {}, {}, {}
    spare = {(pattern[:left], pattern[left:]): literal for pattern, literal in carries.items()}
    for pattern, values in counts.items():
        value = total(circuit, values)
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
            p, d = butterfly(circuit, signed[1], signed[-1], spare.get((ours, theirs), FALSE))
        else:
            (sign, p), = signed.items()
            d = p if sign > 0 else negate(p)
        lefts.setdefault(ours, []).append(p)
        rights.setdefault(theirs, []).append(d)
    return halves(circuit, lefts, left, total, {}) + halves(circuit, rights, rows - left, total, {})


def numbers_of(circuit, rows, counts, total):
    """The sums of the one or two ``rows`` of ``counts``, an element of what :func:`halves` returns."""
    if rows == 1:
        return [total(circuit, [value for values in counts.values() for value in values])]
    plus, minus = (total(circuit, counts.get(pattern, [])) for pattern in ((1, 1), (1, -1)))
    if plus.bits and minus.bits:
        p, d = butterfly(circuit, plus, minus)
    else:
        p, d = (plus, plus) if plus.bits else (minus, negate(minus))
    return [total(circuit, [p, *counts.get((1, 0), [])]), total(circuit, [d, *counts.get((0, 1), [])])]
