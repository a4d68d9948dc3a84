"""Checkpoints: safetensors, no pickle."""

import json

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..errors import UserError
from ..files import atomic_write

__all__ = ["CheckpointError", "write", "read"]


class CheckpointError(UserError, ValueError):
    """A checkpoint that is not there, damaged, or of another recipe."""


def write(path, trainer):
    """Write ``trainer``'s state to ``path``, whole or not at all."""
    tensors, values = trainer.state()
    atomic_write(path, save({name: value.contiguous() for name, value in tensors.items()},
                            metadata={"bnnhw.train": json.dumps(values)}))


def read(path, trainer):
    """Let ``trainer`` go on from ``path``.

    Raises
    ------
    CheckpointError
        No such file, a damaged one, or one of another recipe: the message names the key that differs.
    """
    try:
        with safe_open(path, "pt") as file:
            values = json.loads(file.metadata()["bnnhw.train"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no checkpoint to resume from") from None
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path}: it is not a checkpoint, or it is damaged") from None
    own = trainer.recipe.model_dump()
    for key, value in own.items():
        if values["recipe"].get(key) != value:
            raise CheckpointError(f"{path}: it was made with {key} {values['recipe'].get(key)!r}, the recipe says {value!r}")
    trainer.restore(tensors, values["epoch"])
