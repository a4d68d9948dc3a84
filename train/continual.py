"""Continual learning: one task after the other on the same binary weights, each task with batch norms of its own.

A network forgets: what a later task changes in the weights, an earlier one loses. Metaplastic training makes weights that were
often strengthened hard to turn round (:func:`~bnnhw.train.methods.optimizers.metaplastic_step`), so that less is lost.

What is kept for each task are its batch norms, with the running statistics of its own training: no image of an earlier task is
looked at again, neither while a later one is learned nor at export. In hardware they are banks of thresholds and of scales and
offsets (:mod:`bnnhw.banks`).

Source: Laborieux et al., "Synaptic metaplasticity in binarized neural networks", Nature Communications 12:2549, 2021,
arXiv:2003.03533.
"""

import math
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from .. import reference
from ..artifact import Artifact
from ..datasets import PIXEL
from ..ir import BankAffine, BankThreshold, Flatten, Input, TensorType, Thermometer
from .export import Builder, affine, check, checked, exact, last_sums, origin
from .layers import BatchNorm
from .loop import Trainer, accuracy
from .models import DenseNet

__all__ = ["ContinualNet", "ContinualTrainer", "NormBank", "even_levels", "export", "least_sums"]


class NormBank(nn.Module):
    """A :class:`~bnnhw.train.layers.BatchNorm` for each task, of which that of :attr:`task` is the one that works."""
    def __init__(self, channels, tasks):
        super().__init__()
        self.own = nn.ModuleList(BatchNorm(channels) for _ in range(tasks))
        self.task = 0

    def forward(self, s):
        return self.own[self.task](s)


def even_levels(count):
    """``count`` levels that divide 0 to 255 evenly, int64 array; rising."""
    return (PIXEL + 1) * np.arange(1, count + 1) // (count + 1)


class ContinualNet(DenseNet):
    """Dense layers with a :class:`NormBank` behind each, the last one, too; pixels enter as they are, or as signs at ``levels``
    levels, the same for all.

    Parameters
    ----------
    inputs : int
        Pixels.
    recipe : ContinualRecipe
    classes, tasks : int
    generator : torch.Generator
    """
    def __init__(self, inputs, recipe, classes, tasks, *, generator):
        super().__init__(inputs * max(1, recipe.levels), recipe, classes, generator=generator)
        self.norms = nn.ModuleList(NormBank(norm.gamma.numel(), tasks) for norm in self.norms)
        self.tasks, self.levels = tasks, even_levels(recipe.levels)
        self.register_buffer("least", torch.from_numpy(self.levels), persistent=False)

    def choose(self, task):
        """Work on ``task`` from now on."""
        for norm in self.norms:
            norm.task = task

    def binarize(self, x):
        if not len(self.levels):
            return x.flatten(1).float()
        return torch.where(x.flatten(1)[:, :, None] >= self.least, 1.0, -1.0).flatten(1)


def _tensors(split, task):
    """Images and labels of a task."""
    own = split.of(task)
    return torch.from_numpy(own.images.copy()), torch.from_numpy(own.labels)


class ContinualTrainer(Trainer):
    """Trains the tasks of a sequence in turn, each for the same share of the recipe's epochs, with a fresh Adam and a rate that
    falls to 0 as half a cosine.

    Parameters
    ----------
    recipe : ContinualRecipe
    train, test : TaskSplit
    team : Alone, optional
    """
    def __init__(self, recipe, train, test, team=None):
        self.train, self.test = train, test
        tasks, first = len(train.tasks), train.of(0)
        model = ContinualNet(math.prod(first.images.shape[1:]), recipe, len(first.classes), tasks,
                             generator=torch.Generator().manual_seed(recipe.seed))
        super().__init__(model, recipe, first, team)
        self.each, self.task = recipe.epochs // tasks, 0

    def _enter(self, task):
        """Go over to the images of ``task``, and to its batch norms."""
        if task != self.task:
            self.images, self.labels = _tensors(self.train, task)
            self.task = task
        self.model.choose(task)

    def learning_rate(self, step):
        """The rate of ``step``, counted over all epochs: a cosine from the recipe's rate to 0 for each task."""
        steps = self.each * self.steps
        return self.recipe.learning_rate * self.method.rate(self.recipe, step % steps, steps)

    def _run_epoch(self, on_step):
        """Metrics are also ``task``, ``test_accuracy_K`` of every task K that has begun, and their mean, ``test_accuracy``."""
        task = self.epoch // self.each
        self._enter(task)
        if self.epoch % self.each == 0:
            self.optimizer.state.clear()
        row = super()._run_epoch(on_step)
        found = [self.accuracy_of(k) for k in range(task + 1)]
        return row | {"task": task, "test_accuracy": sum(found) / len(found)} | {
            f"test_accuracy_{k}": own for k, own in enumerate(found)}

    def accuracy_of(self, task):
        """Share of the test images of ``task`` that are right."""
        now = self.task
        self.model.choose(task)
        found = accuracy(self.model, *_tensors(self.test, task))
        self.model.choose(now)
        return found

    def restore(self, tensors, epoch):
        super().restore(tensors, epoch)
        self._enter(max(epoch - 1, 0) // self.each)


@torch.no_grad()
def least_sums(norm, type, layer):
    """Integer thresholds of a batch norm and a sign, as of :func:`~bnnhw.train.export.thresholds`, but found by bisection: sums
    of 784 pixels can have 400,000 values.

    The batch norm in eval mode is four float32 operations, each of which rounds, and rounding never turns an order round. So
    what it gives rises or falls with the sum, and bisection finds what trying every integer would.

    Returns
    -------
    levels : int64 array (C, 1)
        In normal form.
    falling : bool array (C,)
    ties : list of dict
    """
    checked(norm, layer)
    falling, channels = norm.gamma < 0, norm.gamma.numel()

    def reached(places):
        """Whether the sums at ``places`` of the range, counted from its end if it falls, are +1; int64 tensor (C,)."""
        sums = torch.where(falling, type.hi - type.step * places, type.lo + type.step * places)
        return norm(sums.float()[None])[0] >= 0
    low, high = torch.zeros(channels, dtype=torch.int64), torch.full((channels,), type.levels)     # the first is in low ... high
    while bool((low < high).any()):
        middle = (low + high) // 2
        found = reached(middle.clamp(max=type.levels - 1)) & (middle < type.levels)
        low, high = torch.where(found | (low == high), low, middle + 1), torch.where(found, middle, high)
    levels = torch.where(falling, type.hi - type.step * low, type.lo + type.step * low)
    ties = []
    for place in (low - 1, low):
        decided = reached(place.clamp(0, type.levels - 1))
        for channel in torch.nonzero((place >= 0) & (place < type.levels)).flatten().tolist():
            s = int(levels[channel]) + (0 if place is low else 1 if falling[channel] else -1) * type.step
            if bool(decided[channel]) != exact(norm, channel, Fraction(s), 0):
                ties.append({"layer": layer, "channel": channel, "sum": s})
    return levels[:, None].numpy(), falling.numpy(), ties


@torch.no_grad()
def _network(model, test):
    """The integer network, and ``ties`` and ``fraction_bits`` (of each task) for the provenance."""
    first = test.of(0)
    build = Builder(first.images.shape[1:])
    image = build.edge
    build.add(Input("task", TensorType((), 0, model.tasks - 1)))
    build.edge = image
    if len(model.levels):
        build.add(Thermometer("bits", image, model.levels))
    build.add(Flatten("flat", build.edge))
    last, bits = len(model.linears), []
    for k, (linear, norm) in enumerate(zip(model.linears, model.norms, strict=True), 1):
        build.dense(f"fc{k}", linear)
        if k < last:
            found = [least_sums(own, build.type, f"fc{k}, task {task}") for task, own in enumerate(norm.own)]
            build.ties += [tie for *_, ties in found for tie in ties]
            levels, falling, _ = (np.stack(own) if kind < 2 else None for kind, own in enumerate(zip(*found, strict=True)))
            build.add(BankThreshold(f"act{k}", build.edge, "task", levels, falling))
            continue
        banks = []
        for task, own in enumerate(norm.own):
            model.choose(task)
            *bank, needed = affine(own, last_sums(model, _tensors(test, task)[0]), f"fc{k}, task {task}")
            banks.append(bank)
            bits.append(needed)
        build.add(BankAffine("scores", build.edge, "task", *map(np.stack, zip(*banks, strict=True))))
    network, facts = build.finish()
    return network, facts | {"fraction_bits": bits}


@torch.no_grad()
def export(trainer):
    """The :class:`~bnnhw.artifact.Artifact` of a :class:`ContinualTrainer`'s network, checked with every task's bank on that
    task's whole test set. Batch norms keep their running statistics.

    Raises
    ------
    ExportError
        As of :func:`bnnhw.train.export.export`.
    """
    model, recipe, test = trainer.model.cpu().eval(), trainer.recipe, trainer.test
    network, facts = _network(model, test)
    right, tied, images = [], [], 0
    for task in range(model.tasks):
        model.choose(task)
        split = test.of(task)
        check(model, network, torch.from_numpy(split.images.copy()), task)
        edges = reference.run(network, split.images, keep=["scores", "class"], task=task)
        best = edges["scores"] == edges["scores"].max(axis=1, keepdims=True)
        right.append(int(np.count_nonzero(edges["class"] == split.labels)))
        tied.append(int(np.count_nonzero(best.sum(axis=1) > 1)))
        images += len(split.labels)
    provenance = {
        "recipe": recipe.model_dump(), "dataset": recipe.dataset, "tasks": [str(task) for task in test.tasks],
        "test_images": images, "test_right": sum(right), "test_accuracy": sum(right) / images, "test_ties": sum(tied),
        "task_right": right,
        "checked": {"images": images, "differing_decisions": 0, "differing_hidden_values": 0},
        "float32_ties": facts["ties"], "fraction_bits": facts["fraction_bits"],
    } | origin(trainer)
    return Artifact(network, test.classes, provenance)
