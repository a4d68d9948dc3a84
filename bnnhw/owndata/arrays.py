"""Arrays of the user's: an .npz file with inputs and labels."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets import PIXEL
from .encoding import OwnDataError, PictureEncoding
from .table import of_array

__all__ = ["Images", "read"]

# Names of (inputs, labels) in files that are around: ours, scikit-learn's habit, Keras', MedMNIST's.
WHOLE = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target"))
APART = ((("x_train", "y_train"), ("x_test", "y_test")),
         (("train_images", "train_labels"), ("test_images", "test_labels")))
EXACT = 2**53       # up to it a float is one integer and no other


@dataclass(frozen=True)
class Images:
    """Pictures as an array ``x``, uint8 (N, H, W, C); the rest is as of :class:`~bnnhw.owndata.table.Table`."""
    file: str
    x: np.ndarray
    labels: object
    test: object
    classes: object
    where: object

    def __len__(self):
        return len(self.x)

    def learn(self, rows):
        """Nothing to learn but the shape."""
        return PictureEncoding(rows=self.x.shape[1], columns=self.x.shape[2], channels=self.x.shape[3])

    def encode(self, encoding):
        """The bytes, uint8 (N, H, W, C). Raises :exc:`OwnDataError` where the network takes others."""
        if self.x.shape[1:] != encoding.shape:
            raise OwnDataError(f"{self.file}: the network takes pictures of shape {encoding.shape}, not {self.x.shape[1:]}")
        return self.x


def _loaded(path):
    if not Path(path).exists():
        raise OwnDataError(f"{path}: there is no such file")
    damaged = OwnDataError(f"{path}: it is not an .npz file, or it is damaged")
    if not zipfile.is_zipfile(path):
        raise damaged
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}     # else bytes of another file
    except (OSError, EOFError, ValueError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise OwnDataError(f"{path}: it holds Python objects; arrays whose rows differ in length cannot be taken") from None
        raise damaged from None


def _images(path, name, x):
    """``x`` as bytes (N, H, W, C)."""
    if x.dtype.kind not in "iu" or x.size and not (0 <= x.min() and x.max() <= PIXEL):
        raise OwnDataError(f"{path}: {name}: pixels must be integers of 0 to {PIXEL}, not {x.dtype}"
                           + (f" of {x.min()} to {x.max()}" if x.size and x.dtype.kind in "iuf" else ""))
    return (x if x.ndim == 4 else x[..., None]).astype(np.uint8)


def _labels(path, name, y, classes):
    """Each row's class as str, ``y`` being (N,) or (N, 1)."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1:
        raise OwnDataError(f"{path}: {name} must have one label for each row, but its shape is {y.shape}")
    if y.dtype.kind == "f" and len(wrong := np.flatnonzero(~(abs(y.astype(np.float64)) <= EXACT) | (y != np.rint(y)))):
        raise OwnDataError(f"{path}: {name}[{wrong[0]}]: a label must be an integer or a word, not {y[wrong[0]]}")
    if y.dtype.kind not in "iufUb":
        raise OwnDataError(f"{path}: {name} must hold integers or words, not {y.dtype}")
    if y.dtype.kind == "U":
        return [str(label) for label in y]
    numbers = [int(label) for label in y]
    if classes is None:
        return [str(label) for label in numbers]
    for row, label in enumerate(numbers):
        if not 0 <= label < len(classes):
            raise OwnDataError(f"{path}: {name}[{row}]: there are {len(classes)} names of classes, none for label {label}")
    return [classes[label] for label in numbers]


def read(path):
    """An .npz file as :class:`Images`; where inputs are (N, columns), as a :class:`~bnnhw.owndata.table.Table`.

    Inputs and labels are called ``images`` and ``labels``, ``x`` and ``y``, or, where the file says what is for the test,
    ``x_train``, ``y_train``, ``x_test``, ``y_test`` (or ``train_images``, ...). ``classes``, if there, names the labels 0, 1, ...

    Raises
    ------
    OwnDataError
        Naming the array and its row.
    """
    arrays = _loaded(path)
    pairs = next((pairs for pairs in (*((pair,) for pair in WHOLE), *APART) if all(x in arrays for x, _ in pairs)), None)
    if pairs is None:
        raise OwnDataError(f"{path}: there must be arrays {' and '.join(WHOLE[0])}, {' and '.join(WHOLE[1])}, or "
                           f"{', '.join(name for pair in APART[0] for name in pair)}; there are {', '.join(arrays) or 'none'}")
    classes = None if arrays.get("classes") is None else tuple(str(name) for name in arrays["classes"].reshape(-1))
    if twice := [name for name in classes or () if classes.count(name) > 1]:
        raise OwnDataError(f"{path}: classes: two have the name {twice[0]!r}")
    xs, labels = [], []
    for x_name, y_name in pairs:
        x, y = arrays[x_name], arrays.get(y_name)
        if x.ndim not in (2, 3, 4) or x.dtype.kind not in "iufb" or not x.size:
            raise OwnDataError(f"{path}: {x_name} must be numbers (N, columns), (N, rows, columns) or (N, rows, columns, "
                               f"channels), not {x.dtype} {x.shape}")
        if y is None and len(pairs) > 1:
            raise OwnDataError(f"{path}: there is {x_name}, but no {y_name}")
        if y is not None:
            labels += _labels(path, y_name, y, classes)
            if len(y) != len(x):
                raise OwnDataError(f"{path}: {x_name} has {len(x)} rows, {y_name} {len(y)}")
        xs.append(_images(path, x_name, x) if x.ndim > 2 else x.astype(np.float64))
    if len({x.shape[1:] for x in xs}) > 1:
        raise OwnDataError(f"{path}: rows of {pairs[0][0]} have shape {xs[0].shape[1:]}, of {pairs[1][0]} {xs[1].shape[1:]}")
    x, first = np.concatenate(xs), len(xs[0])

    def where(row):
        part, place = (0, row) if row < first else (1, row - first)
        return f"{path}: {pairs[part][0]}[{place}]"

    kind = Images if x.ndim > 2 else of_array
    return kind(str(path), x, labels or None, np.arange(len(x)) >= first if len(xs) > 1 else None, classes, where)
