"""Which images of a verification are shown: some that were classified right, and the wrong ones."""

import numpy as np

__all__ = ["RIGHT", "WRONG", "samples", "scores_of"]

RIGHT, WRONG = 12, 24       # images at most


def scores_of(network, result):
    """The scores from which a run's classes were taken, int array (N, classes), or None where the simulation did not show them.

    ``result`` is a :class:`bnnhw.simulator.Result`: the beats before the class or, without those, the stream in front of it.
    """
    if result.beats.shape[1] > 1:
        return result.beats[:, :-1]
    return result.edges.get(network.operations[network.outputs[0]].inputs[0])


def samples(network, result, labels):
    """Images of a run, as plain JSON values.

    Parameters
    ----------
    network : Network
    result : Result
    labels : int array (N,) or None

    Returns
    -------
    list of dict
        ``image`` (its number in the run), ``label`` (None without labels), ``class``, ``scores`` (None where unknown). With
        labels the first that is right of each class, :data:`RIGHT` at most, in the order of classes, then the first
        :data:`WRONG` wrong ones; without the first ones.
    """
    classes, scores = result.beats[:, -1], scores_of(network, result)
    if labels is None:
        chosen = range(min(RIGHT, len(classes)))
    else:
        right, first = np.flatnonzero(classes == labels), {}
        for image in right.tolist():
            first.setdefault(int(labels[image]), image)
        chosen = [*[first[label] for label in sorted(first)][:RIGHT], *np.flatnonzero(classes != labels).tolist()[:WRONG]]
    return [{"image": image, "label": None if labels is None else int(labels[image]), "class": int(classes[image]),
             "scores": None if scores is None else scores[image].tolist()} for image in chosen]
