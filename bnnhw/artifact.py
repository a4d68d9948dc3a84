"""Trained networks as files: ``.bnn``.

A file is a safetensors container. Its one metadata key, ``bnnhw``, holds a JSON header: format number, graph, class
names, provenance, and a SHA-256 over the header (without the digest, keys sorted) and all tensors. Weights are packed
eight to a byte, the first in the least significant bit, 1 for +1; where some are 0, a second tensor of the same form tells
which are not. Tables are packed in the same way. Wiring is stored as int32, other integers as int64. ``docs/format.md`` defines
every field.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as serialize

from .errors import UserError
from .files import atomic_write
from .ir import OPERATIONS, Network, NetworkError

__all__ = ["FORMAT", "ArtifactError", "Artifact", "save", "load", "dumps", "loads"]

FORMAT = 2          # the newest that is read; a network without banks is written as 1, which older versions read, too
MASK = ".mask"      # behind a tensor's name: which of the packed weights are not 0


class ArtifactError(UserError, ValueError):
    """A file that is not a .bnn file, or not whole, or not as it was written."""


@dataclass(frozen=True)
class Artifact:
    """A network with what is known of it.

    Attributes
    ----------
    network : Network
    classes : tuple of str
        Class names by index; empty where the network does not classify.
    provenance : dict
        Plain JSON values: recipe, seed, versions, accuracy, ties, ... Not part of the network's digest.
    encoding : dict
        How rows of a table or pictures become the network's input (:mod:`bnnhw.owndata.encoding`), as plain JSON values; empty
        where nothing is known of that.
    """
    network: Network
    classes: tuple = ()
    provenance: dict = field(default_factory=dict)
    encoding: dict = field(default_factory=dict)


def _canonical(header):
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(header, tensors):
    state = hashlib.sha256(_canonical({key: value for key, value in header.items() if key != "digest"}))
    for name in sorted(tensors):
        array = tensors[name]
        state.update(f"{name}:{array.dtype.str}:{array.shape}".encode() + array.tobytes())
    return state.hexdigest()


def dumps(artifact):
    """The bytes of the file. Equal artifacts give equal bytes."""
    tensors, shapes = {}, {}
    for name, operation in artifact.network.operations.items():
        for key in operation.arrays:
            array = getattr(operation, key)
            if array.dtype == np.int8:      # weights and tables
                shapes[f"{name}.{key}"] = list(array.shape)
                tensors[f"{name}.{key}"] = np.packbits(array.reshape(-1) > 0, bitorder="little")
                if not array.all():
                    tensors[f"{name}.{key}{MASK}"] = np.packbits(array.reshape(-1) != 0, bitorder="little")
            elif array.dtype == bool:
                tensors[f"{name}.{key}"] = array.astype(np.uint8)
            else:
                tensors[f"{name}.{key}"] = array.astype("<i4" if array.dtype == np.int32 else "<i8")
    header = {"format": 2 if artifact.network.task else 1, "network": artifact.network.describe(), "packed": shapes,
              "network_sha256": artifact.network.digest, "classes": list(artifact.classes),
              "provenance": artifact.provenance} | ({"encoding": artifact.encoding} if artifact.encoding else {})
    header["digest"] = _digest(header, tensors)
    return serialize(dict(sorted(tensors.items())), metadata={"bnnhw": _canonical(header).decode()})


def save(path, artifact):
    """Write ``artifact`` to ``path``, whole or not at all. Raises :exc:`OSError` where that cannot be done."""
    atomic_write(path, dumps(artifact))


def _metadata(data):
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ArtifactError("it is not a .bnn file, or it is truncated")
    header = json.loads(data[8:8 + size])
    return header["__metadata__"]["bnnhw"]


def _tensors(data):
    kinds = {"U8": np.uint8, "I32": np.dtype("<i4"), "I64": np.dtype("<i8")}
    return {name: np.frombuffer(bytes(entry["data"]), kinds[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in deserialize(bytes(data))}


def loads(data):
    """Read the bytes of a .bnn file and check its digest.

    Raises
    ------
    ArtifactError
        One line: not a .bnn file, truncated, altered, or of a newer format.
    """
    try:
        header = json.loads(_metadata(data))
        if not isinstance(header["format"], int) or header["format"] > FORMAT:
            raise ArtifactError(f"its format is {header['format']!r}, this version of bnnhw reads up to {FORMAT}: "
                                "please upgrade bnnhw")
        tensors = _tensors(data)
        if header["digest"] != _digest(header, tensors):
            raise ArtifactError("its digest does not match its content: the file was altered or damaged")
        network = _network(header, tensors)
        if network.digest != header["network_sha256"]:
            raise ArtifactError("its network digest does not match its network")
        return Artifact(network, tuple(header["classes"]), header["provenance"], header.get("encoding", {}))
    except ArtifactError:
        raise
    except NetworkError as error:
        raise ArtifactError(str(error)) from None
    except SafetensorError:
        raise ArtifactError("it is truncated or damaged") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError) as error:
        raise ArtifactError(f"it is not a .bnn file, or it is damaged ({type(error).__name__})") from None


def _unpacked(tensors, name, shape):
    array, count = tensors[name], math.prod(shape)
    if array.shape != (-(-count // 8),):
        raise ArtifactError(f"tensor {name!r}: {count} bits take {-(-count // 8)} bytes, but its shape is {array.shape}")
    return np.unpackbits(array, count=count, bitorder="little").astype(np.int8).reshape(shape)


def _network(header, tensors):
    operations = []
    for entry in header["network"]["operations"]:
        if entry["kind"] not in OPERATIONS:
            raise ArtifactError(f"operation {entry['name']!r}: unknown kind {entry['kind']!r}; known are {list(OPERATIONS)}")
        kind = OPERATIONS[entry["kind"]]
        arguments = {key: entry[key] for key in kind.settings}
        for key in kind.arrays:
            tensor = f"{entry['name']}.{key}"
            if (shape := header["packed"].get(tensor)) is None:
                arguments[key] = tensors[tensor]
                continue
            arguments[key] = _unpacked(tensors, tensor, shape) * 2 - 1
            if f"{tensor}{MASK}" in tensors:
                arguments[key] *= _unpacked(tensors, f"{tensor}{MASK}", shape)
        operations.append(kind(entry["name"], *entry["inputs"], **arguments))
    return Network(operations, header["network"]["outputs"])


def load(path):
    """Read a .bnn file. Raises :exc:`ArtifactError` (one line that names the file) or :exc:`OSError`."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ArtifactError(f"{path}: is a folder, not a .bnn file") from None
    try:
        return loads(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
