"""Tables as data sets: German credit as integers, parts drawn by lot."""

import numpy as np

__all__ = ["CREDIT_COLUMNS", "folds", "german_credit", "parts"]

# Of german.data: (attribute, whether its values are codes of categories, A11, A12, ...).
CREDIT_COLUMNS = (
    ("checking account", True), ("duration in months", False), ("credit history", True), ("purpose", True),
    ("credit amount in DM", False), ("savings", True), ("employed since", True), ("instalments in % of income", False),
    ("sex and marital status", True), ("other debtors", True), ("resident since", False), ("property", True),
    ("age in years", False), ("other instalment plans", True), ("housing", True), ("existing credits", False), ("job", True),
    ("people liable for", False), ("telephone", True), ("foreign worker", True))
TEST_FOLDS, TEST_SEED = 5, 0        # one of so many parts of German credit is the test set; of the lot


def german_credit(files):
    """Features (N, 20) and labels (N,) of UCI's german.data, {name: bytes}: 0 is a good risk, 1 a bad one.

    Numbers are taken as they are. The category A34 of attribute 3 is 4, A410 of attribute 4 is 10: what follows the
    attribute's number.
    """
    (data,) = files.values()
    rows = [line.split() for line in data.decode().splitlines()]
    codes = [[int(field.removeprefix(f"A{k}")) for k, field in enumerate(row, 1)] for row in rows]
    table = np.array(codes, np.int32)
    return table[:, :-1], table[:, -1] - 1


def folds(labels, count, seed):
    """A number from 0 to ``count - 1`` for each row: parts of equal size, in which each class has its share (but for rounding).

    Drawn by numpy's RandomState, whose stream is frozen: the same for ever.

    Parameters
    ----------
    labels : int array (N,)
    count, seed : int
    """
    generator, found = np.random.RandomState(seed), np.empty(len(labels), np.int64)
    given = 0
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        found[rows] = (given + np.arange(len(rows))) % count        # where the last class ended, so that sizes differ by one
        given += len(rows)
    return found


def parts(labels):
    """{split: its rows, in order}: a fifth for the test, four for training, and all."""
    fold = folds(labels, TEST_FOLDS, TEST_SEED)
    return {"train": np.flatnonzero(fold), "test": np.flatnonzero(fold == 0), "all": np.arange(len(labels))}
