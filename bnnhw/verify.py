"""Verification of a built accelerator: real images through its Verilog, every integer against the golden model."""

import numpy as np

from . import compare, datasets, models
from .accelerator import taps
from .errors import UserError
from .owndata import Inputs
from .rings import rings
from .samples import samples
from .simulator import Simulator, encode

__all__ = ["VerifyError", "images_for", "check_timing", "in_verilog", "summary"]

RANDOM_SEED = 0
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


def summary(network, x, labels, result, level):
    """The plain values that report.json holds of a run without mismatch.

    Raises
    ------
    MismatchError
        With the first place where simulation and golden model differ.
    """
    found = compare.compare(network, x, result)
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
            "latency_cycles": result.latency}


def in_verilog(plan, text, count, *, dataset=None, say=lambda text: None, progress=None):
    """Send ``count`` images (see :func:`images_for`) through the Verilog ``text`` of ``plan``.

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
    x, labels = images_for(plan.network, count, dataset)
    simulator = Simulator.of_plan(plan, text, taps=taps(plan), say=say)
    result = simulator.run(encode(plan.network, x), taps=True, progress=progress)
    facts = summary(plan.network, x, labels, result, "Verilog")
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
