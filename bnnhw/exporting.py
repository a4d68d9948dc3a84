"""Writes networks for other tools: ``bnnhw export``."""

from pathlib import Path

from . import models
from .errors import UserError
from .exporters import plain, qonnx
from .files import atomic_write

__all__ = ["add_arguments", "run"]


class ExportingError(UserError, ValueError):
    """A network that other tools' formats cannot hold."""


def add_arguments(parser):
    parser.add_argument("model", nargs="?", default=models.DEFAULT, metavar="MODEL",
                        help="a .bnn file or the name of a shipped network (default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="NET.onnx", help="the file to write (default: the model's name with .onnx)")
    parser.add_argument("--plain", action="store_true",
                        help="standard ONNX operators in exact floats, for onnxruntime, in place of QONNX")


def run(args):
    found = models.load(args.model)
    if found.network.task:
        raise ExportingError(f"the network has {found.network.tasks} tasks: there is no ONNX of such, which would choose banks")
    model = (plain if args.plain else qonnx).to_model(found.network, found.classes)
    output = Path(args.output or f"{Path(args.model).stem}.onnx")
    atomic_write(output, model.SerializeToString(deterministic=True))
    outputs = ", ".join(port.name for port in model.graph.output)
    print(f"written: {output} ({'ONNX' if args.plain else 'QONNX'}; outputs: {outputs})")
