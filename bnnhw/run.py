"""Classify images on a board, real or simulated: ``bnnhw run``."""

import contextlib
import json
import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import boards, models, owndata, selftest, target, verify
from .bitstream import identity
from .errors import UsageError, UserError
from .host import BAUD, Board
from .simulator import encode
from .virtual import DIVISOR, VirtualBoard

__all__ = ["ImagesError", "add_arguments", "load_images", "run"]

IMAGES = 1000       # that are sent where nobody says how many


class ImagesError(UserError, ValueError):
    """Images that cannot be read or do not fit the network."""


def add_arguments(parser):
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="serial port of the board, for instance /dev/ttyUSB1")
    where.add_argument("--virtual", action="store_true", help="simulate the board, serial pins included")
    parser.add_argument("files", nargs="*", metavar="IMAGES",
                        help="arrays of uint8 images, .npy; of a network trained with --data also such data, or single pictures "
                             "(default: 1,000 test images of the network's data set)")
    parser.add_argument("--target", default=models.DEFAULT, metavar="BUILD_DIR or MODEL",
                        help="what the board holds: a build folder, a .bnn file or a shipped network (default: %(default)s)")
    parser.add_argument("--model", help="the build folder's network, where it is not a shipped one")
    parser.add_argument("--images", type=int, metavar="N", help="only the first N images")
    parser.add_argument("--self-test", action="store_true",
                        help="let the board run frames that it makes itself; compare results and cycles with what they must be")
    parser.add_argument("--baud", type=int, help=f"of the serial port (default: that of the build folder's board, or {BAUD})")
    parser.add_argument("--divisor", type=int, default=DIVISOR, metavar="CYCLES",
                        help="clock cycles per bit of the simulated line (default: %(default)s)")
    parser.add_argument("--noise", type=float, nargs=2, default=(0.0, 0.0), metavar=("FLIP", "DROP"),
                        help="chances, each way, that a byte of the simulated line is altered or lost (default: none)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON: classes, scores, and what the line lost")


def load_images(network, files):
    """Images from .npy files, int array (N, *shape of the network's input).

    Raises
    ------
    ImagesError
        A file is missing, is no array of integers, or does not fit; the message names it.
    """
    type = network.types[network.inputs[0]]
    parts = []
    for file in files:
        try:
            array = np.load(file, allow_pickle=False)
        except FileNotFoundError:
            raise ImagesError(f"{file}: there is no such file") from None
        except (OSError, ValueError, EOFError):
            raise ImagesError(f"{file}: it is not a .npy file, or it is damaged") from None
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.ndim < 1:
            raise ImagesError(f"{file}: it must hold an array of integers")
        if not array.size or not (_is_image(array.shape, type) or _is_image(array.shape[1:], type)):
            raise ImagesError(f"{file}: images must have {type.size} values, shape (N, {', '.join(map(str, type.shape))}), "
                              f"not {array.shape}")
        if array.min() < type.lo or array.max() > type.hi:
            raise ImagesError(f"{file}: values must be {type.lo} to {type.hi}, not {array.min()} to {array.max()}")
        if ((array.astype(np.int64) - type.lo) % type.step).any():
            raise ImagesError(f"{file}: values must be {type.lo} to {type.hi} in steps of {type.step}")
        parts.append(array.reshape(-1, *type.shape))
    return np.concatenate(parts)


def _is_image(shape, type):
    """Whether ``shape`` is that of an image: ``type``'s, but for sides of 1, or all of its values in a row. Where the network
    takes a row, any shape of as many values is one."""
    sides = [side for side in shape if side != 1]
    return math.prod(shape) == type.size and (len(type.shape) == 1 or len(sides) < 2 or
                                              sides == [side for side in type.shape if side != 1])


def _check(args):
    if args.divisor < 4:
        raise UsageError(f"--divisor must be at least 4, not {args.divisor}")
    if args.images is not None and args.images < 1:
        raise UsageError(f"--images must be at least 1, not {args.images}")
    if args.baud is not None and args.baud < 1:
        raise UsageError(f"--baud must be positive, not {args.baud}")
    if not all(0 <= chance < 0.2 for chance in args.noise):
        raise UsageError(f"--noise must be from 0 to 0.2, not {args.noise[0]:g} and {args.noise[1]:g}")
    if args.self_test and (args.files or args.images):
        raise UsageError("--self-test takes no images: the board makes its own")
    if args.port and any(args.noise):
        raise UsageError("--noise belongs to --virtual")


def _baud(target):
    """Of the board that the build folder ``target`` is for."""
    report = Path(target, "report.json")
    built_for = json.loads(report.read_text())["board"] if report.exists() else None
    return boards.find(built_for["name"]).baud if built_for else BAUD


@contextlib.contextmanager
def _connected(args, plan, verilog, console):
    """The board that the command line names, which has ``plan``'s network."""
    with contextlib.ExitStack() as stack:
        port = args.port
        if args.virtual:
            virtual = stack.enter_context(VirtualBoard(verilog, identity(plan), divisor=args.divisor, flip=args.noise[0],
                                                       drop=args.noise[1], seed=args.seed, say=console.print))
            port = virtual.port
            console.print(f"virtual board at {port}", highlight=False)
        board = stack.enter_context(Board(port, args.baud or _baud(args.target)))
        board.check(plan.network.digest)
        yield board


def _self_test(args, plan, verilog, console):
    want = selftest.expected(plan, identity(plan))
    with _connected(args, plan, verilog, console) as board:
        records, cycles = board.self_test()
    selftest.check(want, records, cycles)
    signature = selftest.signature(records)
    if args.json:
        print(json.dumps({"frames": len(records), "signature": signature, "cycles": cycles}))
    else:
        console.print(f"self-test: {len(records)} frames, signature {signature}, {cycles:,} cycles: as expected", highlight=False,
                      soft_wrap=True)


def run(args):
    _check(args)
    console = Console(stderr=args.json)
    found, plan, verilog = target.resolve(args.target, args.model)
    if args.self_test:
        _self_test(args, plan, verilog, console)
    else:
        _classify(args, found, plan, verilog, console)


def _classify(args, found, plan, verilog, console):
    network, names = found.network, None
    if args.files and found.encoding and not all(Path(file).suffix == ".npy" for file in args.files):
        parts = [owndata.inputs(found, file) for file in args.files]
        x, names = np.concatenate([part.x for part in parts]), [name for part in parts for name in part.names]
        labels = None if any(part.labels is None for part in parts) else np.concatenate([part.labels for part in parts])
    elif args.files:
        x, labels = load_images(network, args.files), None
    else:
        x, labels = verify.images_for(network, args.images or IMAGES, found.provenance.get("dataset"))
    x = x[:args.images]
    labels = None if labels is None else labels[:args.images]
    with _connected(args, plan, verilog, console) as board:
        with Progress(TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console,
                      disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task("", total=len(x))
            results = board.classify(encode(network, x), progress=lambda done: bar.update(task, completed=done))
        counters = board.counters()
    right = None if labels is None else int(np.count_nonzero(results.classes == labels))
    if args.json:
        print(json.dumps({
            "images": len(x), "right": right, "seconds": round(results.seconds, 3), "classes": results.classes.tolist(),
            "scores": None if results.scores is None else results.scores.tolist(), "flagged": results.flagged.tolist(),
            "resent": results.resent, "reopened": results.reopened, "bad_replies": results.bad_replies,
            "board": counters._asdict()}))
        return
    if labels is None:
        for index, found_class in enumerate(results.classes):
            name = found.classes[found_class] if found.classes else found_class
            console.print(f"{names[index] if names else f'image {index}'}: {name}", highlight=False, markup=False,
                          soft_wrap=True)
    console.print(f"{len(x):,} images in {results.seconds:.1f} s: {len(x) / results.seconds:,.1f} images/s", highlight=False)
    if right is not None:
        console.print(f"{right:,} classified right ({right / len(x):.2%})", highlight=False)
    console.print(f"board: {counters.frames:,} frames, {counters.errors:,} bad packets, {counters.stalls:,} stalled cycles, "
                  f"{counters.cycles:,} cycles; host: {results.bad_replies:,} bad replies, resent {results.resent:,} times, "
                  f"{results.reopened} sessions lost", highlight=False)


if __name__ == "__main__":
    from .cli import main_of
    main_of("run")
