"""What a page shows of what the network has learned: pictures of weights, and of what each class's score hangs on."""

import base64

import numpy as np

from .. import portrait, reference
from .checks import class_name
from .pictures import is_picture, png

__all__ = ["learned"]

NEURONS = 24        # whose weights are shown
CLASSES = 20        # that are shown
EFFORT = 1e9        # multiplications that are spent on finding out what scores hang on,
MOST_EFFORT = 2e10  # and more than which are not


def _uri(pixels):
    return "data:image/png;base64," + base64.b64encode(png(np.ascontiguousarray(pixels, np.uint8))).decode()


def _signed(values):
    """Values of -1 to 1 as pixels: 0 white, positive red, negative blue."""
    least, most = np.minimum(values, 0), np.maximum(values, 0)
    return np.rint(255 * np.stack((1 + least, 1 - abs(values), 1 - most), axis=-1))


def _weights(layer):
    shown = layer.weights[:NEURONS]
    if layer.taken:
        return [_uri(np.rint(255 * own.sum(axis=2, keepdims=True) / max(own.sum(axis=2).max(), 1e-12))) for own in shown]
    colours = shown if shown.shape[3] == 3 else shown.mean(axis=3, keepdims=True)
    return [_uri(np.rint(255 * (own + 1) / 2)) for own in colours]


def _saliency(network, inputs, report):
    """(name, picture) of each class: for inputs that the golden model takes for one of the class. None of a
    large network, or of one with several tasks.
    """
    classes = network.types[network.operations[network.outputs[0]].inputs[0]].size
    if network.task or portrait.least_effort(network, classes) > MOST_EFFORT:
        return []
    labels = reference.run(network, inputs)[network.outputs[0]]
    maps = portrait.saliency(network, inputs, labels, classes, effort=EFFORT)
    most = max(float(np.abs(maps).max()), 1e-12)
    return [{"name": class_name(report, k), "picture": _uri(_signed(own / most))} for k, own in enumerate(maps[:CLASSES])
            if np.any(labels == k)]


def learned(report, plan, inputs):
    """``layer``, ``neurons`` (how many it has), ``taken`` (see :class:`bnnhw.portrait.Layer`), ``weights`` (URIs of pictures),
    ``classes`` (list of ``name``, ``picture``); None without a verification on images, or where the first layer has no weights.
    """
    network = plan.network
    if inputs is None or not report["verified"] or not is_picture(network.types[network.inputs[0]]):
        return None
    layer = portrait.first_layer(network)
    if layer is None:
        return None
    return {"layer": layer.name, "neurons": len(layer.weights), "taken": layer.taken, "weights": _weights(layer),
            "classes": _saliency(network, np.asarray(inputs), report)}
