"""Counts how many images of a data set a network gets right, by the golden model: ``bnnhw evaluate``."""

import json

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import datasets, models, owndata, reference, tasks
from .datasets import Split
from .errors import UsageError, UserError

__all__ = ["EvaluationError", "add_arguments", "evaluate", "run"]

BATCH = 500     # images between two steps of the progress bar


class EvaluationError(UserError, ValueError):
    """A network and a data set that do not fit together."""


def inputs_for(network, split):
    """A data set's images as the network's input: as they are, or the pixels of one channel as a vector.

    Raises
    ------
    EvaluationError
        Other shapes, an input that is not pixels, or a network that does not classify.
    """
    type, images = network.types[network.inputs[0]], split.images
    shape = images.shape[1:]
    if (type.lo, type.hi, type.step) != (0, split.greatest, 1):
        raise EvaluationError(f"the network's input is {type.lo} to {type.hi} by {type.step}, the data set's values are 0 to "
                              f"{split.greatest} by 1")
    if type.shape != shape and not (shape[-1] == 1 and type.shape in ((images[0].size,), shape[:2])):
        raise EvaluationError(f"the network's input has shape {type.shape}, the data set's images {shape}")
    if network.types[network.outputs[0]].shape != ():
        raise EvaluationError(f"the network's output {network.outputs[0]!r} is no class")
    return images.reshape(len(images), *type.shape)


def evaluate(network, split, images=None, progress=lambda done: None, task=None):
    """How many images the golden model gets right.

    Parameters
    ----------
    network : Network
    split : Split
        Of :func:`bnnhw.datasets.load`.
    images : int, optional
        The first so many; all by default.
    progress : callable (int)
        Told how many are done.
    task : int, optional
        Of all images, where the network has several.

    Returns
    -------
    right, total : int

    Raises
    ------
    EvaluationError
        Network and images do not fit, or there are fewer images.
    """
    x = inputs_for(network, split)
    count = len(x) if images is None else images
    if count > len(x):
        raise EvaluationError(f"there are {len(x)} images, not {count}")
    right = 0
    for start in range(0, count, BATCH):
        part = slice(start, min(start + BATCH, count))
        right += int(np.count_nonzero(reference.run(network, x[part], task=task)[network.outputs[0]] == split.labels[part]))
        progress(part.stop)
    return right, count


def add_arguments(parser):
    parser.add_argument("model", nargs="?", default=models.DEFAULT, metavar="MODEL",
                        help="a .bnn file or the name of a shipped network (default: %(default)s)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dataset", choices=datasets.DATASETS, help="(default: the one that the network was trained on)")
    what.add_argument("--data", metavar="PATH", help="rows or pictures of your own (of what it was trained on, the test part)")
    parser.add_argument("--split", choices=("test", "train"), help="of the data set (default: test)")
    parser.add_argument("--images", type=int, metavar="N", help="the first N images (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args):
    if args.images is not None and args.images < 1:
        raise UsageError(f"--images must be at least 1, not {args.images}")
    if args.data and args.split:
        raise UsageError("--split belongs to a data set, not to --data")
    found = models.load(args.model)
    if found.network.task:
        return _each_task(args, found)
    if args.data:
        own = owndata.inputs(found, args.data)
        if own.labels is None:
            raise EvaluationError(f"{args.data}: there are no classes in it to compare with")
        split = Split(own.x, own.labels, found.classes, own.greatest)
        dataset, part = args.data, own.part
        what = f"{args.data}'s {'test ' if part == 'test' else ''}rows"
    else:
        dataset, part = _dataset(args, found), args.split or "test"
        split, what = datasets.load(dataset, part), f"{dataset}'s {part} images"
    columns = TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("", total=args.images or len(split.images))
        right, total = evaluate(found.network, split, args.images, lambda done: bar.update(task, completed=done))
    if args.json:
        print(json.dumps({"model": str(args.model), "network": found.network.digest, "dataset": dataset, "split": part,
                          "right": right, "total": total}))
    else:
        print(f"{right}/{total} ({right / total:.2%}) of {what} right")


def _each_task(args, found):
    """Say for each task of the sequence that a network was trained on how many of its images are right."""
    name, part = found.provenance.get("dataset"), args.split or "test"
    if args.dataset or args.data:
        raise EvaluationError(f"the network has {found.network.tasks} tasks: it can be tried on nothing but the sequence that it "
                              "was trained on")
    if len(tasks.SEQUENCES.get(name, ())) != found.network.tasks:
        raise EvaluationError("the network has several tasks, but does not say what it was trained on")
    splits, rows = tasks.load(name, part), []
    for k, task in enumerate(splits.tasks):
        right, total = evaluate(found.network, splits.of(k), args.images, task=k)
        rows.append({"task": str(task), "right": right, "total": total})
        if not args.json:
            print(f"task {k} ({task}): {right}/{total} ({right / total:.2%}) of the {part} images right")
    right, total = (sum(row[key] for row in rows) for key in ("right", "total"))
    if args.json:
        print(json.dumps({"model": str(args.model), "network": found.network.digest, "dataset": name, "split": part,
                          "tasks": rows, "right": right, "total": total}))
    else:
        print(f"all: {right}/{total} ({right / total:.2%})")


def _dataset(args, found):
    """The data set that the command line names, or that the network was trained on."""
    dataset = args.dataset or found.provenance.get("dataset")
    if found.encoding and not args.dataset:
        raise EvaluationError("the network was trained on data of its user's: --data PATH")
    if dataset not in datasets.DATASETS:
        raise EvaluationError("the network does not say what it was trained on: --dataset must be one of "
                              f"{', '.join(datasets.DATASETS)}")
    return dataset


if __name__ == "__main__":
    from .cli import main_of
    main_of("evaluate")
