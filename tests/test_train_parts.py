"""Sparse networks in parts: who may be wired to whom, what is left out, exact export, resume."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw.lower import lower  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.train import export, parts  # noqa: E402
from bnnhw.train.recipe import RecipeError  # noqa: E402

from . import training  # noqa: E402
from .test_train_sparse import small, trainer_of  # noqa: E402

torch.set_num_threads(1)

PARTS = {"kind": '"lut-parts"', "parts": "[1, 2]", "bundles": 4, "inputs": 24, "layers": "[60, 90]", "epochs": 4}


def trained(folder, epochs, **changes):
    trainer = trainer_of(small(folder, **PARTS | changes))
    for _ in range(epochs):
        trainer.run_epoch()
    return trainer


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_parts_share_nothing(tmp_path, epochs):
    model = trained(tmp_path, epochs).model
    first, second = (layer.wires.numpy() for layer in model.layers)
    pixel = model.used.numpy() // 2         # of two channels
    assert np.array_equal(pixel[first] % 4 % 2, np.repeat([0, 1], 30)[:, None].repeat(4, 1))        # four columns
    bundle = np.arange(60) // 15
    assert np.array_equal(bundle[second], (np.arange(90) % 30 * 4 // 30)[:, None].repeat(4, 1))
    assert np.bincount(second.flatten(), minlength=60).min() > 0
    assert all(len(set(row)) == 4 for row in first.tolist())
    network, _ = export.to_network(model.eval(), (5, 4, 2))
    clusters = next(stage for stage in lower(network) if hasattr(stage, "clusters")).clusters
    assert not epochs or all(len({i // 2 % 2 for i in cluster}) == 1 for cluster in clusters)


def test_bits_that_few_take_are_left_out(tmp_path):
    trainer = trainer_of(small(tmp_path, **PARTS))
    model, first = trainer.model, trainer.model.layers[0]
    seen = []
    before = model.after_step

    def after_step():
        most = model.most_taken()
        before()
        seen.append((int(model.step), most, len(first.wires.unique())))
    model.after_step = after_step
    trainer.run_epoch()
    trainer.run_epoch()
    assert model.narrowing == 20 == len(seen) // 2        # of 80 steps
    assert all(count > 24 for step, _, count in seen if step < 20) and all(count <= 24 for step, _, count in seen if step >= 20)
    most = seen[18][1]          # what they took before
    for part in (0, 1):
        assert int((most & (model.part == part)).sum()) == 12
    assert set(first.wires.flatten().tolist()) <= set(torch.nonzero(model.most_taken()).flatten().tolist())


def test_most_taken_counts(tmp_path):
    model = trainer_of(small(tmp_path, **PARTS | {"inputs": 8})).model
    own = [torch.nonzero(model.part == part).flatten()[:6] for part in (0, 1)]
    wires = model.layers[0].wires
    wires[:30], wires[30:] = own[0][1:5], own[1][2:6]
    wires[0, 0] = own[0][0]
    assert torch.nonzero(model.most_taken()).flatten().tolist() == sorted([*own[0][1:5].tolist(), *own[1][2:6].tolist()])


def test_runs_are_even():
    assert parts.runs(10, 4).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert parts.runs(12, 3, classes=2).tolist() == [0, 0, 1, 1, 2, 2] * 2


def test_it_learns_exports_and_goes_on_the_same(tmp_path):
    whole, half = trained(tmp_path, 4), trained(tmp_path, 2)
    other = trainer_of(small(tmp_path, **PARTS))
    tensors, values = half.state()
    other.restore({name: tensor.clone() for name, tensor in tensors.items()}, values["epoch"])
    for _ in range(2):
        other.run_epoch()
    ours, theirs = whole.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    test = training.split(200, 2)
    made = export.export(whole, test)
    assert made.provenance["checked"]["differing_decisions"] == 0 and made.provenance["test_right"] > 90   # 67 by chance


@pytest.mark.parametrize("changes, message", [
    ({"parts": "[2, 3]"}, "key 'bundles': must be a multiple of the 6 parts, not 4"),
    ({"inputs": 25}, "key 'inputs': must be a multiple of the 2 parts, not 25"),
    ({"inputs": 6}, "key 'parts': a part of 3 bits cannot feed neurons of 4 inputs"),
    ({"parts": "[5, 4]", "bundles": 20, "inputs": 400}, "key 'parts': a part of 2 bits cannot feed neurons of 4 inputs"),
    ({"bundles": 16}, "key 'bundles': a bundle of 3 neurons cannot feed neurons of 4 inputs"),
    ({"parts": "[2]"}, "key 'parts': list should have at least 2 items after validation, not 1, not [2]"),
])
def test_wrong_recipes(tmp_path, changes, message):
    with pytest.raises(RecipeError) as refusal:
        trainer_of(small(tmp_path, **PARTS | changes))
    assert str(refusal.value).removeprefix(f"{tmp_path / 'small.toml'}: ") == message
