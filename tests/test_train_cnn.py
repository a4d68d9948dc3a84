"""Convolutional and residual networks: in eval mode they compute what the golden model says, hidden value by hidden value."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import reference  # noqa: E402
from bnnhw.train import export, models, recipe  # noqa: E402
from bnnhw.train.layers import BinaryConv2d, FixedPointNorm  # noqa: E402
from bnnhw.train.loop import Trainer, reestimate  # noqa: E402

from .training import split  # noqa: E402

COMMON = """
name = "small"
dataset = "mnist"
estimator = "approxsign"
loss = "cross-entropy"
epochs = 2
batch = 30
learning_rate = 0.02
weight_spread = 0.1
score_scale = 1.0
shift = 1
flip = true
seed = 3
"""
CNN = COMMON + """
kind = "cnn"
blocks = [
    { channels = 5, kernel = 3, padding = 1, pool = false },
    { channels = 6, kernel = 3, padding = 1, pool = true },
]
hidden = [7]
"""
RESIDUAL = COMMON + """
kind = "residual"
width = 5
pools = [true, false]
shortcuts = SHORTCUTS
fraction_bits = 3
"""
TEXTS = {"cnn": CNN, "residual": RESIDUAL.replace("SHORTCUTS", "true"), "plain": RESIDUAL.replace("SHORTCUTS", "false")}


def trained(folder, kind):
    path = folder / "small.toml"
    path.write_text(TEXTS[kind])
    chosen = recipe.load(path)
    data = split(300, 1, shape=(9, 8, 2))
    trainer = Trainer(models.build(chosen, data), chosen, data)
    losses = [trainer.run_epoch()["loss"] for _ in range(2)]
    assert np.isfinite(losses).all()
    reestimate(trainer.model, trainer.images)
    return trainer


@pytest.mark.parametrize("kind", TEXTS)
def test_exact(kind, tmp_path):
    trainer = trained(tmp_path, kind)
    images = torch.from_numpy(split(700, 2, shape=(9, 8, 2)).images)     # more than one batch
    network, facts = export.to_network(trainer.model.eval(), (9, 8, 2))
    export.check(trainer.model, network, images)
    kinds = [operation.kind for operation in network.operations.values()]
    assert ("Add" in kinds) == (kind == "residual") and kinds.count("Conv2d") >= 2
    hidden = trainer.model.hidden
    assert set(hidden) <= set(network.operations) and len(hidden) >= 3
    if kind != "cnn":       # residuals take more than two values, all of them integers
        assert len(np.unique(hidden["norm1"].numpy())) > 5


@pytest.mark.parametrize("kind", ["cnn", "residual"])
def test_check_sees_a_changed_weight(kind, tmp_path):
    trainer = trained(tmp_path, kind)
    images = torch.from_numpy(split(50, 2, shape=(9, 8, 2)).images)
    network, _ = export.to_network(trainer.model.eval(), (9, 8, 2))
    with torch.no_grad():
        weight = trainer.model.convs[1].weight
        weight[0] = -weight[0]
    with pytest.raises(export.ExportError, match="the golden model gives"):
        export.check(trainer.model, network, images)


def test_convolution_is_the_same_in_both_modes():
    """Laid-out windows in eval mode, the library's convolution in training: the same integers, padded places -1."""
    generator = torch.Generator().manual_seed(0)
    layer = BinaryConv2d(3, 4, 3, 1, generator=generator)
    x = torch.randint(-5, 6, (2, 3, 6, 5), generator=generator).float()
    with torch.no_grad():
        assert torch.equal(layer.train()(x), layer.eval()(x))
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0).double()
        assert torch.equal(layer(x).double(), torch.nn.functional.conv2d(padded, layer.signs().double()))


def test_fixed_point_norm_gives_multiples():
    norm = FixedPointNorm(3, 4)
    s = torch.randint(-20, 21, (8, 3, 4, 4)).float()
    with torch.no_grad():
        norm.gamma.copy_(torch.tensor([0.3, -1.7, 0.0]))
        for training in (True, False):
            y = norm.train(training)(s) * 16
            assert torch.equal(y, y.round())
    scale, offset = norm.integers(norm.mean, norm.var)
    assert torch.equal(norm(s) * 16, scale.view(-1, 1, 1) * s + offset.view(-1, 1, 1))


def test_gradient_passes_the_rounding():
    norm = FixedPointNorm(2, 2)
    norm(torch.randn(4, 2, 3, 3)).sum().backward()
    assert norm.beta.grad.tolist() == [36.0, 36.0]


def test_fixed_point_norm_has_batch_norm_s_gradients():
    """Those of scale and offset are as if nothing were rounded; that of the sums is the rounded slope."""
    norm, s = FixedPointNorm(2, 3).eval(), torch.randint(-20, 21, (4, 2, 3, 3)).float().requires_grad_()
    with torch.no_grad():
        norm.gamma.copy_(torch.tensor([0.3, -1.7]))
        norm.mean.copy_(torch.tensor([2.5, -1.0]))
        norm.var.copy_(torch.tensor([7.0, 0.5]))
    upstream = torch.randn(4, 2, 3, 3)
    (norm(s) * upstream).sum().backward()
    centred = (s.detach() - norm.mean.view(-1, 1, 1)) / torch.sqrt(norm.var + norm.eps).view(-1, 1, 1)
    assert torch.allclose(norm.gamma.grad, (upstream * centred).sum((0, 2, 3)), atol=1e-4)
    assert torch.allclose(norm.beta.grad, upstream.sum((0, 2, 3)), atol=1e-5)
    slope = torch.round(norm.gamma / torch.sqrt(norm.var + norm.eps) * 8) / 8
    assert torch.allclose(s.grad, upstream * slope.view(-1, 1, 1))


def test_reestimated_statistics_are_those_of_all_images(tmp_path, monkeypatch):
    """More than one batch of them; a pass ends where the statistics are taken, so that the scores are never computed."""
    trainer = trained(tmp_path, "cnn")
    model, images = trainer.model, trainer.images
    assert len(images) > model.evaluation_batch
    with torch.no_grad():
        for norm in model.norms:
            norm.mean.fill_(99.0)
        monkeypatch.setattr(model.linears[-1], "dropped_sums", None)
        reestimate(model, images)
        x = images.permute(0, 3, 1, 2).double()
        for k, (layer, norm) in enumerate(zip([*model.convs, *model.linears], model.norms, strict=False)):
            if k < 2:
                padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0)
                s = torch.nn.functional.conv2d(padded, layer.signs().double())
                s = torch.nn.functional.max_pool2d(s, 2) if model.pools[k] else s
            else:
                s = x.permute(0, 2, 3, 1).flatten(1) @ layer.signs().double().T
            rows = s.transpose(0, 1).flatten(1)
            assert torch.allclose(norm.mean.double(), rows.mean(1), rtol=1e-6)
            assert torch.allclose(norm.var.double(), rows.var(1, correction=0), rtol=1e-6)
            x = torch.where(norm(s.float()) >= 0, 1.0, -1.0).double()


def test_golden_model_gives_the_model_s_scores(tmp_path):
    trainer = trained(tmp_path, "residual")
    images = split(60, 5, shape=(9, 8, 2)).images
    network, _ = export.to_network(trainer.model.eval(), (9, 8, 2))
    with torch.no_grad():
        scores = trainer.model(torch.from_numpy(images)) / trainer.model.score_scale
    assert np.array_equal(reference.run(network, images, keep=["scores"])["scores"], scores.round().long().numpy())
    assert torch.allclose(scores, scores.round(), atol=1e-3)


@pytest.mark.parametrize("change, message", [
    (('kind = "cnn"', 'kind = "rnn"'),
     r"key 'kind': must be one of \['mlp', 'level-mlp', 'cnn', 'residual', 'lut', 'lut-parts', 'lut-table', 'sparse-xnor', "
     r"'continual'\], not 'rnn'"),
    (("pool = true }", "pool = 1 }"), "key 'blocks.1.pool': "),
    (("padding = 1, pool = false", "padding = 3, pool = false"),
     "key 'blocks.0.padding': must be less than the kernel's 3, not 3$"),
    (("hidden = [7]", "hidden = [7]\nwidth = 3"), "key 'width': is unknown"),
])
def test_recipe_errors(change, message, tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(CNN.replace(*change))
    with pytest.raises(recipe.RecipeError, match=message):
        recipe.load(path)


@pytest.mark.parametrize("kind, change, block", [
    ("cnn", ("kernel = 3, padding = 1, pool = true", "kernel = 9, padding = 0, pool = true"), 2),       # of 9x8
    ("cnn", ("kernel = 3, padding = 1, pool = false", "kernel = 9, padding = 0, pool = false"), 1),
    ("residual", ("[true, false]", "[true, true, true]"), 4),
])
def test_images_too_small(kind, change, block, tmp_path):
    (tmp_path / "r.toml").write_text(TEXTS[kind].replace(*change))
    with pytest.raises(recipe.RecipeError, match=rf"^recipe 'small': block {block}: images of 9x8 are too small for it$"):
        models.build(recipe.load(tmp_path / "r.toml"), split(30, 1, shape=(9, 8, 2)))
