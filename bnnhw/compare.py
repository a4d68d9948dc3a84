"""Simulation against the golden model: where they differ, by layer, channel and image."""

from dataclasses import dataclass

import numpy as np

from . import reference
from .errors import UserError

__all__ = ["Mismatch", "MismatchError", "compare"]


class MismatchError(UserError):
    """The hardware does not compute what the golden model says; the message names the first place."""


@dataclass(frozen=True)
class Mismatch:
    """An edge of the network whose values differ for one image.

    Attributes
    ----------
    layer : str
        The stage of the hardware that gave them.
    edge : str
        The edge of the network.
    image : int
        Its number in the run.
    channel : tuple of int
        Index of the first value that differs, in the edge's shape.
    expected, got : int
        That value.
    count, size : int
        How many of the edge's values differ, and of how many.
    """
    layer: str
    edge: str
    image: int
    channel: tuple
    expected: int
    got: int
    count: int
    size: int

    def __str__(self):
        *position, channel = self.channel or (0,)
        at = f" at {tuple(position)}" if position else ""
        return (f"layer {self.layer!r}, channel {channel}{at}, image {self.image}: expected {self.expected}, got {self.got}"
                f" (edge {self.edge!r}; {self.count} of its {self.size} values differ)")


def compare(network, x, result, task=None):
    """Compare a run with the golden model.

    Parameters
    ----------
    network : Network
        Its first output is the class, which the last beat of a result carries; with more than one beat, those before
        are what the class is taken from.
    x : int array (N, *shape)
        What was sent.
    result : :class:`bnnhw.simulate.Result`
        Its ``edges`` are compared as well.
    task : int array (N,), optional
        Of each image, where the network has several.

    Returns
    -------
    list of Mismatch
        By image, and for each in the order in which the network computes: the first is where it broke. One per
        edge and image; empty where all is equal.
    """
    output = network.outputs[0]
    got = dict(result.edges)
    layers = dict(result.layers)
    if result.beats.shape[1] > 1:
        scores = network.operations[output].inputs[0]
        # As the result shows them. The same edge between two stages, if one was looked at, comes before.
        got[scores, "result"] = result.beats[:, :-1]
        layers[scores, "result"] = "result"
    got[output] = result.beats[:, -1:]
    names = {key if isinstance(key, str) else key[0] for key in got}
    golden = reference.run(network, x, keep=names, task=task)
    order = {name: place for place, name in enumerate(network.operations)}

    found = []
    for key, values in got.items():
        edge = key if isinstance(key, str) else key[0]
        expected = golden[edge].reshape(len(values), -1)
        if values.shape != expected.shape:
            raise ValueError(f"edge {edge!r}: {values.shape[1]} values per image instead of {expected.shape[1]}")
        wrong = values != expected
        for image in np.flatnonzero(wrong.any(axis=1)):
            index = int(np.flatnonzero(wrong[image])[0])
            channel = tuple(map(int, np.unravel_index(index, network.types[edge].shape)))
            found.append(((image, order[edge], key != edge), Mismatch(
                layers.get(key, edge), edge, int(image), channel, int(expected[image, index]), int(values[image, index]),
                int(np.count_nonzero(wrong[image])), values.shape[1])))
    for image in np.flatnonzero(result.errors):
        found.append(((image, len(order), False), Mismatch("frame flag", output, int(image), (), 0, 1, 1, 1)))
    return [mismatch for _, mismatch in sorted(found, key=lambda pair: pair[0])]
