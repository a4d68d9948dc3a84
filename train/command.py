"""``bnnhw train``: train by a recipe, export, check."""

import json
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .. import artifact, datasets
from ..errors import UsageError, UserError
from ..files import atomic_write
from . import checkpoint, models, owndata, recipe
from .curves import curves
from .export import export
from .loop import Trainer, accuracy

__all__ = ["TrainError", "add_arguments", "run"]


def add_arguments(parser):
    parser.add_argument("recipe", help=f"{', '.join(recipe.names())}, or a TOML file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the .bnn file to write; checkpoint, "
                        "metrics.jsonl and curves.png go to FILE.train/")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in FILE.train/")
    parser.add_argument("--threads", type=int, help="processor threads (default: PyTorch's choice)")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    owndata.add_arguments(parser)


class TrainError(UserError, ValueError):
    """A file or folder of a training that is in the way or damaged."""


def _settle(threads):
    """Let the same command give the same bits."""
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False     # a debugging aid that costs a third of the time


def _metrics(path, epoch):
    """The rows of metrics.jsonl up to ``epoch``."""
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    except FileNotFoundError:
        rows = []
    except ValueError:
        raise TrainError(f"{path}: it is not a metrics.jsonl, or it is damaged") from None
    return rows[:epoch]


def _save(folder, trainer, metrics):
    """Metrics first: should it end between the two, the rows past the checkpoint's epoch are cut off on resume."""
    atomic_write(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in metrics))
    checkpoint.write(folder / "checkpoint.safetensors", trainer)


def _train(trainer, test, folder, metrics, console):
    """Train to the recipe's last epoch, a checkpoint after each."""
    def say(text):
        console.print(text, highlight=False, soft_wrap=True)

    epochs, images, labels = trainer.recipe.epochs, torch.from_numpy(test.images.copy()), torch.from_numpy(test.labels)
    weights = sum(layer.weight.numel() for layer in trainer.model.binary_layers)
    say(f"{trainer.recipe.name}: {weights:,} weights of one bit, {epochs} epochs of {trainer.steps} steps"
        + (f", from epoch {trainer.epoch} on" if trainer.epoch else ""))
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console,
                  transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=epochs * trainer.steps, completed=trainer.epoch * trainer.steps)
        try:
            while trainer.epoch < epochs:
                row = trainer.run_epoch(lambda: progress.advance(task))
                row["test_accuracy"] = accuracy(trainer.model, images, labels)
                metrics.append(row)
                _save(folder, trainer, metrics)
                say(f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, training {row['train_accuracy']:.2%}, test "
                    f"{row['test_accuracy']:.2%}, {row['flip_ratio']:.2%} of the weights flipped, {row['seconds']:.1f} s")
        except KeyboardInterrupt:
            say(f"{folder}: holds {len(metrics)} of {epochs} epochs; --resume goes on from there")
            raise


def run(args):
    for option, least in (("threads", 1), ("epochs", 1), ("seed", 0)):
        if (value := getattr(args, option)) is not None and value < least:
            raise UsageError(f"--{option} must be at least {least}, not {value}")
    owndata.checked(args)
    console = Console()
    chosen = recipe.load(args.recipe, epochs=args.epochs, seed=args.seed, dataset="own" if args.data else None)
    _settle(args.threads)
    output = Path(args.output)
    if output.is_dir():
        raise TrainError(f"{output}: is a folder, not a .bnn file to write")
    folder = output.with_name(output.name + ".train")
    saved = folder / "checkpoint.safetensors"
    if saved.exists() and not args.resume:
        raise TrainError(f"{saved}: there is a checkpoint of an earlier run: --resume goes on from it, or delete {folder}")
    own = owndata.load(args, chosen) if chosen.dataset == "own" else None
    train, test = (own.train, own.test) if own else (datasets.load(chosen.dataset, part) for part in ("train", "test"))
    trainer = Trainer(models.build(chosen, train), chosen, train)
    if args.resume:
        checkpoint.read(saved, trainer)
        metrics = _metrics(folder / "metrics.jsonl", trainer.epoch)
    else:
        metrics = []
        _save(folder, trainer, metrics)
    _train(trainer, test, folder, metrics, console)
    atomic_write(folder / "curves.png", curves(metrics, chosen.name))
    found = export(trainer, test)
    if own:
        found = owndata.carried(found, own)
    artifact.save(output, found)
    facts = found.provenance
    console.print(f"{output}: {facts['test_right']} of {facts['test_images']} test images right "
                  f"({facts['test_accuracy']:.2%}), {facts['test_ties']} ties; golden model and trained model agree in every "
                  f"decision and every hidden value; network {found.network.digest[:12]}", highlight=False, soft_wrap=True)
