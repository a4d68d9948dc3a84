"""What ONNX has no place for and our own files carry along: input ranges, class names, and which network it was."""

import hashlib
import json

import numpy as np

__all__ = ["METADATA", "record", "differences"]

METADATA = "bnnhw"      # key in the model's metadata


def _operations(network):
    """Each operation as plain JSON values, its integers by SHA-256."""
    out = json.loads(json.dumps(network.describe()))["operations"]
    for entry in out:
        operation = network.operations[entry["name"]]
        for key in operation.arrays:
            array = np.ascontiguousarray(getattr(operation, key), dtype="<i8")
            entry[key] = hashlib.sha256(f"{array.shape}".encode() + array.tobytes()).hexdigest()
    return out


def record(network, classes=()):
    """The record of a network as JSON, the same for equal networks."""
    inputs = {name: [network.types[name].lo, network.types[name].hi, network.types[name].step] for name in network.inputs}
    return json.dumps({"inputs": inputs, "classes": list(classes), "network": network.digest, "operations": _operations(network),
                       "outputs": list(network.outputs)}, sort_keys=True)


def differences(found, network):
    """How ``network`` differs from the one that the record ``found`` (its JSON values) was made of: one line for each operation.

    Equal networks, and only they, give an empty list.
    """
    before, after = ({entry["name"]: entry for entry in operations} for operations in (found["operations"], _operations(network)))
    lines = []
    for name in dict.fromkeys([*before, *after]):
        if name not in after or name not in before:
            kind = (before.get(name) or after[name])["kind"]
            lines.append(f"{name} ({kind}): {'gone' if name in before else 'new'}")
        elif before[name] != after[name]:
            keys = [key for key in {**before[name], **after[name]} if before[name].get(key) != after[name].get(key)]
            lines.append(f"{name} ({before[name]['kind']}): other {', '.join(keys)}")
    if not lines and found["network"] != network.digest:
        lines.append("the operations' order, or the outputs")
    return lines
