"""Counts what an ONNX file is made of before anything is allocated for it.

Two bytes of a file can make a node of hundreds of bytes in memory; here each entry of the model, its graphs, nodes and
attributes costs one step, and too many are refused.

Source: the encoding of Protocol Buffers, protobuf.dev/programming-guides/encoding, and the field numbers of onnx.proto.
"""

__all__ = ["WireError", "count"]

# Message -> fields that are messages worth looking into.
INSIDE = {"model": {7: "graph", 25: "function"}, "graph": {1: "node"}, "function": {7: "node"}, "node": {5: "attribute"},
          "attribute": {6: "graph", 11: "graph"}}
DEEPEST = 16
FIXED = {1: 8, 5: 4}    # wire type -> bytes


class WireError(ValueError):
    """Bytes that are no message, or too many entries."""


def _varint(data, place, end):
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise WireError("it is truncated or damaged")


def count(data, most):
    """Number of entries of a serialized ONNX model.

    Raises :exc:`WireError` where ``data`` is cut off or there are more than ``most``.
    """
    entries, waiting = 0, [("model", 0, len(data), 0)]
    while waiting:
        message, place, end, depth = waiting.pop()
        if depth > DEEPEST:
            raise WireError(f"its graphs are nested more than {DEEPEST} deep")
        while place < end:
            entries += 1
            if entries > most:
                raise WireError(f"it has more than {most} entries")
            tag, place = _varint(data, place, end)
            kind = tag & 7
            if kind == 0:
                _, place = _varint(data, place, end)
                continue
            if kind == 2:
                size, place = _varint(data, place, end)
                if tag >> 3 in INSIDE[message]:
                    waiting.append((INSIDE[message][tag >> 3], place, place + size, depth + 1))
            elif kind in FIXED:
                size = FIXED[kind]
            else:
                raise WireError("it is damaged")
            place += size
            if place > end:
                raise WireError("it is truncated or damaged")
    return entries
