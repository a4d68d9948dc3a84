"""``bnnhw explore --route``: from its arguments to the store, the table and the picture."""

import contextlib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .. import artifact
from ..bitstream import check_link
from ..build import Narrator
from ..errors import UsageError
from ..files import atomic_write
from . import pools
from .jobs import jobs
from .plot import svg
from .store import Store

__all__ = ["explore", "table"]


def table(rows):
    """A rich table of rows of a store that are done, 79 columns wide at most for names as short as the shipped ones'."""
    found = Table(title="placed and routed (estimated)", title_justify="left", box=None, pad_edge=False)
    for column in ("network", "board"):
        found.add_column(column, no_wrap=True)
    for column in ("images/s", "cells", "RAMs", "MHz"):
        found.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        if row["status"] == "done":
            guess = row["estimated_cells"] is not None
            found.add_row(row["name"], row["board"], f"{row['images_per_s']:,.0f}",
                          f"{row['cells']:,}" + (f" ({row['estimated_cells']:,})" if guess else ""),
                          f"{row['brams']}" + (f" ({row['estimated_brams']})" if guess else ""),
                          f"{row['fmax_hz'] / 1e6:.1f}" + (f" ({row['estimated_fmax_hz'] / 1e6:.1f})" if guess else ""))
    return found


def _asked(row):
    """What was asked of a job, in words."""
    extra = [f"--{name} {value:g}" if isinstance(value := row[name], float) else f"--{name} {value}"
             for name in ("fps", "clock") if row[name]]
    return " ".join([row["name"], "on", row["board"], *extra])


def picture(path):
    """Where the picture of the store at ``path`` stands."""
    return Path(path).with_suffix(".svg")


def explore(paths, boards, path, *, count, scheduler=None, **options):
    """Build, place and route networks for boards; the store at ``path`` has a row for each, and beside it stands the picture.

    What the store has already is not done again, but for jobs that failed.

    Parameters
    ----------
    paths : list of path
        .bnn files.
    boards : list of str
        Their names.
    path : Path
    count : int
        Jobs at a time on this machine.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers do the jobs in place of this machine.
    **options
        Those of :func:`~bnnhw.exploring.jobs.jobs`.

    Returns
    -------
    int
        How many jobs failed.

    Raises
    ------
    UserError
    """
    if picture(path) == Path(path):
        raise UsageError(f"--output {path}: the picture would take its place; call it {Path(path).with_suffix('.sqlite')}")
    files = {}
    for file in paths:
        if file.stem in files:
            raise UsageError(f"two networks are called {file.stem!r}: rename a file, so that their rows can be told apart")
        network = artifact.load(file).network
        check_link(network)
        files[file.stem] = network, file.read_bytes()
    own = jobs({name: network for name, (network, _) in files.items()}, boards, **options)
    failed = 0
    with Store(path) as store, Narrator() as narrator:
        done = store.finished()
        work = [(job, files[job.name][1]) for job in own if job.key not in done]
        narrator.say(f"{len(own)} job{'s' * (len(own) != 1)}, {len(own) - len(work)} done before")
        pool = (pools.on_dask(work, scheduler, say=narrator.say) if scheduler else pools.local(work, count))
        with contextlib.closing(pool):
            for number, (job, result) in enumerate(pool, start=1):
                store.add(job, result)
                failed += result["status"] == "failed"
                narrator.say(f"{number} of {len(work)}: {result['status']}, {job.name} on {job.board}, {result['seconds']:.0f} s")
        keys = {job.key for job in own}
        rows = [row for row in store.rows() if row["key"] in keys]
    _show(rows, path)
    return failed


def _show(rows, path):
    console = Console()
    if any(row["status"] == "done" for row in rows):
        console.print(table(rows))
    for row in rows:
        if row["status"] != "done":
            console.print(f"{_asked(row)}: {row['status']}: {row['reason']}", highlight=False, markup=False, soft_wrap=True)
    written, drawn = [str(path)], svg(rows)
    if drawn:
        atomic_write(picture(path), drawn)
        written.append(str(picture(path)))
    console.print(f"written to {' and '.join(written)}", highlight=False, markup=False, soft_wrap=True)
