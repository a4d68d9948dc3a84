"""Operations on maps (H, W, C): convolutions and pools."""

import numpy as np

from .operations import Operation, checked_weights, sum_type
from .tensors import NetworkError, TensorType, integer, integers

__all__ = ["Conv2d", "DepthwiseConv2d", "MaxPool2d", "SumPool2d"]


def _numbers(what, value, count, least):
    """A tuple of ``count`` integers, each at least ``least``."""
    numbers = tuple(integer(what, number) for number in np.asarray(value).reshape(-1).tolist())
    if len(numbers) != count or min(numbers) < least:
        raise NetworkError(f"{what} must be {count} integers, each at least {least}, not {value!r}")
    return numbers


class _Windows(Operation):
    """What all operations on windows share: kernel (rows, columns), stride (down, right), padding."""
    padding = (0, 0, 0, 0)      # top, bottom, left, right

    def positions(self, type):
        """Output rows and columns for an input of ``type``. Raises :exc:`NetworkError` where there is none."""
        if len(type.shape) != 3:
            raise NetworkError(f"its input must be a map (H, W, C), but its shape is {type.shape}")
        top, bottom, left, right = self.padding
        sizes = type.shape[0] + top + bottom, type.shape[1] + left + right
        if any(size < k for size, k in zip(sizes, self.kernel, strict=True)):
            raise NetworkError(f"a kernel of {self.kernel} does not fit into a map of {sizes}, padding included")
        return tuple((size - k) // s + 1 for size, k, s in zip(sizes, self.kernel, self.stride, strict=True))

    def covered(self, type):
        """Which part of the kernel lies on the map and not on padding.

        Returns
        -------
        rows, columns : lists of (first, end)
            The distinct cases of the two directions, in order of first occurrence. Each row case occurs with each column case.
        """
        found = []
        for size, k, s, before, count in zip(type.shape, self.kernel, self.stride, self.padding[::2], self.positions(type),
                                             strict=False):
            starts = [place * s - before for place in range(count)]
            found.append(list(dict.fromkeys((max(0, -start), min(k, size - start)) for start in starts)))
        return found


class _Convolution(_Windows):
    """Convolution with weights -1, 0 and +1, whose padded places have the value ``fill``."""
    arrays = ("weights",)
    settings = ("stride", "padding", "fill")

    def __init__(self, name, source, weights, ndim, stride, padding, fill):
        super().__init__(name, source)
        try:
            self.weights = checked_weights(weights, ndim)
            self.stride = _numbers("stride", stride, 2, 1)
            self.padding = _numbers("padding", padding, 4, 0)
            self.fill = integer("fill", fill)
            for side, size, k in zip(("top", "bottom", "left", "right"), self.padding, np.repeat(self.kernel, 2), strict=True):
                if size >= k:
                    raise NetworkError(f"padding at the {side} must be less than the kernel's {k}, not {size}")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None

    @property
    def kernel(self):
        """Rows and columns."""
        return self.weights.shape[1:3]

    def channels(self, type):
        """Number of input channels that the weights take."""
        raise NotImplementedError  # pragma: no cover - either kind has its own

    def infer(self, type):
        shape = (*self.positions(type), len(self.weights))
        if type.channels != self.channels(type):
            raise NetworkError(f"weights take {self.channels(type)} channels, but the input has {type.channels}")
        # Per output channel and kernel place, the number of weights +1 and -1.
        plus, minus = ((self.weights == sign).reshape(*self.weights.shape[:3], -1).sum(axis=3) for sign in (1, -1))
        every = (plus - minus).sum(axis=(1, 2))
        found = []
        rows, columns = self.covered(type)
        for a, b in rows:
            for c, d in columns:
                here = [count[:, a:b, c:d].sum(axis=(1, 2)) for count in (plus, minus)]
                found.append((*here, self.fill * (every - here[0] + here[1])))
        return sum_type(shape, type, *(np.array(parts) for parts in zip(*found, strict=True)))


class Conv2d(_Convolution):
    """Convolution (cross-correlation, as in PyTorch) of a map with weights -1, 0 and +1.

    Parameters
    ----------
    weights : int8 array (C_out, rows, columns, C_in)
    stride : (down, right)
    padding : (top, bottom, left, right)
        Each less than the kernel in that direction.
    fill : int
        The value of padded places: -1 or +1 for signs, or 0 for zero padding, of signs too.
    """
    def __init__(self, name, source, weights, stride=(1, 1), padding=(0, 0, 0, 0), fill=-1):
        super().__init__(name, source, weights, 4, stride, padding, fill)

    def channels(self, type):
        return self.weights.shape[3]


class DepthwiseConv2d(_Convolution):
    """Convolution of each channel with a kernel of its own.

    Parameters
    ----------
    weights : int8 array (C, rows, columns)
    stride, padding, fill
        As of :class:`Conv2d`.
    """
    def __init__(self, name, source, weights, stride=(1, 1), padding=(0, 0, 0, 0), fill=-1):
        super().__init__(name, source, weights, 3, stride, padding, fill)

    def channels(self, type):
        return len(self.weights)


class _Pool(_Windows):
    settings = ("kernel", "stride")

    def __init__(self, name, source, kernel, stride):
        super().__init__(name, source)
        try:
            self.kernel = _numbers("kernel", kernel, 2, 1)
            self.stride = _numbers("stride", stride, 2, 1)
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None


class MaxPool2d(_Pool):
    """The greatest value of each window, channel by channel; the least in channels that ``minimum`` names.

    Signs behind falling thresholds need the least (an AND); see :mod:`bnnhw.rewrite`.

    Parameters
    ----------
    kernel, stride : (rows, columns)
        There is no padding; rows and columns that are left over are dropped.
    minimum : bool array (C,), optional
    """
    arrays = ("minimum",)

    def __init__(self, name, source, kernel, stride, minimum=None):
        super().__init__(name, source, kernel, stride)
        try:
            # Equal functions have one form: no channel at all where every channel takes the greatest.
            minimum = np.zeros(0) if minimum is None or not np.any(minimum) else integers("minimum", minimum, 1)
            if np.any((minimum != 0) & (minimum != 1)):
                raise NetworkError("minimum must be false or true")
        except NetworkError as error:
            raise NetworkError(f"operation {name!r}: {error}") from None
        self.minimum = minimum.astype(bool)
        self.minimum.setflags(write=False)

    def least(self, channels):
        """bool array (channels,): where the least is taken."""
        return self.minimum if self.minimum.size else np.zeros(channels, bool)

    def infer(self, type):
        shape = (*self.positions(type), type.channels)
        if self.minimum.size not in (0, type.channels):
            raise NetworkError(f"minimum for {self.minimum.size} channels, but the input has {type.channels}")
        return TensorType(shape, type.lo, type.hi, type.step)


class SumPool2d(_Pool):
    """The sum of each window, channel by channel.

    Average pooling is this and a scale, which the next threshold takes up.

    Parameters
    ----------
    kernel, stride : (rows, columns)
        There is no padding; rows and columns that are left over are dropped.
    """
    def infer(self, type):
        shape, taps = (*self.positions(type), type.channels), self.kernel[0] * self.kernel[1]
        return TensorType(shape, taps * type.lo, taps * type.hi, type.step)
