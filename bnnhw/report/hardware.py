"""What a page says of the circuit: how much of the device it takes, its slowest path, its buffers."""

from ..timing_path import stage_of

__all__ = ["area", "buffers", "path"]

RESOURCES = (
    ("luts", "Logic cells", "lookup tables that make up all logic, with the flip-flop beside each"),
    ("ffs", "Flip-flops", "single bits that keep a value from one clock cycle to the next"),
    ("brams", "Block RAMs", "memories that hold weights and rows of images"),
)
KINDS = {
    "window": "A window buffer keeps the rows of a map that sliding windows still need.",
    "vector": "A vector buffer keeps inputs that are used again for each group of outputs.",
    "branch": "A branch buffer keeps words until the other branch has caught up.",
}


def area(report):
    """Rows of ``name``, ``used``, ``limit``, ``text``; None before place and route."""
    device = report["device"]
    return device and [{"name": name, "used": device[key], "limit": device[f"{key}_limit"], "text": text}
                       for key, name, text in RESOURCES]


def _place(cell):
    """Where a cell of a path is: its stage, and the part of it."""
    stage, inside = stage_of(cell)
    if stage is None:
        return "the board's link" if ".link." in cell else "outside the stages"
    part = inside.split(".")[0] if "." in inside else ""
    return f"{stage}, {part}" if part else stage


def path(report):
    """The slowest path after routing; None where it is not known.

    Returns
    -------
    dict
        ``ns``, ``logic_ns``, ``wire_ns``; ``cells``, how many it goes through; ``start``, ``end``, where; ``steps``: ``place``,
        ``cell``, ``kind``, ``wire`` and ``logic`` (ns), ``total`` (ns up to its end).
    """
    found = (report["device"] or {}).get("path")
    if not found:
        return None
    steps, wire, total = [], 0.0, 0.0
    for hop in found["hops"]:
        total += hop["ns"]
        if hop["kind"] == "routing":
            wire = hop["ns"]
            continue
        steps.append({"place": _place(hop["cell"]), "cell": hop["cell"], "wire": wire, "logic": hop["ns"], "total": total,
                      "kind": hop["kind"]})
        wire = 0.0
    return found | {"steps": steps, "cells": sum(step["kind"] == "logic" for step in steps), "start": steps[0]["place"],
                    "end": steps[-1]["place"]}


def buffers(report):
    """``rows`` (``name``, ``kind``, ``depth``, ``peak``, ``bits``) and ``kinds``, sentences; None without a simulation."""
    verified = report["verified"]
    if not verified or not verified["buffers"]:
        return None
    rows = [entry | {"name": entry["name"].replace("_to_", " → ")} for entry in verified["buffers"]]
    return {"rows": rows, "kinds": " ".join(text for kind, text in KINDS.items() if any(row["kind"] == kind for row in rows))}
