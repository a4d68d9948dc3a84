"""What every board would make of a network, by estimates: ``bnnhw explore``."""

from rich.console import Console
from rich.table import Table

from . import artifact, boards, devices, models
from .errors import UsageError
from .lower import lower
from .plan import PlanError
from .planner.goals import MARGIN, Planner, has_estimates

__all__ = ["add_arguments", "explore", "run", "table"]

ALL = "all"


def add_arguments(parser):
    parser.add_argument("model", nargs="?", default=models.DEFAULT, metavar="MODEL",
                        help="a .bnn file or the name of a shipped network (default: %(default)s)")
    parser.add_argument("--boards", default=ALL, metavar="NAMES",
                        help=f"boards, separated by commas, or `{ALL}`, the default: {', '.join(boards.names())}")
    parser.add_argument("--fps", type=float, help="images per second to reach with the least area (default: the most that fit)")
    parser.add_argument("--scores", action="store_true", help="give the scores besides the class")


def explore(stages, board, fps=None):
    """What ``board`` would make of a network, at its own clock.

    Parameters
    ----------
    stages : list of Stage
        From :func:`bnnhw.lower.lower`.
    board : Board
    fps : float, optional
        Images per second to reach with the least area; without it the fastest design.

    Returns
    -------
    dict
        ``board``, ``device``, ``clock_hz``, ``cells_limit``, ``brams_limit`` (what the device has), and ``why``: None where it
        fits, else the reason, in words. Then ``images_per_s``, ``cycles``, ``cells``, ``brams`` (board and all), ``fmax_hz``,
        ``explanation``; None where it does not fit.
    """
    device = devices.find(board.device)
    clock_hz = int(board.clock(board, board.clock_hz))
    planner = Planner(stages, device, clock_hz, board, fabric=device.family)
    found = {"board": board.name, "device": device.name, "clock_hz": clock_hz, "cells_limit": device.luts,
             "brams_limit": device.brams, "why": None}
    found |= dict.fromkeys(("images_per_s", "cycles", "cells", "brams", "fmax_hz", "explanation"))
    if not has_estimates(device):
        return found | {"why": "there are no estimates for this device"}
    try:
        design = planner.at(fps) if fps else planner.fastest()
    except PlanError as error:
        return found | {"why": str(error)}
    return found | {"images_per_s": clock_hz / design.interval, "cycles": design.interval, "cells": design.luts,
                    "brams": design.brams, "fmax_hz": planner.fmax_hz(design), "explanation": planner.explain(design)}


def table(name, rows):
    """A rich table of rows of :func:`explore`, 79 columns wide at most; why a board does not do is said elsewhere."""
    title = f"{name}, by estimates, in {MARGIN:.0%} of the cells, or in all where it must be"
    found = Table(title=title, title_justify="left", box=None, pad_edge=False)
    found.add_column("board", no_wrap=True)
    for column in ("MHz", "images/s", "cycles", "cells", "RAMs", "at most MHz"):
        found.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        who, limits = (row["board"], _mhz(row["clock_hz"])), (f"{row['cells_limit']:,}", f"{row['brams_limit']}")
        if row["why"]:
            found.add_row(*who, "-", "-", *(f"- / {limit}" for limit in limits), "-")
        else:
            used = f"{row['cells']:,}", f"{row['brams']}"
            found.add_row(*who, f"{row['images_per_s']:,.0f}", f"{row['cycles']:,}",
                          *(f"{own} / {limit}" for own, limit in zip(used, limits, strict=True)), _mhz(row["fmax_hz"]))
    return found


def remark(row):
    """What there is to say of a row, in words."""
    if row["why"]:
        return f"no: {row['why']}"
    slower = "; its clock is not reached, ask for less with --clock" if row["fmax_hz"] < row["clock_hz"] else ""
    return row["explanation"] + slower


def _mhz(hz):
    return f"{hz / 1e6:.3g}"


def run(args):
    if args.fps is not None and not 0 < args.fps < 1e12:
        raise UsageError(f"--fps must be positive, not {args.fps:g}")
    names = boards.names() if args.boards == ALL else args.boards.split(",")
    chosen = [boards.find(name) for name in names]
    path = models.path(args.model)
    stages = lower(artifact.load(path).network, scores=args.scores)
    rows = [explore(stages, board, args.fps) for board in chosen]
    console = Console()
    console.print(table(path.stem, rows))
    for text in dict.fromkeys(map(remark, rows)):
        names = ", ".join(row["board"] for row in rows if remark(row) == text)
        console.print(f"{names}: {text}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    from .cli import main_of
    main_of("explore")
