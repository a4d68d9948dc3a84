"""Sparse networks: gradients by their definition, wiring, exact export, resume."""
import itertools
import tomllib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import reference  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.ir import Input, Lookup, Network, TensorType  # noqa: E402
from bnnhw.train import export, loop, models, recipe, sparse  # noqa: E402
from bnnhw.train.export import ExportError  # noqa: E402
from bnnhw.train.loop import Trainer, accuracy  # noqa: E402
from bnnhw.train.recipe import RecipeError  # noqa: E402

from . import training  # noqa: E402

torch.set_num_threads(1)

SMALL = """
name = "small"
kind = "lut"
dataset = "mnist"
layers = [60, 30]
fan_in = 4
pixel_levels = [100]
softness = 0.1
wiring_rate = 0.02
wiring_every = 2
wiring_until = 0.8
loss = "cross-entropy"
epochs = 6
batch = 30
learning_rate = 0.03
weight_spread = 1.0
score_scale = 6.0
shift = 0
slide = 0
turn = 0.0
seed = 3
"""
XNOR = {"kind": '"sparse-xnor"', "wiring_rate": None, "regrow_every": 7, "regrow_share": 0.3}
KINDS = [{}, XNOR]


def small(folder, **changes):
    """The small recipe, keys changed or left out (None)."""
    lines = [line for line in SMALL.strip().splitlines() if line.split(" = ")[0] not in changes]
    path = folder / "small.toml"
    path.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in changes.items() if value is not None)]) + "\n")
    return recipe.load(path)


def trainer_of(chosen, train=None):
    train = train or training.split(600, 1)
    return Trainer(models.build(chosen, train), chosen, train)


def layer_of(folder, n_in=9, n_out=5, learned=True, **changes):
    chosen = small(folder, **changes)
    kind = sparse.LutLayer if chosen.kind == "lut" else sparse.XnorLayer
    return kind(n_in, n_out, chosen, learned, generator=torch.Generator().manual_seed(2))


def multilinear(table, values):
    """A table's multilinear extension at ``values`` (0 to 1), an output counted as 0 to 1."""
    total = 0.0
    for t, entry in enumerate(table):
        share = np.prod([v if t >> j & 1 else 1 - v for j, v in enumerate(values)])
        total += share * (entry + 1) / 2
    return total


@pytest.mark.parametrize("fan_in, softness", [(1, 0.1), (2, 0.0), (3, 0.25), (4, 0.1)])
def test_slopes_are_differences_of_the_multilinear_extension(fan_in, softness):
    table = np.random.default_rng(fan_in).uniform(-1, 1, 2**fan_in)
    found = (torch.from_numpy(table).float() @ sparse.slopes(fan_in, softness)).view(fan_in, -1)
    for j, t in itertools.product(range(fan_in), range(2**fan_in)):
        at = [1 - softness if t >> k & 1 else softness for k in range(fan_in)]
        one, zero = (multilinear(table, at[:j] + [v] + at[j + 1:]) for v in (1, 0))
        assert abs(float(found[j, t]) - (one - zero)) < 1e-6


@pytest.mark.parametrize("changes", KINDS)
@pytest.mark.parametrize("fan_in", [1, 4, 7])
def test_forward_is_the_golden_model(tmp_path, changes, fan_in):
    layer = layer_of(tmp_path, n_in=20, n_out=13, fan_in=fan_in, **changes)
    bits = torch.randint(0, 2, (20, 50), generator=torch.Generator().manual_seed(1))
    found = layer(bits.to(torch.uint8))
    network = Network([Input("x", TensorType.bipolar((20,))), Lookup("lut", "x", layer.wires, layer.signs().detach())], "lut")
    assert np.array_equal(reference.run(network, bits.T.numpy() * 2 - 1)["lut"], found.detach().T.numpy() * 2 - 1)


def test_gradients(tmp_path):
    """Of tables, inputs and wiring, one image at a time."""
    layer = layer_of(tmp_path, fan_in=3)
    x = torch.randint(0, 2, (9, 20), generator=torch.Generator().manual_seed(1)).float().requires_grad_()
    bits = x.detach()
    upstream = torch.randn(5, 20, generator=torch.Generator().manual_seed(4))
    (layer(x, True) * upstream).sum().backward()
    of_table, of_x, of_wiring = torch.zeros(5, 8), torch.zeros(9, 20), torch.zeros(5, 3, 9)
    for n, image in itertools.product(range(5), range(20)):
        wires = layer.wires[n].tolist()
        values = [float(bits[wire, image]) for wire in wires]
        place, soft = sum(int(v) << j for j, v in enumerate(values)), [0.1 + 0.8 * v for v in values]
        of_table[n, place] += upstream[n, image]
        for j, wire in enumerate(wires):
            one, zero = (multilinear(layer.weight[n].tolist(), soft[:j] + [v] + soft[j + 1:]) for v in (1, 0))
            slope = upstream[n, image] * (one - zero)
            of_x[wire, image] += slope
            of_wiring[n, j] += slope * (bits[:, image] * 2 - 1)
    assert torch.allclose(layer.weight.grad, of_table, atol=1e-5)
    assert torch.allclose(x.grad, of_x, atol=1e-5)
    assert torch.allclose(layer.wiring.grad, of_wiring, atol=0.03)     # bfloat16


def test_gradients_of_wiring_are_gathered(tmp_path):
    """Until they are due, and over batches of any size."""
    layer, x = layer_of(tmp_path), torch.randint(0, 2, (9, 24), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    for part, due in [(x[:, :3], None), (x[:, :17], False), (x[:, 17:], True)]:
        layer(part, due).sum().backward()
        assert (layer.wiring.grad is None) == (not due)
    gathered = layer.wiring.grad.clone()
    layer(x, True).sum().backward()
    assert gathered.abs().max() > 1 and torch.allclose(gathered, layer.wiring.grad, atol=0.1)     # bfloat16


def test_wiring_takes_its_steps(tmp_path):
    """Every seventh step of an epoch, and its last; none at the end of the training."""
    trainer = trainer_of(small(tmp_path, epochs=4, wiring_every=7, wiring_until=0.7))
    seen, scores = [], trainer.model.layers[0].wiring
    before = scores.detach().clone()

    def look():
        seen.append(not torch.equal(before, scores))
        before.copy_(scores.detach())

    for _ in range(4):
        trainer.run_epoch(look)
    assert [step + 1 for step, moved in enumerate(seen) if moved] == [7, 14, 20, 27, 34, 40, 47, 54]


def test_inputs_take_the_greatest_score_but_none_twice(tmp_path):
    layer = layer_of(tmp_path, n_in=6, n_out=200)
    with torch.no_grad():
        layer.wiring.copy_(torch.rand(200, 4, 6) * 0.1 + torch.rand(6))     # neurons agree on what is best
    layer.rewire()
    for scores, wires in zip(layer.wiring.tolist(), layer.wires.tolist(), strict=True):
        free = set(range(6))
        for row, wire in zip(scores, wires, strict=True):
            assert wire == max(free, key=row.__getitem__)
            free.remove(wire)


def test_wires_of_a_layer_that_does_not_learn_are_spread_evenly(tmp_path):
    layer = layer_of(tmp_path, n_in=20, n_out=13, learned=False)
    assert not hasattr(layer, "wiring")
    assert set(torch.bincount(layer.wires.flatten(), minlength=20).tolist()) == {2, 3}


@pytest.mark.parametrize("changes", KINDS)
def test_wiring_stays_at_the_end(tmp_path, changes):
    trainer = trainer_of(small(tmp_path, epochs=5, **changes))
    seen = []
    for _ in range(5):
        trainer.run_epoch()
        seen.append([layer.wires.clone() for layer in trainer.model.layers])
    assert not torch.equal(seen[0][0], seen[3][0]) and torch.equal(seen[3][0], seen[4][0])
    assert all(torch.equal(wires[1], seen[0][1]) for wires in seen)
    assert all(len(set(row)) == 4 for row in seen[-1][0].tolist())


def test_regrow(tmp_path):
    """The weakest connections go, those with the greatest gradients come, as many as before and none twice."""
    layer = layer_of(tmp_path, n_in=30, n_out=50, **XNOR)
    layer.wanted.copy_(torch.randn(50, 30, generator=torch.Generator().manual_seed(5)))
    before, size = layer.wires.clone(), layer.weight.detach().abs().clone()
    with torch.no_grad():
        layer.regrow(0.2)
    changed = before != layer.wires
    assert changed.sum() == 40 and size[changed].max() < size[~changed].min()
    for n in range(50):
        assert len(set(layer.wires[n].tolist())) == 4
        for j in torch.nonzero(changed[n]).flatten().tolist():
            wire = int(layer.wires[n, j])
            others = set(range(30)) - set(before[n].tolist()) - set(layer.wires[n].tolist())
            assert all(abs(layer.wanted[n, wire]) >= abs(layer.wanted[n, other]) for other in others)
            assert float(layer.weight.detach()[n, j]) == pytest.approx(-sparse.NEWBORN * np.sign(float(layer.wanted[n, wire])))


def test_xnor_tables_are_signs_of_sums(tmp_path):
    layer = layer_of(tmp_path, n_out=40, fan_in=5, **XNOR)
    with torch.no_grad():
        layer.bias.copy_(torch.linspace(-6, 6, 40)[:, None])
    weights, biases = np.where(layer.weight.detach() >= 0, 1, -1), layer.bias.detach().flatten().tolist()
    for row, bias, table in zip(weights, biases, layer.signs().tolist(), strict=True):
        for t, entry in enumerate(table):
            assert entry == (1 if sum(int(w) * (1 if t >> j & 1 else -1) for j, w in enumerate(row)) + bias >= 0 else -1)


@pytest.mark.parametrize("changes", [{}, {"pixel_levels": "[50, 100, 200]"}, {"layers": "[45]", "fan_in": 2}, XNOR])
def test_it_learns_and_exports_exactly(tmp_path, changes):
    trainer, test = trainer_of(small(tmp_path, **changes)), training.split(201, 2)
    for _ in range(6):
        row = trainer.run_epoch()
    assert row["train_accuracy"] > 0.6 and row["epoch"] == 6
    found = export.export(trainer, test)
    right = accuracy(trainer.model, torch.from_numpy(test.images), torch.from_numpy(test.labels))
    assert reference.accuracy(found.network, test.images, test.labels) == (round(right * 201), 201)
    assert [op.kind for op in found.network.operations.values()] == [
        "Input", "Thermometer", "Flatten", *["Lookup"] * len(trainer.recipe.layers), "GroupSum", "ArgMax"]


def test_learned_wiring_finds_the_pixels_that_matter(tmp_path):
    """The class is in 3 of 60 pixels, two of them together; the rest is noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (900, 6, 10, 1), dtype=np.uint8)
    bits = images.reshape(900, 60) >= 100
    labels = bits[:, 7].astype(np.int64) + (bits[:, 31] & bits[:, 44])
    split = training.datasets.Split(images, labels, ("a", "b", "c"))
    trainer = trainer_of(small(tmp_path, layers="[60]", epochs=12), split)
    for _ in range(12):
        trainer.run_epoch()
    counts = torch.bincount(trainer.model.used[trainer.model.layers[0].wires].flatten(), minlength=60)
    assert set(counts.topk(3).indices.tolist()) == {7, 31, 44}


def test_bits_that_are_never_seen_are_left_out(tmp_path):
    train = training.split(600, 1)
    train.images[:, 2, 1, 1] = 99
    model = models.build(small(tmp_path, pixel_levels="[50, 100]"), train)
    assert sorted(set(range(80)) - set(model.used.tolist())) == [((2 * 4 + 1) * 2 + 1) * 2 + 1]


def test_check_can_fail(tmp_path):
    trainer, test = trainer_of(small(tmp_path)), torch.from_numpy(training.split(50, 2).images)
    trainer.run_epoch()
    model = trainer.model.eval()
    network, facts = export.to_network(model, test.shape[1:])
    assert facts == {"ties": []}
    export.check(model, network, test)
    with torch.no_grad():
        model.layers[1].weight[7].neg_()
    with pytest.raises(ExportError, match=r"^layer 'lut2', channel 7, image 0: the golden model gives "):
        export.check(model, network, test)
    with torch.no_grad():
        model.layers[0].weight[3, 5] = float("nan")
    with pytest.raises(ExportError, match="^layer 'lut1', channel 3: a weight is nan$"):
        export.to_network(model, test.shape[1:])


@pytest.mark.parametrize("reach", [1, 2])
def test_slide(reach):
    images = torch.zeros(900, 7, 6, 2, dtype=torch.uint8)
    images[:, 3, 2] = 9
    moved = loop._slid(images, reach, torch.Generator().manual_seed(1)).numpy()
    places, counts = np.unique(np.argwhere(moved[..., 0] == 9)[:, 1:], axis=0, return_counts=True)
    steps = range(-reach, reach + 1)
    assert sorted(map(tuple, places.tolist())) == sorted({(3 + k, 2) for k in steps} | {(3, 2 + k) for k in steps})
    assert counts.sum() == 900 and counts.min() > 0.6 * 900 / len(counts)
    assert np.array_equal(moved[..., 0], moved[..., 1])


def test_turn():
    images = torch.randint(0, 256, (2, 8, 8, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    quarter, half = loop._turned_by(images, torch.tensor([torch.pi / 2, torch.pi])).split(1)
    assert torch.equal(quarter, images[:1].rot90(1, (1, 2)))
    assert torch.equal(half, images[1:].flip(1, 2))
    oblong = images[:1, :5]
    assert torch.equal(loop._turned_by(oblong, torch.tensor([torch.pi])), oblong.flip(1, 2))


def test_turn_is_even_and_keeps_distances():
    images = torch.zeros(500, 31, 21, 1, dtype=torch.uint8)
    images[:, 14:17, 18:21] = 200       # 9 columns from the middle
    moved = loop._turned(images, 20.0, torch.Generator().manual_seed(1)).numpy()[..., 0].astype(float)
    down, right = np.arange(31) - 15, np.arange(21) - 10
    y, x = ((moved * place).sum((1, 2)) / moved.sum((1, 2)) for place in (down[:, None], right))
    angles = np.degrees(np.arctan2(y, x))
    assert np.abs(np.hypot(x, y) - 9).max() < 0.25
    assert np.abs(angles).max() < 20.5 and np.abs(np.quantile(angles, [0.1, 0.5, 0.9]) - [-16, 0, 16]).max() < 2.5


@pytest.mark.parametrize("change", [{"shift": 1}, {"slide": 1}, {"turn": 20.0}])
def test_training_images_are_moved(tmp_path, change):
    still, moved = (trainer_of(small(tmp_path, **changes)).run_epoch() for changes in ({}, change))
    assert still["loss"] != moved["loss"]


@pytest.mark.parametrize("changes", KINDS)
def test_restoring_goes_on_the_same(tmp_path, changes):
    chosen = small(tmp_path, **changes)
    first, other = trainer_of(chosen), trainer_of(chosen)
    for _ in range(2):
        first.run_epoch()
    tensors, values = first.state()
    other.restore({name: tensor.clone() for name, tensor in tensors.items()}, values["epoch"])
    for trainer in (first, other):
        for _ in range(2):
            trainer.run_epoch()
    ours, theirs = first.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("changes, message", [
    ({"pixel_levels": "[64, 64]"}, "key 'pixel_levels': levels must rise, not [64, 64]"),
    ({"fan_in": 9}, "key 'fan_in': input should be less than or equal to 8, not 9"),
    ({"regrow_share": 0.1}, "key 'regrow_share': is unknown"),
    ({"layers": "[60, 31]"}, "key 'layers': the last must be a multiple of the number of classes, 3, not 31"),
    ({"layers": "[3, 30]"}, "key 'fan_in': there are layers of 3 bits, which cannot feed neurons of 4 inputs"),
])
def test_wrong_recipes(tmp_path, changes, message):
    with pytest.raises(RecipeError) as refusal:
        trainer_of(small(tmp_path, **changes))
    assert str(refusal.value).removeprefix(f"{tmp_path / 'small.toml'}: ") == message


@pytest.mark.parametrize("name", [name for name in recipe.names() if "lut" in name or "sparse" in name])
def test_shipped_recipes(name):
    found = recipe.load(name)
    assert found.name == name and found.kind in ("lut", "lut-parts", "lut-table", "sparse-xnor")
    assert tomllib.loads((recipe.FOLDER / f"{name}.toml").read_text())["name"] == name
