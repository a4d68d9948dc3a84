"""BNN-PYNQ's parameter folders: LFC W1A1 and CNV W1A1.

A folder has, for each layer and each of its PEs, ``{layer}-{pe}-weights.bin`` and ``{layer}-{pe}-thres.bin``, and
``classes.txt`` with one class name a line. Nothing in it says what network it is: the set of files and their sizes do.

- Weights: little-endian 64-bit words; bit ``i`` of word ``nf * SF + sf`` is the weight of input ``sf * SIMD + i`` of neuron
  ``nf * PE + pe``, 1 for +1; SF = inputs / SIMD.
- Thresholds: signed 64-bit numbers, one for each neuron of the PE; the neuron gives +1 where its match count is greater.
- Inputs that pad a layer are -1. Outputs that pad the last layer stand behind those of the classes.

LFC's input signs are +1 where the pixel is greater than 127. CNV's are ``clip(floor((pixel / 127.5 - 1) * 128), -128, 127)``,
which is ``pixel - 128`` for all 256 pixels; its first layer compares ``2 * sum > threshold``. The network made here takes the
pixels themselves, the 128 are in its thresholds.

Source: Umuroglu et al., "FINN", 2017, arXiv:1612.07119; the folders are those of github.com/Xilinx/BNN-PYNQ.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..artifact import Artifact
from ..datasets import DATASETS
from ..errors import UserError
from ..ir import ArgMax, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, TensorType, Threshold

__all__ = ["FolderError", "recognise", "read"]

WORD = 8                    # bytes
CLASSES_BYTES = 2**16       # of classes.txt, far more than 64 names take
ZERO_PIXEL = 128            # CNV's first layer sees pixel - 128
PIXEL_LEVEL = 128           # LFC's input is +1 from here on


class FolderError(UserError, ValueError):
    """A folder that is not BNN-PYNQ's, or not whole; the message names the file."""


@dataclass(frozen=True)
class Layer:
    """A layer as BNN-PYNQ folds it: sizes with padding."""
    simd: int
    pe: int
    inputs: int
    outputs: int
    kernel: tuple = ()          # rows and columns of a convolution
    pool: bool = False          # 2x2, behind the signs
    thresholds: bool = True

    @property
    def files(self):
        """Kind of file -> bytes of each of its PE's."""
        folds = self.outputs // self.pe
        return {"weights": folds * (self.inputs // self.simd) * WORD} | ({"thres": folds * WORD} if self.thresholds else {})


@dataclass(frozen=True)
class Topology:
    name: str
    shape: tuple                # of the image
    dataset: str                # that has these classes, if any
    layers: tuple

    @property
    def flat(self):
        """Number of the first layer that takes a vector."""
        return next(k for k, layer in enumerate(self.layers) if not layer.kernel)

    @property
    def files(self):
        """File name -> bytes."""
        return {f"{k}-{pe}-{kind}.bin": size for k, layer in enumerate(self.layers) for kind, size in layer.files.items()
                for pe in range(layer.pe)}


def _conv(*sizes, **more):
    return Layer(*sizes, kernel=(3, 3), **more)


TOPOLOGIES = (
    Topology("LFC W1A1", (28, 28, 1), "mnist", (
        Layer(64, 32, 832, 1024), Layer(32, 64, 1024, 1024), Layer(64, 32, 1024, 1024), Layer(8, 16, 1024, 64))),
    Topology("CNV W1A1", (32, 32, 3), "cifar10", (
        _conv(3, 16, 27, 64), _conv(32, 32, 576, 64, pool=True), _conv(32, 16, 576, 128), _conv(32, 16, 1152, 128, pool=True),
        _conv(32, 4, 1152, 256), _conv(32, 1, 2304, 256), Layer(4, 1, 256, 512), Layer(8, 1, 512, 512),
        Layer(1, 4, 512, 64, thresholds=False))),
)


def _names(folder):
    """Names of the files in ``folder`` that look like parameters."""
    return {path.name for path in folder.iterdir() if path.name.endswith(("-weights.bin", "-thres.bin"))}


def recognise(path):
    """Whether ``path`` is a folder with BNN-PYNQ's parameter files, whole or not."""
    path = Path(path)
    return path.is_dir() and "0-0-weights.bin" in _names(path)


def _topology(folder):
    """The topology whose files these are. Raises :exc:`FolderError`."""
    names = _names(folder)
    nearest = min(TOPOLOGIES, key=lambda topology: len(names ^ set(topology.files)))
    missing, surplus = sorted(set(nearest.files) - names), sorted(names - set(nearest.files))
    if missing or surplus:
        lack = f"{missing[0]} is missing" if missing else f"{surplus[0]} is not a file of it"
        raise FolderError(f"{folder}: it has neither the files of {' nor of '.join(t.name for t in TOPOLOGIES)}; nearest is "
                          f"{nearest.name}, but {lack}")
    return nearest


def _bytes(path, size, topology):
    """The file's ``size`` bytes; not a byte more is read than tells that there are too many."""
    if not path.is_file():
        raise FolderError(f"{path}: it is not a plain file")
    with open(path, "rb") as file:
        data = file.read(size + 1)
    if len(data) != size:
        came = path.stat().st_size
        raise FolderError(f"{path}: {topology} has {size} bytes here, but there are {came}"
                          + (": the file is truncated" if came < size else ""))
    return data


def _arrays(folder, k, layer, topology, digest):
    """Weights int8 (outputs, inputs) and thresholds int64 (outputs,) or None, in the order of neurons, padding included."""
    folds = layer.outputs // layer.pe
    weights, levels = np.empty((folds, layer.pe, layer.inputs), np.int8), np.empty((folds, layer.pe), np.int64)
    for pe in range(layer.pe):
        for kind, size in layer.files.items():
            path = folder / f"{k}-{pe}-{kind}.bin"
            data = _bytes(path, size, topology)
            digest.update(data)
            if kind == "thres":
                levels[:, pe] = np.frombuffer(data, "<i8")
                continue
            bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, WORD), axis=1, bitorder="little")
            if bits[:, layer.simd:].any():
                word = int(np.flatnonzero(bits[:, layer.simd:].any(axis=1))[0])
                raise FolderError(f"{path}: word {word} has bits above the {layer.simd} inputs of a word of {topology}")
            weights[:, pe] = 2 * bits[:, :layer.simd].reshape(folds, layer.inputs).astype(np.int8) - 1
    return weights.reshape(layer.outputs, layer.inputs), levels.reshape(-1) if layer.thresholds else None


def _classes(folder, most):
    path = folder / "classes.txt"
    if not path.is_file():
        raise FolderError(f"{path}: it is missing; it has one class name a line")
    with open(path, "rb") as file:
        data = file.read(CLASSES_BYTES + 1)
    try:
        names = tuple(line.strip() for line in data.decode().splitlines() if line.strip())
    except UnicodeDecodeError:
        raise FolderError(f"{path}: it is not text") from None
    if len(data) > CLASSES_BYTES or not 1 <= len(names) <= most:
        raise FolderError(f"{path}: it must have 1 to {most} class names, one a line, not {len(names)}")
    return names


def _compared(levels, weights, inputs, first_of_pixels):
    """The sum that a neuron's sum must exceed.

    Parameters
    ----------
    levels : int64 array (outputs,)
        As the files have them.
    weights : int8 array (outputs, inputs with padding)
    inputs : int
        Inputs without padding.
    first_of_pixels : bool
        The layer's inputs are pixels, which BNN-PYNQ takes as pixel - 128 and compares twice the sum.
    """
    levels = np.clip(levels, -2**31, 2**31)     # far outside of what any sum reaches
    if first_of_pixels:     # 2 * sum(w * (pixel - 128)) > t
        return levels // 2 + ZERO_PIXEL * weights.sum(axis=1, dtype=np.int64)
    padded = np.count_nonzero(weights[:, inputs:] < 0, axis=1)  # a padded input is -1, and matches the weight -1
    return 2 * (levels - padded) - inputs       # (s + n) / 2 + padded > t


def read(path):
    """The network of a BNN-PYNQ folder.

    Parameters
    ----------
    path : path of the folder

    Returns
    -------
    Artifact
        Its network takes an image, uint8 (H, W, C), and gives the class of the greatest match count. Its provenance names
        the topology and the SHA-256 over the parameter files in the order of layers, PEs and kinds.

    Raises
    ------
    FolderError
        A file that is missing, too many, of a wrong size, or not what it should be.
    """
    folder = Path(path)
    if not recognise(folder):
        raise FolderError(f"{folder}: it is no folder of BNN-PYNQ's parameters: there is no 0-0-weights.bin")
    topology = _topology(folder)
    classes = _classes(folder, topology.layers[-1].outputs)
    digest = hashlib.sha256()
    operations = []

    def add(kind, name, *args):
        operations.append(kind(name, *([operations[-1].name] if operations else []), *args))

    add(Input, "image", TensorType(topology.shape, 0, 255))
    pixels, n_in = bool(topology.layers[0].kernel), topology.shape[-1]
    if not pixels:
        add(Threshold, "binarize", np.full((n_in, 1), PIXEL_LEVEL), np.zeros(n_in, bool))
    for k, layer in enumerate(topology.layers):
        if k == topology.flat:
            add(Flatten, "flat")
        inputs = math.prod(layer.kernel or (topology.shape[:2] if k == 0 else ())) * n_in
        weights, levels = _arrays(folder, k, layer, topology.name, digest)
        last = layer is topology.layers[-1]
        kept = weights[:len(classes) if last else None, :inputs]
        kept = kept.reshape(-1, *layer.kernel, n_in) if layer.kernel else kept
        add(Conv2d if layer.kernel else Dense, "scores" if last else f"layer{k}", kept)
        if not last:
            compared = _compared(levels, weights, inputs, pixels and k == 0)
            add(Threshold, f"signs{k}", compared[:, None] + 1, np.zeros(len(compared), bool))
            if layer.pool:
                add(MaxPool2d, f"pool{k}", (2, 2), (2, 2))
        n_in = layer.outputs
    add(ArgMax, "class")
    provenance = {"imported": {"kind": "BNN-PYNQ", "topology": topology.name, "parameters_sha256": digest.hexdigest()}}
    if tuple(name.lower() for name in classes) == DATASETS[topology.dataset].classes:
        provenance["dataset"] = topology.dataset
    return Artifact(Network(operations, "class"), classes, provenance)
