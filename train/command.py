"""``bnnhw train``: train by a recipe, export, check."""

import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from .. import artifact, datasets, tasks
from ..errors import UsageError, UserError
from ..files import atomic_write
from . import checkpoint, continual, distributed, holdout, models, owndata, recipe, sizes
from .curves import curves
from .export import export
from .loop import Trainer, accuracy
from .progress import Board, Lines

__all__ = ["TrainError", "add_arguments", "run"]

FLIP_BINS = 20      # of the histogram of a layer's neurons by the share of their weights that training turned round


def add_arguments(parser):
    parser.add_argument("recipe", help=f"{', '.join(recipe.names())}, or a TOML file")
    parser.add_argument("-o", "--output", metavar="FILE", help="the .bnn file to write; checkpoint, metrics.jsonl and curves.png "
                        "go to FILE.train/")
    parser.add_argument("--dry-run", action="store_true", help="say what would be trained, with its bits and parameters, and end")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in FILE.train/")
    parser.add_argument("--threads", type=int, help="processor threads (default: PyTorch's choice)")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="where to train (default: a GPU where there is one)")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--hold-out", type=int, metavar="PERCENT", help="keep so much of each class from the training, and "
                        "export the epoch that gets most of it right")
    parser.add_argument("--patience", type=int, metavar="N", help="with --hold-out: end after N epochs without a better one")
    parser.add_argument("--tensorboard", action="store_true", help="write metrics for TensorBoard, too: FILE.train/tensorboard")
    owndata.add_arguments(parser)


class TrainError(UserError, ValueError):
    """A file or folder of a training that is in the way or damaged."""


def _check(args):
    """Refuse what the command line alone shows wrong."""
    for option, least in (("threads", 1), ("epochs", 1), ("seed", 0), ("patience", 1), ("hold_out", 1)):
        if (value := getattr(args, option)) is not None and value < least:
            raise UsageError(f"--{option.replace('_', '-')} must be at least {least}, not {value}")
    if args.hold_out and args.hold_out > 50:
        raise UsageError(f"--hold-out must be at most 50, not {args.hold_out}")
    if args.patience and not args.hold_out:
        raise UsageError("--patience needs --hold-out, which says what an epoch is tried on")
    if not args.output and not args.dry_run:
        raise UsageError("-o FILE, the .bnn file to write, is missing")
    owndata.checked(args)


def _settle(threads):
    """Let the same command give the same bits."""
    if threads is not None:
        torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.allow_tf32 = False         # its 11 bits do not hold the sums
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False     # a debugging aid that costs a third of the time


class _Folder:
    """FILE.train/: checkpoint, best checkpoint, metrics. Of several processes the first one writes.

    ``facts`` are what a checkpoint must have in common with this run, besides the recipe.
    """
    def __init__(self, output, facts, team):
        self.path = output.with_name(output.name + ".train")
        self.facts, self._writes = facts, team.rank == 0
        self.last, self.best = self.path / "checkpoint.safetensors", self.path / "best.safetensors"

    def read(self, trainer):
        """The metrics up to the checkpoint, from which ``trainer`` goes on."""
        checkpoint.read(self.last, trainer, self.facts)
        path = self.path / "metrics.jsonl"
        try:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
        except FileNotFoundError:
            rows = []
        except ValueError:
            raise TrainError(f"{path}: it is not a metrics.jsonl, or it is damaged") from None
        return rows[:trainer.epoch]

    def write(self, trainer, metrics):
        """Metrics first: should it end between the files, the rows past the checkpoint's epoch are cut off on resume."""
        if not self._writes:
            return
        atomic_write(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in metrics))
        if self.facts["hold_out"] and holdout.best(metrics) == trainer.epoch:
            checkpoint.write(self.best, trainer, self.facts)
        checkpoint.write(self.last, trainer, self.facts)


def _train(trainer, tried, folder, metrics, lines, patience, boards):
    """Train to the recipe's last epoch, or until ``patience`` is over, a checkpoint after each.

    ``tried`` has for each key of the metrics a callable (model) -> accuracy.
    """
    epochs = trainer.recipe.epochs
    try:
        with lines.training(epochs, trainer.steps, trainer.epoch):
            while trainer.epoch < epochs and not (patience and (best := holdout.best(metrics))
                                                  and trainer.epoch - best >= patience):
                row = trainer.run_epoch(lines.step)
                row["exportable"] = not trainer.inexact(trainer.epoch - 1)
                for key, measure in tried.items():      # one tries it, all know it
                    (row[key],) = trainer.team.total(measure(trainer.model) if trainer.team.rank == 0 else 0.0)
                metrics.append(row)
                folder.write(trainer, metrics)
                for told in (lines, *boards):
                    told.epoch(row)
    except KeyboardInterrupt:
        lines.say(f"{folder.path}: holds {len(metrics)} of {epochs} epochs; --resume goes on from there")
        raise


def _flips(start, model, network):
    """{layer: counts} of :func:`bnnhw.portrait.flips`."""
    names = [name for name, own in network.operations.items() if hasattr(own, "weights") or hasattr(own, "tables")]
    found = {}
    for name, before, layer in zip(names, start, model.binary_layers, strict=True):
        turned = (before != layer.signs().cpu()).flatten(1)
        places = (turned.sum(1) * FLIP_BINS // turned.shape[1]).clamp(max=FLIP_BINS - 1)
        found[name] = torch.bincount(places, minlength=FLIP_BINS).tolist()
    return found


def _finish(trainer, test, folder, metrics, start, own, output, lines):
    """Export the last epoch, or the best one, and write the file."""
    if folder.facts["hold_out"]:
        checkpoint.read(folder.best, trainer, folder.facts)
        lines.say(f"epoch {trainer.epoch} is the best on what was held out")
    atomic_write(folder.path / "curves.png", curves(metrics, trainer.recipe.name))
    found = continual.export(trainer) if isinstance(trainer, continual.ContinualTrainer) else export(trainer, test)
    facts = found.provenance | {"flips": _flips(start, trainer.model, found.network)}
    if folder.facts["hold_out"]:
        facts |= {"held_out_percent": folder.facts["hold_out"], "epoch": trainer.epoch}
    found = replace(found, provenance=facts)
    artifact.save(output, owndata.carried(found, own) if own else found)
    lines.say(f"{output}: {facts['test_right']} of {facts['test_images']} test images right "
              f"({facts['test_accuracy']:.2%}), {facts['test_ties']} ties; golden model and trained model agree in every "
              f"decision and every hidden value; network {found.network.digest[:12]}")


def run(args):
    _check(args)
    chosen = recipe.load(args.recipe, epochs=args.epochs, seed=args.seed, dataset="own" if args.data else None)
    _settle(args.threads)
    if args.dry_run:
        _say_sizes(args, chosen)
        return
    team = distributed.joined(args.device, chosen)
    try:
        _run(args, chosen, team)
    except RuntimeError as error:
        if team.size == 1 or not distributed.lost(error):
            raise
        raise TrainError(f"process {team.rank} of {team.size} (from 0) has lost another one; --resume goes on from the last "
                         "epoch") from None
    finally:
        team.leave()


def _data(args, chosen):
    """Training, test, held-out part (or None), and the user's own data (or None)."""
    if chosen.kind == "continual":
        if args.hold_out:
            raise UsageError("--hold-out: of a sequence of tasks the last epoch counts")
        return *(tasks.load(chosen.dataset, part) for part in ("train", "test")), None, None
    own = owndata.load(args, chosen) if chosen.dataset == "own" else None
    train, test = (own.train, own.test) if own else (datasets.load(chosen.dataset, part) for part in ("train", "test"))
    train, held = holdout.parted(train, args.hold_out) if args.hold_out else (train, None)
    return train, test, held, own


def _trainer(chosen, train, test, team):
    """The trainer of a recipe, whose last epoch leaves what can be exported."""
    if chosen.kind == "continual" and team.size > 1:
        raise UsageError(f"recipe {chosen.name!r}: a sequence of tasks is learned in one process")
    trainer = (continual.ContinualTrainer(chosen, train, test, team) if chosen.kind == "continual" else
               Trainer(models.build(chosen, train), chosen, train, team))
    if binarizer := trainer.inexact(chosen.epochs - 1):
        raise recipe.RecipeError(f"recipe {chosen.name!r}: its last epoch, {chosen.epochs}, is before {binarizer.until}: "
                                 "it needs more epochs")
    return trainer


def _say_sizes(args, chosen):
    train, test, held, _ = _data(args, chosen)
    model, lines = _trainer(chosen, train, test, distributed.Alone()).model, Lines()
    if chosen.kind == "continual":
        lines.say(f"{len(train.tasks)} tasks, of each:")
        train, test = train.of(0), test.of(0)
    lines.console.print(sizes.table(model))
    lines.say(f"{chosen.name}: {sizes.summary(model)}")
    kept, shape = f"{len(held.labels):,} held out, " if held else "", "x".join(map(str, train.images.shape[1:]))
    lines.say(f"{len(train.labels):,} inputs of shape {shape}, {kept}{len(test.labels):,} for the test, {len(train.classes)} "
              f"classes; {chosen.epochs} epochs of {-(-len(train.labels) // chosen.batch):,} steps")


def _run(args, chosen, team):
    output, lines = Path(args.output), Lines(quiet=team.rank > 0)
    if output.is_dir():
        raise TrainError(f"{output}: is a folder, not a .bnn file to write")
    folder = _Folder(output, {"hold_out": args.hold_out}, team)
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0       # by torchrun, after a process was lost
    resumed = args.resume or restarted and folder.last.exists()
    if folder.last.exists() and not resumed:
        raise TrainError(f"{folder.last}: there is a checkpoint of an earlier run: --resume goes on from it, or delete "
                         f"{folder.path}")
    train, test, held, own = _data(args, chosen)
    folder.facts["data"] = own.facts["sha256"] if own else None
    trainer = _trainer(chosen, train, test, team)
    start = [layer.signs().detach().cpu().clone() for layer in trainer.model.binary_layers]
    metrics = folder.read(trainer) if resumed else []
    boards = [Board(folder.path / "tensorboard", trainer.epoch)] if args.tensorboard and team.rank == 0 else []
    team.meet()     # none writes while another still looks for an earlier run
    if not resumed:
        folder.write(trainer, metrics)
    tried = {"held_accuracy": holdout.HeldOut(trainer.images, held).accuracy} if held else {}
    if chosen.kind != "continual":      # whose trainer tries every task
        images, labels = torch.from_numpy(test.images.copy()), torch.from_numpy(test.labels)
        tried["test_accuracy"] = lambda model: accuracy(model, images, labels)
    lines.say(f"{chosen.name}: {sizes.summary(trainer.model)}, {chosen.epochs} epochs of {trainer.steps} steps on {team}"
              + (f", from epoch {trainer.epoch} on" if trainer.epoch else ""))
    _train(trainer, tried, folder, metrics, lines, args.patience, boards)
    for board in boards:
        board.close()
    if team.rank == 0:
        _finish(trainer, test, folder, metrics, start, own, output, lines)
