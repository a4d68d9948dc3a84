"""A Dask scheduler and workers as processes of their own on this machine, and a job's child that is quick."""
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 300

# Does a job as the real child does, by a tool of its own that sleeps. It notes each attempt in a file: fps, worker, tool, folder.
CHILD = """\
import json, os, shutil, sys
from pathlib import Path
from bnnhw.exploring import leash
from bnnhw.tools import Tool
notes, seconds, folder = Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
try:
    leash.hold()
    job = json.loads((folder / "job.json").read_text())
    note = notes / f"{job['fps']:g}-{os.getpid()}"
    Tool("sleeper", "here", ("sh", "-c")).run(
        [f'echo "{job["fps"]:g} {os.getppid()} $$ {folder}" > "{note}.part"; mv "{note}.part" "{note}"; sleep {seconds}; true'])
    outcome = {"status": "done", "reason": None, "images_per_s": job["fps"], "cells": 100 + job["fps"]}
    (folder / "outcome.json").write_text(json.dumps(outcome))
except KeyboardInterrupt:
    shutil.rmtree(folder)
"""


def child(folder, seconds):
    """The command of a child whose tool takes so many seconds; it notes attempts in ``folder / "notes"``."""
    (folder / "notes").mkdir()
    (folder / "child.py").write_text(CHILD)
    return sys.executable, str(folder / "child.py"), str(folder / "notes"), str(seconds)


def attempts(folder):
    """(fps, worker's process, tool's process, the job's folder) of each attempt so far."""
    found = [file.read_text().split() for file in (folder / "notes").iterdir() if file.suffix != ".part"]
    return [(float(fps), int(worker), int(tool), Path(name)) for fps, worker, tool, name in found]


def alive(process):
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition, what, patience=PATIENCE_S):
    """Wait for ``condition()`` to be true; its value."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"no {what} in {patience} s"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def cluster(folder, workers):
    """A scheduler and so many workers of one thread: gives its address, and all their processes, the scheduler's first."""
    file, common = folder / "scheduler.json", ["--no-dashboard", "--host", "127.0.0.1"]
    with contextlib.ExitStack() as stack, open(folder / "cluster.log", "w") as log:
        def start(program, *arguments):
            command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(file), *common, *arguments]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process
        scheduler = start("dask_scheduler", "--port", "0")
        address = until(lambda: file.exists() and file.stat().st_size and json.loads(file.read_text())["address"], "scheduler")
        yield address, [scheduler, *(start("dask_worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
                        for _ in range(workers))]
