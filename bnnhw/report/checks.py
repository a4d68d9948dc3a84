"""What a page shows of a verification, and where the network comes from."""

import json

from .pictures import columns, data_uri, is_picture

__all__ = ["class_name", "confusion", "provenance", "samples"]

STRONG = 0.5        # share of a row from which on a cell is dark


def class_name(report, label):
    """The name of class ``label``, or its number."""
    classes = report["model"]["classes"]
    return classes[label] if label < len(classes) else str(label)


def confusion(report):
    """``names`` of classes, ``numbers`` (whether those are their names), ``rows`` of cells (``count``, ``share`` of its row,
    ``strong``, ``right``); None without labels."""
    counts = (report["verified"] or {}).get("confusion")
    if counts is None:
        return None
    rows = []
    for label, row in enumerate(counts):
        total = max(sum(row), 1)
        rows.append([{"count": count, "share": count / total, "strong": count / total >= STRONG, "right": label == found}
                     for found, count in enumerate(row)])
    names = [class_name(report, label) for label in range(len(counts))]
    return {"names": names, "numbers": names == [str(label) for label in range(len(counts))], "rows": rows}


def _sample(sample, report, picture):
    label, scores = sample["label"], sample["scores"]
    return {
        "image": sample["image"], "picture": picture, "right": label == sample["class"],
        "class": class_name(report, sample["class"]),
        "label": None if label is None else class_name(report, label),
        "scores": scores and [
            {"value": value, "height": height, "name": class_name(report, k), "found": k == sample["class"], "true": k == label}
            for k, (value, height) in enumerate(zip(scores, columns(scores), strict=True))],
    }


def samples(report, plan, inputs):
    """Images with what the circuit said of them; None without a verification.

    Returns
    -------
    dict
        ``labels``, ``scored``: whether they are known. ``groups``: list of ``title`` and ``samples``, of which each has ``image``
        (its number), ``picture`` (a URI or None), ``right``, ``class``, ``label`` (names), ``scores`` (``value``, ``height``,
        ``name`` of the class, ``found``, ``true`` of each, or None).
    """
    verified = report["verified"]
    if not verified:
        return None
    type = plan.network.types[plan.network.inputs[0]]
    shown = inputs is not None and is_picture(type)
    found = [_sample(sample, report, data_uri(inputs[sample["image"]], type) if shown else None)
             for sample in verified["samples"]]
    labels = verified["right"] is not None
    if labels:
        right, wrong = ([sample for sample in found if sample["right"] is which] for which in (True, False))
        missed = verified["images"] - verified["right"]
        titles = ["Right: the first of each class",
                  f"Wrong: all {missed:,} of them" if missed == len(wrong) else f"Wrong: the first {len(wrong)} of {missed:,}"]
        groups = [{"title": title, "samples": group} for title, group in zip(titles, (right, wrong), strict=True)]
    else:
        groups = [{"title": f"The first {len(found)} random inputs", "samples": found}]
    return {"labels": labels, "scored": any(sample["scores"] for sample in found), "groups": groups}


def _flat(value, key=""):
    """(key, text) of everything in a provenance, keys of inner objects behind those of outer ones."""
    if isinstance(value, dict):
        for inner in sorted(value):
            yield from _flat(value[inner], f"{key} · {inner}" if key else str(inner))
    elif isinstance(value, list) and all(isinstance(entry, (str, int, float)) for entry in value):
        yield key, ", ".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in value) or "none"
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def provenance(report):
    """(key, text) of everything that the artifact says of the network's making."""
    return [(key.replace("_", " "), text) for key, text in _flat(report["model"]["provenance"])]
