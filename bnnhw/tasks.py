"""Sequences of tasks for continual learning: permuted MNIST, and MNIST followed by Fashion-MNIST.

A task is a part of images and an order of their pixels. A network sees the pixels in the task's order: whoever sends it an image,
such as a host, permutes it first, and says the number of the task.
"""

from dataclasses import dataclass

import numpy as np

from . import datasets, models
from .datasets import Split

__all__ = ["SEQUENCES", "TaskSplit", "Task", "load", "permutation", "test_images"]

PERMUTED = 6                # tasks of permuted MNIST, the first of which is MNIST as it is
PIXELS = 784
FIRST_SEED = 1000           # of a permutation; its task's number is added


@dataclass(frozen=True)
class Task:
    """A data set, and the seed of the permutation of its pixels (None: as they are)."""
    dataset: str
    seed: int | None = None

    def __str__(self):
        return self.dataset if self.seed is None else f"{self.dataset}, permutation {self.seed - FIRST_SEED}"


SEQUENCES = {
    "permuted-mnist": (Task("mnist"), *(Task("mnist", FIRST_SEED + k) for k in range(1, PERMUTED))),
    "mnist-fashion": (Task("mnist"), Task("fashion-mnist")),
}


def permutation(seed):
    """Order of 784 pixels, int array: pixel ``k`` of a permuted image is pixel ``permutation[k]``, rows one after the other.

    numpy's RandomState, whose numbers are promised never to change.
    """
    return np.random.RandomState(seed).permutation(PIXELS)


def _permuted(images, seed):
    """Images (N, 28, 28, 1) with their pixels in the order of ``seed``."""
    return images if seed is None else images.reshape(len(images), -1)[:, permutation(seed)].reshape(images.shape)


@dataclass(frozen=True)
class TaskSplit:
    """A part of every task of a sequence.

    Attributes
    ----------
    tasks : tuple of Task
    parts : dict data set -> Split
    """
    tasks: tuple
    parts: dict

    def of(self, task):
        """The :class:`~bnnhw.datasets.Split` of the task of this number."""
        chosen = self.tasks[task]
        part = self.parts[chosen.dataset]
        return Split(_permuted(part.images, chosen.seed), part.labels, self.classes, part.greatest)

    @property
    def classes(self):
        """Class names by index: those of every data set that differ, as in ``9 / ankle boot``."""
        return tuple(" / ".join(names) for names in zip(*(part.classes for part in self.parts.values()), strict=True))


def load(name, part):
    """The :class:`TaskSplit` of a sequence, ``part`` ``"train"`` or ``"test"``. Raises what :func:`~bnnhw.datasets.load` does."""
    tasks = SEQUENCES[name]
    return TaskSplit(tasks, {dataset: datasets.load(dataset, part) for dataset in dict.fromkeys(t.dataset for t in tasks)})


def test_images(name, count):
    """Test images of a sequence whose tasks take turns.

    Those that ship where they are enough, else the whole data sets. Raises :exc:`~bnnhw.datasets.DatasetError`.

    Parameters
    ----------
    name : str
        One of :data:`SEQUENCES`.
    count : int
        At most 10,000 for each task.

    Returns
    -------
    images : uint8 array (count, 28, 28, 1)
    labels : int64 array (count,)
    task : int64 array (count,)
        0, 1, ..., 0, 1, ...
    """
    tasks = SEQUENCES[name]
    each = -(-count // len(tasks))
    images, labels = np.empty((each, len(tasks), 28, 28, 1), np.uint8), np.empty((each, len(tasks)), np.int64)
    for k, task in enumerate(tasks):
        own, truth = models.test_images(task.dataset)
        if each > len(own):
            split = datasets.load(task.dataset, "test")
            own, truth = split.images, split.labels
        images[:, k] = _permuted(own[:each].reshape(-1, 28, 28, 1), task.seed)
        labels[:, k] = truth[:each]
    return images.reshape(-1, 28, 28, 1)[:count], labels.reshape(-1)[:count], np.arange(count) % len(tasks)
