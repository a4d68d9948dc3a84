"""Brevitas' modules, through its own QONNX export."""

import copy
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch

from ..errors import UserError
from . import qonnx
from .problems import Problem, Refusal
from .rational import Inexpressible
from .torch_examples import checked, evaluating

__all__ = ["from_module"]

PIXELS = (0, 255, 1)


def _exported(model, example, path):
    try:
        from brevitas.export import export_qonnx
    except ImportError as error:
        raise UserError(f"Brevitas is not here ({error}): pip install 'bnnhw[brevitas]'") from None
    try:
        # The exporter changes modules while it works: it gets a copy. Torch's older exporter keeps the modules' names.
        export_qonnx(copy.deepcopy(model).cpu(), example.cpu(), export_path=str(path), dynamo=False)
    except Exception as error:      # whatever Brevitas, torch or the user's own code raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise Refusal(type(model).__name__, [Problem("", "", f"Brevitas cannot export it to QONNX ({reason})")]) from None


def from_module(model, example, *, input_scale=Fraction(1, 255), input_offset=0, input_limits=PIXELS):
    """The network of a module of Brevitas in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Gives scores (N, classes). It is left as it was.
    example : tensor (N, C, H, W), (N, H, W) or (N, C)
        As the model takes it; tells the shape. Where its numbers are such as the input can have, the model itself decides them,
        and the provenance's ``checked`` has what :func:`~bnnhw.importers.torch_examples.checked` gives.
    input_scale, input_offset : numbers
        The model takes ``scale * integer + offset``.
    input_limits : (lo, hi, step)
        The integers that the user sends.

    Returns
    -------
    Artifact
        Its network takes integers (H, W, C) or (C,), channel-last, and gives the class.

    Raises
    ------
    Refusal
        As :func:`bnnhw.importers.qonnx.read`, or because Brevitas cannot export it.
    UserError
        Where Brevitas is not installed.
    """
    name = type(model).__name__
    if not isinstance(example, torch.Tensor) or example.ndim not in (2, 3, 4) or not len(example):
        raise Refusal(name, [Problem("", "", "the example is no tensor (N, C, H, W), (N, H, W) or (N, C) of one input or more")])
    with tempfile.TemporaryDirectory() as folder, evaluating(model):
        path = Path(folder) / f"{name}.onnx"
        _exported(model, example[:1], path)
        try:
            found = qonnx.read(path, input_scale=input_scale, input_offset=input_offset, input_limits=input_limits)
        except Refusal as error:
            raise Refusal(name, error.problems) from None
        try:
            tried = checked(model, found.network, example, Fraction(input_scale), Fraction(input_offset),
                            found.provenance["float32_ties_total"])
        except Inexpressible as error:
            raise Refusal(name, [Problem("", "", error.reason, error.accepted)]) from None
    imported = found.provenance["imported"] | {"kind": "Brevitas module", "module": name, "checked": tried}
    return replace(found, provenance=found.provenance | {"imported": imported})
