"""Recipes: how a network is trained, as TOML files."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_serializer

from ..errors import UserError
from ..tasks import SEQUENCES
from .methods import METHODS, AnyMethod, Metaplastic, clash

__all__ = ["CnnRecipe", "ContinualRecipe", "LevelRecipe", "LutRecipe", "MlpRecipe", "Recipe", "RecipeError", "ResidualRecipe",
           "TableRecipe", "XnorRecipe", "load", "names"]

LATER = ("methods", "dropout", "input_dropout")    # keys that old recipes do not have
FOLDER = Path(__file__).parent / "recipes"


Width = Annotated[int, Field(ge=1, le=65536)]


class RecipeError(UserError, ValueError):
    """A recipe that is not there or not right; the message names the key."""


class Recipe(BaseModel):
    """How to train: what all kinds of networks share. docs/training.md explains each key."""
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    dataset: Literal["mnist", "fashion-mnist", "cifar10", "own"]
    loss: Literal["squared-hinge", "cross-entropy"]
    epochs: int = Field(ge=1, le=100_000)
    batch: int = Field(ge=2, le=100_000)
    learning_rate: float = Field(gt=0, le=10)
    weight_spread: float = Field(gt=0, le=1)
    score_scale: float = Field(gt=0, le=100)
    shift: int = Field(ge=0, le=4)
    seed: int = Field(ge=0, lt=2**32)


def _one_each(methods):
    if found := clash(methods):
        hook, one, other = found
        raise ValueError(f"{one!r} and {other!r} both have a say in {hook!r}")
    return methods


class SignRecipe(Recipe):
    """Networks whose neurons are signs of sums."""
    estimator: Literal["identity", "hardtanh", "approxsign", "swishsign", "ede"]
    methods: Annotated[list[AnyMethod], AfterValidator(_one_each)] = []

    @model_serializer(mode="wrap")
    def _as_it_was_written(self, handler):
        """Without the keys that came later and may be left out, where they are: so that a recipe stays equal to itself."""
        return {key: value for key, value in handler(self).items() if key not in LATER or key in self.model_fields_set}


class DenseRecipe(SignRecipe):
    """Dense layers on inputs turned into signs."""
    hidden: list[Width] = Field(min_length=1, max_length=16)
    last_batch_norm: bool
    dropout: float = Field(ge=0, lt=1)
    input_dropout: float = Field(ge=0, lt=1, default=0.0)


class MlpRecipe(DenseRecipe):
    """Pixels, at the same level for all."""
    kind: Literal["mlp"] = "mlp"
    pixel_level: int = Field(ge=0, le=256)


class LevelRecipe(DenseRecipe):
    """Pixels or columns of a table, each at levels of its own, learned from the training part."""
    kind: Literal["level-mlp"]
    dataset: Literal["mnist", "fashion-mnist", "cifar10", "german-credit", "order-book", "own"]
    levels: int = Field(ge=1, le=1000)


class ContinualRecipe(DenseRecipe):
    """Tasks one after the other, each with batch norms of its own; pixels as they are, or compared with several levels."""
    kind: Literal["continual"]
    dataset: Literal["permuted-mnist", "mnist-fashion"]
    methods: list[Metaplastic] = Field(max_length=1)
    levels: int = Field(ge=0, le=255)
    last_batch_norm: Literal[True]
    shift: Literal[0] = 0       # permuted pixels have no neighbours

    @field_validator("epochs")
    @classmethod
    def _shared(cls, value, info):
        tasks = len(SEQUENCES.get(info.data.get("dataset"), (None,)))     # a wrong data set is an error of its own
        if value % tasks:
            raise ValueError(f"must be a multiple of the {tasks} tasks")
        return value


class Block(BaseModel):
    """A convolution, a max-pool of 2x2 if wanted, batch norm and sign."""
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    channels: Width
    kernel: int = Field(ge=1, le=15)
    padding: int = Field(ge=0, le=14)
    pool: bool

    @field_validator("padding")
    @classmethod
    def _within(cls, value, info):
        if value >= (kernel := info.data.get("kernel", 15)):    # a wrong kernel is an error of its own
            raise ValueError(f"must be less than the kernel's {kernel}")
        return value


class CnnRecipe(SignRecipe):
    """Convolutions on 8-bit pixels, then dense layers."""
    kind: Literal["cnn"]
    blocks: list[Block] = Field(min_length=1, max_length=64)
    hidden: list[Width] = Field(max_length=16)
    flip: bool
    dropout: float = Field(ge=0, lt=1, default=0.0)


class ResidualRecipe(SignRecipe):
    """A convolution on 8-bit pixels, then blocks of one convolution and a shortcut round it, then a dense layer."""
    kind: Literal["residual"]
    width: Width
    pools: list[bool] = Field(min_length=1, max_length=64)
    shortcuts: bool
    fraction_bits: int = Field(ge=2, le=12)
    flip: bool


def _rising(levels):
    if sorted(set(levels)) != levels:
        raise ValueError("levels must rise")
    return levels


class SparseRecipe(Recipe):
    """Neurons with a few inputs on integers turned into bits, whose wiring is learned in the first layer."""
    layers: list[Width] = Field(min_length=1, max_length=16)
    fan_in: int = Field(ge=1, le=8)
    softness: float = Field(ge=0, lt=0.5)
    wiring_every: int = Field(ge=1, le=1000)
    wiring_until: float = Field(ge=0, le=1)


class ImageRecipe(SparseRecipe):
    """Levels that are the same for all pixels."""
    pixel_levels: Annotated[list[Annotated[int, Field(ge=1, le=255)]], AfterValidator(_rising)] = Field(min_length=1)
    slide: int = Field(ge=0, le=4)
    turn: float = Field(ge=0, le=45)


class LutRecipe(ImageRecipe):
    """Neurons are free tables."""
    kind: Literal["lut"]
    wiring_rate: float = Field(gt=0, le=10)


class PartsRecipe(LutRecipe):
    """They stand in parts that share nothing but their votes."""
    kind: Literal["lut-parts"]
    parts: list[Annotated[int, Field(ge=1, le=16)]] = Field(min_length=2, max_length=2)
    bundles: int = Field(ge=1, le=1000)
    inputs: Width


class TableRecipe(SparseRecipe):
    """The same on a table, whose columns have levels of their own, learned from the training rows."""
    kind: Literal["lut-table"]
    dataset: Literal["german-credit", "own"]
    shift: Literal[0] = 0       # there is nothing to move
    wiring_rate: float = Field(gt=0, le=10)
    column_levels: int = Field(ge=1, le=1000)


class XnorRecipe(ImageRecipe):
    """Neurons are signs of sums of a few signs; connections are pruned and grow."""
    kind: Literal["sparse-xnor"]
    regrow_every: int = Field(ge=1, le=100_000)
    regrow_share: float = Field(gt=0, le=1)


KINDS = {"mlp": MlpRecipe, "level-mlp": LevelRecipe, "cnn": CnnRecipe, "residual": ResidualRecipe, "lut": LutRecipe,
         "lut-parts": PartsRecipe, "lut-table": TableRecipe, "sparse-xnor": XnorRecipe, "continual": ContinualRecipe}


def names():
    """Names of the recipes that ship."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def _explain(error):
    """One validation error of pydantic's, in our words."""
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    if kind in ("missing", "extra_forbidden"):
        return f"key {key!r}: is {'missing' if kind == 'missing' else 'unknown'}"
    if kind.startswith("union_tag"):        # a method's table
        name = error["input"].get("name") if isinstance(error["input"], dict) else error["input"]
        known = [get_args(method.model_fields["name"].annotation)[0] for method in METHODS]
        return f"key '{key}.name': must be one of {known}, not {name!r}"
    said = error["msg"].removeprefix("Value error, ")
    return f"key {key!r}: {said[0].lower()}{said[1:]}, not {error['input']!r}"


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
    kind = table.get("kind", "mlp")
    if kind not in list(KINDS):     # it may be anything
        raise RecipeError(f"{path}: key 'kind': must be one of {list(KINDS)}, not {kind!r}")
    try:
        return KINDS[kind](**(table | {key: value for key, value in changes.items() if value is not None}))
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error.errors()[0])}") from None
