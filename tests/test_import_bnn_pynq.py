"""BNN-PYNQ's folders: the real ones where they are, random ones against match counts, and broken ones."""
import math
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bnnhw import datasets, reference
from bnnhw.importers import bnn_pynq

PEERS = Path(__file__).parent.parent.parent / "shared" / "peers" / "bnn_pynq"
# (SIMD, PE, inputs, outputs), as their hardware has them.
LFC = [(64, 32, 832, 1024), (32, 64, 1024, 1024), (64, 32, 1024, 1024), (8, 16, 1024, 64)]
CNV = [(3, 16, 27, 64), (32, 32, 576, 64), (32, 16, 576, 128), (32, 16, 1152, 128), (32, 4, 1152, 256), (32, 1, 2304, 256),
       (4, 1, 256, 512), (8, 1, 512, 512), (1, 4, 512, 64)]


def write(folder, sizes, rng, classes, last_thresholds):
    """A folder with random parameters, written one neuron and one bit at a time: the layers' (bits, thresholds)."""
    folder.mkdir()
    (folder / "classes.txt").write_text("\n".join(classes))
    layers = []
    for k, (simd, pes, inputs, outputs) in enumerate(sizes):
        bits = rng.integers(0, 2, (outputs, inputs))
        levels = rng.integers(inputs // 2 - 9, inputs // 2 + 9, outputs)
        if sizes is CNV and k == 0:
            levels = rng.integers(-1500, 1500, outputs)
        for pe in range(pes):
            words = bytearray()
            for neuron in range(pe, outputs, pes):
                for row in bits[neuron].reshape(-1, simd):
                    words += sum(int(bit) << i for i, bit in enumerate(row)).to_bytes(8, "little")
            (folder / f"{k}-{pe}-weights.bin").write_bytes(words)
            if k < len(sizes) - 1 or last_thresholds:
                (folder / f"{k}-{pe}-thres.bin").write_bytes(
                    b"".join(int(level).to_bytes(8, "little", signed=True) for level in levels[pe::pes]))
        layers.append((bits, levels))
    return layers


@pytest.fixture(scope="module")
def lfc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lfc") / "net"
    return folder, write(folder, LFC, np.random.default_rng(1), "abcdefg", True)


@pytest.fixture(scope="module")
def cnv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cnv") / "net"
    return folder, write(folder, CNV, np.random.default_rng(2), "abc", False)


def matches(bits, x):
    """Match counts of bits ``x`` (..., n) with rows of ``bits`` (n_out, n)."""
    return x @ bits.T + (1 - x) @ (1 - bits).T


def test_lfc_against_match_counts(lfc):
    folder, layers = lfc
    artifact = bnn_pynq.read(folder)
    images = np.random.default_rng(3).integers(0, 256, (20, 28, 28, 1), np.uint8)
    images[0], images[1], images[2, :14], images[2, 14:] = 0, 255, 127, 128
    edges = reference.run(artifact.network, images, keep="all")
    x = np.zeros((20, 832), int)
    x[:, :784] = images.reshape(20, -1) > 127
    for k, (bits, levels) in enumerate(layers[:-1]):
        x = (matches(bits, x) > levels).astype(int)
        np.testing.assert_array_equal(edges[f"signs{k}"], 2 * x - 1)
    counts = matches(layers[-1][0], x)[:, :7]
    np.testing.assert_array_equal(edges["scores"], 2 * counts - 1024)
    np.testing.assert_array_equal(edges["class"], counts.argmax(axis=1))
    assert artifact.classes == tuple("abcdefg") and "dataset" not in artifact.provenance


def conv(bits, x):
    """Match counts, or for integers ``x`` sums, of 3x3 windows in the order row, column, channel."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(*windows.shape[:3], -1)


def test_cnv_against_match_counts(cnv):
    folder, layers = cnv
    network = bnn_pynq.read(folder).network
    images = np.random.default_rng(4).integers(0, 256, (3, 32, 32, 3), np.uint8)
    images[0, :16], images[0, 16:] = 0, 255
    edges = reference.run(network, images, keep="all")
    seen = np.array([max(-128, min(127, math.floor((Fraction(p) / Fraction(255, 2) - 1) * 128))) for p in range(256)])
    x = seen[images]
    for k, (bits, levels) in enumerate(layers[:6]):
        windows = conv(bits, x)
        x = (2 * (windows @ (2 * bits.T - 1)) > levels if k == 0 else matches(bits, windows) > levels).astype(int)
        np.testing.assert_array_equal(edges[f"signs{k}"], 2 * x - 1)
        if k in (1, 3):
            n, h, w, c = x.shape
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
    assert x.shape == (3, 1, 1, 256)
    x = x.reshape(3, -1)
    for k, (bits, levels) in enumerate(layers[6:8], 6):
        x = (matches(bits, x) > levels).astype(int)
        np.testing.assert_array_equal(edges[f"signs{k}"], 2 * x - 1)
    np.testing.assert_array_equal(edges["class"], matches(layers[-1][0], x)[:, :3].argmax(axis=1))


def test_saturated_and_huge_thresholds(lfc, tmp_path):
    folder = tmp_path / "net"
    shutil.copytree(lfc[0], folder)
    values = [32767, 2**63 - 1, -2**63, -32768] * 8
    (folder / "0-0-thres.bin").write_bytes(np.array(values, "<i8").tobytes())
    images = np.random.default_rng(5).integers(0, 256, (4, 28, 28, 1), np.uint8)
    signs = reference.run(bnn_pynq.read(folder).network, images, keep=["signs0"])["signs0"]
    np.testing.assert_array_equal(signs[:, ::32], np.broadcast_to([-1, -1, 1, 1] * 8, (4, 32)))


def spoil(name, change):
    """A breakage: the bytes of file ``name`` become ``change`` of them, or the file goes where that is None."""
    def breakage(folder):
        if change is None:
            (folder / name).unlink()
        else:
            path = folder / name
            path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    return breakage


def directory_in_place(folder):
    (folder / "2-3-weights.bin").unlink()
    (folder / "2-3-weights.bin").mkdir()


@pytest.mark.parametrize("breakage, message", [
    (spoil("1-5-weights.bin", lambda data: data[:-1]),
     "1-5-weights.bin: LFC W1A1 has 4096 bytes here, but there are 4095: the file is truncated"),
    (spoil("1-5-weights.bin", lambda data: b""), "there are 0: the file is truncated"),
    (spoil("0-0-thres.bin", lambda data: data + bytes(8)), "0-0-thres.bin: LFC W1A1 has 256 bytes here, but there are 264"),
    (spoil("2-7-thres.bin", None), "nearest is LFC W1A1, but 2-7-thres.bin is missing"),
    (spoil("4-0-weights.bin", lambda data: data), "nearest is LFC W1A1, but 4-0-weights.bin is not a file of it"),
    (spoil("1-2-weights.bin", lambda data: data[:12] + b"\1" + data[13:]),
     "1-2-weights.bin: word 1 has bits above the 32 inputs of a word of LFC W1A1"),
    (spoil("0-0-weights.bin", None), "it is no folder of BNN-PYNQ's parameters: there is no 0-0-weights.bin"),
    (spoil("classes.txt", None), "classes.txt: it is missing; it has one class name a line"),
    (spoil("classes.txt", lambda data: b"\n \n"), "it must have 1 to 64 class names, one a line, not 0"),
    (spoil("classes.txt", lambda data: b"x\n" * 65), "it must have 1 to 64 class names, one a line, not 65"),
    (spoil("classes.txt", lambda data: b"x" * 2**17), "classes.txt: it must have 1 to 64 class names"),
    (spoil("classes.txt", lambda data: b"\xff\xfe"), "classes.txt: it is not text"),
    (directory_in_place, "2-3-weights.bin: it is not a plain file"),
])
def test_broken_folders(lfc, tmp_path, breakage, message):
    folder = tmp_path / "net"
    shutil.copytree(lfc[0], folder)
    breakage(folder)
    with pytest.raises(bnn_pynq.FolderError) as refusal:
        bnn_pynq.read(folder)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_huge_file_is_not_read(lfc, tmp_path):
    folder = tmp_path / "net"
    shutil.copytree(lfc[0], folder)
    with open(folder / "3-15-weights.bin", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(bnn_pynq.FolderError, match=f"4096 bytes here, but there are {2**40}"):
        bnn_pynq.read(folder)


def test_recognised_by_content(lfc, cnv, tmp_path):
    assert bnn_pynq.recognise(lfc[0]) and bnn_pynq.recognise(cnv[0])
    assert not bnn_pynq.recognise(tmp_path) and not bnn_pynq.recognise(tmp_path / "no") and not bnn_pynq.recognise(__file__)


@pytest.mark.parametrize("name, dataset, images, right", [
    ("lfcW1A1", "mnist", 10_000, 9834),
    ("cnvW1A1", "cifar10", 1_000, 806),
])
def test_published_networks(name, dataset, images, right):
    if not (PEERS / name).is_dir():
        pytest.skip(f"BNN-PYNQ's {name} is not beside the checkout")
    artifact = bnn_pynq.read(PEERS / name)
    assert artifact.provenance["dataset"] == dataset
    assert artifact.provenance["imported"]["topology"].lower().replace(" ", "") == name.lower()
    try:
        split = datasets.load(dataset, "test")
    except datasets.DatasetError as error:
        pytest.skip(str(error))
    assert reference.accuracy(artifact.network, split.images[:images], split.labels[:images]) == (right, images)
