"""The loop, its checkpoints and the command, on a tiny data set."""
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import artifact, cli, datasets, portrait, reference  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.train import checkpoint, command, holdout, loop, models, progress, recipe  # noqa: E402
from bnnhw.train.export import export  # noqa: E402
from bnnhw.train.loop import Trainer  # noqa: E402

from . import training  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The tiny data set in MNIST's place, and a folder to work in."""
    monkeypatch.setattr(datasets, "load", lambda name, split: training.split(*{"train": (601, 1), "test": (200, 2)}[split]))
    monkeypatch.chdir(tmp_path)
    return training.small_recipe(tmp_path)


def train(*arguments):
    return cli.main(["train", "small.toml", "--threads", "1", *arguments])


def interrupt(monkeypatch, epoch, step):
    """Ctrl-C in the given epoch (from 0), at the given step."""
    original, steps = Trainer.run_epoch, iter(range(step))

    def run_epoch(self, on_step):
        def stop():
            on_step()
            if self.epoch == epoch and next(steps, None) is None:
                raise KeyboardInterrupt
        return original(self, stop)
    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)


def without_time(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


@pytest.mark.parametrize("epoch, step", [(0, 3), (2, 0), (3, 11)])
def test_resume_gives_the_same_bits(tiny, tmp_path, monkeypatch, capsys, epoch, step):
    assert train("-o", "whole.bnn") == 0
    with monkeypatch.context() as patched:
        interrupt(patched, epoch, step)
        assert train("-o", "parts.bnn") == 130
    out, err = capsys.readouterr()
    assert f"parts.bnn.train: holds {epoch} of 4 epochs; --resume goes on from there" in out and err == "interrupted\n"
    assert not (tmp_path / "parts.bnn").exists()
    assert train("-o", "parts.bnn", "--resume") == 0
    for name in ("{}.bnn", "{}.bnn.train/checkpoint.safetensors"):
        assert (tmp_path / name.format("parts")).read_bytes() == (tmp_path / name.format("whole")).read_bytes()
    whole, parts = (without_time(tmp_path / f"{name}.bnn.train/metrics.jsonl") for name in ("whole", "parts"))
    assert whole == parts and [row["epoch"] for row in whole] == [1, 2, 3, 4]


def test_metrics_past_the_checkpoint_are_cut_off(tiny, tmp_path, monkeypatch):
    """As when the power fails between the two files."""
    assert train("-o", "whole.bnn") == 0
    with monkeypatch.context() as patched:
        interrupt(patched, 2, 5)
        train("-o", "parts.bnn")
    whole, parts = (tmp_path / f"{name}.bnn.train/metrics.jsonl" for name in ("whole", "parts"))
    parts.write_text(whole.read_text())
    assert train("-o", "parts.bnn", "--resume") == 0
    assert without_time(whole) == without_time(parts)


def test_what_it_writes(tiny, tmp_path, capsys):
    assert train("-o", "net.bnn", "--seed", "9", "--epochs", "2") == 0
    out, err = capsys.readouterr()
    assert err == "" and out.splitlines()[0] == (
        "small: 585 weights of one bit (0.1 KiB), 623 trained parameters, 19 batch norms, 2 epochs of 21 steps on cpu")
    assert out.splitlines()[1].startswith("epoch 1/2: loss ") and "\x1b" not in out
    found = artifact.load(tmp_path / "net.bnn")
    facts, test = found.provenance, training.split(200, 2)
    assert facts["recipe"]["seed"] == 9 and facts["recipe"]["epochs"] == 2
    assert reference.accuracy(found.network, test.images, test.labels) == (facts["test_right"], 200)
    assert facts["test_accuracy"] == facts["test_right"] / 200
    assert facts["checked"] == {"images": 200, "differing_decisions": 0, "differing_hidden_values": 0}
    assert set(facts["versions"]) == {"bnnhw", "torch", "numpy", "python"}
    assert str(tmp_path) not in json.dumps(facts)
    assert found.classes == ("a", "b", "c")
    assert (tmp_path / "net.bnn.train/curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-hinge"])
@pytest.mark.parametrize("last_batch_norm", ["false", "true"])
def test_it_learns(tmp_path, loss, last_batch_norm):
    trainer = training.trained(tmp_path, epochs=4, loss=f'"{loss}"', last_batch_norm=last_batch_norm, dropout="0.0", shift=0,
                               hidden="[24, 24]")
    test = training.split(200, 2)
    loop.reestimate(trainer.model, trainer.images)
    assert loop.accuracy(trainer.model, torch.from_numpy(test.images), torch.from_numpy(test.labels)) > 0.6


def test_seeds_differ(tiny, tmp_path):
    for seed in ("1", "2"):
        train("-o", f"{seed}.bnn", "--seed", seed, "--epochs", "1")
    assert artifact.load(tmp_path / "1.bnn").network.digest != artifact.load(tmp_path / "2.bnn").network.digest


@pytest.mark.parametrize("arguments, message", [
    (["-o", "net.bnn", "--seed", "4294967296"], "small.toml: key 'seed': input should be less than 4294967296, not 4294967296"),
    (["-o", "."], ".: is a folder, not a .bnn file to write"),
    (["-o", "net.bnn", "--resume"], "net.bnn.train/checkpoint.safetensors: there is no checkpoint to resume from"),
    (["-o", "small.toml/net.bnn"], "small.toml/net.bnn.train: Not a directory"),
    (["-o", "/proc/net.bnn"], "/proc/net.bnn.train: No such file or directory"),
])
def test_wrong_arguments(tiny, tmp_path, capsys, arguments, message):
    assert train(*arguments) == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.parametrize("arguments, message", [
    (["--threads", "0"], "--threads must be at least 1, not 0"),
    (["--epochs", "0"], "--epochs must be at least 1, not 0"),
    (["--seed", "-1"], "--seed must be at least 0, not -1"),
    (["--patience", "2"], "--patience needs --hold-out, which says what an epoch is tried on"),
    (["--hold-out", "51"], "--hold-out must be at most 50, not 51"),
    (["--epochs", "x"], "argument --epochs: invalid int value: 'x'"),
])
def test_wrong_usage(tiny, tmp_path, capsys, arguments, message):
    try:
        status = train("-o", "net.bnn", *arguments)
    except SystemExit as exit:
        status = exit.code
    assert status == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "net.bnn.train").exists()


def test_earlier_run_is_not_overwritten(tiny, capsys):
    assert train("-o", "net.bnn", "--epochs", "1") == 0
    assert train("-o", "net.bnn", "--epochs", "1") == 1
    assert capsys.readouterr().err == ("error: net.bnn.train/checkpoint.safetensors: there is a checkpoint of an earlier run: "
                                       "--resume goes on from it, or delete net.bnn.train\n")
    assert train("-o", "net.bnn", "--epochs", "2", "--resume") == 1
    assert capsys.readouterr().err == ("error: net.bnn.train/checkpoint.safetensors: it was made with epochs 1, "
                                       "the recipe says 2\n")


@pytest.mark.parametrize("spoil", [lambda data: data[:len(data) // 2], lambda data: b"text",
                                   lambda data: data[:-9] + bytes([data[-9] ^ 64]) + data[-8:]],
                         ids=["truncated", "text", "flipped"])
def test_damaged_checkpoint(tiny, tmp_path, capsys, spoil):
    assert train("-o", "net.bnn", "--epochs", "1") == 0
    saved = tmp_path / "net.bnn.train/checkpoint.safetensors"
    saved.write_bytes(spoil(saved.read_bytes()))
    assert train("-o", "net.bnn", "--epochs", "1", "--resume") == 1
    assert capsys.readouterr().err == f"error: {saved.relative_to(tmp_path)}: it is not a checkpoint, or it is damaged\n"


def test_checkpoint_is_no_pickle(tmp_path):
    trainer = training.trained(tmp_path, epochs=1)
    checkpoint.write(tmp_path / "c", trainer, {})
    data = (tmp_path / "c").read_bytes()
    assert json.loads(data[8:8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def test_learning_rate_is_a_cosine(tmp_path):
    trainer = training.trained(tmp_path, epochs=0)
    last = trainer.steps * 4
    assert trainer.learning_rate(0) == 0.02 and math.isclose(trainer.learning_rate(last // 2), 0.01)
    assert trainer.learning_rate(last) == 0


def test_every_image_is_seen_once_an_epoch(tmp_path, monkeypatch):
    trainer = training.trained(tmp_path, epochs=0, shift=0)
    trainer.images = torch.arange(len(trainer.labels) * 40).reshape(-1, 5, 4, 2)    # tells the images apart
    trainer.images, seen = trainer.images[:571], []
    trainer.labels, trainer.steps = trainer.labels[:571], 20
    forward = trainer.model.forward
    monkeypatch.setattr(trainer.model, "forward", lambda x, *rest: seen.append(x[:, 0, 0, 0]) or forward(x, *rest))
    trainer.run_epoch()
    assert sorted(torch.cat(seen).tolist()) == [40 * k for k in range(571)]
    assert {len(part) for part in seen} <= {28, 29}


def test_shift():
    images = torch.zeros(400, 5, 5, 1, dtype=torch.uint8)
    images[:, 2, 2] = 9
    moved = loop._shifted(images, 1, torch.Generator().manual_seed(1))
    where = np.argwhere(moved.numpy() == 9)
    assert len(where) == 400 and {tuple(w[1:3]) for w in where} == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}
    images[:, 0, 0] = 7
    assert set(moved.unique().tolist()) == {0, 9}


def test_reestimated_statistics_are_those_of_all_images(tmp_path):
    model, split = (trainer := training.trained(tmp_path, epochs=1)).model, trainer.images
    loop.reestimate(model, split)
    x = np.where(split.numpy() >= 100, 1, -1).reshape(len(split), -1)
    for linear, norm in zip(model.linears, model.norms, strict=False):
        sums = x @ np.where(linear.weight.detach().numpy() >= 0, 1, -1).T
        assert np.allclose(norm.mean.numpy(), sums.mean(axis=0), rtol=1e-6)
        assert np.allclose(norm.var.numpy(), sums.var(axis=0), rtol=1e-6)
        x = np.where(norm(torch.from_numpy(sums).float()).detach().numpy() >= 0, 1, -1)


def test_restoring_goes_on_the_same(tmp_path):
    """Without files: state and restore."""
    first = training.trained(tmp_path, epochs=2)
    tensors, values = first.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    other = Trainer(models.build(first.recipe, training.split(600, 1)), first.recipe, training.split(600, 1))
    other.restore(tensors, values["epoch"])
    a, b = first.run_epoch(), other.run_epoch()
    assert a["loss"] == b["loss"]
    ours, theirs = first.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_recipe_of_another_network(tmp_path):
    trainer = training.trained(tmp_path, epochs=1)
    checkpoint.write(tmp_path / "c", trainer, {})
    other = recipe.load(training.small_recipe(tmp_path, hidden="[5]"))
    with pytest.raises(checkpoint.CheckpointError, match=r"c: it was made with hidden \[12, 7\], the recipe says \[5\]$"):
        checkpoint.read(tmp_path / "c", Trainer(models.build(other, training.split(600, 1)), other, training.split(600, 1)), {})


def test_dry_run(tiny, tmp_path, capsys):
    """Bits and parameters as counted by hand; nothing is written, and no -o is needed."""
    assert train("--dry-run", "--hold-out", "10") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["linears.0", "12x40", "480", "480"] and out[3].split() == ["linears.2", "3x7", "21", "21"]
    assert out[4] == "small: 585 weights of one bit (0.1 KiB), 623 trained parameters, 19 batch norms"
    assert out[5] == ("542 inputs of shape 5x4x2, 59 held out, 200 for the test, 3 classes; 4 epochs of 19 steps")
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]
    assert 585 == 40 * 12 + 12 * 7 + 7 * 3 and 623 == 585 + 2 * 19


def test_held_out_part():
    """The same share of each class, always the same rows, in order; none in both."""
    whole = training.split(500, 4)
    rest, held = holdout.parted(whole, 20)
    share = np.bincount(whole.labels) * 0.2
    assert np.bincount(held.labels).tolist() == [round(count) for count in share] and len(rest.labels) + len(held.labels) == 500
    rows = {image.tobytes(): row for row, image in enumerate(whole.images)}
    mine, theirs = ([rows[image.tobytes()] for image in part.images] for part in (rest, held))
    assert sorted(mine + theirs) == list(range(500)) and mine == sorted(mine) and theirs == sorted(theirs)
    assert [whole.labels[row] for row in theirs] == held.labels.tolist()
    assert np.array_equal(holdout.parted(whole, 20)[1].images, held.images)


def test_held_out_part_is_tried_as_export_would(tmp_path):
    trainer = training.trained(tmp_path, epochs=2)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    part = training.split(90, 5)
    found = holdout.HeldOut(trainer.images, part).accuracy(trainer.model)
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    loop.reestimate(trainer.model, trainer.images)
    assert found == loop.accuracy(trainer.model, torch.from_numpy(part.images), torch.from_numpy(part.labels))


@pytest.mark.parametrize("patience", [None, 2])
def test_the_best_epoch_is_exported(tiny, tmp_path, monkeypatch, capsys, patience):
    """Accuracy on the held-out part is made up: epoch 2 is the best."""
    made_up, tried = iter([0.5, 0.75, 0.75, 0.25, 0.5, 0.5]), []
    monkeypatch.setattr(holdout.HeldOut, "accuracy", lambda self, model: next(made_up))
    original = Trainer.run_epoch

    def run_epoch(self, *rest):
        row = original(self, *rest)
        tried.append({name: value.clone() for name, value in self.model.named_parameters()})
        return row
    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)
    exported = []
    monkeypatch.setattr(command, "export", lambda trainer, test: exported.append(trainer) or export(trainer, test))
    assert train("-o", "net.bnn", "--epochs", "6", "--hold-out", "20", *(["--patience", "2"] if patience else [])) == 0
    assert len(tried) == (4 if patience else 6) and "epoch 2 is the best on what was held out" in capsys.readouterr().out
    assert all(torch.equal(value, tried[1][name]) for name, value in exported[0].model.named_parameters())
    facts = artifact.load(tmp_path / "net.bnn").provenance
    assert (facts["epoch"], facts["held_out_percent"]) == (2, 20)
    assert [row["held_accuracy"] for row in without_time(tmp_path / "net.bnn.train/metrics.jsonl")][:2] == [0.5, 0.75]


def test_epochs_before_the_signs_are_not_exported(tiny, tmp_path, monkeypatch, capsys):
    """Binary weights come in epoch 4 of 6: the best before is not taken, nor does patience end there; nor is 1 epoch tried."""
    table = '\n[[methods]]\nname = "adambnn"\nfirst_share = 0.5\namount = 0.0\n'
    (tmp_path / "small.toml").write_text((tmp_path / "small.toml").read_text() + table)
    made_up = iter([0.9, 0.8, 0.8, 0.5, 0.75, 0.5])
    monkeypatch.setattr(holdout.HeldOut, "accuracy", lambda self, model: next(made_up))
    assert train("-o", "net.bnn", "--epochs", "6", "--hold-out", "20", "--patience", "2") == 0
    assert artifact.load(tmp_path / "net.bnn").provenance["epoch"] == 5
    rows = without_time(tmp_path / "net.bnn.train/metrics.jsonl")
    assert [row["exportable"] for row in rows] == [False] * 3 + [True] * 3
    capsys.readouterr()
    for option in ("--output=short.bnn", "--dry-run"):
        assert train(option, "--epochs", "1") == 1
        assert capsys.readouterr().err.endswith("its last epoch, 1, is before step 2, which begins when 50% of the epochs are "
                                                "done: it needs more epochs\n")


def test_resume_with_a_held_out_part(tiny, tmp_path, monkeypatch, capsys):
    def held(*arguments):
        return train(*arguments, "--hold-out", "20", "--patience", "3")
    assert held("-o", "whole.bnn") == 0
    with monkeypatch.context() as patched:
        interrupt(patched, 2, 5)
        assert held("-o", "parts.bnn") == 130
    assert train("-o", "parts.bnn", "--resume") == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("it was made with hold_out 20, now it is None")
    assert held("-o", "parts.bnn", "--resume") == 0
    assert (tmp_path / "parts.bnn").read_bytes() == (tmp_path / "whole.bnn").read_bytes()


def test_resume_with_other_data(tmp_path, monkeypatch, capsys):
    """The checkpoint knows what it was trained on."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a", 1), ("b", 2)):
        part = training.split(60, seed)
        np.savez(f"{name}.npz", images=part.images, labels=part.labels)
    training.small_recipe(tmp_path)
    assert train("-o", "net.bnn", "--data", "a.npz", "--epochs", "1") == 0
    assert train("-o", "net.bnn", "--data", "b.npz", "--epochs", "1", "--resume") == 1
    assert "checkpoint.safetensors: it was made with data '" in capsys.readouterr().err


def test_flips_are_counted(tiny, tmp_path):
    """Of each neuron the share of its weights whose sign is another than at first."""
    assert train("-o", "net.bnn") == 0
    found = artifact.load(tmp_path / "net.bnn")
    first = models.build(recipe.load("small.toml"), training.split(601, 1))
    for layer, (name, counts) in zip(first.binary_layers, portrait.flips(found.provenance).items(), strict=True):
        turned = (found.network.operations[name].weights != layer.signs().detach().numpy()).sum(axis=1).tolist()
        size = layer.weight.shape[1]
        assert counts == [sum(k * size <= 20 * count < (k + 1) * size for count in turned) for k in range(20)]


def test_tensorboard(tiny, tmp_path, capsys):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert train("-o", "net.bnn", "--tensorboard", "--epochs", "2") == 0
    events = reader.EventAccumulator(str(tmp_path / "net.bnn.train/tensorboard")).Reload()
    rows = [json.loads(line) for line in (tmp_path / "net.bnn.train/metrics.jsonl").read_text().splitlines()]
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"epoch"}
    assert [(point.step, np.float32(point.value)) for point in events.Scalars("loss")] == [
        (row["epoch"], np.float32(row["loss"])) for row in rows]


@pytest.mark.parametrize("seconds, text", [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5990, "100 min"), (6000, "1.7 h")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text
