"""What `bnnhw info --plot` draws: the figures behind it in plain arithmetic, and a picture for every kind of network."""
import numpy as np
import pytest

from bnnhw import artifact, cli, datasets, models, portrait, reference
from bnnhw.artifact import Artifact
from bnnhw.ir import ArgMax, Conv2d, Dense, Flatten, GroupSum, Input, Lookup, Network, TensorType, Thermometer, Threshold


def dense(shape=(4, 3, 2), levels=2, neurons=5, classes=3, seed=0):
    """Thermometer, a dense layer, its threshold, scores."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    return Network([
        Input("x", TensorType(shape, 0, 9)), Thermometer("bits", "x", np.sort(rng.integers(1, 9, (size, levels)), axis=1)),
        Flatten("flat", "bits"), Dense("fc1", "flat", rng.choice([-1, 1], (neurons, size * levels))),
        Threshold("act1", "fc1", rng.integers(-5, 6, (neurons, 1)), rng.random(neurons) < 0.4),
        Dense("scores", "act1", rng.choice([-1, 1], (classes, neurons))), ArgMax("class", "scores")], "class")


def test_weights_by_what_they_weigh():
    network = dense()
    layer = portrait.first_layer(network)
    assert (layer.name, layer.taken, layer.weights.shape) == ("fc1", False, (5, 4, 3, 2))
    weights = network.operations["fc1"].weights
    assert layer.weights[3, 1, 2, 1] == weights[3, 2 * (1 * 6 + 2 * 2 + 1):][:2].mean()
    layer = portrait.first_layer(dense((7,)))
    assert layer.weights.shape == (5, 7)


def test_kernels_and_tables():
    rng = np.random.default_rng(1)
    kernels = rng.choice([-1, 1], (4, 3, 3, 2))
    network = Network([Input("x", TensorType((5, 5, 2), 0, 255)), Conv2d("conv", "x", kernels), Flatten("flat", "conv"),
                       ArgMax("class", "flat")], "class")
    assert np.array_equal(portrait.first_layer(network).weights, kernels)
    wires = np.array([[0, 1], [5, 4], [0, 2], [3, 1]])
    network = Network([Input("x", TensorType((3,), 0, 9)), Thermometer("bits", "x", [3, 6]),
                       Lookup("lut", "bits", wires, rng.choice([-1, 1], (4, 4))), GroupSum("votes", "lut", 2),
                       ArgMax("class", "votes")], "class")
    layer = portrait.first_layer(network)
    assert layer.taken and layer.weights.tolist() == [[4 / 8, 2 / 8, 2 / 8]]
    x = rng.integers(0, 10, (20, 3))
    assert portrait.saliency(network, x, np.arange(20) % 2, 2).shape == (2, 3)


def test_a_vector_of_a_square_number_of_pixels_is_an_image():
    network = Network([Input("x", TensorType((64,), 0, 255)), Threshold("bits", "x", np.full((64, 1), 128), np.zeros(64, bool)),
                       Dense("scores", "bits", np.ones((2, 64))), ArgMax("class", "scores")], "class")
    assert portrait.first_layer(network).weights.shape == (2, 8, 8, 1)


def test_thresholds():
    levels = np.array([[-3], [0], [2], [4], [-4], [3], [5]])
    network = Network([Input("x", TensorType.bipolar((3,))), Dense("fc", "x", np.ones((7, 3))),
                       Threshold("act", "fc", levels, np.array([0, 0, 0, 0, 1, 1, 1], bool)), Dense("s", "act", np.ones((2, 7))),
                       ArgMax("class", "s")], "class")
    (found,) = portrait.thresholds(network)
    s = np.arange(-3, 4, 2)
    operation = network.operations["act"]
    reached = np.where(operation.falling, s[:, None] <= operation.levels[:, 0], s[:, None] >= operation.levels[:, 0])
    assert (found.always, found.never) == (int(reached.all(axis=0).sum()), int((~reached).all(axis=0).sum())) == (3, 2)
    assert found.levels.tolist() == operation.levels[reached.any(axis=0) & ~reached.all(axis=0), 0].tolist()
    assert (found.name, found.lo, found.hi) == ("act", -3, 3)
    assert portrait.thresholds(dense())[0].name == "act1" and len(portrait.thresholds(dense())) == 1


@pytest.mark.parametrize("shape", [(9,), (3, 3, 1), (15, 16, 2)])
def test_saliency_in_plain_arithmetic(shape):
    """Each part covered by the mean of all inputs, one input after the other."""
    network, rng = dense(shape), np.random.default_rng(2)
    x, labels = rng.integers(0, 10, (12, *shape)), np.array([0, 2] * 6)     # class 1 has no inputs
    found = portrait.saliency(network, x, labels, 3, effort=1e12)
    mean = np.rint(x.reshape(12, -1).mean(axis=0)).astype(int).reshape(shape)

    def score(one, label):
        return int(reference.run(network, one[None], keep=["scores"])["scores"][0, label])

    want, covered = np.zeros((3, *shape)), np.zeros(shape)
    side = max(1, min(shape[:2]) // 7)
    ends = [sorted({*range(0, size - side, max(1, side // 2)), size - side}) for size in shape[:2]]
    places = [(k,) for k in range(9)] if len(shape) == 1 else [np.s_[r:r + side, c:c + side] for r in ends[0] for c in ends[1]]
    for place in places:
        covered[place] += 1
        for label in (0, 2):
            for one in x[labels == label]:
                other = one.copy()
                other[place] = mean[place]
                want[(label, *place)] += (score(one, label) - score(other, label)) / 6
    want /= covered
    assert np.allclose(found, want if len(shape) == 1 else want.mean(axis=3), rtol=0, atol=1e-9)
    assert not found[1].any() and found[0].any()


@pytest.mark.parametrize("model", ["mnist-tfc", "mnist-cnn-small", "mnist-lut4"])
def test_picture(model, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(portrait, "TRIES_MAX", 10)      # one image of each class
    assert cli.main(["info", model, "--plot", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert capsys.readouterr().out == f"written: {tmp_path / 'p.png'}\n"


def test_pictures_without_images(tmp_path, monkeypatch):
    """Of a table, and of data that cannot be had: what scores hang on is left out."""
    pytest.importorskip("matplotlib")
    from bnnhw import infoplot
    plain = infoplot.picture(Artifact(dense((7,)), provenance={"flips": {"fc1": [0, 3, 2] + [0] * 17}}), "net")
    x = np.random.default_rng(0).integers(0, 10, (12, 7))
    assert len(infoplot.picture(Artifact(dense((7,)), ("a", "b", "c")), "net", x, np.arange(12) % 3)) > len(plain)
    artifact.save(tmp_path / "n.bnn", Artifact(dense((28, 28, 1)), provenance={"dataset": "cifar10"}))
    monkeypatch.setattr(datasets, "load", lambda name, split: (_ for _ in ()).throw(datasets.DatasetError("none")))
    assert cli.main(["info", str(tmp_path / "n.bnn"), "--plot", str(tmp_path / "p.png")]) == 0


@pytest.mark.parametrize("arguments, status, message", [
    (["--data", "x.csv"], 2, "error: --data belongs to --plot"),
    (["--plot", "p.svg"], 2, "error: --plot draws a .png file, not p.svg"),
    (["--plot", "folder.png"], 1, "error: folder.png: Is a directory\n"),
    (["--plot", "p.png", "--data", "x.csv"], 1, "error: the network does not say how files become its input"),
])
def test_mistakes(arguments, status, message, capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(portrait, "TRIES_MAX", 10)
    try:
        found = cli.main(["info", models.DEFAULT, *arguments])
    except SystemExit as exit:
        found = exit.code
    assert found == status and capsys.readouterr().err.startswith(message)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.png"]
