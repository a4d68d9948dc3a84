"""What a .bnn file holds: ``bnnhw info``."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import models, owndata, verify
from .errors import UsageError, UserError
from .files import atomic_write

__all__ = ["add_arguments", "run"]

PLOTTED = 100       # inputs of a data set of which none ship


class InfoError(UserError, ValueError):
    """Data that a picture cannot be drawn with."""


def add_arguments(parser):
    parser.add_argument("model", nargs="?", default=models.DEFAULT, metavar="MODEL",
                        help="a .bnn file or the name of a shipped network (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the first layer's weights, thresholds, what each class hangs on")
    parser.add_argument("--data", metavar="PATH", help="with --plot: rows or pictures of your own, for the latter")


def describe(found):
    """Plain JSON values: digest, operations with types and sizes in bits, class names, provenance."""
    network = found.network
    operations = []
    for name, operation in network.operations.items():
        type = network.types[name]
        operations.append({
            "name": name, "kind": operation.kind, "inputs": list(operation.inputs), "shape": list(type.shape),
            "lo": type.lo, "hi": type.hi, "step": type.step,
            "weight_bits": sum(getattr(operation, key).size for key in ("weights", "tables") if hasattr(operation, key)),
            "falling": int(operation.falling.sum()) if operation.kind in ("Threshold", "BankThreshold") else 0,
        })
    return {"network": network.digest, "operations": operations, "outputs": list(network.outputs),
            "classes": list(found.classes), "provenance": found.provenance}


def _inputs(loaded, data):
    """Inputs and labels to try the network on: ``data``, or test images of its data set; None and None without."""
    if data:
        own = owndata.inputs(loaded, data)
        if own.labels is None:
            raise InfoError(f"{data}: there are no classes in it whose scores could be tried")
        return own.x, own.labels
    dataset = loaded.provenance.get("dataset")
    count = len(models.test_images(dataset)[0]) if dataset in models.IMAGES else PLOTTED
    x, labels = verify.images_for(loaded.network, count, dataset)
    return (None, None) if labels is None else (x, labels)


def _plot(args, loaded):
    from . import infoplot  # matplotlib comes with an extra
    atomic_write(args.plot, infoplot.picture(loaded, Path(args.model).stem, *_inputs(loaded, args.data)))
    print(f"written: {args.plot}")


def run(args):
    if args.data and not args.plot:
        raise UsageError("--data belongs to --plot")
    if args.plot and Path(args.plot).suffix.lower() != ".png":
        raise UsageError(f"--plot draws a .png file, not {args.plot}")
    loaded = models.load(args.model)
    if args.plot and loaded.network.task:
        raise InfoError(f"the network has {loaded.network.tasks} tasks: there is no picture of such yet")
    if args.plot:
        return _plot(args, loaded)
    found = describe(loaded)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    console = Console()
    console.print(f"network {found['network']}", highlight=False, markup=False)
    table = Table("operation", "kind", "of", "shape", "values", "weights", box=None, pad_edge=False)
    for op in found["operations"]:
        values = f"{op['lo']} to {op['hi']}" + (f" by {op['step']}" if op["step"] > 1 else "")
        note = f"{op['weight_bits']:,}" if op["weight_bits"] else f"{op['falling']} falling" if op["falling"] else ""
        table.add_row(op["name"], op["kind"], ", ".join(op["inputs"]), "x".join(map(str, op["shape"])) or "scalar", values, note)
    console.print(table)
    total = sum(op["weight_bits"] for op in found["operations"])
    classes = ", ".join(found["classes"]) or "unnamed"
    console.print(f"{total:,} weights of one bit; classes: {classes}", highlight=False, markup=False)
    for key, value in found["provenance"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        console.print(f"{key}: {text}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    from .cli import main_of
    main_of("info")
