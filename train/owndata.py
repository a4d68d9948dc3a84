"""``bnnhw train --data``: a recipe on data of the user's own."""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from .. import owndata
from ..errors import UsageError
from .recipe import RecipeError

__all__ = ["add_arguments", "carried", "checked", "load"]

OF_TABLES = ("level-mlp", "lut-table")      # kinds of recipe that take tables
NOT_OF_IMAGES = ("lut-table",)
SIDE_MAX = 1024                             # rows or columns of a picture


def _size(text):
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    size = found and (int(found[1]), int(found[2]))
    if not size or not all(1 <= side <= SIDE_MAX for side in size):
        raise argparse.ArgumentTypeError(f"it must be ROWSxCOLUMNS, 1 to {SIDE_MAX} each, for instance 28x28, not {text!r}")
    return size


def add_arguments(parser):
    own = parser.add_argument_group("your own data")
    own.add_argument("--data", metavar="PATH", help="a folder with a folder of pictures for each class, an .npz file, or a CSV "
                     "file with a header; a fifth is kept for the test")
    own.add_argument("--test-data", metavar="PATH", help="the test part, of the same kind")
    own.add_argument("--label", metavar="COLUMN", help="the CSV file's column of classes (default: the last)")
    own.add_argument("--image-size", type=_size, metavar="RxC", help="scale and cut all pictures of a folder to so many rows and "
                     "columns")
    own.add_argument("--grey", action="store_true", help="leave the colours of pictures out")


def checked(args):
    """Refuse what the command line alone shows wrong."""
    for option in ("test_data", "label", "image_size", "grey"):
        if getattr(args, option) and not args.data:
            raise UsageError(f"--{option.replace('_', '-')} belongs to --data")


def load(args, recipe):
    """The :class:`~bnnhw.owndata.OwnData` that the command line names, for ``recipe``.

    Raises
    ------
    RecipeError
        The recipe's network does not take such data.
    OwnDataError
        The data cannot be read; the message names file and row.
    """
    if not args.data:
        raise RecipeError(f"recipe {recipe.name!r} is for data of your own: --data PATH")
    for option, given, fits, what in (
            ("image-size", args.image_size, Path(args.data).is_dir(), "a folder of pictures"),
            ("grey", args.grey, Path(args.data).is_dir(), "a folder of pictures"),
            ("label", args.label, Path(args.data).suffix.lower() in owndata.TABLES, "a CSV file")):
        if given and not fits:
            raise UsageError(f"--{option} goes with {what}, which {args.data} is not")
    own = owndata.load(args.data, args.test_data, label=args.label, size=args.image_size, grey=args.grey)
    table = own.train.images.ndim == 2
    if recipe.kind not in OF_TABLES if table else recipe.kind in NOT_OF_IMAGES:
        fitting = "own-table" if table else "own-images"
        raise RecipeError(f"recipe {recipe.name!r} takes {'images' if table else 'tables'}, but {args.data} holds "
                          f"{'a table' if table else 'images'}: {fitting!r} takes it")
    if table and recipe.shift:
        raise RecipeError(f"recipe {recipe.name!r}: key 'shift': must be 0 on a table, not {recipe.shift}")
    return own


def carried(found, own):
    """The artifact ``found`` with what the network must know of its data: how they become its input, and which they were."""
    return replace(found, encoding=own.encoding, provenance=found.provenance | {"data": own.facts})
