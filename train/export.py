"""Export: the trained model as a network of integers, with proof that it is the same.

Thresholds are found by trying every integer that a sum can have through the very float32 function that the model computes in
eval mode; then the whole test set goes through the trained model and the golden model, and not one decision or
hidden value may differ.
"""

import platform
import sys
from fractions import Fraction

import numpy as np
import torch

from .. import __version__, reference
from ..artifact import Artifact
from ..datasets import PIXEL
from ..errors import UserError
from ..ir import (
    Add,
    Affine,
    ArgMax,
    Conv2d,
    Dense,
    Flatten,
    GroupSum,
    Input,
    Lookup,
    MaxPool2d,
    Network,
    TensorType,
    Thermometer,
    Threshold,
)
from .activations import SignActivation
from .cnn import STEM_STEP, BinaryCnn, ResidualCnn
from .estimators import Identity
from .loop import accuracy, reestimate
from .models import DenseNet, LevelMlp
from .sparse import SparseNet

__all__ = ["Builder", "ExportError", "affine", "check", "checked", "exact", "export", "last_sums", "origin", "thresholds",
           "to_network"]

MOST_FRACTION_BITS = 24     # of a class's scale and offset
SIGN = SignActivation(Identity())


class ExportError(UserError, ValueError):
    """A model that has no exact integer form, or whose integer form differs; the message names layer and place."""


def checked(norm, layer):
    for key in ("gamma", "beta", "mean", "var"):
        values = getattr(norm, key).detach()
        wrong = torch.nonzero(~torch.isfinite(values) | (values < 0 if key == "var" else torch.zeros_like(values, dtype=bool)))
        if len(wrong):
            channel = int(wrong[0])
            raise ExportError(f"layer {layer!r}, channel {channel}: batch norm's {key} is {float(values[channel])}")


@torch.no_grad()
def thresholds(norm, type, layer, activation=SIGN, scale=None):
    """Integer thresholds of a scale, if there is one, a batch norm and an activation binarizer.

    Parameters
    ----------
    norm : BatchNorm
        In eval mode.
    type : TensorType
        Of the sums: every value that it has is tried.
    layer : str
        For messages.
    activation : SignActivation or Levels
        In eval mode.
    scale : float32 tensor (C,), optional
        What sums are multiplied by before the batch norm; a negative one turns comparisons round.

    Returns
    -------
    levels : int64 array (C, L)
        In normal form.
    falling : bool array (C,)
    ties : list of dict
        Channels (layer, channel, sum) whose decision at ``sum`` differs between float32 and exact arithmetic.
    """
    checked(norm, layer)
    values = torch.arange(type.lo, type.hi + 1, type.step, dtype=torch.float32)
    channels = norm.gamma.numel()
    scale = torch.ones(channels) if scale is None else scale
    if len(wrong := torch.nonzero(~torch.isfinite(scale))):
        raise ExportError(f"layer {layer!r}, channel {int(wrong[0])}: its scale is {float(scale[wrong[0]])}")
    found = activation(norm(values[:, None] * scale))
    reached = ((found - activation.base) / activation.step).long().numpy()      # how many levels are
    begins = activation.begins().expand(channels, -1).tolist()
    falling = ((norm.gamma < 0) ^ (scale < 0)).numpy()
    rising_view = np.where(falling, reached[::-1], reached)
    if np.any(np.diff(rising_view, axis=0) < 0):
        raise ExportError(f"layer {layer!r}: a batch norm is not monotonic in float32")
    levels, ties = np.empty((channels, len(begins[0])), np.int64), []
    for k in range(levels.shape[1]):
        missed = (rising_view <= k).sum(axis=0)
        levels[:, k] = np.where(falling, type.hi - type.step * missed, type.lo + type.step * missed)
        for channel in range(channels):
            least = int(levels[channel, k])
            for candidate in (least, least + (1 if falling[channel] else -1) * type.step):
                if type.lo <= candidate <= type.hi:
                    decided = bool(reached[(candidate - type.lo) // type.step, channel] > k)
                    if decided != exact(norm, channel, candidate * Fraction(float(scale[channel])), begins[channel][k]):
                        ties.append({"layer": layer, "channel": channel, "sum": candidate})
    return np.sort(levels, axis=1), falling, ties


def exact(norm, channel, s, least):
    """Whether ``(s - mean) / sqrt(var + eps) * gamma + beta >= least`` for a scaled ``s``, in exact arithmetic."""
    gamma, beta, mean, var = (Fraction(float(getattr(norm, key)[channel])) for key in ("gamma", "beta", "mean", "var"))
    left, right, variance = (s - mean) * gamma, Fraction(least) - beta, var + Fraction(norm.eps)
    # left / sqrt(variance) >= right, compared by signed squares.
    return (left * abs(left)) >= right * abs(right) * variance


@torch.no_grad()
def affine(norm, sums, layer, scale=None):
    """Integer scale and offset per class for the last batch norm.

    Parameters
    ----------
    norm : BatchNorm
    sums : float32 tensor (N, C)
        The last layer's sums on the test set.
    layer : str
        For messages.
    scale : float32 tensor (C,), optional
        What sums are multiplied by before the batch norm.

    Returns
    -------
    scale, offset : int64 arrays (C,)
    bits : int
        Fractional bits: the fewest with which every decision is that of the float model.
    """
    checked(norm, layer)
    scale = torch.ones(norm.gamma.numel()) if scale is None else scale
    want = norm(sums * scale).argmax(1).numpy()
    slope = norm.gamma.double() / torch.sqrt(norm.var.double() + norm.eps)
    constant, slope = norm.beta.double() - norm.mean.double() * slope, slope * scale.double()
    slope, constant, sums = slope.numpy(), constant.numpy(), sums.numpy().astype(np.int64)
    for bits in range(MOST_FRACTION_BITS + 1):
        scale, offset = (np.rint(v * 2.0**bits).astype(np.int64) for v in (slope, constant))
        if np.array_equal((sums * scale + offset).argmax(axis=1), want):
            return scale, offset, bits
    raise ExportError(f"layer {layer!r}: no scale and offset of up to {MOST_FRACTION_BITS} fractional bits decides as the "
                      "float model does on the whole test set")


class Builder:
    """Collects the operations of a network; knows the type of the last edge, and the ties of its thresholds."""
    def __init__(self, shape, greatest=PIXEL):
        self.operations, self.types, self.ties = [], {}, []
        self.add(Input("image" if len(shape) > 1 else "row", TensorType(shape, 0, greatest)))

    def add(self, operation):
        self.types[operation.name] = operation.infer(*(self.types[source] for source in operation.inputs))
        self.operations.append(operation)
        self.edge = operation.name

    @property
    def type(self):
        return self.types[self.edge]

    def weights(self, name, layer):
        """A layer's signs, (n_out, n_in) or (n_out, rows, columns, n_in), or tables."""
        if len(wrong := torch.nonzero(~torch.isfinite(layer.weight))):
            raise ExportError(f"layer {name!r}, channel {int(wrong[0, 0])}: a weight is {float(layer.weight[tuple(wrong[0])])}")
        if (binarizer := getattr(layer, "weights", None)) and not binarizer.exact:
            raise ExportError(f"layer {name!r}: its weights are not signs before {binarizer.until}")
        return layer.signs().numpy().astype(np.int8)

    def dense(self, name, layer):
        self.add(Dense(name, self.edge, self.weights(name, layer)))

    def conv(self, name, layer):
        self.add(Conv2d(name, self.edge, self.weights(name, layer).transpose(0, 2, 3, 1), padding=(layer.padding,) * 4,
                        fill=layer.fill))

    def pool(self, name):
        self.add(MaxPool2d(name, self.edge, (2, 2), (2, 2)))

    def activation(self, name, norm, activation, title, scale=None, unit=1):
        """The scale, batch norm and activation behind layer ``title``; a value of the activation counts ``unit``."""
        levels, falling, ties = thresholds(norm, self.type, title, activation, scale)
        self.ties += ties
        self.add(Threshold(name, self.edge, levels, falling, base=activation.base * unit, step=activation.step * unit))

    def behind(self, name, norm, layer, after, title):
        """What stands between ``layer``, called ``title``, and the layer ``after`` it."""
        scale = None if layer.scale is None else layer.scale(layer.weight)
        self.activation(name, norm, after.activations, title, scale)

    def residual_signs(self, name, activation, one):
        """Signs of values that are integers times ``1 / one``."""
        channels = self.type.channels
        levels = np.ceil(activation.begins().double().expand(channels, -1).numpy() * one).astype(np.int64)
        self.add(Threshold(name, self.edge, levels, np.zeros(channels, bool)))

    def fixed_point(self, name, norm):
        checked(norm, name)
        self.add(Affine(name, self.edge, *(values.numpy() for values in norm.integers(norm.mean, norm.var))))

    def finish(self, **facts):
        self.add(ArgMax("class", self.edge))
        return Network(self.operations, "class"), {"ties": self.ties} | facts


def _mlp(model, build, sums):
    last, facts = len(model.linears), {}
    channels = build.type.channels
    if isinstance(model, LevelMlp):
        build.add(Thermometer("bits", build.edge, model.levels))
    else:
        build.add(Threshold("binarize", build.edge, np.full((channels, 1), model.pixel_level), np.zeros(channels, bool)))
    build.add(Flatten("flat", build.edge))
    for k, linear in enumerate(model.linears, 1):
        build.dense(f"fc{k}", linear)
        if k < last:
            build.behind(f"act{k}", model.norms[k - 1], linear, model.linears[k], f"fc{k}")
    if len(model.norms) == last:
        scaled = None if model.linears[-1].scale is None else model.linears[-1].scale(model.linears[-1].weight)
        scale, offset, facts["fraction_bits"] = affine(model.norms[-1], sums, build.edge, scaled)
        build.add(Affine("scores", build.edge, scale, offset))
    return build.finish(**facts)


def _cnn(model, build, sums):
    behind = [*model.convs[1:], *model.linears]
    for k, (conv, pool) in enumerate(zip(model.convs, model.pools, strict=True), 1):
        build.conv(f"conv{k}", conv)
        if pool:
            build.pool(f"pool{k}")
        build.behind(f"act{k}", model.norms[k - 1], conv, behind[k - 1], f"conv{k}")
    build.add(Flatten("flat", build.edge))
    for k, linear in enumerate(model.linears[:-1], len(model.convs) + 1):
        build.dense(f"fc{k}", linear)
        build.behind(f"act{k}", model.norms[k - 1], linear, behind[k - 1], f"fc{k}")
    build.dense("scores", model.linears[-1])
    return build.finish()


def _residual(model, build, sums):
    build.conv("conv0", model.convs[0])
    build.activation("act0", model.stem, model.stem_levels, "conv0", unit=int(STEM_STEP * model.one))
    for k, (conv, norm, pool) in enumerate(zip(model.convs[1:], model.norms, model.pools, strict=True), 1):
        if pool:
            build.pool(f"pool{k}")
        start = build.edge
        build.residual_signs(f"act{k}", conv.activations, model.one)
        build.conv(f"conv{k}", conv)
        build.fixed_point(f"norm{k}", norm)
        if model.shortcuts:
            build.add(Add(f"sum{k}", start, build.edge))
    build.residual_signs(f"act{len(model.convs)}", model.linear.activations, model.one)
    build.add(Flatten("flat", build.edge))
    build.dense("scores", model.linear)
    return build.finish()


def _sparse(model, build, sums):
    build.add(Thermometer("bits", build.edge, model.levels))
    build.add(Flatten("flat", build.edge))
    for k, layer in enumerate(model.layers, 1):
        wires = model.used[layer.wires] if k == 1 else layer.wires
        build.add(Lookup(f"lut{k}", build.edge, wires.numpy(), build.weights(f"lut{k}", layer)))
    build.add(GroupSum("scores", build.edge, model.classes))
    return build.finish()


@torch.no_grad()
def to_network(model, shape, sums=None):
    """The integer network of a trained model.

    Parameters
    ----------
    model : DenseNet, BinaryCnn, ResidualCnn or SparseNet
        In eval mode.
    shape : tuple
        (H, W, C) of an image, (columns,) of a table.
    sums : float32 tensor (N, C), optional
        The last layer's sums on the test set; needed with a batch norm behind it.

    Returns
    -------
    network : Network
    facts : dict
        ``ties`` (see :func:`thresholds`) and, with a last batch norm, ``fraction_bits``.
    """
    kinds = {DenseNet: _mlp, BinaryCnn: _cnn, ResidualCnn: _residual, SparseNet: _sparse}
    write = next(write for kind, write in kinds.items() if isinstance(model, kind))
    return write(model, Builder(shape, getattr(model, "greatest", PIXEL)), sums)


@torch.no_grad()
def check(model, network, images, task=None):
    """Compare trained model and golden model on ``images`` (uint8 tensor): all hidden values and the decisions.

    ``task`` is theirs, where the network has several.

    Raises
    ------
    ExportError
        At the first difference: image, layer, channel.
    """
    model.eval()
    for start in range(0, len(images), model.evaluation_batch):
        part = images[start:start + model.evaluation_batch]
        classes = model(part).argmax(1).numpy()
        edges = reference.run(network, part.numpy(), keep=[*model.hidden, "class"], task=task)
        for name, hidden in model.hidden.items():
            if len(wrong := np.argwhere(edges[name] != hidden.numpy())):
                image, *_, channel = place = tuple(wrong[0])
                raise ExportError(f"layer {name!r}, channel {channel}, image {start + image}: the golden model gives "
                                  f"{edges[name][place]}, the trained model {int(hidden[place])} ({len(wrong)} differ)")
        if len(wrong := np.flatnonzero(edges["class"] != classes)):
            image = wrong[0]
            raise ExportError(f"image {start + image}: the golden model decides {edges['class'][image]}, the trained "
                              f"model {classes[image]} ({len(wrong)} differ)")


def last_sums(model, images):
    """The integer sums of an MLP's last layer, float32 (N, classes)."""
    found = []
    for part in images.split(model.evaluation_batch):
        model(part)
        found.append(model.linears[-1].sums(model.hidden[f"act{len(model.linears) - 1}"]))
    return torch.cat(found)


def origin(trainer):
    """What a provenance says of machine and versions."""
    return {
        "trained_on": {"device": trainer.team.device.type, "machine": platform.machine(), "threads": torch.get_num_threads(),
                       "processes": trainer.team.size},
        "versions": {"bnnhw": __version__, "torch": torch.__version__, "numpy": np.__version__,
                     "python": ".".join(map(str, sys.version_info[:3]))},
    }


@torch.no_grad()
def export(trainer, test):
    """The :class:`Artifact` of a trained network, its batch norms re-estimated, checked on the whole test set, on the processor.

    Parameters
    ----------
    trainer : Trainer
    test : Split

    Raises
    ------
    ExportError
        A batch norm that is not finite, or any difference between trained model and golden model.
    """
    model, recipe = trainer.model.cpu(), trainer.recipe     # what a processor computes is what is exported
    reestimate(model, trainer.images)
    images, labels = torch.from_numpy(test.images.copy()), torch.from_numpy(test.labels)
    model.eval()
    right = accuracy(model, images, labels)
    normed = isinstance(model, DenseNet) and len(model.norms) == len(model.linears)
    network, facts = to_network(model, test.images.shape[1:], last_sums(model, images) if normed else None)
    check(model, network, images)
    scores = reference.run(network, test.images, keep=[network.operations["class"].inputs[0]])
    best = next(iter(scores.values()))
    tied = int(((best == best.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
    provenance = {
        "recipe": recipe.model_dump(), "dataset": recipe.dataset, "test_images": len(labels),
        "test_right": round(right * len(labels)), "test_accuracy": right, "test_ties": tied,
        "checked": {"images": len(labels), "differing_decisions": 0, "differing_hidden_values": 0},
        "float32_ties": facts["ties"],
    } | origin(trainer)
    if "fraction_bits" in facts:
        provenance["fraction_bits"] = facts["fraction_bits"]
    return Artifact(network, test.classes, provenance)
