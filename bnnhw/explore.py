"""What boards make of networks, by estimates or placed and routed: ``bnnhw explore``."""

import argparse
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import artifact, boards, devices, estimate, models
from .bitstream import check_link
from .build import AUTO
from .errors import UsageError
from .exploring import command
from .exploring.jobs import FASTEST
from .lower import lower
from .plan import PlanError
from .planner.goals import MARGIN, Planner, has_estimates
from .tools import ToolError, ToolMissing

__all__ = ["add_arguments", "explore", "run", "table"]

ALL = "all"
OUTPUT = "explore.sqlite"


def add_arguments(parser):
    parser.add_argument("model", nargs="*", default=[models.DEFAULT], metavar="MODEL",
                        help=f".bnn files or names of shipped networks (default: {models.DEFAULT})")
    parser.add_argument("--boards", default=ALL, metavar="NAMES",
                        help=f"boards, separated by commas, or `{ALL}`, the default: {', '.join(boards.names())}")
    parser.add_argument("--fps", type=_rates, default=[FASTEST], metavar="LIST",
                        help="images per second to reach with the least area, separated by commas, or `max`, the most that fit "
                             "(the default)")
    parser.add_argument("--scores", action="store_true", help="give the scores besides the class")
    parser.add_argument("--exact", action="store_true",
                        help="synthesize circuits of constants (lookup layers, unfolded layers) for their figures, which are "
                             "kept: 10 to 60 s for each folding that the search comes to")
    parser.add_argument("--route", action="store_true",
                        help="build, place and route every combination, into a SQLite file and a picture")
    route = parser.add_argument_group("with --route")
    route.add_argument("--clock", type=_clocks, metavar="LIST",
                       help="clocks in Hz, separated by commas, or `auto`, the fastest that routing supports (default: the "
                            "board's)")
    route.add_argument("--verify", type=int, metavar="N", help="send N images through each design's Verilog")
    route.add_argument("--jobs", type=int, metavar="N", help="jobs at a time on this machine (default: one per core)")
    route.add_argument("--scheduler", metavar="ADDRESS", help="leave the jobs to the workers of this Dask scheduler")
    route.add_argument("-o", "--output", metavar="FILE",
                       help=f"results, the picture beside it; what is there already is not done again (default: {OUTPUT})")


def _numbers(text):
    """Positive numbers from the command line."""
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"it must be numbers, separated by commas, not {text!r}") from None
    for number in found:
        if not 0 < number < 1e12:
            raise argparse.ArgumentTypeError(f"it must be positive, not {number:g}")
    return found


def _rates(text):
    """Images per second from the command line."""
    return [rate for word in text.split(",") for rate in ([word] if word == FASTEST else _numbers(word))]


def _clocks(text):
    """Clocks from the command line."""
    return [clock for word in text.split(",") for clock in ([word] if word == AUTO else _numbers(word))]


def explore(stages, board, fps=FASTEST, exact=False):
    """What ``board`` would make of a network, at its own clock.

    Parameters
    ----------
    stages : list of Stage
        From :func:`bnnhw.lower.lower`.
    board : Board
    fps : float or "max"
        Images per second to reach with the least area, or the fastest design.
    exact : bool
        Circuits of constants that the design has are synthesized, where they have not been, and the design is chosen again with
        their figures, until it has none that are estimated. That is one for each folding that the search comes to, 10 to 60 s
        each. Where the rule of thumb finds no design nothing is synthesized.

    Returns
    -------
    dict
        ``board``, ``device``, ``clock_hz``, ``cells_limit``, ``brams_limit`` (what the device has), and ``why``: None where it
        fits, else the reason, in words. Then ``images_per_s``, ``cycles``, ``cells``, ``brams`` (board and all), ``fmax_hz``,
        ``explanation``; None where it does not fit. ``unsynthesized``: why a circuit of constants is estimated all the same.

    Raises
    ------
    OSError
        The cache folder cannot be written.
    """
    device = devices.find(board.device)
    clock_hz = int(board.clock(board, board.clock_hz))
    found = {"board": board.name, "device": device.name, "clock_hz": clock_hz, "cells_limit": device.luts,
             "brams_limit": device.brams, "why": None}
    found |= dict.fromkeys(("images_per_s", "cycles", "cells", "brams", "fmax_hz", "explanation", "unsynthesized"))
    if not has_estimates(device):
        return found | {"why": "there are no estimates for this device"}
    again = True
    try:
        while again:
            planner = Planner(stages, device, clock_hz, board, fabric=device.family)
            design = planner.fastest() if fps == FASTEST else planner.at(fps)
            again = exact and _synthesized(stages, design, device)
    except PlanError as error:
        return found | {"why": str(error)}
    except (ToolError, ToolMissing) as error:
        found["unsynthesized"] = str(error)
    return found | {"images_per_s": clock_hz / design.interval, "cycles": design.interval, "cells": design.luts,
                    "brams": design.brams, "fmax_hz": planner.fmax_hz(design), "explanation": planner.explain(design)}


def _synthesized(stages, design, device):
    """Whether a design has circuits of constants that had to be synthesized."""
    own = [(stage, design.chosen[stage.name].options) for stage in stages]
    lacking = [one for one in own if getattr(one[1], "style", "folded") != "folded" and estimate.cached(*one, device) is None]
    for stage, options in lacking:
        estimate.exact(stage, options, device)
    return bool(lacking)


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
    slower = "; its clock is not reached: `bnnhw build --clock` asks for less" if row["fmax_hz"] < row["clock_hz"] else ""
    broken = f"; estimated all the same: {row['unsynthesized']}" if row["unsynthesized"] else ""
    return row["explanation"] + slower + broken


def _mhz(hz):
    return f"{hz / 1e6:.3g}"


def _estimates(path, chosen, rates, scores, exact):
    """Print what is estimated of one network; whether all that was to be synthesized has been."""
    network = artifact.load(path).network
    check_link(network)
    stages = lower(network, scores=scores)
    console, rows = Console(), []
    with console.status("") as status:
        for board in chosen:
            status.update(f"{path.stem} on {board.name}" + ", with circuits synthesized" * exact)
            rows += [explore(stages, board, fps, exact) for fps in rates]
    console.print(table(path.stem, rows))
    for text in dict.fromkeys(map(remark, rows)):
        names = ", ".join(dict.fromkeys(row["board"] for row in rows if remark(row) == text))
        console.print(f"{names}: {text}", highlight=False, markup=False, soft_wrap=True)
    return not any(row["unsynthesized"] for row in rows)


def _check(args):
    """Refuse what the command line alone shows wrong."""
    for name in ("clock", "verify", "jobs", "scheduler", "output"):
        if getattr(args, name) is not None and not args.route:
            raise UsageError(f"--{name} needs --route, without which there are estimates only")
    for name, least in (("verify", 0), ("jobs", 1)):
        if (value := getattr(args, name)) is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, not {value}")
    if args.exact and args.route:
        raise UsageError("--exact is for estimates, --route synthesizes everything")
    if args.scheduler and args.jobs:
        raise UsageError("--jobs is for this machine; with --scheduler each worker has its own --nthreads")


def run(args):
    _check(args)
    chosen = [boards.find(name) for name in (boards.names() if args.boards == ALL else args.boards.split(","))]
    paths = [models.path(model) for model in args.model]
    if not args.route:
        done = [_estimates(path, chosen, args.fps, args.scores, args.exact) for path in paths]
        return 0 if all(done) else 1
    failed = command.explore(paths, [board.name for board in chosen], Path(args.output or OUTPUT),
                             count=args.jobs or os.cpu_count(), scheduler=args.scheduler, rates=args.fps,
                             clocks=args.clock or [None], scores=args.scores, verify=args.verify or 0)
    return 1 if failed else 0


if __name__ == "__main__":
    from .cli import main_of
    main_of("explore")
