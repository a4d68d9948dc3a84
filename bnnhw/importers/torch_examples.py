"""A PyTorch model in evaluation mode, asked what it decides itself."""

import contextlib

import numpy as np
import torch

from .. import reference
from .rational import Inexpressible

__all__ = ["checked", "evaluating", "integers"]

NEAR = 1e-5     # of an example's value to the integer that it stands for, in units of the scale


@contextlib.contextmanager
def evaluating(model):
    """The model in evaluation mode; each module as it was afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def integers(network, example, scale, offset):
    """The example as the network takes it; None where its numbers are not those of integers that the input has."""
    t = (example.detach().double().cpu().numpy() - float(offset)) / float(scale)
    if not t.size or not np.isfinite(t).all():
        return None
    rounded = np.rint(t).astype(np.int64)
    type = network.types[network.inputs[0]]
    if np.any(np.abs(t - rounded) > NEAR) or rounded.min() < type.lo or rounded.max() > type.hi or np.any(
            (rounded - type.lo) % type.step):
        return None
    return rounded.transpose(0, 2, 3, 1) if rounded.ndim == 4 else rounded[..., None] if rounded.ndim == 3 else rounded


@torch.no_grad()
def checked(model, network, example, scale, offset, tied):
    """What the model's own float arithmetic decides of an example; ``tied`` is the number of known ties with float32.

    Returns
    -------
    dict
        ``examples``: how many inputs were tried, 0 where the example's numbers are not such as the network takes;
        ``differing_decisions``: how many the model decides otherwise than the network; ``equal_scores``: of how many of these
        the network's integer scores of both classes are equal, so that only rounding in the model's sums chose between them.

    Raises
    ------
    Inexpressible
        The model decides otherwise without any such reason: something in it was not understood.
    """
    x = integers(network, example, scale, offset)
    if x is None:
        return {"examples": 0, "differing_decisions": 0, "equal_scores": 0}
    result = model(example)
    results = [v for v in result if v is not None] if isinstance(result, (tuple, list)) else [result]
    result = next((v for v in results if not v.is_floating_point()), results[0])    # of values and places, the places
    classes = (result.argmax(1) if result.is_floating_point() else result.reshape(-1)).cpu().numpy()
    output = network.outputs[0]
    source = network.operations[output].inputs[0]
    found = reference.run(network, x, keep=[source, output])
    differing = found[output] != classes
    scores = found[source][differing]
    equal = np.take_along_axis(scores, classes[differing][:, None].astype(int), 1)[:, 0] == scores.max(axis=1, initial=-2**62)
    if differing.sum() > equal.sum() and not tied:
        raise Inexpressible(f"the model itself decides {differing.sum() - equal.sum()} of {len(x)} examples otherwise than what "
                            "was understood of it", "a model without side effects")
    return {"examples": len(x), "differing_decisions": int(differing.sum()), "equal_scores": int(equal.sum())}
