"""How rows and pictures become the integers that a network takes: learned in training, kept in the network's file."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..datasets import PIXEL, WORD
from ..errors import UserError

__all__ = ["MOST_CATEGORIES", "Category", "Number", "OwnDataError", "PictureEncoding", "TableEncoding", "parse", "scale_of"]

MOST_CATEGORIES = 64        # of a column; more are names or numbers of single rows
MOST_DIGITS = 9             # behind the point, that a column's step can have
SAME = 1e-6                 # of a step: how near to a multiple of it a value must be to count as one
ROUNDING = 1e-9             # of a column's span: values that are not further apart are the same one
LEAST_SPAN = 1e-290         # of a column whose values differ; steps of a smaller one are beyond a float64


class OwnDataError(UserError, ValueError):
    """Data of the user's that cannot be read; the message names file and row."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Number(_Model):
    """A column of numbers: ``round((value - least) * scale)``, no less than 0 and no more than 65,535.

    Computed in float64, halves to the even integer. ``least`` is the least value of the training part; ``scale`` is the smallest
    power of ten that keeps all of its values apart, or less where they are too many.
    """
    kind: Literal["number"] = "number"
    name: str
    least: float
    scale: float = Field(gt=0)

    def encode(self, column):
        with np.errstate(over="ignore"):    # what is far beyond is cut off like the rest
            return np.clip(np.rint((column.numbers() - self.least) * self.scale), 0, WORD)


class Category(_Model):
    """A column of words: 1 for the first of ``values``, 2 for the second, ..., 0 for one that no training row has."""
    kind: Literal["category"] = "category"
    name: str
    values: list[str] = Field(max_length=MOST_CATEGORIES)

    def encode(self, column):
        places = {value: place for place, value in enumerate(self.values, 1)}
        return np.array([places.get(cell, 0) for cell in column.words()])


class TableEncoding(_Model):
    """Of a table: its columns in the order in which the network takes them, and the name of the column of classes."""
    kind: Literal["table"] = "table"
    columns: list[Annotated[Number | Category, Field(discriminator="kind")]] = Field(min_length=1)
    label: str

    greatest: ClassVar = WORD       # what an element of an input can be, from 0 on


class PictureEncoding(_Model):
    """Of pictures: bytes (rows, columns, channels), 1 channel for grey, 3 for red, green, blue.

    With ``fitted`` pictures of other sizes are scaled and cut to this one, else refused.
    """
    kind: Literal["pictures"] = "pictures"
    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    channels: int = Field(ge=1)
    fitted: bool = False

    greatest: ClassVar = PIXEL

    @property
    def shape(self):
        return self.rows, self.columns, self.channels


ENCODINGS = TypeAdapter(Annotated[TableEncoding | PictureEncoding, Field(discriminator="kind")])


def parse(values):
    """The encoding that an artifact's plain ``values`` describe. Raises :exc:`OwnDataError` where they describe none."""
    if not values:
        raise OwnDataError("the network does not say how files become its input: it was not trained with --data")
    try:
        return ENCODINGS.validate_python(values)
    except ValidationError as error:
        raise OwnDataError(f"the network's encoding is damaged: {error.errors()[0]['msg']}") from None


def scale_of(values):
    """Of a column of numbers: the smallest power of ten whose multiples all ``values`` are, if 65,536 steps are enough."""
    span = float(values.max() - values.min())
    if span < LEAST_SPAN:
        return 1.0
    gaps = np.diff(np.sort(values))
    nearest = float(gaps[gaps > ROUNDING * span].min())
    for digits in range(MOST_DIGITS + 1):
        scaled = (values - values.min()) * 10.0**digits
        if span * 10.0**digits > WORD:
            break
        if nearest * 10.0**digits > 0.5 and np.all(abs(scaled - np.rint(scaled)) < SAME):
            return 10.0**digits
    return WORD / span
