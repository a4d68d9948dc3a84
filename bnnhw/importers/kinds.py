"""Which foreign format a file is in, told from its content, and the reader of that format."""

import importlib
from dataclasses import dataclass
from pathlib import Path

from . import bnn_pynq
from .problems import Problem, Refusal

__all__ = ["KINDS", "Kind", "kind_of", "read"]

HEAD = 16                   # bytes that tell
HDF5 = b"\x89HDF\r\n\x1a\n"
ONNX_FIRST_FIELD = 0x08     # protobuf's tag of a model's first field, the version of the format, a number below 128
REFUSED = {     # first bytes -> what it is
    b"PK\x03\x04": "a zip archive, as PyTorch and newer Keras write them",
} | {bytes([0x80, protocol]): "a Python pickle, which is never opened: it could run any code" for protocol in range(2, 6)}


@dataclass(frozen=True)
class Kind:
    """A foreign format.

    Attributes
    ----------
    name : str
    module : str
        Of this package, with ``read(path, ...)`` that gives an :class:`~bnnhw.artifact.Artifact`.
    options : frozenset of str
        Keyword arguments of its ``read``.
    """
    name: str
    module: str
    options: frozenset = frozenset()

    def read(self, path, **options):
        return importlib.import_module(f".{self.module}", __package__).read(path, **options)


INPUT = frozenset({"input_scale", "input_offset", "input_limits"})
PYNQ = Kind("BNN-PYNQ folder", "bnn_pynq")
KERAS, QONNX = Kind("Keras .h5", "keras", INPUT), Kind("QONNX", "qonnx", INPUT)
KINDS = (PYNQ, KERAS, QONNX)


def kind_of(path):
    """The :class:`Kind` of a file or folder. Raises :exc:`~bnnhw.importers.problems.Refusal` where it is none."""
    path = Path(path)

    def refuse(reason, accepted=""):
        raise Refusal(path, [Problem("", "", reason, accepted)])
    accepted = ", ".join(kind.name for kind in KINDS)
    if not path.exists():
        refuse("there is no such file or folder")
    if path.is_dir():
        return PYNQ if bnn_pynq.recognise(path) else refuse("it is a folder without BNN-PYNQ's parameter files", accepted)
    if not path.is_file():
        refuse("it is not a plain file")
    with open(path, "rb") as file:
        head = file.read(HEAD)
    for start, what in REFUSED.items():
        if head.startswith(start):
            refuse(f"it is {what}", f"{accepted}, or bnnhw.importers.torch on the module itself")
    if head[8:10] == b'{"':
        refuse("it is a .bnn file, or another safetensors file, not a foreign network", accepted)
    if head.startswith(HDF5):
        return KERAS
    if len(head) > 1 and head[0] == ONNX_FIRST_FIELD and head[1] < 128:
        return QONNX
    return refuse("it is not recognised", accepted)


def read(path, **options):
    """The network of a foreign file or folder, exactly.

    Parameters
    ----------
    path : path of a file or folder
    **options
        Of the kind's own ``read``, see :data:`KINDS`.

    Returns
    -------
    Artifact
    """
    return kind_of(path).read(path, **options)
