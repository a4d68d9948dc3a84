"""Networks on tables: levels from the training rows, exact export, decisions by cost, hardware that takes raw integers."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import accelerator, artifact, cli, datasets, folding, reference, simulate, tables, verify  # noqa: E402
from bnnhw.datasets import DatasetError, Split  # noqa: E402
from bnnhw.lower import lower  # noqa: E402
from bnnhw.train import export, models, recipe  # noqa: E402
from bnnhw.train.loop import Trainer  # noqa: E402
from bnnhw.train.recipe import RecipeError  # noqa: E402
from bnnhw.train.tabular import at_costs, column_levels  # noqa: E402

torch.set_num_threads(1)
NEVER = 65536


def table(count, seed):
    """Rows of five columns, two of them categories; a bad risk is one of category 3 or of much in the second column."""
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.integers(1, 5, count), rng.integers(0, 18_000, count), rng.integers(0, 2, count), np.full(count, 7),
                     rng.integers(19, 76, count)], axis=1).astype(np.int32)
    return Split(rows, ((rows[:, 0] == 3) | (rows[:, 1] > 12_000)).astype(np.int64), ("good", "bad"), 65535)


def trained(split, name="credit-lut4", **changes):
    chosen = recipe.load(name, **changes)
    trainer = Trainer(models.build(chosen, split), chosen, split)
    for _ in range(chosen.epochs):
        trainer.run_epoch()
    return trainer


def test_levels_of_few_values_are_all_of_them():
    rows = np.array([[4, 9], [1, 9], [4, 2], [2, 9]])
    assert column_levels(rows, 3, NEVER).tolist() == [[2, 4], [9, NEVER]]
    assert column_levels(rows, 2, NEVER).tolist() == [[2, 4], [9, NEVER]]
    assert column_levels(rows[:, 1:] * 0, 5, NEVER).shape == (1, 0)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_levels_of_many_values_are_quantiles(count):
    """Equal shares of the rows lie between them; a value that many rows share is one level."""
    rows = np.random.default_rng(0).permutation(np.arange(1000, 1800))[:, None]
    levels = column_levels(rows, count, NEVER)
    shares = np.bincount((rows >= levels).sum(axis=1))
    assert len(shares) == count + 1 and np.ptp(shares) <= 1
    often = np.concatenate([rows, np.full((2400, 1), 1300)])
    levels = column_levels(often, count, NEVER)[0]
    assert (np.diff(levels) > 0).all() and len(levels) <= count and {1300} & set(levels.tolist())


def test_the_encoder_knows_the_training_rows_only():
    whole, train = table(600, 0), table(300, 0)
    model = models.build(recipe.load("credit-lut4"), train)
    assert np.array_equal(model.levels, column_levels(train.images, 10, NEVER))
    assert not np.array_equal(model.levels, column_levels(whole.images, 10, NEVER))
    seen = (train.images[:, :, None] >= model.levels).reshape(300, -1)
    assert np.array_equal(model.used, np.flatnonzero(seen.any(axis=0)))
    assert np.array_equal(model.bits(torch.from_numpy(train.images)).T, seen[:, model.used])


def test_trained_exported_built():
    """A rule of two columns is learned; nothing differs on unseen rows, in the golden model and in Verilog, by cost or not."""
    test = table(200, 1)
    trainer = trained(table(500, 0), epochs=8)
    found = export.export(trainer, test)
    assert found.provenance["test_right"] > 170 and found.classes == ("good", "bad")
    assert found.provenance["checked"] == {"images": 200, "differing_decisions": 0, "differing_hidden_values": 0}
    type = found.network.types["row"]
    assert (type.shape, type.lo, type.hi, type.step) == ((5,), 0, 65535, 1)
    for network in (found.network, at_costs(found.network, trainer.model, (1, 5))):
        plan = folding.fold(network, lower(network), clock_hz=1_000_000, fps=1)
        assert (plan.element_bytes, plan.frame_elements) == (2, 5)
        done = simulate.check(plan, accelerator.verilog(plan), test.images)
        assert done.mismatches == [] and {"bits", "scores"} & set(done.result.edges)
        verify.check_timing(plan, done.result)


def test_dense_layers():
    """The same rule by a dense network on the same levels; nothing differs on unseen rows."""
    train, test = table(500, 0), table(200, 1)
    found = export.export(trained(train, "credit-mlp"), test)
    assert found.provenance["test_right"] > 170
    assert found.provenance["checked"] == {"images": 200, "differing_decisions": 0, "differing_hidden_values": 0}
    levels = found.network.operations["bits"].levels
    assert np.array_equal(np.minimum(levels, NEVER), column_levels(train.images, 10, NEVER))
    assert [name for name in found.network.operations if name.startswith("fc")] == ["fc1", "fc2"]


@pytest.mark.parametrize("name, changes", [("credit-lut4", {"wiring_until": 0.0}), ("credit-mlp", {})])
def test_decided_by_cost(name, changes):
    """The class of the greatest product of odds and cost, but where rounding to votes or signs matters."""
    split = table(400, 2)
    trainer = trained(split, name, epochs=3, **changes)
    network, _ = export.to_network(trainer.model.eval(), (5,))
    with torch.no_grad():
        odds = trainer.model(torch.from_numpy(split.images)).double().exp().numpy()
    for costs in ((1, 5), (3, 1), (2, 2)):
        weighed = odds * costs
        clear = abs(np.log(weighed[:, 0] / weighed[:, 1])) > trainer.model.score_scale / 2 + 1e-5
        found = reference.run(at_costs(network, trainer.model, costs), split.images)["class"]
        assert clear.sum() > 300 and np.array_equal(found[clear], weighed.argmax(axis=1)[clear])
    equal = reference.run(at_costs(network, trainer.model, (2, 2)), split.images)["class"]
    assert np.array_equal(equal, reference.run(network, split.images)["class"])


@pytest.mark.parametrize("change, message", [
    ({"dataset": "mnist"}, "key 'dataset': input should be 'german-credit' or 'own', not 'mnist'"),
    ({"shift": 1}, "key 'shift': input should be 0, not 1"),
    ({"column_levels": 0}, "key 'column_levels': input should be greater than or equal to 1, not 0"),
    ({"pixel_levels": [3]}, "key 'pixel_levels': is unknown"), ({"slide": 1}, "key 'slide': is unknown"),
])
def test_wrong_recipes(change, message):
    with pytest.raises(RecipeError) as refusal:
        recipe.load("credit-lut4", **change)
    assert str(refusal.value).endswith(message)


def test_german_credit(tmp_path, capsys):
    """The recipe as users run it: better than the majority, and `evaluate` finds the same."""
    try:
        test = datasets.load("german-credit", "test")
    except DatasetError as error:
        pytest.skip(f"German credit cannot be had here: {error}")
    assert cli.main(["train", "credit-lut4", "-o", str(tmp_path / "c.bnn"), "--threads", "1"]) in (None, 0)
    found = artifact.load(tmp_path / "c.bnn")
    right = found.provenance["test_right"]
    assert found.network.types["bits"].shape == (20 * 10,) and right > np.count_nonzero(test.labels == 0)
    assert len(tables.CREDIT_COLUMNS) == found.network.types["row"].size
    capsys.readouterr()
    assert cli.main(["evaluate", str(tmp_path / "c.bnn")]) in (None, 0)
    assert f"{right}/200" in capsys.readouterr().out
    x, labels = verify.images_for(found.network, 200, "german-credit")
    assert np.array_equal(x, test.images) and np.array_equal(labels, test.labels)
