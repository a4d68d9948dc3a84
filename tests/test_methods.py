"""Every method trains, resumes, exports exactly; and does what its formula says."""
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import reference  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.ir import TensorType, Threshold  # noqa: E402
from bnnhw.train import checkpoint, export, loop, methods, models, recipe  # noqa: E402
from bnnhw.train.export import ExportError  # noqa: E402
from bnnhw.train.layers import BatchNorm, BinaryConv2d, BinaryLinear  # noqa: E402
from bnnhw.train.loop import Trainer  # noqa: E402
from bnnhw.train.methods.optimizers import Bop, metaplastic_step  # noqa: E402
from bnnhw.train.weights import LearnedScale, Relaxed, Signs  # noqa: E402

from . import training  # noqa: E402

torch.set_num_threads(1)
SHAPE = (9, 8, 2)
CNN = """
name = "small"
kind = "cnn"
dataset = "mnist"
estimator = "approxsign"
loss = "cross-entropy"
epochs = 2
batch = 30
learning_rate = 0.02
weight_spread = 0.1
score_scale = 1.0
shift = 0
flip = true
seed = 3
dropout = 0.1
blocks = [
    { channels = 4, kernel = 3, padding = 1, pool = false },
    { channels = 6, kernel = 3, padding = 1, pool = true },
]
hidden = [8]
"""
RESIDUAL = CNN.split("dropout")[0].replace('"cnn"', '"residual"') + """
width = 4
pools = [true, false]
shortcuts = true
fraction_bits = 3
"""
# What each method's table says; all shipped ones are among them.
TABLES = {
    "binarynet": 'name = "binarynet"\nstochastic = false',
    "binarynet-stochastic": 'name = "binarynet"\nstochastic = true',
    "binaryconnect": 'name = "binaryconnect"\nbits = 2\nstochastic = false',
    "binaryconnect-stochastic": 'name = "binaryconnect"\nbits = 3\nstochastic = true',
    "xnor-net": 'name = "xnor-net"',
    "pcnn": 'name = "pcnn"\nprojections = 2\nstrength = 0.01',
    "binaryrelax": 'name = "binaryrelax"\nrelaxed_share = 0.5\ngrowth = 1.5',
    "bop": 'name = "bop"\ngamma = 0.05\nthreshold = 1e-5',
    "ir-net": 'name = "ir-net"',
    "recu": 'name = "recu"',
    "rsign": 'name = "rsign"',
    "adambnn": 'name = "adambnn"\nfirst_share = 0.5\namount = 1e-4',
    "distillation": 'name = "distillation"\nlessons_epochs = 1\ntemperature = 4.0\nshare = 0.9',
    "weight-decay": 'name = "weight-decay"\namount = 0.001',
    "label-smoothing": 'name = "label-smoothing"\namount = 0.1',
    "metaplastic": 'name = "metaplastic"\nm = 1.3',
}
FLAT = ("xnor-net", "binaryrelax", "ir-net", "recu", "binaryconnect", "binaryconnect-stochastic", "distillation")


def load(folder, base, *names, **changes):
    """A small recipe of those methods."""
    text = "".join(f"\n[[methods]]\n{TABLES[name]}\n" for name in names)
    path = folder / "r.toml"
    if base == "mlp":
        path = training.small_recipe(folder, epochs=2, **changes)
        path.write_text(path.read_text() + text)
    else:
        path.write_text({"cnn": CNN, "residual": RESIDUAL}[base] + text)
    return recipe.load(path)


def data(chosen, count=300, seed=1):
    return training.split(count, seed, *([SHAPE] if chosen.kind != "mlp" else []))


def trained(chosen, epochs=2):
    split = data(chosen)
    trainer = Trainer(models.build(chosen, split), chosen, split)
    for _ in range(epochs):
        assert math.isfinite(trainer.run_epoch()["loss"])
    return trainer


@pytest.mark.parametrize("base", ["mlp", "cnn"])
@pytest.mark.parametrize("name", TABLES)
def test_exact(name, base, tmp_path):
    trainer = trained(load(tmp_path, base, name))
    found = export.export(trainer, data(trainer.recipe, 400, 2))        # raises at the first difference
    assert found.provenance["recipe"]["methods"][0]["name"] == trainer.recipe.methods[0].name
    if name.startswith("binaryconnect"):
        levels = found.network.operations["act1"]
        assert levels.levels.shape[1] == 2**trainer.recipe.methods[0].bits - 1 and (levels.base, levels.step) == (0, 1)


@pytest.mark.parametrize("name", [name for name in TABLES if name not in FLAT])
def test_exact_with_shortcuts(name, tmp_path):
    trainer = trained(load(tmp_path, "residual", name))
    export.export(trainer, data(trainer.recipe, 300, 2))


@pytest.mark.parametrize("name", FLAT)
def test_not_with_shortcuts(name, tmp_path):
    with pytest.raises(recipe.RecipeError, match="^key 'methods': a residual network takes none with scales, a teacher or"):
        trained(load(tmp_path, "residual", name))


@pytest.mark.parametrize("name", TABLES)
def test_resumes_with_the_same_bits(name, tmp_path):
    chosen = load(tmp_path, "mlp", name)
    whole, first = trained(chosen), trained(chosen, 1)
    checkpoint.write(tmp_path / "c", first, {})
    other = trained(chosen, 0)
    checkpoint.read(tmp_path / "c", other, {})
    other.run_epoch()
    ours, theirs = whole.state()[0], other.state()[0]
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", ["binaryrelax", "adambnn", "ir-net"])
def test_a_restored_run_exports_what_it_would_have(name, tmp_path):
    """The parts of a network that change with the epochs are, once restored, as the last epoch left them."""
    chosen = load(tmp_path, "mlp", name)
    whole, other = trained(chosen), trained(chosen, 0)
    checkpoint.write(tmp_path / "c", whole, {})
    checkpoint.read(tmp_path / "c", other, {})
    test = data(chosen, 100, 2)
    assert export.export(other, test).network.digest == export.export(whole, test).network.digest
    half = trained(chosen, 1)
    checkpoint.write(tmp_path / "c", half, {})
    checkpoint.read(tmp_path / "c", other, {})
    parts = [[vars(module.weights).get("exact") for module in trainer.model.binary_layers] for trainer in (half, other)]
    assert parts[0] == parts[1]


def test_several_methods(tmp_path):
    trainer = trained(load(tmp_path, "mlp", "ir-net", "label-smoothing", "weight-decay", "rsign"))
    export.export(trainer, data(trainer.recipe, 200, 2))


@pytest.mark.parametrize("names, hook", [(("ir-net", "recu"), "weights"), (("distillation", "label-smoothing"), "loss"),
                                         (("bop", "weight-decay"), "decay"), (("binaryconnect", "rsign"), "activation")])
def test_methods_that_clash(names, hook, tmp_path):
    with pytest.raises(recipe.RecipeError, match=rf"key 'methods': '{names[0]}' and '{names[1]}' both have a say in "
                                                 rf"'{hook}'"):
        load(tmp_path, "mlp", *names)


@pytest.mark.parametrize("table, message", [
    ('name = "irnet"', r"key 'methods.0.name': must be one of \['adambnn', 'binaryconnect', .*'xnor-net'\], not 'irnet'$"),
    ("m = 1.0", r"key 'methods.0.name': must be one of \['adambnn', .*\], not None$"),
    ('name = "pcnn"\nstrength = 0.1', "key 'methods.0.pcnn.projections': is missing"),
    ('name = "xnor-net"\nk = true', "key 'methods.0.xnor-net.k': is unknown"),
    ('name = "bop"\ngamma = 0.0\nthreshold = 0.0', "key 'methods.0.bop.gamma': input should be greater than 0, not 0.0"),
])
def test_wrong_tables(table, message, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES, "wrong", table)
    with pytest.raises(recipe.RecipeError, match=message):
        load(tmp_path, "mlp", "wrong")


def test_recipes_without_methods_are_written_as_ever():
    dumped = recipe.load("mnist-cnn-small").model_dump()
    assert "methods" not in dumped and "dropout" not in dumped
    again = recipe.load("mnist-recu").model_dump()
    assert again["methods"] == [{"name": "recu"}]


def test_every_method_has_its_recipe():
    shipped = {method.name for name in recipe.names() for method in getattr(recipe.load(name), "methods", ())}
    named = {kind.model_fields["name"].annotation.__args__[0] for kind in methods.METHODS}
    assert shipped == named == {TABLES[name].split('"')[1] for name in TABLES}


@pytest.mark.parametrize("share, epochs", [(0.5, 1), (1.0, 2)])
def test_no_export_before_phase_two(share, epochs, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES, "slow", f'name = "binaryrelax"\nrelaxed_share = {share}\ngrowth = 1.5')
    trainer = trained(load(tmp_path, "mlp", "slow"), epochs)
    with pytest.raises(ExportError, match=r"^layer 'fc1': its weights are not signs before phase II, which begins when "
                                          rf"{share:.0%} of the epochs are done$"):
        export.export(trainer, data(trainer.recipe, 50, 2))


def test_no_export_of_floats(tmp_path):
    chosen = load(tmp_path, "mlp", "adambnn")
    trainer = trained(chosen, 1)
    with pytest.raises(ExportError, match="not signs before step 2, which begins when 50% of the epochs are done$"):
        export.export(trainer, data(chosen, 50, 2))
    twin = loop.float_twin(chosen, data(chosen), 2)
    twin.run_epoch()
    twin.run_epoch()
    with pytest.raises(ExportError, match="layer 'fc1': its weights are not signs"):
        export.export(twin, data(chosen, 50, 2))


def test_scales_fold_into_thresholds():
    """Scales of both signs, zero too, and batch norms of both signs: every integer decides as the float function does."""
    rng = np.random.default_rng(5)
    norm = BatchNorm(200).eval()
    scale = torch.from_numpy(rng.normal(size=200).astype(np.float32))
    scale[0] = 0
    with torch.no_grad():
        for value in (norm.gamma, norm.beta, norm.mean):
            value.copy_(torch.from_numpy(rng.normal(size=200)))
        norm.var.copy_(torch.from_numpy(rng.uniform(0, 30, 200)))
    sums = np.arange(-31, 32, 2)
    levels, falling, _ = export.thresholds(norm, TensorType((), -31, 31, 2), "fc1", scale=scale)
    ours = np.where(falling, sums[:, None] <= levels[:, 0], sums[:, None] >= levels[:, 0])
    with torch.no_grad():
        theirs = norm(torch.from_numpy(sums[:, None]).float() * scale) >= 0
    assert np.array_equal(ours, theirs.numpy())
    assert np.array_equal(falling[1:], ((norm.gamma.detach() < 0) ^ (scale < 0)).numpy()[1:])
    normal = Threshold("t", "s", levels, falling).normal(TensorType((200,), -31, 31, 2))
    assert np.array_equal(normal.levels, levels)


def test_scale_without_meaning(tmp_path):
    trainer = trained(load(tmp_path, "mlp", "recu"), 0)
    with torch.no_grad():
        trainer.model.linears[1].scale.alpha[3] = float("nan")
    with pytest.raises(ExportError, match="^layer 'fc2', channel 3: its scale is nan$"):
        export.to_network(trainer.model.eval(), (5, 4, 2))


@pytest.mark.parametrize("base", ["mlp", "cnn"])
def test_negative_scales_are_exact(base, tmp_path):
    trainer = trained(load(tmp_path, base, "recu"))
    with torch.no_grad():
        for module in trainer.model.modules():
            if isinstance(module, LearnedScale):
                module.alpha[::2] *= -1
    found = export.export(trainer, data(trainer.recipe, 300, 2))
    acts = [op for op in found.network.operations.values() if isinstance(op, Threshold) and op.name != "binarize"]
    assert all(0 < act.falling.mean() < 1 for act in acts)


def test_scale_with_a_last_batch_norm(tmp_path):
    trainer = trained(load(tmp_path, "mlp", "recu", last_batch_norm="true"))
    test = data(trainer.recipe, 300, 2)
    found = export.export(trainer, test)
    with torch.no_grad():
        want = trainer.model.eval()(torch.from_numpy(test.images)).argmax(1).numpy()
    assert np.array_equal(reference.run(found.network, test.images)["class"], want)


def test_layers_take_their_parts():
    """forward is scale * (weights of activations), dense and convolution."""
    g = torch.Generator().manual_seed(2)
    for layer, x in ((BinaryLinear(6, 3, weights=Signs(None), activations=torch.sign, scale=LearnedScale(3, g), generator=g),
                      torch.randn(5, 6, generator=g)),
                     (BinaryConv2d(2, 3, 3, 0, weights=Signs(None), scale=LearnedScale(3, g), generator=g),
                      torch.randint(0, 256, (5, 2, 6, 5), generator=g).float())):
        if layer.activations:
            layer.activations = lambda x, generator: torch.where(x >= 0, 1.0, -1.0)
            sums = torch.where(x >= 0, 1.0, -1.0) @ layer.signs().T
        else:
            sums = torch.nn.functional.conv2d(x, layer.signs())
        alpha = layer.scale.alpha.view(-1, *[1] * (x.ndim - 2))
        with torch.no_grad():
            assert torch.allclose(layer.train()(x), sums * alpha) and torch.allclose(layer.eval()(x), sums * alpha)


def test_bop_flips():
    weight = torch.tensor([1.0, -1.0, 1.0, -1.0]).requires_grad_()
    other = torch.zeros(1, requires_grad=True)
    bop = Bop([{"params": [weight], "lr": 0.1, "binary": True}, {"params": [other], "lr": 0.1, "binary": False}], 0.5, 0.2)

    def step(gradient):
        weight.grad, other.grad = torch.tensor(gradient), torch.ones(1)
        bop.step()
    step([0.3, -0.3, -0.9, 0.5])        # averages 0.15, -0.15, -0.45, 0.25: none is both large and of the weight's sign
    assert weight.tolist() == [1, -1, 1, -1] and math.isclose(other.item(), -0.1, rel_tol=1e-5)
    step([0.3, -0.3, -0.9, 0.5])        # 0.225, -0.225, -0.675, 0.375
    assert weight.tolist() == [-1, 1, 1, -1]
    bop.param_groups[0]["lr"] = 0.0     # gamma falls with the rate
    step([-99.0, 99.0, 99.0, -99.0])
    assert weight.tolist() == [-1, 1, 1, -1]


def test_metaplastic_step():
    layer = BinaryLinear(4, 1, weights=Signs(None), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, -2.0, 0.5, -0.5]]))
    layer.weight.grad = torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    metaplastic_step(torch.optim.SGD([layer.weight], lr=0.1), [layer], 1.3)
    held = [1 - math.tanh(1.3 * w)**2 for w in (2.0, 0.5)]
    want = [2 - 0.1 * held[0], -2.1, 0.5 - 0.1 * held[1], -0.5 + 0.1 * held[1]]      # away from 0 it moves freely
    assert np.allclose(layer.weight.detach().numpy(), [want], atol=1e-6)


def test_distillation_loss(tmp_path):
    chosen = load(tmp_path, "mlp", "distillation")
    g = torch.Generator().manual_seed(4)
    scores, taught = torch.randn(2, 7, 3, generator=g)
    labels = torch.randint(0, 3, (7,), generator=g)
    p, q = (torch.softmax(values.double() / 4, 1) for values in (taught, scores))
    want = 0.9 * 16 * (p * (p / q).log()).sum(1).mean() + 0.1 * -torch.log_softmax(scores.double(), 1)[range(7), labels].mean()
    assert math.isclose(chosen.methods[0].loss(chosen, scores, labels, taught), want, rel_tol=1e-5)


def test_teacher_is_trained_first_and_stays(tmp_path):
    trainer = trained(load(tmp_path, "mlp", "distillation"), 1)
    assert trainer.teacher.epoch == 1 and trainer.teacher.recipe.methods == [methods.FloatTwin()]
    before = {key: value.clone() for key, value in trainer.teacher.model.state_dict().items()}
    trainer.run_epoch()
    assert all(torch.equal(before[key], value) for key, value in trainer.teacher.model.state_dict().items())


def test_label_smoothing_loss(tmp_path):
    chosen = load(tmp_path, "mlp", "label-smoothing")
    scores, labels = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([1])
    logs = torch.log_softmax(scores, 1)[0]
    want = -(0.9 * logs[1] + 0.1 * logs.mean())
    assert math.isclose(chosen.methods[0].loss(chosen, scores, labels, None), want, rel_tol=1e-6)


def test_adambnn_has_two_schedules(tmp_path):
    trainer = trained(load(tmp_path, "mlp", "adambnn"), 0)
    steps = trainer.steps
    assert [trainer.learning_rate(step) for step in (0, steps)] == [0.02, 0.02]
    assert math.isclose(trainer.learning_rate(steps // 2), 0.01) and math.isclose(trainer.learning_rate(steps + steps // 2), 0.01)
    decay = trainer.method.decay
    assert [decay(trainer.recipe, step, 2 * steps) for step in (0, steps - 1, steps)] == [1e-4, 1e-4, 0.0]
    trainer.run_epoch()
    trainer.run_epoch()
    steps_of_adam = {float(state["step"]) for state in trainer.optimizer.state.values()}
    assert steps_of_adam == {steps}     # a fresh one


def test_weight_decay_is_of_latent_weights_only(tmp_path):
    trainer = trained(load(tmp_path, "mlp", "weight-decay"), 1)
    assert [(group["binary"], group["weight_decay"]) for group in trainer.optimizer.param_groups] == [(True, 0.001), (False, 0.0)]


def test_schedules_reach_the_parts(tmp_path):
    trainer = trained(load(tmp_path, "mlp", "binaryrelax"), 0)
    relaxed = [module for module in trainer.model.modules() if isinstance(module, Relaxed)]
    assert len(relaxed) == 3 and not any(part.exact for part in relaxed)
    trainer.run_epoch()
    assert not any(part.exact for part in relaxed)
    trainer.run_epoch()
    assert all(part.exact for part in relaxed) and {part.strength for part in relaxed} == {1.5}
