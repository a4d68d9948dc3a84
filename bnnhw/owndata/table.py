"""Tables of the user's: a CSV file whose first row names the columns."""

import csv
import functools
from dataclasses import dataclass

import numpy as np

from .encoding import MOST_CATEGORIES, Category, Number, OwnDataError, TableEncoding, scale_of

__all__ = ["Column", "Table", "of_array", "read"]

SEPARATORS = ",;\t"
SHOWN = 12      # columns that a message lists
GREATEST = 1e300        # of a number: differences of such are still finite


def _number(cell):
    try:
        return None if "_" in cell else float(cell)     # to Python 1_2 is 12; in a table it is a word
    except ValueError:
        return None


@dataclass(frozen=True)
class Column:
    """A column: ``name``, ``cells`` (a list of str, or a float64 array), ``where`` (a callable: row -> its name in messages)."""
    name: str
    cells: object
    where: object

    @functools.cached_property
    def _values(self):
        """Each cell as a number, or None where it is none."""
        return [_number(cell) for cell in self.cells]

    @functools.cached_property
    def numeric(self):
        """Whether its cells are numbers and not words.

        Raises
        ------
        OwnDataError
            It has both, an empty cell, or more different words than a column of categories can have.
        """
        if isinstance(self.cells, np.ndarray):
            return True
        self._check_filled()
        words = [row for row, value in enumerate(self._values) if value is None]
        if words and all(_number(self.cells[row].replace(",", "")) is not None for row in words):
            raise OwnDataError(f"{self.where(words[0])}, column {self.name!r}: {self.cells[words[0]]!r} is no number here: "
                               "decimals come after a point, and nothing stands between thousands")
        if words and len(words) < len(self.cells):
            few, other = (words[0], "numbers") if 2 * len(words) <= len(self.cells) else (
                next(row for row, value in enumerate(self._values) if value is not None), "words")
            raise OwnDataError(f"{self.where(few)}, column {self.name!r}: {self.cells[few]!r} stands among {other}: a column is "
                               "either numbers or categories")
        if words and len(found := set(self.cells)) > MOST_CATEGORIES:
            raise OwnDataError(f"{self.where(0)}, column {self.name!r}: {self.cells[0]!r} is one of {len(found):,} different "
                               f"words, but a column of categories has {MOST_CATEGORIES} at most: take it out of the file")
        return not words

    def _check_filled(self):
        for row, cell in enumerate(self.cells):
            if not cell:
                raise OwnDataError(f"{self.where(row)}, column {self.name!r}: the cell is empty")

    def numbers(self):
        """The cells as a float64 array. Raises :exc:`OwnDataError` at the first that is no finite number, or too large a one."""
        values = self.cells
        if not isinstance(values, np.ndarray):
            self._check_filled()
            for row, value in enumerate(self._values):
                if value is None:
                    raise OwnDataError(f"{self.where(row)}, column {self.name!r}: it must be a number, not {self.cells[row]!r}")
            values = np.array(self._values, np.float64)
        if len(wrong := np.flatnonzero(~np.isfinite(values))):
            raise OwnDataError(f"{self.where(wrong[0])}, column {self.name!r}: it must be finite, not {values[wrong[0]]}")
        if len(wrong := np.flatnonzero(abs(values) > GREATEST)):
            raise OwnDataError(f"{self.where(wrong[0])}, column {self.name!r}: it must be within -{GREATEST} to {GREATEST}, not "
                               f"{values[wrong[0]]}")
        return values

    def words(self):
        """The cells as a list of str. Raises :exc:`OwnDataError` at the first that is empty."""
        if isinstance(self.cells, np.ndarray):
            return [f"{cell:g}" for cell in self.cells]
        self._check_filled()
        return self.cells


@dataclass(frozen=True)
class Table:
    """Rows of a file.

    Attributes
    ----------
    file : str
        For messages.
    columns : list of Column
        All but that of the classes.
    label : str
        The name of that.
    labels : list of str or None
        Each row's class; None where the file has no such column.
    test : bool array (N,) or None
        Rows that the file says are for the test.
    classes : tuple of str or None
        The classes in the order that the file says.
    where : callable (row) -> str
        A row's name in messages.
    """
    file: str
    columns: list
    label: str
    labels: object
    test: object
    classes: object
    where: object

    def __len__(self):
        return len(self.columns[0].cells)

    def learn(self, rows):
        """The :class:`TableEncoding` of ``rows``, a bool array."""
        return TableEncoding(columns=[_learned(column, rows) for column in self.columns], label=self.label)

    def encode(self, encoding):
        """Integers 0 to 65,535, int32 (N, columns), by a :class:`TableEncoding`, whose columns go by name."""
        return np.stack([own.encode(self.column(own.name)) for own in encoding.columns], axis=1).astype(np.int32)

    def column(self, name):
        """The :class:`Column` of this ``name``. Raises :exc:`OwnDataError` where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise OwnDataError(f"{self.file}: there is no column {name!r}; there are "
                           f"{_listed([column.name for column in self.columns])}")


def _learned(column, rows):
    if column.numeric:
        values = column.numbers()[rows]
        return Number(name=column.name, least=float(values.min()), scale=scale_of(values))
    return Category(name=column.name, values=sorted({cell for cell, chosen in zip(column.cells, rows, strict=True) if chosen}))


def _listed(names):
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _rows(path):
    """(line, cells) of each row that is not empty."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(SEPARATORS, key=first.count), strict=True, skipinitialspace=True)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise OwnDataError(f"{path}, line {reader.line_num}: not CSV: {error}") from None
                if row and any(row):
                    yield reader.line_num, [cell.strip() for cell in row]
    except UnicodeDecodeError:
        raise OwnDataError(f"{path}: it is not text in UTF-8") from None
    except FileNotFoundError:
        raise OwnDataError(f"{path}: there is no such file") from None


def _header(path, names):
    for k, name in enumerate(names, 1):
        if not name or _number(name) is not None:
            raise OwnDataError(f"{path}, line 1: the first row must name the columns, but number {k} of them is {name!r}")
        if name in names[:k - 1]:
            raise OwnDataError(f"{path}, line 1: two columns have the name {name!r}")
    if len(names) < 2:
        raise OwnDataError(f"{path}, line 1: there must be two columns at least, separated by comma, semicolon or tab; "
                           f"there is {names[0]!r}")


def read(path, label=None, *, labelled=True):
    """A CSV file: a row with names, then rows, separated by comma, semicolon or tab.

    Parameters
    ----------
    path : path
    label : str, optional
        The column of the classes; by default the last.
    labelled : bool
        Whether it must be there.

    Raises
    ------
    OwnDataError
        Naming the line of the first row that has another number of cells than the header, or the header's fault.
    """
    rows = _rows(path)
    _, names = next(rows, (0, None))
    if names is None:
        raise OwnDataError(f"{path}: it is empty")
    _header(path, names)
    lines, columns = [], [[] for _ in names]
    for line, cells in rows:
        if len(cells) != len(names):
            raise OwnDataError(f"{path}, line {line}: there are {len(cells)} cells, but {len(names)} columns")
        lines.append(line)
        for column, cell in zip(columns, cells, strict=True):
            column.append(cell)
    if not lines:
        raise OwnDataError(f"{path}: there is no row below the names of the columns")

    def where(row):
        return f"{path}, line {lines[row]}"

    label = names[-1] if label is None else label
    if labelled and label not in names:
        raise OwnDataError(f"{path}: there is no column {label!r} for the classes; there are {_listed(names)}")
    found = [Column(name, cells, where) for name, cells in zip(names, columns, strict=True)]
    classes = [column for column in found if column.name == label]
    return Table(str(path), [column for column in found if column.name != label], label,
                 classes[0].words() if classes else None, None, None, where)


def of_array(file, x, labels, test, classes, where):
    """A :class:`Table` of a float64 array (N, columns), whose columns are called x0, x1, ..., that of the classes y."""
    return Table(file, [Column(f"x{k}", column, where) for k, column in enumerate(x.T)], "y", labels, test, classes, where)
