"""Full adders of three inputs that several groups of rows can share."""

from itertools import combinations

import numpy as np

__all__ = ["shared_triples"]

BLOCK = 256         # inputs at a time: triples within a block only, so that there are not too many


def _candidates(members, n_in):
    """Keys of all triples of each class, and the class of each; ``members`` are lists of literals 2 * input + negative."""
    keys, owners = [], []
    for owner, literals in enumerate(members):
        blocks = {}
        for literal in sorted(literals):
            blocks.setdefault(literal // (2 * BLOCK), []).append(literal)
        for block in blocks.values():
            if len(block) < 3:
                continue
            at = np.array(list(combinations(range(len(block)), 3)))
            triples = np.array(block, np.int64)[at]
            triples ^= (triples[:, :1] & 1)         # the first one positive: a full adder is its own dual
            keys.append((triples[:, 0] * 2 * n_in + triples[:, 1]) * 2 * n_in + triples[:, 2])
            owners.append(np.full(len(at), owner))
    if not keys:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys, owners = np.concatenate(keys), np.concatenate(owners)
    order = np.argsort(keys, kind="stable")
    return keys[order], owners[order]


def shared_triples(members, quota, n_in):
    """Choose triples of inputs whose full adder serves two classes or more, each input at most once per class.

    Parameters
    ----------
    members : list of list of (int, int)
        Of each class: (column, sign).
    quota : list of int
        How many triples each class can use.
    n_in : int

    Returns
    -------
    list of list of tuple
        Of each class: triples of its (column, sign).
    """
    literals = [[2 * column + (sign < 0) for column, sign in member] for member in members]
    keys, owners = _candidates(literals, n_in)
    chosen, free, quota = [[] for _ in members], [set(own) for own in literals], list(quota)
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    first, keys, owners = first.tolist(), keys.tolist(), owners.tolist()
    for least in range(int(counts.max(initial=1)), 1, -1):
        for at in np.flatnonzero(counts >= least).tolist():
            start = first[at]
            rest, c = divmod(keys[start], 2 * n_in)
            a, b = divmod(rest, 2 * n_in)
            able = []
            for owner in owners[start:start + int(counts[at])]:
                if quota[owner]:
                    own = free[owner]
                    if a in own and b in own and c in own:
                        able.append((owner, 0))
                    elif a ^ 1 in own and b ^ 1 in own and c ^ 1 in own:
                        able.append((owner, 1))
            if len(able) >= least:
                for owner, flip in able:
                    triple = [a ^ flip, b ^ flip, c ^ flip]
                    free[owner].difference_update(triple)
                    quota[owner] -= 1
                    chosen[owner].append(tuple((literal >> 1, -1 if literal & 1 else 1) for literal in triple))
    return chosen
