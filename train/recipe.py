"""Recipes: how a network is trained, as TOML files."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError

__all__ = ["Recipe", "RecipeError", "load", "names"]

FOLDER = Path(__file__).parent / "recipes"


class RecipeError(UserError, ValueError):
    """A recipe that is not there or not right; the message names the key."""


class Recipe(BaseModel):
    """How to train. docs/training.md explains each key."""
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    dataset: Literal["mnist"]
    hidden: list[Annotated[int, Field(ge=1, le=65536)]] = Field(min_length=1, max_length=16)
    pixel_level: int = Field(ge=0, le=256)
    estimator: Literal["identity", "hardtanh", "approxsign"]
    loss: Literal["squared-hinge", "cross-entropy"]
    last_batch_norm: bool
    epochs: int = Field(ge=1, le=100_000)
    batch: int = Field(ge=2, le=100_000)
    learning_rate: float = Field(gt=0, le=10)
    weight_spread: float = Field(gt=0, le=1)
    score_scale: float = Field(gt=0, le=100)
    dropout: float = Field(ge=0, lt=1)
    shift: int = Field(ge=0, le=4)
    seed: int = Field(ge=0, lt=2**32)


def names():
    """Names of the recipes that ship."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def _explain(error):
    """One validation error of pydantic's, in our words."""
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    if kind in ("missing", "extra_forbidden"):
        return f"key {key!r}: is {'missing' if kind == 'missing' else 'unknown'}"
    return f"key {key!r}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def load(which, **changes):
    """The recipe ``which``, a shipped name or a TOML file, with keys changed where a change is not None.

    Raises
    ------
    RecipeError
        Naming the file and the key that is wrong, missing or unknown.
    """
    path = FOLDER / f"{which}.toml" if which in names() else Path(which)
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise RecipeError(f"recipe {str(which)!r}: there is no such file, and the shipped recipes are "
                          f"{', '.join(names())}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None
    try:
        return Recipe(**(table | {key: value for key, value in changes.items() if value is not None}))
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error.errors()[0])}") from None
