"""Rewrites of a network into one whose hardware is smaller; each computes the same integers on every edge that keeps its name.

Three rules, applied until none applies:

- a threshold takes up the scale and offset of an Affine in front of it (batch norms, XNOR-Net's alpha);
- a threshold moves in front of a max-pool, which then works on a few bits: it takes the greatest of a rising channel's (an OR
  of signs) and the least of a falling one's (an AND);
- a falling threshold behind a dense layer or a convolution becomes a rising one behind negated weights.

An edge that means something new gets a new name; ``titles`` says which operation of the network it comes from.
"""

import numpy as np

from .ir import Affine, Conv2d, Dense, DepthwiseConv2d, MaxPool2d, Network, Threshold

__all__ = ["WEIGHTED", "rewrite"]

WEIGHTED = (Dense, Conv2d, DepthwiseConv2d)


def _only(network, edge, kind):
    """The one operation that takes ``edge``, where it is of ``kind`` and nothing else looks at the edge; else None."""
    consumers = network.consumers(edge)
    if len(consumers) != 1 or edge in network.outputs:
        return None
    consumer = network.operations[consumers[0]]
    return consumer if isinstance(consumer, kind) else None


def _fresh(network, name):
    """``name``, or what is like it and no operation is called."""
    return name if name not in network.operations else _fresh(network, f"{name}_")


def _scaled(network, operation):
    """An Affine and the Threshold behind it: the threshold alone."""
    threshold = _only(network, operation.name, Threshold) if isinstance(operation, Affine) else None
    if threshold is None:
        return None
    a, b, type = operation.scale[:, None], operation.offset[:, None], network.types[operation.inputs[0]]
    # a s + b >= t is s >= ceil((t - b) / a) for positive a, s <= floor((t - b) / a) for negative; likewise <=.
    divisor = np.where(a == 0, 1, a)
    down, up = (threshold.levels - b) // divisor, -(-(threshold.levels - b) // divisor)
    falling = threshold.falling ^ (operation.scale < 0)
    levels = np.where(falling[:, None], down, up)
    constant = np.where(threshold.falling[:, None], b <= threshold.levels, b >= threshold.levels)
    # A constant is always or never: the lowest level or one above all (rising), the greatest or one below all (falling).
    always, never = np.where(falling, type.hi, type.lo), np.where(falling, type.lo - type.step, type.hi + type.step)
    levels = np.where(a == 0, np.where(constant, always[:, None], never[:, None]), levels)
    return {operation.name: None,
            threshold.name: Threshold(threshold.name, operation.inputs[0], levels, falling, threshold.base, threshold.step)}


def _pooled(network, operation):
    """A MaxPool2d and the Threshold behind it: the threshold first."""
    threshold = _only(network, operation.name, Threshold) if isinstance(operation, MaxPool2d) else None
    if threshold is None:
        return None
    early = _fresh(network, f"{operation.name}_early")
    minimum = operation.least(len(threshold.falling)) ^ threshold.falling
    return {operation.name: Threshold(early, operation.inputs[0], threshold.levels, threshold.falling, threshold.base,
                                      threshold.step),
            threshold.name: MaxPool2d(threshold.name, early, operation.kernel, operation.stride, minimum)}


def _flipped(network, operation):
    """Weights and a Threshold of one level behind them that falls in some channels: those channels negated."""
    threshold = _only(network, operation.name, Threshold) if isinstance(operation, WEIGHTED) else None
    if threshold is None or threshold.levels.shape[1] != 1 or not threshold.falling.any():
        return None
    name, signs = _fresh(network, f"{operation.name}_flipped"), np.where(threshold.falling, -1, 1)
    weights = operation.weights * signs.reshape(-1, *[1] * (operation.weights.ndim - 1))
    settings = {key: getattr(operation, key) for key in operation.settings}
    # s <= t is -s >= -t.
    return {operation.name: type(operation)(name, operation.inputs[0], weights, **settings),
            threshold.name: Threshold(threshold.name, name, threshold.levels * signs[:, None], np.zeros(len(signs), bool),
                                      threshold.base, threshold.step)}


RULES = (_scaled, _pooled, _flipped)


def _apply(network, titles):
    """One rewrite, or None where no rule applies."""
    for operation in network.operations.values():
        for rule in RULES:
            changed = rule(network, operation)
            if changed is None:
                continue
            for old, new in changed.items():
                if new is not None and new.name not in network.operations:
                    titles[new.name] = titles.get(old, old)
            if rule is _pooled:         # the pool is now where the threshold was, and is still called what it was
                titles[list(changed)[1]] = titles.get(operation.name, operation.name)
            kept = [changed.get(name, op) for name, op in network.operations.items()]
            return Network([op for op in kept if op is not None], network.outputs)
    return None


def rewrite(network):
    """The rewritten network.

    Parameters
    ----------
    network : Network

    Returns
    -------
    network : Network
        An edge that has a name of the given network has its values, too.
    titles : dict str -> str
        For operations that are not what the given network calls so: the operation there whose work they do.
    """
    titles = {}
    while (changed := _apply(network, titles)) is not None:
        network = changed
    return network, {name: title for name, title in titles.items() if name in network.operations}
