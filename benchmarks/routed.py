"""Designs of :mod:`designs` placed and routed out of context, for benchmarks that compare them."""

import statistics
import tempfile
from pathlib import Path

import designs
from table import digest_of

from bnnhw import devices, implement

__all__ = ["SEEDS", "digest", "routed"]

SEEDS = (1, 2, 3)
GOAL_HZ = 200e6         # that no design here reaches: the router goes on to the last


def digest(line, device_name):
    """Of the Verilog of the design of ``line``, as a result's row keeps it in ``verilog``."""
    return digest_of(designs.verilog_of(line, "", devices.find(device_name))[0])


def routed(line, device_name):
    """Synthesize the design of ``line`` between two shift registers (:func:`designs.harness`), place and route it with each seed.

    Returns
    -------
    dict
        ``cells`` and ``ffs``, those of the shift registers too; ``block_rams``; ``fmax_mhz`` (median) and that of each seed;
        ``slowest``, the path of the median as its first and last cell.
    """
    device = devices.find(device_name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text, top, _ = designs.verilog_of(line, "", device)
        (folder / "design.v").write_text(text + designs.harness(text, top))
        counts = implement.synthesize([folder / "design.v"], designs.HARNESS, device, netlist=folder / "design.json")
        found = [implement.route(folder / "design.json", device, package=device.packages[0], constraints=None, clock_hz=GOAL_HZ,
                                 output=folder / "routed", seed=seed, counts=counts) for seed in SEEDS]
    median = statistics.median_low(own.fmax_hz for own in found)
    middle = next(own for own in found if own.fmax_hz == median)
    hops = middle.path["hops"]
    return {"cells": middle.luts, "ffs": middle.ffs, "block_rams": middle.brams, "fmax_mhz": round(median / 1e6, 2),
            **{f"fmax_mhz_seed_{seed}": round(own.fmax_hz / 1e6, 2) for seed, own in zip(SEEDS, found, strict=True)},
            "slowest": f"{hops[0]['cell']} > {hops[-1]['cell']}"}
