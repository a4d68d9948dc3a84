"""The picture of ``bnnhw info --plot``: first-layer weights, flips, thresholds, what each class's score hangs on."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from . import portrait

__all__ = ["picture"]

NEURONS = 32        # of the first layer that are shown
ACROSS = 16         # pictures side by side
CLASSES = 20        # that are shown
COLUMNS = 40        # of a table that are named
BINS = 24


def _bare(panel, title="", **more):
    panel.set(xticks=[], yticks=[], **more)
    panel.set_title(title, fontsize=8)


def _neurons(figure, layer):
    """Each neuron's weights as an image: white +1, black -1."""
    shown = layer.weights[:NEURONS]
    across = min(ACROSS, len(shown))
    for k, (panel, weights) in enumerate(zip(figure.subplots(-(-len(shown) // across), across, squeeze=False).flat, shown,
                                             strict=False)):
        _bare(panel, str(k))
        weights = weights if weights.shape[2] == 3 else weights.mean(axis=2)
        panel.imshow((weights + 1) / 2, cmap="gray", vmin=0, vmax=1)
    for panel in figure.axes[len(shown):]:
        panel.axis("off")


def _elements(figure, values, columns, across):
    """``values`` (N, columns of a table), a row for each column; ``across`` names the N."""
    panel = figure.subplots()
    most = max(float(np.abs(values).max()), 1e-9)
    mesh = panel.imshow(values.T, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    _bare(panel)
    panel.set(xticks=range(len(across)), xticklabels=across)
    if columns and len(columns) <= COLUMNS:
        panel.set(yticks=range(len(columns)), yticklabels=columns)
    panel.tick_params(labelsize=7)
    figure.colorbar(mesh, ax=panel, pad=0.01)


def _weights(figure, layer, columns):
    title = f"{layer.name}: "
    if layer.taken:
        figure.suptitle(title + "which elements the tables take", fontsize=10)
    else:
        figure.suptitle(title + f"weights of {min(NEURONS, len(layer.weights))} of {len(layer.weights)} neurons", fontsize=10)
    if layer.weights.ndim == 2:
        shown = layer.weights[:NEURONS]
        _elements(figure, shown, columns, ["share of the tables' inputs"] if layer.taken else range(len(shown)))
    elif layer.taken:
        left, panel, right = figure.subplots(1, 3)
        left.axis("off")
        right.axis("off")
        figure.colorbar(panel.imshow(100 * layer.weights[0].sum(axis=2), cmap="Blues"), ax=panel, label="% of the inputs")
        _bare(panel)
    else:
        _neurons(figure, layer)


def _thresholds(figure, found):
    figure.suptitle("thresholds of the hidden layers' sums", fontsize=10)
    for panel, own in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        panel.hist(own.levels, bins=BINS, range=_range(own), color="tab:blue")
        note = ", ".join(f"{count} {what}" for what, count in (("always", own.always), ("never", own.never)) if count)
        panel.set_title(f"{own.name}: {len(own.levels)}" + (f"\n{note}" if note else ""), fontsize=8)
        panel.tick_params(labelsize=7)
        panel.set_yticks([])


def _range(own):
    """What is shown of a layer's sums: where its thresholds are, and as far on the other side of 0."""
    if not len(own.levels):
        return own.lo, own.hi
    most = max(1, int(np.abs(own.levels).max()))
    return max(own.lo, -most), max(min(own.hi, most), 1 - most)


def _flips(figure, counts):
    figure.suptitle("weights that training turned round, share of each neuron's", fontsize=10)
    for panel, (name, own) in zip(figure.subplots(1, len(counts), squeeze=False)[0], counts.items(), strict=True):
        panel.bar((np.arange(len(own)) + 0.5) * 100 / len(own), own, width=100 / len(own), color="tab:orange")
        panel.set_xlim(0, 100)
        panel.set_title(name, fontsize=8)
        panel.set_xlabel("%", fontsize=7)
        panel.tick_params(labelsize=7)
        panel.set_yticks([])


def _saliency(figure, maps, means, classes, columns):
    """Red speaks for the class, blue against it; behind it the mean of the class's images in grey."""
    figure.suptitle("what a class's score hangs on: red speaks for it, blue against", fontsize=10)
    if maps.ndim == 2:
        _elements(figure, maps, columns, classes)
        return
    shown = range(min(CLASSES, len(maps)))
    across = min(10, len(shown))
    most = max(float(np.abs(maps).max()), 1e-9)
    panels = figure.subplots(-(-len(shown) // across), across, squeeze=False).flat
    for k, panel in zip(shown, panels, strict=False):
        _bare(panel, classes[k])
        panel.imshow(means[k], cmap="gray_r", alpha=0.5)
        panel.imshow(maps[k], cmap="RdBu_r", vmin=-most, vmax=most, alpha=0.75)
    for panel in figure.axes[len(shown):]:
        panel.axis("off")


def _means(x, labels, maps):
    """The mean image of each class, (classes, rows, columns)."""
    grey = x.reshape(len(x), *maps.shape[1:], -1).mean(axis=3)
    return [grey[labels == k].mean(axis=0) if np.any(labels == k) else np.zeros(maps.shape[1:]) for k in range(len(maps))]


def _height(values, of_images):
    """Inches: ``of_images`` for images, for a table by its columns."""
    return 1 + 0.16 * min(COLUMNS, values.shape[1]) if values.ndim == 2 else of_images


def picture(found, name, x=None, labels=None):
    """PNG bytes.

    Parameters
    ----------
    found : Artifact
    name : str
        The picture's title.
    x, labels : int arrays (N, *shape), (N,), optional
        Inputs with their classes; without them nothing is said about what scores hang on.
    """
    network = found.network
    layer, levels, turned = portrait.first_layer(network), portrait.thresholds(network), portrait.flips(found.provenance)
    columns = [column["name"] for column in found.encoding["columns"]] if found.encoding.get("kind") == "table" else []
    parts = []
    if layer is not None:
        parts.append((_height(layer.weights, 3 if layer.taken else 0.5 + 0.9 * -(-min(NEURONS, len(layer.weights)) // ACROSS)),
                      lambda own: _weights(own, layer, columns)))
    if turned:
        parts.append((1.6, lambda own: _flips(own, turned)))
    if levels:
        parts.append((1.5, lambda own: _thresholds(own, levels)))
    if labels is not None:
        classes = found.classes or [str(k) for k in range(int(labels.max()) + 1)]
        maps = portrait.saliency(network, x, labels, len(classes))
        means = _means(x, labels, maps) if maps.ndim == 3 else None
        parts.append((_height(maps, 0.5 + 1.3 * -(-min(CLASSES, len(classes)) // 10)),
                      lambda own: _saliency(own, maps, means, classes, columns)))
    figure = Figure(figsize=(11, 0.4 + sum(height for height, _ in parts)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{name}  {network.digest[:12]}", fontsize=12)
    panels = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=[height for height, _ in parts])
    for own, (_, draw) in zip(panels[:, 0], parts, strict=True):
        draw(own)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
