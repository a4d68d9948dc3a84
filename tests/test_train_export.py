"""Export is exact, finds ties, refuses what has no integer form, and its check can fail."""
from decimal import Decimal, localcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import models, reference  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.ir import Affine, Dense, Network, TensorType, Threshold  # noqa: E402
from bnnhw.train import export, loop, recipe  # noqa: E402
from bnnhw.train.activations import Levels  # noqa: E402
from bnnhw.train.export import ExportError  # noqa: E402
from bnnhw.train.layers import BatchNorm  # noqa: E402

from . import training  # noqa: E402

torch.set_num_threads(1)


def norm(gamma, beta, mean, var):
    found = BatchNorm(len(gamma)).eval()
    with torch.no_grad():
        for key, values in {"gamma": gamma, "beta": beta, "mean": mean, "var": var}.items():
            getattr(found, key).copy_(torch.as_tensor(values))
    return found


def sums_of(n_in):
    """The type of a sum of ``n_in`` signs."""
    return TensorType((), -n_in, n_in, 2)


def random_norm(channels, n_in, seed):
    rng = np.random.default_rng(seed)
    return norm(rng.normal(size=channels), rng.normal(size=channels), rng.uniform(-n_in, n_in, channels),
                rng.uniform(0, n_in, channels))


@pytest.mark.parametrize("n_in", [1, 2, 9, 784])
def test_thresholds_decide_as_the_model_for_every_integer(n_in):
    found = random_norm(300, n_in, n_in)
    levels, falling, _ = export.thresholds(found, sums_of(n_in), "fc1")
    sums = np.arange(-n_in, n_in + 1, 2)[:, None]
    ours = np.where(falling, sums <= levels[:, 0], sums >= levels[:, 0])
    with torch.no_grad():
        theirs = found(torch.from_numpy(sums).float().expand(-1, 300)) >= 0
    assert np.array_equal(ours, theirs.numpy())
    assert falling.any() and not falling.all()
    assert ((levels - n_in) % 2 == 0).all() and (abs(levels) <= n_in + 2).all()


def test_levels_count_as_the_model_does():
    """4-bit levels: every integer gives the model's level, ties of float32 or not."""
    found, activation = random_norm(40, 30, 3), Levels(-8, 16, 0.25)
    levels, falling, _ = export.thresholds(found, TensorType((), -40, 35, 3), "conv0", activation)
    sums = np.arange(-40, 36, 3)[:, None, None]
    ours = np.where(falling[:, None], sums <= levels, sums >= levels).sum(axis=2)
    with torch.no_grad():
        theirs = activation(found(torch.from_numpy(sums[:, :, 0]).float().expand(-1, 40))) + 8
    assert levels.shape == (40, 15) and np.array_equal(ours, theirs.numpy())
    assert falling.any() and not falling.all() and len(np.unique(ours)) == 16


def test_always_and_never_in_normal_form():
    one, far = [1.0] * 4, [100.0, -100.0, 100.0, -100.0]
    levels, falling, _ = export.thresholds(norm([1.0, 1.0, -1.0, -1.0], far, [0.0] * 4, one), sums_of(9), "fc1")
    assert levels[:, 0].tolist() == [-9, 11, 9, -11]      # rising always, never; falling always, never
    assert falling.tolist() == [False, False, True, True]
    # Scale 0 leaves the sign of beta; sign(0) = +1.
    levels, falling, ties = export.thresholds(norm([0.0] * 3, [0.5, -0.5, 0.0], [3.0] * 3, [1.0] * 3), sums_of(9), "fc1")
    assert levels[:, 0].tolist() == [-9, 11, -9] and not falling.any() and ties == []


def test_variance_zero_is_no_error():
    levels, falling, _ = export.thresholds(norm([1.0], [0.0], [3.0], [0.0]), sums_of(9), "fc1")
    assert levels.tolist() == [[3]] and not falling[0]


def test_ties_are_those_of_exact_arithmetic():
    """beta is minus what float32 makes of an attainable sum, so float32 gives exactly 0 there; the truth may be below."""
    n_in, channels = 99, 200
    found = random_norm(channels, n_in, 5)
    at = torch.from_numpy(np.random.default_rng(6).integers(0, n_in + 1, channels) * 2 - n_in).float()
    with torch.no_grad():
        found.beta.zero_()
        found.beta.copy_(-found(at[None])[0])
    _, _, ties = export.thresholds(found, sums_of(n_in), "fc7")
    want = []
    with localcontext(prec=80), torch.no_grad():
        for c in range(channels):
            gamma, beta, mean, var = (Decimal(float(getattr(found, key)[c])) for key in ("gamma", "beta", "mean", "var"))
            for s in range(-n_in, n_in + 1, 2):
                exact = (s - mean) / (var + Decimal(BatchNorm.eps)).sqrt() * gamma + beta >= 0
                if exact != bool(found(torch.full((1, channels), float(s)))[0, c] >= 0):
                    want.append({"layer": "fc7", "channel": c, "sum": s})
    assert ties == want and len(want) > 20


@pytest.mark.parametrize("key, value, message", [
    ("gamma", float("nan"), "batch norm's gamma is nan"),
    ("beta", float("-inf"), "batch norm's beta is -inf"),
    ("mean", float("inf"), "batch norm's mean is inf"),
    ("var", float("nan"), "batch norm's var is nan"),
    ("var", -0.5, "batch norm's var is -0.5"),
])
def test_parameters_without_meaning(tmp_path, key, value, message):
    trainer = training.trained(tmp_path, epochs=0)
    with torch.no_grad():
        getattr(trainer.model.norms[1], key)[4] = value
    with pytest.raises(ExportError, match=f"^layer 'fc2', channel 4: {message}$"):
        export.to_network(trainer.model.eval(), (5, 4, 2))


def test_weight_without_meaning(tmp_path):
    trainer = training.trained(tmp_path, epochs=0)
    with torch.no_grad():
        trainer.model.linears[2].weight[1, 3] = float("nan")
    with pytest.raises(ExportError, match="^layer 'fc3', channel 1: a weight is nan$"):
        export.to_network(trainer.model.eval(), (5, 4, 2))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A trained model, its network and images to compare on."""
    trainer = training.trained(tmp_path_factory.mktemp("recipe"), epochs=2, shift=0)
    loop.reestimate(trainer.model, trainer.images)
    network, _ = export.to_network(trainer.model.eval(), (5, 4, 2))
    return trainer.model, network, torch.from_numpy(training.split(500, 8).images)


def test_exact(exported):
    model, network, images = exported
    export.check(model, network, images)
    with torch.no_grad():
        scores = model(images)
    edges = reference.run(network, images.numpy(), keep="all")
    assert np.array_equal(edges["class"], scores.argmax(1).numpy())
    assert list(model.hidden) == ["act1", "act2"]
    for name, hidden in model.hidden.items():
        assert np.array_equal(edges[name], hidden.numpy())


def altered(network, name, change):
    """The network with one operation changed."""
    operations = [change(op) if op.name == name else op for op in network.operations.values()]
    return Network(operations, network.outputs)


def flip(channel, source):
    def change(op):
        weights = op.weights.copy()
        weights[channel, source] *= -1
        return Dense(op.name, *op.inputs, weights)
    return change


def raise_level(channel):
    def change(op):
        levels = op.levels.copy()
        levels[channel] += 2
        return Threshold(op.name, *op.inputs, levels, op.falling)
    return change


@pytest.mark.parametrize("name, change, where", [
    ("act1", raise_level(5), "layer 'act1', channel 5, image "),
    ("act2", raise_level(2), "layer 'act2', channel 2, image "),
    ("fc1", flip(3, 17), "layer 'act1', channel 3, image "),
    ("fc2", flip(6, 0), "layer 'act2', channel 6, image "),
    ("fc3", flip(1, 4), "image "),
    ("binarize", raise_level(1), "layer 'act1', channel "),
], ids=["threshold 1", "threshold 2", "weight 1", "weight 2", "weight 3", "pixel level"])
def test_check_fails_on_an_alteration(exported, name, change, where):
    model, network, images = exported
    with pytest.raises(ExportError, match=rf"^{where}\d+.*the golden model (gives|decides) -?\d, the trained model -?\d "):
        export.check(model, altered(network, name, change), images)


def test_last_batch_norm_becomes_an_affine_with_the_fewest_bits(tmp_path):
    trainer, test = training.trained(tmp_path, epochs=2, last_batch_norm="true", shift=0), training.split(400, 9)
    found = export.export(trainer, test)
    bits, network = found.provenance["fraction_bits"], found.network
    scores = network.operations["scores"]
    assert isinstance(scores, Affine) and 0 <= bits <= 24
    model = trainer.model.eval()
    with torch.no_grad():
        want = model(torch.from_numpy(test.images)).argmax(1).numpy()
    edges = reference.run(network, test.images, keep="all")
    assert np.array_equal(edges["class"], want)
    # One bit fewer would decide otherwise.
    last = model.norms[-1]
    slope = (last.gamma.double() / torch.sqrt(last.var.double() + last.eps)).detach().numpy()
    constant = (last.beta.double() - last.mean.double() * torch.from_numpy(slope)).detach().numpy()
    assert np.array_equal(scores.scale, np.rint(slope * 2**bits)) and np.array_equal(scores.offset, np.rint(constant * 2**bits))
    if bits:
        fewer = edges["fc3"] * np.rint(slope * 2**(bits - 1)) + np.rint(constant * 2**(bits - 1))
        assert not np.array_equal(fewer.argmax(axis=1), want)


def test_ties_of_the_scores_go_to_the_lowest_class(exported):
    model, network, images = exported
    scores = reference.run(network, images.numpy(), keep=["fc3"])["fc3"]
    tied = (scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert tied.any()
    with torch.no_grad():
        assert np.array_equal(model(images).argmax(1).numpy()[tied], scores.argmax(axis=1)[tied])


@pytest.mark.parametrize("name", models.names())
def test_shipped_networks_come_from_the_shipped_recipes(name):
    facts = models.load(name).provenance
    assert facts["recipe"] == recipe.load(name).model_dump()
    assert facts["checked"] == {"images": 10_000, "differing_decisions": 0, "differing_hidden_values": 0}
