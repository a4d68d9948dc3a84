"""``bnnhw train``: train by a recipe, export, check."""

import json
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .. import artifact, datasets
from ..errors import UserError
from ..files import atomic_write
from . import checkpoint, models, recipe
from .curves import curves
from .export import export
from .loop import Trainer, accuracy

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    parser.add_argument("recipe", help=f"{', '.join(recipe.names())}, or a TOML file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the .bnn file to write; checkpoint, "
                        "metrics.jsonl and curves.png go to FILE.train/")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in FILE.train/")
    parser.add_argument("--threads", type=int, help="processor threads (default: PyTorch's choice)")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")


class TrainError(UserError, ValueError):
    """Arguments of a training that cannot be."""


def _metrics(path, epoch):
    """The rows of metrics.jsonl up to ``epoch``."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return rows[:epoch]


def run(args):
    console = Console()
    chosen = recipe.load(args.recipe, epochs=args.epochs, seed=args.seed)
    if args.threads is not None:
        if args.threads < 1:
            raise TrainError(f"--threads must be at least 1, not {args.threads}")
        torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    output = Path(args.output)
    folder = output.with_name(output.name + ".train")
    folder.mkdir(parents=True, exist_ok=True)
    saved, log = folder / "checkpoint.safetensors", folder / "metrics.jsonl"
    if saved.exists() and not args.resume:
        raise TrainError(f"{saved}: there is a checkpoint of an earlier run: --resume goes on from it, or delete {folder}")
    train, test = datasets.load(chosen.dataset, "train"), datasets.load(chosen.dataset, "test")
    trainer = Trainer(models.build(chosen, train), chosen, train)
    if args.resume:
        checkpoint.read(saved, trainer)
    metrics = _metrics(log, trainer.epoch)
    images, labels = torch.from_numpy(test.images.copy()), torch.from_numpy(test.labels)
    weights = sum(linear.weight.numel() for linear in trainer.model.linears)
    console.print(f"{chosen.name}: {weights:,} weights of one bit, {chosen.epochs} epochs of {trainer.steps} steps", highlight=False)

    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console,
                  transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=chosen.epochs * trainer.steps, completed=trainer.epoch * trainer.steps)
        while trainer.epoch < chosen.epochs:
            row = trainer.run_epoch(lambda done, total: progress.advance(task))
            row["test_accuracy"] = accuracy(trainer.model, images, labels)
            metrics.append(row)
            checkpoint.write(saved, trainer)
            atomic_write(log, "".join(json.dumps(r) + "\n" for r in metrics))
            console.print(f"epoch {row['epoch']}/{chosen.epochs}: loss {row['loss']:.4f}, training {row['train_accuracy']:.2%}, "
                          f"test {row['test_accuracy']:.2%}, {row['flip_ratio']:.2%} of the weights flipped, "
                          f"{row['seconds']:.1f} s", highlight=False)
    atomic_write(folder / "curves.png", curves(metrics, chosen.name))
    found = export(trainer, test, seconds=sum(row["seconds"] for row in metrics))
    artifact.save(output, found)
    facts = found.provenance
    console.print(f"{output}: {facts['test_right']} of {facts['test_images']} test images right, {facts['test_ties']} ties; golden "
                  f"model and trained model agree in every decision and every hidden sign; network {found.network.digest[:12]}",
                  highlight=False)
