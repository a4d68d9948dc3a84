"""The slowest path of a routed design, from nextpnr's report: which cells and wires a clock period is spent in."""

import re

__all__ = ["slowest", "stage_of"]

ASYNC = "<async>"       # an end that is at no register: a pin
WIRE = "routing"        # nextpnr's type of a hop along a wire; the others are delays in cells
DIGITS = 3              # of a nanosecond


def slowest(figures):
    """The path between two registers of one clock that takes longest: it sets the clock's greatest frequency.

    Parameters
    ----------
    figures : dict
        What nextpnr's ``--report`` wrote.

    Returns
    -------
    dict or None
        ``ns``, in all; ``logic_ns`` and ``wire_ns``, its two parts; ``hops``, in order: ``kind`` (nextpnr's: ``clk-to-q``,
        ``routing``, ``logic``, ``setup``), ``ns``, ``cell`` at its end. None where there is no such path.
    """
    found = [path for path in figures.get("critical_paths", ())
             if path["from"] == path["to"] and ASYNC not in path["from"] and path["path"]]
    if not found:
        return None
    hops = max((path["path"] for path in found), key=lambda hops: sum(hop["delay"] for hop in hops))
    wires = sum(hop["delay"] for hop in hops if hop["type"] == WIRE)
    total = sum(hop["delay"] for hop in hops)
    return {"ns": round(total, DIGITS), "logic_ns": round(total - wires, DIGITS), "wire_ns": round(wires, DIGITS),
            "hops": [{"kind": hop["type"], "ns": round(hop["delay"], DIGITS), "cell": hop["to"]["cell"]} for hop in hops]}


def stage_of(cell):
    """The stage of the accelerator in which ``cell`` is, and its place there; None and the whole name if it is in none.

    Cells of a stage are called ``... .core.STAGE. ...``, and what yosys made of a signal begins with the signal's name.
    """
    inside = re.search(r"(?:^|\.)core\.(\w+)\.?(.*)", cell)
    return (inside[1], inside[2]) if inside else (None, cell)
