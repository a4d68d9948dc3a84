"""Foreign weights: in each output channel one magnitude and 0."""

import numpy as np

from .rational import Inexpressible, fractions

__all__ = ["signs"]

ACCEPTED = "in each output channel the weights are +a, -a and 0 with one a"


def signs(weights, scale=None):
    """Split weights into a sign and one magnitude for each output channel.

    Parameters
    ----------
    weights : array (C_out, ...)
        Exact floats, or fractions.
    scale : object array, optional
        One for each element of the last dimension, with which it is multiplied first.

    Returns
    -------
    signs : int8 array (C_out, ...)
    magnitude : object array (C_out,)
        Fractions, not negative; 0 where all weights of a channel are.

    Raises
    ------
    Inexpressible
        Naming the first output channel that has two magnitudes.
    """
    if weights.dtype.kind == "f" and not np.isfinite(weights).all():
        raise Inexpressible(f"a weight is {weights[~np.isfinite(weights)][0]}", "finite numbers")
    if scale is not None:
        weights = fractions("the weights", weights) * scale
    flat = weights.reshape(len(weights), -1)
    size = np.abs(flat)
    magnitude = size.max(axis=1)
    wrong = np.argwhere((size != 0) & (size != magnitude[:, None]))
    if len(wrong):
        channel, place = wrong[0]
        raise Inexpressible(f"output channel {channel} has weights of magnitudes {float(size[channel, place]):.9g} and "
                            f"{float(magnitude[channel]):.9g}", ACCEPTED)
    return (weights > 0).astype(np.int8) - (weights < 0).astype(np.int8), fractions("the weights", magnitude)
