"""From a network to Verilog, checked, and on to a bitstream: ``bnnhw build``."""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from . import (
    artifact,
    boards,
    buffers,
    closure,
    deliver,
    devices,
    folding,
    implement,
    models,
    owndata,
    planfile,
    report,
    testbench,
    verify,
)
from .accelerator import verilog
from .bitstream import check_link, make_bitstream
from .errors import UsageError, UserError
from .families import FAMILIES
from .lower import lower
from .plan import PlanError
from .planner.goals import Planner, has_estimates
from .target import DEFAULT_CLOCK_HZ
from .updating.base import file_names

__all__ = ["Narrator", "add_arguments", "run", "build"]

AUTO = "auto"       # the clock that routing supports

# Files that only `--bitstream` writes.
OF_A_BITSTREAM = ("{name}_board.v", "{name}_cells.v", "{name}_netlist.v", "yosys.log", "nextpnr.log", *dict.fromkeys(
    file for family in FAMILIES.values() if family.router
    for file in (*file_names("{name}", family.routed), *(
        f"{{name}}{end}" for end in (family.bitstream, family.routed, f"_board{family.constraints}")))))


class FolderError(UserError):
    """A build folder that cannot be made."""


def add_arguments(parser):
    parser.add_argument("model", nargs="?", default=models.DEFAULT, metavar="MODEL",
                        help="a .bnn file or the name of a shipped network (default: %(default)s)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--board", help=f"board to build for: {', '.join(boards.names())}")
    where.add_argument("--device", help=f"FPGA to check the size for, without a board: {', '.join(devices.DEVICES)}")
    parser.add_argument("--fps", type=_rate, metavar="F",
                        help="images per second that the core must reach, or `max`, the most that fit a board or device "
                             "(default: 100,000, or less for large networks and small devices)")
    parser.add_argument("--latency", type=float, metavar="SECONDS",
                        help="the longest time from an image's first beat to its result, on a board or device")
    parser.add_argument("--clock", type=_clock, metavar="HZ",
                        help=f"the accelerator's clock, or with --bitstream `auto`, the fastest that routing supports "
                             f"(default: the board's, or {DEFAULT_CLOCK_HZ / 1e6:g} MHz)")
    parser.add_argument("--plan", metavar="FILE", help="take the folding from this plan.toml")
    parser.add_argument("--buffers", choices=buffers.KINDS,
                        help="depth of window and branch buffers: the least that cost no cycle (rate, the default), or that work")
    parser.add_argument("--scores", action="store_true", help="give the scores besides the class")
    parser.add_argument("--updatable", action="store_true",
                        help="keep all that was trained in block RAM, so that `bnnhw update` can put another network of the same "
                             "shape into the bitstream (needs --board)")
    parser.add_argument("--verify", type=int, default=0, metavar="N",
                        help="simulate the Verilog on N images and compare all integers with the golden model")
    parser.add_argument("--data", metavar="PATH", help="with --verify: rows or pictures of your own (of what it was trained on, "
                        "the test part)")
    parser.add_argument("--bitstream", action="store_true", help="synthesize, place and route (needs --board)")
    parser.add_argument("--verify-netlist", type=int, default=0, metavar="N",
                        help="with --bitstream: simulate the synthesized netlist on N images, too")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder to write (default: build/NAME or build/NAME-BOARD)")


def _rate(text):
    """Images per second from the command line."""
    try:
        return folding.AS_FAST_AS_FITS if text == "max" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it must be a number or 'max', not {text!r}") from None


def _clock(text):
    """A clock from the command line."""
    try:
        return AUTO if text == AUTO else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it must be a number or 'auto', not {text!r}") from None


def _check(args):
    """Refuse what the command line alone shows wrong."""
    if args.bitstream and not args.board:
        raise UsageError("--bitstream needs --board, which says the pins")
    if args.bitstream:
        implement.route_minutes()       # a wrong setting is said now, not after synthesis and simulation
    if args.verify_netlist and not args.bitstream:
        raise UsageError("--verify-netlist needs --bitstream, which makes the netlist")
    if args.data and not args.verify:
        raise UsageError("--data needs --verify, which says how many of its rows are simulated")
    if args.updatable and not args.board:
        raise UsageError("--updatable needs --board, whose block RAMs it uses")
    if args.plan and (args.fps or args.latency or args.clock or args.scores or args.buffers or args.updatable):
        raise UsageError("--plan says the folding, the clock, the result and the buffers: --fps, --latency, --clock, --scores, "
                         "--buffers and --updatable cannot change them")
    if args.fps and args.latency:
        raise UsageError("--fps and --latency: one of them is the goal")
    for name, asked in (("--fps max", args.fps == folding.AS_FAST_AS_FITS), ("--latency", args.latency)):
        if asked and not (args.board or args.device):
            raise UsageError(f"{name} needs --board or --device, which says how much room there is")
    for name in ("verify", "verify_netlist"):
        if getattr(args, name) < 0:
            raise UsageError(f"--{name.replace('_', '-')} must not be negative, not {getattr(args, name)}")
    if args.clock == AUTO and not args.bitstream:
        raise UsageError("--clock auto needs --bitstream: it is what routing finds that sets the clock")
    for name in ("fps", "latency", "clock"):
        value = getattr(args, name)
        if value not in (None, folding.AS_FAST_AS_FITS, AUTO) and not 0 < value < 1e12:
            raise UsageError(f"--{name} must be positive, not {value:g}")


def _plan(args, network, board, device, hz):
    """The plan for a clock of about ``hz``, and what is to be said about it."""
    if args.plan:
        path = Path(args.plan)
        plan = planfile.loads(path.read_bytes(), network, lower, where=str(path))
        if device:
            folding.check_fabric(plan, device)
            folding.check_memory(plan, device)
        return dataclasses.replace(plan, clock_hz=_real_clock(plan.clock_hz, board)), None
    clock_hz = _real_clock(hz, board)
    stages, buffers_ = lower(network, scores=args.scores), args.buffers or "rate"
    if device and (has_estimates(device) or args.latency or args.updatable or args.fps == folding.AS_FAST_AS_FITS):
        fast = {}
        if args.clock == AUTO:      # it is routing that says which paths are too long
            fast = {"path_ns": 1e9 / board.clock_hz, "register_ns": 1e9 / closure.goal_hz(device)}
        planner = Planner(stages, device, clock_hz, board, fabric=device.family, updatable=args.updatable, **fast)
        chosen = folding.choose(network, planner, fps=args.fps, latency=args.latency, buffers=buffers_)
        if args.updatable and not chosen.plan.updatable:
            raise PlanError("--updatable: there is no layer with weights, and what is in tables and circuits cannot be updated")
        return chosen.plan, str(chosen)
    plan = folding.fold(network, stages, clock_hz=clock_hz, fps=args.fps, buffers=buffers_, fabric=device and device.family)
    if device:
        folding.check_memory(plan, device)
    return plan, None


def _real_clock(hz, board):
    """The clock in Hz that the board really makes; without a board any."""
    if board is None:
        return int(hz)
    made = board.whole_hz(hz)
    board.divisor(made)
    return made


class Narrator:
    """Says what is being done: a line that changes on a terminal, plain lines elsewhere, on standard error."""
    def __init__(self):
        self.console = Console(stderr=True)
        self.status = self.console.status("") if self.console.is_terminal else None

    def __enter__(self):
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *exception):
        if self.status:
            self.status.stop()

    def say(self, text):
        if self.status:
            self.status.update(text)
        else:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def progress(self, done, total):
        if self.status:
            self.status.update(f"simulating image {done:,} of {total:,}")


def _tools(board, simulated):
    """Names of the programs that a build has used, of :data:`bnnhw.tools.KNOWN`; ``board`` is that of its bitstream, or None."""
    family = FAMILIES[devices.find(board.device).family] if board else None
    return [*(["verilator"] if simulated else []), *(["yosys", family.router[0], family.packer[0]] if family else [])]


def _check_folder(folder):
    """Refuse a build folder that cannot be made or written, before the work for it is done; nothing is left behind."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise FolderError(f"{nearest}: it is a file, not a folder")
    try:
        Path(tempfile.mkdtemp(dir=nearest, prefix=f".{folder.name}.")).rmdir()
    except OSError as error:
        raise FolderError(f"{nearest}: it cannot be written: {error.strerror}") from None


def build(name, found, plan, folder, *, board=None, images=0, netlist_images=0, bitstream=False, data=None, why=None,
          rounds=None, make=make_bitstream, tools=None, narrator=None):
    """Write a build folder: all of it, or nothing.

    Parameters
    ----------
    name : str
        For files and reports.
    found : Artifact
    plan : Plan
        Of ``found.network``.
    folder : path
        Made if missing; other files in it stay.
    board : Board, optional
    images, netlist_images : int
        How many images to verify in the Verilog, and in the synthesized netlist.
    bitstream : bool
        Whether to make a bitstream for ``board``.
    data : Inputs, optional
        Which images: a user's own, of :func:`bnnhw.owndata.inputs`; by default test images of the network's data set.
    why : str, optional
        What the planner says of the plan: what holds it up, what a faster one would take.
    rounds : list of dict, optional
        What was routed on the way to this plan's clock (:func:`bnnhw.closure.close`).
    make : callable
        What makes the bitstream: :func:`bnnhw.bitstream.make_bitstream` or something that takes the same arguments.
    tools : dict, optional
        Versions of the tools that made it, where those that are here did not.
    narrator : Narrator, optional

    Returns
    -------
    dict
        What report.json holds (docs/start.md explains it).

    Raises
    ------
    UserError
        Of many kinds; nothing is written then.
    """
    narrator, dataset = narrator or Narrator(), data or found.provenance.get("dataset")
    folder = Path(folder)
    _check_folder(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        narrator.say("writing the Verilog")
        text = verilog(plan)
        facts = report.describe(plan, found, name=name, verilog_sha256=hashlib.sha256(text.encode()).hexdigest(),
                                board=board)
        files = {f"{name}.v": text, "plan.toml": planfile.dumps(plan), f"{name}_template.v": deliver.template(plan),
                 f"{name}.core": deliver.core_file(name, plan.network.digest)}
        files |= testbench.files(plan, name)
        for file, content in files.items():
            (stage / file).write_text(content)
        if images:
            facts["verified"] = verify.in_verilog(plan, text, images, dataset=dataset, say=narrator.say,
                                                  progress=narrator.progress)
        if bitstream:
            facts |= make(plan, stage / f"{name}.v", stage, board, netlist_images=netlist_images, dataset=dataset,
                          narrator=narrator)
        facts |= {"why": why, "rounds": rounds}
        facts["tools"] = tools or report.versions(_tools(board if bitstream else None, simulated=images or netlist_images))
        inputs = verify.frames_for(plan.network, images, dataset)[0] if images else None
        (stage / "report.html").write_text(report.page(facts, plan, inputs=inputs), encoding="utf-8")
        (stage / "report.json").write_text(json.dumps(facts, indent=2) + "\n")
        folder.mkdir(exist_ok=True)
        for name_of_old in OF_A_BITSTREAM:      # of an earlier build, and no longer true
            (folder / name_of_old.format(name=name)).unlink(missing_ok=True)
        for file in stage.iterdir():
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):      # not empty: the build went well
                parent.rmdir()
    return facts


def run(args):
    _check(args)
    path = models.path(args.model)
    found = artifact.load(path)
    board = boards.find(args.board) if args.board else None
    if board:
        check_link(found.network)
    device = devices.find(board.device if board else args.device) if board or args.device else None
    usual_hz = board.clock_hz if board else DEFAULT_CLOCK_HZ
    whys = {}       # by clock

    def planned(hz):
        plan, why = _plan(args, found.network, board, device, hz)
        whys[plan.clock_hz] = why
        return plan
    plan = planned(usual_hz if args.clock in (None, AUTO) else args.clock)
    data = owndata.inputs(found, args.data) if args.data else None
    name = path.stem
    folder = Path(args.output or Path("build", f"{name}-{args.board}" if board else name))
    with Narrator() as narrator:
        def built(plan, rounds=None):
            return build(name, found, plan, folder, board=board, images=args.verify, netlist_images=args.verify_netlist,
                         bitstream=args.bitstream, data=data, why=whys.get(plan.clock_hz), rounds=rounds, narrator=narrator)
        if args.clock == AUTO:
            _check_folder(folder)       # routing comes first
            facts = closure.close(plan, board, reached_hz=closure.routed_hz(plan, board, narrator), replan=planned, build=built,
                                  narrator=narrator)
        else:
            facts = built(plan)
    console = Console()
    console.print(report.table(facts))
    if facts["why"]:
        console.print(facts["why"], highlight=False, markup=False, soft_wrap=True)
    if not args.verify:
        console.print("not verified: --verify N simulates it on N images", highlight=False)
    console.print(f"written to {folder}; report.html there shows it", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    from .cli import main_of
    main_of("build")
