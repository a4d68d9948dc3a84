"""Export: the trained model as a network of integers, with proof that it is the same.

Thresholds are found by trying every integer that a sum can have through the very float32 function that the model computes in
eval mode; then the whole test set goes through the trained model and the golden model, and not one decision or
hidden sign may differ.
"""

import platform
import sys
from fractions import Fraction

import numpy as np
import torch

from .. import __version__, reference
from ..artifact import Artifact
from ..errors import UserError
from ..ir import Affine, ArgMax, Dense, Flatten, Input, Network, TensorType, Threshold
from .loop import EVALUATION_BATCH, accuracy, reestimate

__all__ = ["ExportError", "thresholds", "affine", "to_network", "check", "export"]

MOST_FRACTION_BITS = 24     # of a class's scale and offset


class ExportError(UserError, ValueError):
    """A model that has no exact integer form, or whose integer form differs; the message names layer and place."""


def _checked(norm, layer):
    for key in ("gamma", "beta", "mean", "var"):
        values = getattr(norm, key).detach()
        wrong = torch.nonzero(~torch.isfinite(values) | (values < 0 if key == "var" else torch.zeros_like(values, dtype=bool)))
        if len(wrong):
            channel = int(wrong[0])
            raise ExportError(f"layer {layer!r}, channel {channel}: batch norm's {key} is {float(values[channel])}")


@torch.no_grad()
def thresholds(norm, n_in, layer):
    """Integer thresholds of a batch norm followed by a sign.

    Parameters
    ----------
    norm : BatchNorm
        In eval mode.
    n_in : int
        The sums are -n_in, -n_in + 2, ..., n_in.
    layer : str
        For messages.

    Returns
    -------
    levels : int64 array (C,)
        In normal form.
    falling : bool array (C,)
    ties : list of dict
        Channels (layer, channel, sum) whose decision at ``sum`` differs between float32 and exact arithmetic.
    """
    _checked(norm, layer)
    sums = torch.arange(-n_in, n_in + 1, 2, dtype=torch.float32)
    channels = norm.gamma.numel()
    decisions = (norm(sums[:, None].expand(-1, channels)) >= 0).numpy()
    falling = (norm.gamma < 0).numpy()
    rising_view = np.where(falling, decisions[::-1], decisions)     # along each column 0, ..., 0, 1, ..., 1
    reached = rising_view.sum(axis=0)
    if not np.array_equal(rising_view, np.arange(len(sums))[:, None] >= len(sums) - reached):
        raise ExportError(f"layer {layer!r}: a batch norm is not monotonic in float32")
    first = 2 * (len(sums) - reached) - n_in            # least sum that is +1, in the rising view; n_in + 2 is never
    levels = np.where(falling, -first, first).astype(np.int64)
    ties = []
    for channel in range(channels):
        for candidate in (int(levels[channel]), int(levels[channel]) + (2 if falling[channel] else -2)):
            if abs(candidate) <= n_in:
                found = bool(decisions[(candidate + n_in) // 2, channel])
                if found != _exact(norm, channel, candidate):
                    ties.append({"layer": layer, "channel": channel, "sum": candidate})
    return levels, falling, ties


def _exact(norm, channel, s):
    """Whether ``(s - mean) / sqrt(var + eps) * gamma + beta >= 0`` in exact arithmetic on the stored parameters."""
    gamma, beta, mean, var = (Fraction(float(getattr(norm, key)[channel])) for key in ("gamma", "beta", "mean", "var"))
    left, right, variance = (s - mean) * gamma, -beta, var + Fraction(norm.eps)
    # left / sqrt(variance) >= right, compared by signed squares.
    return (left * abs(left)) >= right * abs(right) * variance


@torch.no_grad()
def affine(norm, sums, layer):
    """Integer scale and offset per class for the last batch norm.

    Parameters
    ----------
    norm : BatchNorm
    sums : float32 tensor (N, C)
        The last layer's sums on the test set.

    Returns
    -------
    scale, offset : int64 arrays (C,)
    bits : int
        Fractional bits: the fewest with which every decision is that of the float model.
    """
    _checked(norm, layer)
    want = norm(sums).argmax(1).numpy()
    slope = norm.gamma.double() / torch.sqrt(norm.var.double() + norm.eps)
    constant = norm.beta.double() - norm.mean.double() * slope
    slope, constant, sums = slope.numpy(), constant.numpy(), sums.numpy().astype(np.int64)
    for bits in range(MOST_FRACTION_BITS + 1):
        scale, offset = (np.rint(v * 2.0**bits).astype(np.int64) for v in (slope, constant))
        if np.array_equal((sums * scale + offset).argmax(axis=1), want):
            return scale, offset, bits
    raise ExportError(f"layer {layer!r}: no scale and offset of up to {MOST_FRACTION_BITS} fractional bits decides as the "
                      "float model does on the whole test set")


@torch.no_grad()
def to_network(model, shape, sums=None):
    """The integer network of a trained MLP.

    Parameters
    ----------
    model : BinaryMlp
        In eval mode.
    shape : tuple
        (H, W, C) of an image.
    sums : float32 tensor (N, C), optional
        The last layer's sums on the test set; needed with a last batch norm.

    Returns
    -------
    network : Network
    facts : dict
        ``ties`` (see :func:`thresholds`) and, with a last batch norm, ``fraction_bits``.
    """
    last = len(model.linears)
    operations = [Input("image", TensorType(shape, 0, 255)),
                  Threshold("binarize", "image", np.full((shape[-1], 1), model.pixel_level), np.zeros(shape[-1], bool)),
                  Flatten("flat", "binarize")]
    edge, facts = "flat", {"ties": []}
    for k, linear in enumerate(model.linears, 1):
        if len(wrong := torch.nonzero(~torch.isfinite(linear.weight))):
            raise ExportError(f"layer 'fc{k}', channel {int(wrong[0, 0])}: a weight is {float(linear.weight[tuple(wrong[0])])}")
        weights = linear.signs().numpy().astype(np.int8)
        operations.append(Dense(f"fc{k}", edge, weights))
        edge = f"fc{k}"
        if k < last:
            levels, falling, ties = thresholds(model.norms[k - 1], weights.shape[1], edge)
            facts["ties"] += ties
            operations.append(Threshold(f"act{k}", edge, levels[:, None], falling))
            edge = f"act{k}"
    if len(model.norms) == last:
        scale, offset, facts["fraction_bits"] = affine(model.norms[-1], sums, edge)
        operations.append(Affine("scores", edge, scale, offset))
        edge = "scores"
    operations.append(ArgMax("class", edge))
    return Network(operations, "class"), facts


@torch.no_grad()
def check(model, network, images):
    """Compare trained model and golden model on ``images`` (uint8 tensor): hidden signs and decisions.

    Raises
    ------
    ExportError
        At the first difference: image, layer, channel.
    """
    model.eval()
    names = [name for name in network.operations if name.startswith("act")]
    for start in range(0, len(images), EVALUATION_BATCH):
        part = images[start:start + EVALUATION_BATCH]
        classes = model(part).argmax(1).numpy()
        edges = reference.run(network, part.numpy(), keep=[*names, "class"])
        for name, hidden in zip(names, model.hidden, strict=True):
            if len(wrong := np.argwhere(edges[name] != hidden.numpy())):
                image, channel = wrong[0]
                raise ExportError(f"layer {name!r}, channel {channel}, image {start + image}: the golden model gives "
                                  f"{edges[name][image, channel]}, the trained model {int(hidden[image, channel])} "
                                  f"({len(wrong)} differ)")
        if len(wrong := np.flatnonzero(edges["class"] != classes)):
            image = wrong[0]
            raise ExportError(f"image {start + image}: the golden model decides {edges['class'][image]}, the trained "
                              f"model {classes[image]} ({len(wrong)} differ)")


@torch.no_grad()
def export(trainer, test):
    """The :class:`Artifact` of a trained network, its batch norms re-estimated, checked on the whole test set.

    Parameters
    ----------
    trainer : Trainer
    test : Split

    Raises
    ------
    ExportError
        A batch norm that is not finite, or any difference between trained model and golden model.
    """
    model, recipe = trainer.model, trainer.recipe
    reestimate(model, trainer.images)
    images, labels = torch.from_numpy(test.images.copy()), torch.from_numpy(test.labels)
    model.eval()
    seen = []
    handle = model.linears[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    right = accuracy(model, images, labels)
    handle.remove()
    network, facts = to_network(model, test.images.shape[1:], torch.cat(seen))
    check(model, network, images)
    scores = reference.run(network, test.images, keep=[network.operations["class"].inputs[0]])
    best = next(iter(scores.values()))
    tied = int(((best == best.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
    provenance = {
        "recipe": recipe.model_dump(), "dataset": recipe.dataset, "test_images": len(labels),
        "test_right": round(right * len(labels)), "test_accuracy": right, "test_ties": tied,
        "checked": {"images": len(labels), "differing_decisions": 0, "differing_hidden_signs": 0},
        "float32_ties": facts["ties"],
        "trained_on": {"device": "cpu", "machine": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {"bnnhw": __version__, "torch": torch.__version__, "numpy": np.__version__,
                     "python": ".".join(map(str, sys.version_info[:3]))},
    }
    if "fraction_bits" in facts:
        provenance["fraction_bits"] = facts["fraction_bits"]
    return Artifact(network, test.classes, provenance)
