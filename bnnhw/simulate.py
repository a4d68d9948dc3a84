"""Runs images through an accelerator's Verilog and compares every integer with the golden model: ``bnnhw simulate``."""

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import accelerator, models, owndata, target, verify
from .compare import Mismatch, MismatchError, compare
from .errors import UsageError
from .simulator import HangError, ProtocolError, Result, SimulationError, Simulator, encode

__all__ = ["Check", "HangError", "Mismatch", "MismatchError", "ProtocolError", "Result",
           "SimulationError", "Simulator", "add_arguments", "check", "compare", "encode", "run"]

PATIENCE_INTERVALS = 4      # so many planned intervals and latencies without any transfer are a hang
IMAGES = 1000               # that are run where nobody says how many
SHOWN = 10                  # mismatches that are printed


@dataclass(frozen=True)
class Check:
    """A run and how it compares: ``result`` (:class:`Result`), ``mismatches`` (list of :class:`Mismatch`)."""
    result: Result
    mismatches: list

    @property
    def wrong(self):
        """How many images differ anywhere."""
        return len({mismatch.image for mismatch in self.mismatches})


def check(plan, verilog, x, *, task=None, p_valid=1.0, p_ready=1.0, seed=0, trace=None, say=lambda text: None, progress=None):
    """Run ``x`` through ``verilog`` and compare all edges of the network with the golden model.

    Parameters
    ----------
    plan : Plan
        What the Verilog was made from.
    verilog : str or Path
    x : int array (N, *shape)
    task, p_valid, p_ready, seed, trace, progress
        As of :meth:`Simulator.run`.
    say : callable (str)
        Told when a long compilation starts.

    Returns
    -------
    Check

    Raises
    ------
    SimulationError
        It hangs or breaks the bus protocol.
    """
    simulator = Simulator.of_plan(plan, verilog, taps=accelerator.taps(plan), say=say)
    patience = PATIENCE_INTERVALS * (plan.cycles_per_inference + plan.latency_cycles + 100) / min(p_valid, p_ready)
    result = simulator.run(encode(plan.network, x), task=task, p_valid=p_valid, p_ready=p_ready, seed=seed,
                           patience=int(patience), trace=trace, taps=True, progress=progress)
    return Check(result, compare(plan.network, x, result, task))


def add_arguments(parser):
    parser.add_argument("target", nargs="?", default=models.DEFAULT, metavar="BUILD_DIR or MODEL",
                        help="a folder that `bnnhw build` wrote, a .bnn file or a shipped network (default: %(default)s)")
    parser.add_argument("--model", help="the build folder's network, where it is not a shipped one")
    parser.add_argument("--images", type=int, metavar="N",
                        help="images to run: the data set's test images, or random ones if there are none (default: 1,000, "
                        "or all of --data)")
    parser.add_argument("--data", metavar="PATH", help="rows or pictures of your own (of what it was trained on, the test part)")
    parser.add_argument("--stalls", type=float, nargs=2, default=(1.0, 1.0), metavar=("P_VALID", "P_READY"),
                        help="chances per cycle that input is offered and that output is taken (default: no stalls)")
    parser.add_argument("--seed", type=int, default=0, help="of the stalls (default: %(default)s)")
    parser.add_argument("--trace", metavar="FILE", help="write waveforms (VCD); best with few images")


def run(args):
    if args.images is not None and args.images < 1:
        raise UsageError(f"--images must be at least 1, not {args.images}")
    if not 0 <= args.seed < 2**63:
        raise UsageError(f"--seed must be from 0 to 2**63 - 1, not {args.seed}")
    if not all(0 < chance <= 1 for chance in args.stalls):
        raise UsageError(f"--stalls must be above 0 and at most 1, not {args.stalls[0]:g} and {args.stalls[1]:g}")
    console = Console()
    found_model, plan, verilog = target.resolve(args.target, args.model)
    if args.data:
        data = owndata.inputs(found_model, args.data)
        count = args.images or len(data.x)
    else:
        data, count = found_model.provenance.get("dataset"), args.images or IMAGES
    x, labels, task = verify.frames_for(plan.network, count, data)
    with Progress(TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console,
                  disable=not console.is_terminal, transient=True) as bar:
        shown = bar.add_task("", total=len(x), start=False)

        def progress(done, total):
            bar.start_task(shown)
            bar.update(shown, completed=done)
        found = check(plan, verilog, x, task=task, p_valid=args.stalls[0], p_ready=args.stalls[1], seed=args.seed,
                      trace=args.trace, progress=progress,
                      say=lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True))
    result = found.result
    console.print(f"{len(x):,} images in {result.cycles:,} cycles and {result.seconds:.1f} s "
                  f"({result.cycles / result.seconds:,.0f} cycles/s, {len(x) / result.seconds:,.0f} images/s)", highlight=False)
    if tuple(args.stalls) == (1.0, 1.0):
        interval = "not steady" if result.interval is None else f"{result.interval:,}"
        console.print(f"interval {interval} cycles (plan: {plan.cycles_per_inference:,}), "
                      f"latency {result.latency:,} cycles (plan: {plan.latency_cycles:,})", highlight=False)
    if labels is not None:
        right = int(np.count_nonzero(result.beats[:, -1] == labels))
        console.print(f"{right:,} classified right ({right / len(x):.2%})", highlight=False)
        for one in verify.by_task(result.beats[:, -1], labels, task) if task is not None else ():
            console.print(f"task {one['task']}: {one['right']:,} of {one['images']:,} right", highlight=False)
    for mismatch in found.mismatches[:SHOWN]:
        console.print(str(mismatch), highlight=False, markup=False, soft_wrap=True)
    if found.mismatches:
        raise MismatchError(f"{found.wrong} of {len(x)} images differ from the golden model")
    if tuple(args.stalls) == (1.0, 1.0):
        verify.check_timing(plan, result)
    console.print(f"equal to the golden model: {', '.join([*result.edges, plan.network.outputs[0]])}", highlight=False)


if __name__ == "__main__":
    from .cli import main_of
    main_of("simulate")
