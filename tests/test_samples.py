"""Which images of a verification a report shows."""
from types import SimpleNamespace

import numpy as np

from bnnhw.samples import RIGHT, WRONG, samples, scores_of

from .networks import dense_network

NETWORK = dense_network([6, 3], affine=True)        # its class is taken from edge "scaled"


def result(classes, scores=None, edges=None):
    classes = np.array(classes)[:, None]
    return SimpleNamespace(beats=classes if scores is None else np.hstack([scores, classes]), edges=edges or {})


def test_right_ones_of_each_class_then_wrong_ones():
    labels = np.array([2, 0, 2, 1, 0, 1])
    scores = np.arange(18).reshape(6, 3)
    found = samples(NETWORK, result([2, 1, 2, 1, 0, 0], scores), labels)
    assert [(sample["image"], sample["label"], sample["class"]) for sample in found] == [
        (4, 0, 0), (3, 1, 1), (0, 2, 2), (1, 0, 1), (5, 1, 0)]
    assert all(sample["scores"] == scores[sample["image"]].tolist() for sample in found)


def test_no_more_than_are_shown():
    labels = np.arange(200) % 50
    classes = np.where(np.arange(200) < 100, labels, (labels + 1) % 50)
    found = samples(NETWORK, result(classes), labels)
    assert len(found) == RIGHT + WRONG
    assert [sample["image"] for sample in found] == [*range(RIGHT), *range(100, 100 + WRONG)]


def test_without_labels():
    found = samples(NETWORK, result([1, 0, 2]), None)
    assert found == [{"image": k, "label": None, "class": c, "scores": None} for k, c in enumerate([1, 0, 2])]


def test_scores_come_from_the_stream_where_the_result_has_none():
    scores = np.arange(6).reshape(2, 3)
    assert scores_of(NETWORK, result([2, 2], edges={"scaled": scores})).tolist() == scores.tolist()
    assert scores_of(NETWORK, result([2, 2])) is None
