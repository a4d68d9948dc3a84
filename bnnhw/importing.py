"""Takes in networks of other tools, exactly or not at all: ``bnnhw import``."""

import argparse
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from . import artifact, datasets
from .errors import UsageError, UserError
from .importers.kinds import kind_of
from .importers.problems import Refusal

__all__ = ["add_arguments", "run"]


def number(text):
    """A decimal number or a quotient such as 1/255, exact."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a quotient such as 1/255") from None


def add_arguments(parser):
    parser.add_argument("source", metavar="FILE", help="a QONNX or ONNX file, a Keras .h5 file, or a folder of BNN-PYNQ")
    parser.add_argument("-o", "--output", metavar="NET.bnn", help="the file to write (default: the source's name with .bnn)")
    parser.add_argument("--check", action="store_true", help="write nothing; list all problems of the file at once")
    parser.add_argument("--dataset", choices=datasets.DATASETS, help="the data set that it was trained on: names its classes")
    parser.add_argument("--input-scale", type=number, metavar="S",
                        help="QONNX and Keras: the network's input is S x integer + O; S is a number or a quotient "
                             "(default: what the file says, else 1/255)")
    parser.add_argument("--input-offset", type=number, metavar="O", help="see --input-scale (default: 0)")
    parser.add_argument("--input-range", type=int, nargs=2, metavar=("LO", "HI"),
                        help="QONNX and Keras: the integers that are sent (default: what the file says, else 0 255)")


def _options(args, kind):
    given = {"input_scale": args.input_scale, "input_offset": args.input_offset,
             "input_limits": None if args.input_range is None else (*args.input_range, 1)}
    given = {key: value for key, value in given.items() if value is not None}
    for key in given:
        if key not in kind.options:
            name = {"input_limits": "--input-range"}.get(key, "--" + key.replace("_", "-"))
            raise UsageError(f"{name} is for QONNX and Keras files, this is a {kind.name}")
    if "input_offset" in given and "input_scale" not in given:
        raise UsageError("--input-offset needs --input-scale")
    return given


def _named(found, dataset):
    """The artifact with the classes of a data set, whose images and classes it must fit."""
    network, classes = found.network, datasets.DATASETS[dataset].classes
    scores = network.types[network.operations[network.outputs[0]].inputs[0]]
    if scores.size != len(classes):
        raise UserError(f"--dataset {dataset}: it has {len(classes)} classes, the network {scores.size}")
    return replace(found, classes=classes, provenance=found.provenance | {"dataset": dataset})


def _report(found):
    """Lines that say what was made and what is to be known of it."""
    network, imported = found.network, found.provenance.get("imported", {})
    kinds = [operation.kind for operation in network.operations.values()]
    types = [network.types[name] for name in network.inputs]
    yield f"network {network.digest}"
    yield f"operations: {', '.join(f'{kinds.count(kind)} {kind}' for kind in dict.fromkeys(kinds))}"
    yield "input: " + ", ".join(f"{'x'.join(map(str, t.shape))}, {t.lo} to {t.hi}" for t in types)
    if "assumed" in imported:
        yield f"assumed: {imported['assumed']}"
    total = found.provenance.get("float32_ties_total", len(found.provenance.get("float32_ties", ())))
    if total:
        first = found.provenance["float32_ties"][0]
        yield (f"float32 decides otherwise than exact arithmetic at {total} places, first: {json.dumps(first)}; "
               "the exact decision holds (the first 100 are in the provenance)")
    for name, count in imported.get("float32_weights", {}).items():
        yield f"node {name}: float32 would quantize {count} weights otherwise; the exact ones hold"
    if "exported" in imported:
        before, differences = imported["exported"]["network"], imported["exported"]["differences"]
        yield (f"it differs from the network that was exported, {before[:12]}...: {'; '.join(differences)}" if differences
               else "it is the network that was exported")


def run(args):
    kind = kind_of(args.source)
    options = _options(args, kind)
    try:
        found = kind.read(args.source, **options)
    except Refusal as error:
        if not args.check or len(error.problems) < 2:
            raise
        for problem in error.problems:
            print(problem)
        raise UserError(f"{args.source}: {len(error.problems)} problems") from None
    if args.dataset:
        found = _named(found, args.dataset)
    print(f"{args.source}: {kind.name}")
    for line in _report(found):
        print(line)
    if args.check:
        print("no problems")
        return
    output = Path(args.output or f"{Path(args.source).stem}.bnn")
    artifact.save(output, found)
    print(f"written: {output}")
