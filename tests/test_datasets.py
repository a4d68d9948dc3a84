import gzip

import numpy as np
import pytest

from bnnhw import datasets, models
from bnnhw.datasets import DatasetError


def mnist(split):
    try:
        return datasets.load("mnist", split)
    except DatasetError as error:
        pytest.skip(f"MNIST cannot be had here: {error}")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data anywhere: empty cache, no mirror, no registry."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BNNHW_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets, "_from_mirrors", lambda dataset, name: None)
    monkeypatch.setattr(datasets, "_from_package", lambda dataset: {})
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_mnist():
    test, train = mnist("test"), mnist("train")
    assert test.images.shape == (10_000, 28, 28, 1) and train.images.shape == (60_000, 28, 28, 1)
    assert test.images.dtype == np.uint8
    assert test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_shipped_images_are_every_tenth():
    images, labels = models.test_images()
    test = mnist("test")
    assert np.array_equal(images, test.images[::10, :, :, 0])
    assert np.array_equal(labels, test.labels[::10])


def test_nothing_there(nowhere):
    with pytest.raises(DatasetError, match="^mnist: t10k-images-idx3-ubyte is in no local folder, and no mirror or "
                                           "registry could be reached: put the four idx files"):
        datasets.load("mnist", "test")


def test_wrong_content(nowhere):
    (nowhere / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03 and so on")
    with pytest.raises(DatasetError, match="t10k-images-idx3-ubyte: it is not mnist's t10k-images-idx3-ubyte, or it is damaged"):
        datasets.load("mnist", "test")


def test_truncated_gzip(nowhere):
    (nowhere / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(DatasetError, match="it is not a gzip file, or it is truncated"):
        datasets.load("mnist", "test")


def test_package_fills_the_cache(nowhere, monkeypatch):
    test = mnist_files()
    monkeypatch.setattr(datasets, "_from_package", lambda dataset: test)
    assert len(datasets.load("mnist", "test").labels) == 10_000
    monkeypatch.setattr(datasets, "_from_package", lambda dataset: pytest.fail("the cache was not used"))
    assert len(datasets.load("mnist", "test").labels) == 10_000


def mnist_files():
    """Two idx files that hash right, from wherever the data is."""
    import os
    before = {key: os.environ.pop(key, None) for key in ("BNNHW_DATA", "BNNHW_CACHE")}
    try:
        dataset = datasets.DATASETS["mnist"]
        cache = datasets.cache_dir("datasets", "mnist")
        found = {name: datasets._from_folder(dataset, name, cache) for name in dataset.files["test"]}
    finally:
        os.environ.update({key: value for key, value in before.items() if value is not None})
    if None in found.values():
        pytest.skip("MNIST is not in the cache")
    return found


def test_unknown():
    with pytest.raises(DatasetError, match="^unknown data set 'cats'; known are mnist$"):
        datasets.load("cats", "test")
