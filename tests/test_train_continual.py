"""Tasks one after the other: the step against forgetting, batch norms of each task, an exact export of every bank."""
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import artifact, datasets, reference, tasks  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.cli import main  # noqa: E402
from bnnhw.datasets import Split  # noqa: E402
from bnnhw.ir import BankThreshold, TensorType  # noqa: E402
from bnnhw.tasks import Task, TaskSplit  # noqa: E402
from bnnhw.train import continual, recipe  # noqa: E402
from bnnhw.train.export import ExportError, thresholds  # noqa: E402
from bnnhw.train.layers import BatchNorm  # noqa: E402
from bnnhw.train.recipe import RecipeError  # noqa: E402

RECIPE = """
name = "small"
kind = "continual"
dataset = "mnist-fashion"
hidden = [12, 9]
levels = 0
estimator = "hardtanh"
loss = "cross-entropy"
last_batch_norm = true
epochs = 4
batch = 20
learning_rate = 0.01
weight_spread = 0.1
score_scale = 1.0
dropout = 0.0
shift = 0
seed = 1

[[methods]]
name = "metaplastic"
m = 1.5
"""


def small(folder, **changes):
    lines = [f"{line.split(' = ')[0]} = {changes[line.split(' = ')[0]]}" if line.split(" = ")[0] in changes else line
             for line in RECIPE.strip().splitlines()]
    path = folder / "small.toml"
    path.write_text("\n".join(line for line in lines if not line.endswith(" = None")) + "\n")
    return path


def digits(count, seed):
    """Images of noise, brightest in the rows that belong to their class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.integers(0, 60, (count, 28, 28, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label:2 * label + 4] += 150
    return Split(images, labels, tuple("0123456789"))


def split(count, seed, number=2):
    own = (Task("mnist"), *(Task("mnist", 1000 + k) for k in range(1, number)))
    return TaskSplit(own, {"mnist": digits(count, seed)})


@pytest.fixture(scope="module", params=[0, 2])
def trained(request, tmp_path_factory):
    own = recipe.load(small(tmp_path_factory.mktemp("recipe"), levels=request.param))
    trainer = continual.ContinualTrainer(own, split(300, 0), split(100, 1))
    rows = [trainer.run_epoch() for _ in range(own.epochs)]
    return trainer, rows, continual.export(trainer)


def test_rows(trained):
    trainer, rows, _ = trained
    assert [row["task"] for row in rows] == [0, 0, 1, 1]
    assert [[f"test_accuracy_{k}" in row for k in (0, 1)] for row in rows] == [[True, False]] * 2 + [[True, True]] * 2
    for row in rows:
        own = [row[key] for key in ("test_accuracy_0", "test_accuracy_1") if key in row]
        assert row["test_accuracy"] == sum(own) / len(own)
    assert rows[1]["test_accuracy_0"] > 0.5 and rows[3]["test_accuracy_1"] > 0.5
    steps = trainer.steps * trainer.each
    assert trainer.learning_rate(0) == trainer.learning_rate(steps) == 0.01 and trainer.learning_rate(steps - 1) < 1e-4


def test_every_bank_is_the_model(trained):
    trainer, rows, found = trained
    network, test = found.network, trainer.test
    assert (network.tasks, network.task) == (2, "task") and found.provenance["checked"]["images"] == 200
    for task in (0, 1):
        own = test.of(task)
        trainer.model.choose(task)
        trainer.model.eval()
        want = trainer.model(torch.from_numpy(own.images.copy())).argmax(1).numpy()
        np.testing.assert_array_equal(reference.run(network, own.images, task=task)["class"], want)
        right = int((want == own.labels).sum())
        assert found.provenance["task_right"][task] == right == round(100 * rows[-1][f"test_accuracy_{task}"])
    banks = [op for op in network.operations.values() if isinstance(op, BankThreshold)]
    assert len(banks) == 2 and all(np.any(op.levels[0] != op.levels[1]) for op in banks)


def test_a_changed_threshold_is_caught(trained):
    trainer, _, found = trained
    network, images = found.network, torch.from_numpy(trainer.test.of(1).images.copy())
    trainer.model.choose(1)
    continual.check(trainer.model, network, images, 1)
    with pytest.raises(ExportError, match="layer 'act1', channel"):
        continual.check(trainer.model, network, images, 0)       # the other bank


def test_an_earlier_tasks_norms_stay(tmp_path):
    trainer = continual.ContinualTrainer(recipe.load(small(tmp_path)), split(200, 0), split(50, 1))
    trainer.run_epoch(), trainer.run_epoch()
    before = {name: value.clone() for name, value in trainer.model.state_dict().items() if ".own.0." in name}
    trainer.run_epoch(), trainer.run_epoch()
    after = trainer.model.state_dict()
    assert len(before) == 3 * 4 and all(torch.equal(value, after[name]) for name, value in before.items())


def test_resumed(tmp_path):
    own = recipe.load(small(tmp_path))
    whole, first, second = (continual.ContinualTrainer(own, split(200, 0), split(50, 1)) for _ in range(3))
    for _ in range(4):
        last = whole.run_epoch()
    for _ in range(3):
        first.run_epoch()
    tensors, values = first.state()
    second.restore({name: value.clone() for name, value in tensors.items()}, values["epoch"])
    assert second.run_epoch()["test_accuracy_0"] == last["test_accuracy_0"]
    assert all(torch.equal(value, second.model.state_dict()[name]) for name, value in whole.model.state_dict().items())


@pytest.mark.parametrize("step", [1, 2])
def test_bisection_finds_what_trying_every_sum_finds(step):
    generator = torch.Generator().manual_seed(step)
    norm = BatchNorm(40).eval()
    with torch.no_grad():
        norm.gamma.copy_(torch.randn(40, generator=generator))
        norm.gamma[:3] = 0
        norm.beta.copy_(torch.randn(40, generator=generator) * 2)
        norm.beta[0], norm.beta[1] = 1, -1
        norm.mean.copy_(torch.randn(40, generator=generator) * 30)
        norm.var.copy_(torch.rand(40, generator=generator) * 500)
        norm.mean[3:6], norm.beta[3:6] = torch.tensor([1000.0, -1000.0, 3.0]), 0      # never, always, a tie
    type = TensorType((40,), -101, 101, step)
    want = thresholds(norm, type, "fc1")
    got = continual.least_sums(norm, type, "fc1")
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])
    assert got[2] == want[2]
    norm.mean[7] = float("nan")
    with pytest.raises(ExportError, match="layer 'fc1', channel 7"):
        continual.least_sums(norm, type, "fc1")


def test_permutations_never_change():
    assert tasks.permutation(1001)[:5].tolist() == [203, 324, 56, 355, 136]
    for k in range(1, 6):
        assert sorted(tasks.permutation(1000 + k)) == list(range(784))
    own = split(3, 0, 3)
    pixels = own.of(0).images.reshape(3, -1)
    np.testing.assert_array_equal(own.of(2).images.reshape(3, -1), pixels[:, tasks.permutation(1002)])
    assert [str(task) for task in own.tasks] == ["mnist", "mnist, permutation 1", "mnist, permutation 2"]


def test_shipped_images_take_turns():
    images, labels, task = tasks.test_images("mnist-fashion", 7)
    assert task.tolist() == [0, 1, 0, 1, 0, 1, 0] and images.shape == (7, 28, 28, 1) and len(labels) == 7
    alone = tasks.test_images("permuted-mnist", 12)[0]
    np.testing.assert_array_equal(alone[0].ravel()[tasks.permutation(1003)], alone[3].ravel())


@pytest.mark.parametrize("key, value, message", [
    ("epochs", "5", "key 'epochs': must be a multiple of the 2 tasks, not 5"),
    ("shift", "1", "key 'shift': input should be 0, not 1"),
    ("last_batch_norm", "false", "key 'last_batch_norm': input should be True, not False"),
    ("dataset", '"mnist"', "key 'dataset': input should be 'permuted-mnist' or 'mnist-fashion', not 'mnist'"),
    ("levels", "-1", "key 'levels': input should be greater than or equal to 0, not -1"),
])
def test_wrong_recipe(tmp_path, key, value, message):
    path = small(tmp_path, **{key: value})
    with pytest.raises(RecipeError) as caught:
        recipe.load(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.fixture
def few(monkeypatch):
    """Data sets of a few images."""
    monkeypatch.setattr(datasets, "load", lambda name, part: digits({"train": 200, "test": 60}[part], len(name)))


def test_command(tmp_path, few, capsys):
    path, output = small(tmp_path), tmp_path / "net.bnn"
    assert not main(["train", str(path), "-o", str(output), "--threads", "1"])
    assert "golden model and trained model agree" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "net.bnn.train/metrics.jsonl").read_text().splitlines()]
    assert [row["task"] for row in rows] == [0, 0, 1, 1]
    found = artifact.load(output)
    assert found.network.tasks == 2 and found.provenance["tasks"] == ["mnist", "fashion-mnist"]
    assert not main(["evaluate", str(output)])
    out = capsys.readouterr().out
    assert f"task 1 (fashion-mnist): {found.provenance['task_right'][1]}/60" in out and "all: " in out
    assert not main(["evaluate", str(output), "--json", "--images", "10"])
    assert json.loads(capsys.readouterr().out)["total"] == 20
    assert not main(["info", str(output)])
    assert "BankThreshold" in capsys.readouterr().out


@pytest.mark.parametrize("options, message", [
    (["--hold-out", "10"], "--hold-out: of a sequence of tasks the last epoch counts"),
])
def test_refused(tmp_path, few, options, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", str(small(tmp_path)), "-o", str(tmp_path / "net.bnn"), *options])
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_dry_run(tmp_path, few, capsys):
    assert not main(["train", str(small(tmp_path)), "--dry-run"])
    assert "2 tasks, of each:" in capsys.readouterr().out


