"""Verification of a built accelerator: real images through its Verilog, every integer against the golden model."""

import contextlib

import numpy as np

from . import compare, datasets, models, tasks
from .accelerator import taps
from .errors import UserError
from .owndata import Inputs
from .rings import rings
from .samples import samples
from .simulator import Simulator, encode

__all__ = ["VerifyError", "by_task", "check_timing", "frames_for", "images_for", "in_verilog", "summary"]

RANDOM_SEED = 0
TEST_IMAGES = 10_000        # of each task of a sequence
MNIST_SHAPES = ((28, 28, 1), (784,))


class VerifyError(UserError):
    """The hardware does not keep what plan or golden model promise."""


def images_for(network, count, dataset=None):
    """Inputs to try a network on.

    Test images of ``dataset``, if its images fit: those that ship where they are enough, else the first ones. 28x28 pixels are
    taken for MNIST where there is no ``dataset``. Random values of the input's type for other networks, and where the data set
    cannot be had.

    Parameters
    ----------
    network : Network
    count : int
    dataset : str or :class:`~bnnhw.owndata.Inputs`, optional
        What the network was trained on: its provenance has it. Or a user's own rows.

    Returns
    -------
    x : int array (count, *shape)
    labels : int array (count,) or None
        None for random inputs.

    Raises
    ------
    VerifyError
        More are asked for than there are.
    """
    type = network.types[network.inputs[0]]
    found = _test_images(type, count, dataset)
    if found is None:
        codes = np.random.default_rng(RANDOM_SEED).integers(0, type.levels, (count, *type.shape))
        return type.lo + type.step * codes, None
    x, labels = found
    if count > len(x):
        raise VerifyError(f"there are {len(x):,} test images, not {count:,}")
    return x[:count].reshape(count, *type.shape), None if labels is None else labels[:count].astype(np.int64)


def frames_for(network, count, dataset=None):
    """Inputs to try a network on, with the task of each: those of a network that has several take turns.

    Test images of the sequence ``dataset`` (:mod:`bnnhw.tasks`) each come with their own task. Others, as of :func:`images_for`,
    say nothing of the task, so that no labels are known.

    Returns
    -------
    x, labels
        As of :func:`images_for`.
    task : int array (count,) or None
        None where the network has one.

    Raises
    ------
    VerifyError
    """
    if network.task is None:
        return *images_for(network, count, dataset), None
    type = network.types[network.inputs[0]]
    if (not isinstance(dataset, Inputs) and len(tasks.SEQUENCES.get(dataset, ())) == network.tasks
            and (type.size, type.lo, type.hi, type.step) == (tasks.PIXELS, 0, datasets.PIXEL, 1)):
        if count > (most := TEST_IMAGES * network.tasks):
            raise VerifyError(f"there are {most:,} test images, not {count:,}")
        with contextlib.suppress(datasets.DatasetError):
            x, labels, task = tasks.test_images(dataset, count)
            return x.reshape(count, *type.shape), labels, task
    x, _ = images_for(network, count, dataset if isinstance(dataset, Inputs) else None)
    return x, None, np.arange(count) % network.tasks


def _test_images(type, count, dataset):
    """Test images and labels of which each has as many values as ``type``, or None."""
    if isinstance(dataset, Inputs):
        return dataset.x, dataset.labels
    if dataset is None and type.shape in MNIST_SHAPES:
        dataset = "mnist"
    if dataset not in datasets.DATASETS or (type.lo, type.hi, type.step) != (0, datasets.DATASETS[dataset].greatest, 1):
        return None
    if dataset in models.IMAGES:
        x, labels = models.test_images(dataset)
        if x[0].size == type.size and count <= len(x):
            return x, labels
    try:
        split = datasets.load(dataset, "test")
    except datasets.DatasetError:
        return None
    return (split.images, split.labels) if split.images[0].size == type.size else None


def summary(network, x, labels, result, level, task=None):
    """The plain values that report.json holds of a run without mismatch.

    Raises
    ------
    MismatchError
        With the first place where simulation and golden model differ.
    """
    found = compare.compare(network, x, result, task)
    if found:
        raise compare.MismatchError(f"{level}: {len({m.image for m in found})} of {len(x):,} images differ from the golden "
                                    f"model; first: {found[0]}")
    classes = result.beats[:, -1]
    right = None if labels is None else int(np.count_nonzero(classes == labels))
    confusion = None
    if labels is not None:
        size = int(max(classes.max(), labels.max())) + 1
        confusion = np.bincount(labels * size + classes, minlength=size * size).reshape(size, size).tolist()
    return {"level": level, "images": len(x), "mismatches": 0, "right": right,
            "accuracy": None if right is None else right / len(x), "confusion": confusion,
            "edges_compared": sorted(result.edges), "cycles": result.cycles, "seconds": round(result.seconds, 3),
            "images_per_second": round(len(x) / result.seconds, 1), "interval_cycles": result.interval,
            "latency_cycles": result.latency} | ({} if task is None else {"tasks": by_task(classes, labels, task)})


def by_task(classes, labels, task):
    """Of each task how many images there were, and how many of them were right (None without labels)."""
    return [{"task": k, "images": int(np.count_nonzero(task == k)),
             "right": None if labels is None else int(np.count_nonzero((classes == labels) & (task == k)))}
            for k in np.unique(task).tolist()]


def in_verilog(plan, text, count, *, dataset=None, say=lambda text: None, progress=None):
    """Send ``count`` images (see :func:`frames_for`) through the Verilog ``text`` of ``plan``.

    ``say(text)`` is told when something takes long, ``progress(done, total)`` of images now and then. Compared are every
    class, every score that is given, and every value between the stages; interval and latency must be the plan's to
    the cycle.

    Returns
    -------
    dict
        What report.json holds under ``verified``: that of :func:`summary`, ``samples`` (:func:`bnnhw.samples.samples`) and
        ``buffers`` (name, kind, depth and bits of each :class:`bnnhw.rings.Ring`, and ``peak``, the most words that it held).

    Raises
    ------
    MismatchError, VerifyError, SimulationError
    """
    x, labels, task = frames_for(plan.network, count, dataset)
    simulator = Simulator.of_plan(plan, text, taps=taps(plan), say=say)
    result = simulator.run(encode(plan.network, x), task=task, taps=True, progress=progress)
    facts = summary(plan.network, x, labels, result, "Verilog", task)
    check_timing(plan, result)
    buffers = [{"name": ring.name, "kind": ring.kind, "depth": ring.depth, "bits": ring.bits, "peak": result.peaks[ring.name]}
               for ring in rings(plan)]
    return facts | {"samples": samples(plan.network, result, labels), "buffers": buffers}


def check_timing(plan, result):
    """Raise :exc:`VerifyError` unless interval and latency of a run without stalls are the plan's, to the cycle."""
    promised = [("latency", result.latency, plan.latency_cycles)]
    if len(result.beats) > 2 * plan.schedule.frames + 2:        # enough for the interval to settle
        promised.append(("interval", result.interval, plan.cycles_per_inference if plan.schedule.steady else None))
    wrong = [f"{what} is {got} cycles, the plan says {want}" for what, got, want in promised if got != want]
    if wrong:
        raise VerifyError("; ".join(wrong))
