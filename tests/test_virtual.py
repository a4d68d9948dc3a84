"""The virtual board: the complete board behind a pseudo-terminal, and the host program that talks to it as to a real one."""
import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from amaranth import Const

from bnnhw import accelerator, boards, devices, folding, models, reference, target
from bnnhw.bitstream import identity
from bnnhw.gateware.packets import RequestReceiver
from bnnhw.host import Board, BoardError
from bnnhw.ir import ArgMax, Flatten, Input, Network, TensorType
from bnnhw.lower import lower
from bnnhw.planner.goals import Planner
from bnnhw.run import ImagesError, load_images
from bnnhw.simulator import encode
from bnnhw.virtual import VirtualBoard

NOISE = {"flip": 0.01, "drop": 0.01}


@pytest.fixture(scope="module")
def tfc():
    found, plan, verilog = target.resolve("mnist-tfc")
    return found.network, identity(plan), verilog


def golden(network, images):
    edges = reference.run(network, images[..., None], keep="all")
    return edges["class"], edges["fc4"]


def classify(tfc, count, **line):
    """Classes and scores that the board gives and those of the golden model; what the board did."""
    network, board_identity, verilog = tfc
    images, _ = models.test_images()
    with VirtualBoard(verilog, board_identity, **line) as virtual, Board(virtual.port) as board:
        board.check(network.digest)
        results = board.classify(encode(network, images[:count]))
    classes, scores = golden(network, images[:count])
    equal = np.array_equal(results.classes, classes) and np.array_equal(results.scores, scores)
    return equal and not results.flagged.any(), results, virtual.ended


def test_exact(tfc):
    equal, results, ended = classify(tfc, 60)
    assert equal and results.resent == results.bad_replies == 0
    assert (ended.flipped, ended.dropped, ended.resets) == (0, 0, 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_and_a_reset(tfc, seed):
    """1 % of the bytes altered, 1 % lost, both ways, and a reset in the middle: the same results in the same order."""
    equal, results, ended = classify(tfc, 60, seed=seed, resets=[40_000], **NOISE)
    assert equal and results.reopened >= 1 and ended.resets == 1 and ended.flipped > 100 and ended.dropped > 100


def test_noise_without_the_check(tfc, monkeypatch):
    """The test above fails when the board's CRC check is off."""
    monkeypatch.setattr(RequestReceiver, "crc_right", lambda self, crc: Const(1))
    try:
        equal, _, _ = classify(tfc, 20, seed=1, flip=0.01)
    except BoardError:
        equal = False       # or an altered request ends the session again and again
    assert not equal


def test_other_network(tfc):
    _, board_identity, verilog = tfc
    with VirtualBoard(verilog, board_identity) as virtual, Board(virtual.port) as board:
        with pytest.raises(BoardError, match=r"the board has network [0-9a-f]{12}, not 0{12}: flash it again, or "):
            board.check("0" * 64)


def run(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "bnnhw.run", *map(str, arguments)], cwd=cwd, text=True, capture_output=True)


def test_command(tmp_path):
    images, labels = models.test_images()
    np.save(tmp_path / "digits.npy", images[:7])
    done = run("--virtual", "--json", tmp_path / "digits.npy")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["classes"] == golden(models.load("mnist-tfc").network, images[:7])[0].tolist()
    assert facts["right"] is None and facts["images"] == 7 and facts["board"]["frames"] == 7


@pytest.mark.parametrize("shape, given, right", [
    ((28, 28, 1), (7, 28, 28), 7), ((28, 28, 1), (28, 28), 1), ((28, 28, 1), (1, 28, 28, 1), 1), ((28, 28, 1), (3, 784), 3),
    ((28, 28, 1), (784,), 1), ((28, 28, 1), (7, 14, 56), None), ((4, 4, 3), (4, 4, 3), 1), ((4, 4, 3), (2, 4, 4, 3), 2),
    ((4, 4, 3), (2, 3, 4, 4), None), ((4, 4, 3), (0, 4, 4, 3), None), ((48,), (2, 4, 4, 3), 2), ((48,), (4, 4, 3), 1),
    ((1,), (5,), 5), ((1,), (1,), 1), ((5,), (5, 5), 5),
])
def test_shapes_of_images(shape, given, right, tmp_path):
    """As the network has them, but for sides of 1, or in a row; channels in front are no image."""
    network = Network([Input("x", TensorType(shape, -1, 1, 2)), Flatten("row", "x"), ArgMax("class", "row")], "class")
    x = np.where(np.arange(math.prod(given)).reshape(given) % 3, 1, -1)
    np.save(tmp_path / "x.npy", x)
    if right is None:
        with pytest.raises(ImagesError, match="x.npy: images must have"):
            load_images(network, [tmp_path / "x.npy"])
    else:
        found = load_images(network, [tmp_path / "x.npy"])
        assert found.shape == (right, *shape) and found.ravel().tolist() == x.ravel().tolist()
        np.save(tmp_path / "x.npy", np.where(x > 0, x, 0))
        with pytest.raises(ImagesError, match=r"x.npy: values must be -1 to 1 in steps of 2$"):
            load_images(network, [tmp_path / "x.npy"])


@pytest.mark.parametrize("arguments, status, message", [
    ([], 2, "error: one of the arguments --port --virtual is required"),
    (["--virtual", "--divisor", "3"], 2, "error: --divisor must be at least 4, not 3"),
    (["--virtual", "--images", "0"], 2, "error: --images must be at least 1, not 0"),
    (["--port", "x", "--noise", "0.1", "0"], 2, "error: --noise belongs to --virtual"),
    (["--virtual", "--noise", "0.5", "0"], 2, "error: --noise must be from 0 to 0.2, not 0.5 and 0"),
    (["--port", "/dev/nothing"], 1, "error: /dev/nothing: "),
    (["--virtual", "missing.npy"], 1, "error: missing.npy: there is no such file"),
    (["--virtual", "text.npy"], 1, "error: text.npy: it is not a .npy file, or it is damaged"),
    (["--virtual", "small.npy"], 1, "error: small.npy: images must have 784 values, shape (N, 28, 28, 1), not (3, 5)"),
    (["--virtual", "float.npy"], 1, "error: float.npy: it must hold an array of integers"),
    (["--virtual", "large.npy"], 1, "error: large.npy: values must be 0 to 255, not 256 to 256"),
    (["--virtual", "--target", "."], 1, "error: .: it is not a folder that `bnnhw build` wrote"),
])
def test_mistakes_are_one_line(arguments, status, message, tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "small.npy", np.zeros((3, 5), np.uint8))
    np.save(tmp_path / "float.npy", np.zeros((1, 784)))
    np.save(tmp_path / "large.npy", np.full((1, 28, 28), 256))
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == status and done.stderr.startswith(message), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_flash(tmp_path):
    def flash(folder):
        return subprocess.run([sys.executable, "-m", "bnnhw.flash", str(folder)], text=True, capture_output=True)
    assert "report.json is missing or damaged" in flash(tmp_path).stderr
    (tmp_path / "report.json").write_text(json.dumps({"model": {"name": "net"}, "board": {"name": "icebreaker"}}))
    assert "there is no bitstream: build with --board and --bitstream" in flash(tmp_path).stderr
    (tmp_path / "net.bin").write_bytes(b"")
    done = flash(tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: iCEBreaker 1.0: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_all_images(tfc):
    start = time.monotonic()
    equal, results, _ = classify(tfc, 1000)
    assert equal and time.monotonic() - start < 180


@pytest.mark.slow
def test_all_images_with_noise(tfc):
    equal, results, ended = classify(tfc, 1000, seed=3, resets=[400_000], **NOISE)
    assert equal and ended.resets == 1


@pytest.mark.slow
def test_record():
    """Tables on an iCEBreaker, with the plan that is routed for 60 MHz (`benchmarks/records.py up5k`)."""
    network, board = models.load("mnist-lut4").network, boards.find("icebreaker")
    planner = Planner(lower(network), devices.find(board.device), 60_000_000, board, fabric="ice40")
    plan = folding.choose(network, planner, fps=1).plan
    images, labels = models.test_images()
    with VirtualBoard(accelerator.verilog(plan), identity(plan)) as virtual, Board(virtual.port) as line:
        line.check(network.digest)
        results = line.classify(encode(network, images[:50]))
    classes = reference.run(network, images[:50, ..., None])["class"]
    assert np.array_equal(results.classes, classes) and not results.flagged.any() and results.bad_replies == 0
    assert (classes == labels[:50]).sum() > 45
