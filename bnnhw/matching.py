"""Sums in terms of what the hardware counts.

An input value ``lo + step * c`` arrives as its code c of b bits. A lane gives c where the weight is +1, the complement
``2**b - 1 - c`` where it is -1, and nothing where it is 0; their sum p is the match count (of signs: the number of agreements).
The sum of the network is ``s = base + step * p`` with a constant base for each neuron, and for each way in which a window hangs
over the border where the padding's value has no code: there the lowest value is counted, and the base makes up for it.
"""

from dataclasses import dataclass

import numpy as np

from .gateware.mvtu import Codes, Signs
from .ir import Conv2d, DepthwiseConv2d

__all__ = ["Matching", "matching"]


@dataclass(frozen=True)
class Matching:
    """How sums follow from match counts: ``s = base[border][neuron] + step * p``.

    Attributes
    ----------
    base : int64 array (borders, n_out)
    step : int
    reach : list of int (n_out,)
        Each neuron's greatest match count.
    fill : int
        The code that stands for padding.
    """
    base: np.ndarray
    step: int
    reach: list
    fill: int

    def signs(self, levels, falling=None):
        """The unit's result that is 1 where ``s >= levels[neuron]``, and where ``s <= levels[neuron]`` of those that are falling.

        With banks both have a row for each task, and there is one border.
        """
        if falling is not None:     # s <= t is not s >= t + 1
            levels = np.asarray(levels) + np.asarray(falling)
        counts = -(-(np.asarray(levels) - self.base) // self.step)
        return Signs(np.clip(counts, 0, np.array(self.reach) + 1).tolist(), None if falling is None else falling.tolist())

    def codes(self, type):
        """The unit's result that is the code of s in ``type``."""
        offsets = self.base - type.lo
        assert not (offsets % type.step).any() and not self.step % type.step, (self, type)
        return Codes((offsets // type.step).tolist(), self.step // type.step, type.bits)


def matching(operation, type):
    """The :class:`Matching` of a Dense or convolution whose input is of ``type``."""
    weights = operation.weights
    most = 2**type.bits - 1
    plus, minus = ((weights == sign).reshape(len(weights), -1).sum(axis=1) for sign in (1, -1))
    base = ((plus - minus) * type.lo - minus * type.step * most)[None]
    reach = (plus * (type.levels - 1) + minus * most).tolist()
    if not isinstance(operation, (Conv2d, DepthwiseConv2d)) or not any(operation.padding):
        return Matching(base, type.step, reach, 0)
    code, off_grid = divmod(operation.fill - type.lo, type.step)
    if not off_grid and 0 <= code < type.levels:
        return Matching(base, type.step, reach, code)
    # Sums of the weights that lie on padding, per border: rows first, as the window buffer numbers them.
    taps = weights.reshape(*weights.shape[:3], -1).sum(axis=3, dtype=np.int64)
    rows, columns = operation.covered(type)
    outside = [taps.sum(axis=(1, 2)) - taps[:, a:b, c:d].sum(axis=(1, 2)) for a, b in rows for c, d in columns]
    return Matching(base + (operation.fill - type.lo) * np.array(outside), type.step, reach, 0)
