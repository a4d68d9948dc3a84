"""What a thread or a Dask worker runs: one job, in a process of its own."""

import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from ..tools import ToolMissing
from . import leash
from .jobs import made_by

__all__ = ["CHILD", "perform"]

CHILD = (sys.executable, "-m", "bnnhw.exploring.child")


def perform(job, model, command=CHILD):
    """Do a job.

    Parameters
    ----------
    job : Job
    model : bytes
        The network's .bnn file.
    command : tuple of str
        What does it in a folder, which is its last argument (:mod:`~bnnhw.exploring.child`).

    Returns
    -------
    dict
        A row of :class:`~bnnhw.exploring.store.Store`. Whatever goes wrong is one with ``status`` ``"failed"``.
    """
    start, where = time.monotonic(), f"{platform.node()}:{os.getpid()}"
    if found := _otherwise_made(job):
        outcome = {"status": "failed", "reason": f"worker {where}: {found}"}
    else:
        outcome = _outcome(job, model, command)
    return outcome | {"key": job.key, "seconds": round(time.monotonic() - start, 1), "worker": where,
                      "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def _otherwise_made(job):
    """What is not as the job asks for here, in words, or None."""
    try:
        here = made_by(job.board)
    except ToolMissing as error:
        return str(error)
    return next((f"{name} is {here.get(name)} here, the job asks for {version}"
                 for name, version in job.made_by.items() if here.get(name) != version), None)


def _outcome(job, model, command):
    with tempfile.TemporaryDirectory(prefix="bnnhw-job-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(asdict(job)))
        (folder / f"{job.name}.bnn").write_bytes(model)
        status = leash.run([*command, name], log=folder / "log.txt")
        try:
            return json.loads((folder / "outcome.json").read_text())
        except (OSError, ValueError):
            last = next(iter((folder / "log.txt").read_text(errors="replace").strip().splitlines()[-1:]), "it said nothing")
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            return {"status": "failed", "reason": f"its process ended with {how}: {last}"}
