"""Data of the user's own: a folder of pictures, an .npz file, a CSV file with a header."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets import Split
from ..tables import folds
from . import arrays, table
from .encoding import OwnDataError, parse

__all__ = ["TABLES", "Inputs", "OwnData", "OwnDataError", "inputs", "load"]

TABLES = (".csv", ".tsv")
ROWS_MIN = 10
TEST_FOLDS, TEST_SEED = 5, 0        # one of so many parts is for the test; of the lot


@dataclass(frozen=True)
class OwnData:
    """What :func:`load` gives: two :class:`~bnnhw.datasets.Split`, the ``encoding`` (plain values, for an artifact) and ``facts``
    (plain values: name of the file or folder, rows, rows for training and test, SHA-256 of all inputs and labels)."""
    train: Split
    test: Split
    encoding: dict
    facts: dict


@dataclass(frozen=True)
class Inputs:
    """Rows of a file as a network takes them.

    Attributes
    ----------
    x : int array (N, *shape)
    labels : int64 array (N,) or None
        None where the file has none.
    greatest : int
        What an element can be, from 0 on.
    names : list of str
        What a message calls each.
    part : str
        Which rows of the file they are: ``"all"`` or ``"test"``.
    """
    x: np.ndarray
    labels: object
    greatest: int
    names: list
    part: str


class _Joined:
    """Two files, of which the second is for the test."""
    def __init__(self, train, test):
        for part in (train, test):
            if part.labels is None:
                raise OwnDataError(f"{part.file}: there are no labels in it")
        self.first, self.second = train, test
        self.labels, self.classes = train.labels + test.labels, train.classes
        self.test = np.arange(len(train) + len(test)) >= len(train)

    def __len__(self):
        return len(self.labels)

    def where(self, row):
        return self.second.where(row - len(self.first)) if row >= len(self.first) else self.first.where(row)

    def learn(self, rows):
        return self.first.learn(rows[:len(self.first)])

    def encode(self, encoding):
        return np.concatenate([part.encode(encoding) for part in (self.first, self.second)])


def _read(path, *, label=None, labelled=True, size=None, grey=False):
    path = Path(path)
    if path.is_dir():
        from . import pictures  # pillow comes with an extra
        return pictures.folder(path, size, grey)
    if path.suffix.lower() == ".npz":
        return arrays.read(path)
    if path.suffix.lower() in TABLES:
        return table.read(path, label, labelled=labelled)
    if not path.exists():
        raise OwnDataError(f"{path}: there is no such file")
    if not labelled:
        from . import pictures
        if path.suffix.lower() in pictures.SUFFIXES:
            return pictures.Pictures([path])
    raise OwnDataError(f"{path}: it must be a folder of pictures, an .npz file or a .csv file")


def _order(source):
    """The classes: as the file says, else as numbers rise, else by alphabet."""
    if source.classes is not None:
        return source.classes
    found = set(source.labels)
    try:
        numbers = {name: float(name) for name in found}
    except ValueError:
        return tuple(sorted(found))
    if wrong := [name for name, number in numbers.items() if not math.isfinite(number)]:
        row = min(source.labels.index(name) for name in wrong)
        raise OwnDataError(f"{source.where(row)}: a class must be finite where classes are numbers, not {source.labels[row]}")
    return tuple(sorted(found, key=lambda name: (numbers[name], name)))


def _parts(source, path):
    """Bool array (N,): the rows for the test."""
    names = sorted(set(source.labels))
    if len(names) < 2:
        raise OwnDataError(f"{path}: all {len(source):,} rows are of one class, {names[0]!r} ({source.where(0)}, ...): "
                           "there must be two at least")
    if len(source) < ROWS_MIN:
        raise OwnDataError(f"{path}: {len(source)} rows are too few: there must be {ROWS_MIN} at least")
    places = {name: place for place, name in enumerate(names)}
    labels = np.array([places[label] for label in source.labels])
    if source.test is None:
        if len(rare := np.flatnonzero(np.bincount(labels)[labels] < 2)):
            column = f" (column {source.label!r}; --label names another)" if hasattr(source, "label") else ""
            raise OwnDataError(f"{source.where(rare[0])}: no other row has its class, {source.labels[rare[0]]!r}{column}")
        return folds(labels, TEST_FOLDS, TEST_SEED) == 0
    if len(unseen := np.flatnonzero(~np.isin(labels, labels[~source.test]))):
        raise OwnDataError(f"{source.where(unseen[0])}: no row of the training has its class, {source.labels[unseen[0]]!r}")
    return source.test


def _digest(x, labels, test):
    """SHA-256 of inputs, labels, and what is for the test."""
    state = hashlib.sha256(f"{x.shape} {test is None}".encode())
    for part in (np.ascontiguousarray(x, "<i4"), "\0".join(labels or ()).encode(), b"" if test is None else test.tobytes()):
        state.update(part)
    return state.hexdigest()


def load(path, test_path=None, *, label=None, size=None, grey=False):
    """Data to train on.

    A fifth of each class is the test part, drawn by a lot that never changes, unless the data say what is for the test: a second
    file or folder, folders ``train`` and ``test``, arrays ``x_train`` and ``x_test``. What inputs become is learned from the
    training part alone.

    Parameters
    ----------
    path : path
        A folder with a folder of pictures for each class, an .npz file (:mod:`bnnhw.owndata.arrays`), a CSV file with a header.
    test_path : path, optional
        The test part, of the same kind.
    label : str, optional
        The CSV file's column of classes; by default the last.
    size : (rows, columns), optional
        To which pictures of a folder are scaled and cut.
    grey : bool
        Whether their colours are left out.

    Returns
    -------
    OwnData

    Raises
    ------
    OwnDataError
        One line that names file and row, column or picture.
    """
    source = _read(path, label=label, size=size, grey=grey)
    if test_path is not None:
        if source.test is not None:
            raise OwnDataError(f"{path}: it says itself what is for the test, so that {test_path} cannot")
        second = _read(test_path, label=getattr(source, "label", None), size=size, grey=grey)
        if type(source) is not type(second):
            raise OwnDataError(f"{test_path}: it must be of the same kind as {path}")
        source = _Joined(source, second)
    if source.labels is None:
        raise OwnDataError(f"{path}: there are no labels in it")
    test = _parts(source, path)
    encoding = source.learn(~test)
    x, classes = source.encode(encoding), _order(source)
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places[label] for label in source.labels], np.int64)
    train, held = (Split(x[rows], labels[rows], classes, encoding.greatest) for rows in (~test, test))
    if (train.images == train.images[0]).all():
        raise OwnDataError(f"{path}: all {len(train.images):,} inputs for the training are equal: there is nothing to learn from")
    facts = {"name": Path(path).resolve().name, "rows": len(x), "train_rows": len(train.labels), "test_rows": len(held.labels),
             "sha256": _digest(x, source.labels, source.test)}
    return OwnData(train, held, encoding.model_dump(mode="json"), facts)


def inputs(found, path):
    """A file's rows, or pictures, as the network of the artifact ``found`` takes them.

    Of the very data that it was trained on only the test part is taken; of others all.

    Returns
    -------
    Inputs

    Raises
    ------
    OwnDataError
        The network was not trained on data of this kind, or a row has a value or a class that it does not know; the message names
        it.
    """
    encoding = parse(found.encoding)
    source = _read(path, label=getattr(encoding, "label", None), labelled=False)
    if isinstance(source, table.Table) != (encoding.kind == "table"):
        raise OwnDataError(f"{path}: the network takes {'rows of a table' if encoding.kind == 'table' else 'pictures'}")
    x = source.encode(encoding)
    labels = None
    if source.labels is not None:
        places = {name: place for place, name in enumerate(found.classes)}
        for row, label in enumerate(source.labels):
            if label not in places:
                raise OwnDataError(f"{source.where(row)}: the network knows no class {label!r}; it knows {', '.join(places)}")
        labels = np.array([places[label] for label in source.labels], np.int64)
    rows, part = np.ones(len(x), bool), "all"
    if _digest(x, source.labels, source.test) == found.provenance.get("data", {}).get("sha256"):
        rows, part = _parts(source, path), "test"
    chosen = np.flatnonzero(rows)
    return Inputs(x[chosen], None if labels is None else labels[chosen], encoding.greatest,
                  [source.where(row) for row in chosen], part)
