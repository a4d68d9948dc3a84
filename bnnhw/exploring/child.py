"""The process that does one job: ``python -m bnnhw.exploring.child FOLDER``.

The folder has ``job.json`` and the network as ``NAME.bnn``; ``outcome.json`` is written at the end. Standard input must be the
pipe of :mod:`~bnnhw.exploring.leash`. If the parent ends the folder is removed.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from .. import artifact, boards, build, devices, estimate, planfile
from ..errors import UserError
from ..estimate.figures import whole
from ..files import atomic_write
from ..lower import lower
from ..tools import ToolError, ToolMissing
from . import leash
from .jobs import Job

__all__ = ["main", "outcome"]

# What another attempt may get past; any other error of the user's kind is the job's result.
PASSING = (ToolError, ToolMissing, OSError, MemoryError)


def outcome(job, folder):
    """Do a job in ``folder``, which has the network.

    Returns
    -------
    dict
        ``status``: ``"done"``, ``"refused"`` (it does not fit, misses its clock, ...: it would again) or ``"failed"`` (something
        was in the way); ``reason`` for the latter two, in words; for the first, the figures of :func:`_figures`.
    """
    path = folder / f"{job.name}.bnn"
    found = artifact.load(path)
    if found.network.digest != job.network_sha256:
        return {"status": "failed", "reason": "another network has arrived than was sent"}
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    built = folder / "build"
    try:
        build.run(parser.parse_args([str(path), *job.options, "-o", str(built)]))
    except PASSING as error:
        return {"status": "failed", "reason": str(error) or type(error).__name__}
    except UserError as error:
        return {"status": "refused", "reason": str(error)}
    return {"status": "done", "reason": None} | _figures(job, found.network, built)


def _figures(job, network, folder):
    """What the report says of a build, and beside it what the estimates said of its plan (None where there are none)."""
    facts = json.loads((folder / "report.json").read_text())
    board, device = boards.find(job.board), facts["device"]
    plan = planfile.loads((folder / "plan.toml").read_bytes(), network, lower, where="plan.toml")
    try:
        target = devices.find(board.device)
        guess = whole([estimate.of_plan(plan, target), estimate.of_wrapper(board, plan)], target)
        guessed = {"estimated_cells": round(guess.luts), "estimated_brams": guess.brams,
                   "estimated_fmax_hz": 1e9 / guess.path_ns}
    except estimate.EstimateError:
        guessed = dict.fromkeys(("estimated_cells", "estimated_brams", "estimated_fmax_hz"))
    return guessed | {
        "device": device["device"], "clock_hz": facts["clock_hz"], "images_per_s": facts["core_fps"],
        "link_images_per_s": facts["link_fps"], "cycles": facts["cycles_per_inference"],
        "latency_s": facts["latency_cycles"] / facts["clock_hz"], "cells": device["luts"], "cells_limit": device["luts_limit"],
        "ffs": device["ffs"], "brams": device["brams"], "brams_limit": device["brams_limit"], "fmax_hz": device["fmax_hz"],
        "right": facts["verified"] and facts["verified"]["right"], "report": json.dumps(facts)}


def main():
    folder = Path(sys.argv[1])
    try:
        leash.hold()
        job = Job(**json.loads((folder / "job.json").read_text()))
        atomic_write(folder / "outcome.json", json.dumps(outcome(job, folder)))
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
