"""Checkpoints: safetensors with a digest, no pickle."""

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from ..errors import UserError
from ..files import atomic_write

__all__ = ["CheckpointError", "write", "read"]

KEY = "bnnhw.train"     # the one metadata key; its value is JSON: epoch, recipe, facts, digest


class CheckpointError(UserError, ValueError):
    """A checkpoint that is not there, damaged, or of another recipe."""


def _digest(tensors):
    """SHA-256 (hex) over names and contents."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        state.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return state.hexdigest()


def write(path, trainer, facts):
    """Write ``trainer``'s state and ``facts``, plain JSON values by name, to ``path``, whole or not at all."""
    tensors, values = trainer.state()
    values["facts"] = facts
    values["digest"] = _digest(tensors)
    atomic_write(path, save({name: value.contiguous() for name, value in tensors.items()},
                            metadata={KEY: json.dumps(values, sort_keys=True)}))


def _parse(data):
    """Tensors and values of a checkpoint's bytes; any of several errors where it is none."""
    tensors = load(data)
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    values = json.loads(header["__metadata__"][KEY])
    if values["digest"] != _digest(tensors):
        raise ValueError("digest")
    return tensors, values["epoch"], values["recipe"], values.get("facts", {})


def read(path, trainer, facts):
    """Let ``trainer`` go on from ``path``.

    Raises
    ------
    CheckpointError
        No such file, a damaged one, or one of another recipe or other facts: the message names the key that differs.
    """
    try:
        tensors, epoch, made_with, known = _parse(Path(path).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no checkpoint to resume from") from None
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path}: it is not a checkpoint, or it is damaged") from None
    for key, value in trainer.recipe.model_dump().items():
        if made_with.get(key) != value:
            raise CheckpointError(f"{path}: it was made with {key} {made_with.get(key)!r}, the recipe says {value!r}")
    for key, value in facts.items():
        if known.get(key) != value:
            raise CheckpointError(f"{path}: it was made with {key} {known.get(key)!r}, now it is {value!r}")
    trainer.restore(tensors, epoch)
