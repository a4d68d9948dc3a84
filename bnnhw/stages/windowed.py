"""What all stages on windows of a map share: geometry, and the depth of the buffer of its rows."""

import math

from ..gateware.window import outputs
from . import window_timing
from .base import BufferedStage

__all__ = ["WindowStage"]

class WindowStage(BufferedStage):
    """A stage that takes windows of a map from a buffer of its rows.

    Parameters
    ----------
    image : (H, W)
    channels, channels_out : int
    kernel, stride : (rows, columns)
    padding : (top, bottom, left, right)
    fill : int
        The code of padded places.
    bits, bits_out : int
        Of an element at input and output.
    """
    def __init__(self, name, sources, edge, *, image, channels, channels_out, kernel, stride, padding, fill, bits, bits_out):
        self.image, self.channels, self.channels_out = tuple(image), channels, channels_out
        self.kernel, self.stride, self.padding, self.fill = tuple(kernel), tuple(stride), tuple(padding), fill
        self.windows = math.prod(outputs(size, k, s, before, after) for size, k, s, before, after in zip(
            self.image, self.kernel, self.stride, self.padding[::2], self.padding[1::2], strict=True))
        super().__init__(name, sources, edge, elements_in=math.prod(self.image) * channels, bits_in=bits,
                         elements_out=self.windows * channels_out, bits_out=bits_out)

    @property
    def taps(self):
        return math.prod(self.kernel)

    def groups(self, options):
        """Words of a pixel in the window buffer."""
        return self.channels // self.lanes(options)[0]

    def geometry(self, options):
        """What a window buffer's timing depends on, but for its depth and how often it repeats windows."""
        return dict(image=self.image, groups=self.groups(options), kernel=self.kernel, stride=self.stride,
                    padding=self.padding)

    def window(self, options):
        """Parameters of :class:`~bnnhw.stages.window_timing.Window` but for its depth: channel by channel."""
        return self.geometry(options)

    def live(self, options):
        return window_timing.live_depth(**self.window(options))

    def rate(self, options, period):
        return window_timing.paced_depth(period, **self.window(options))

    def window_model(self, options):
        """A fresh timing model of the window buffer."""
        return window_timing.Window(depth=self.depth(options), **self.window(options))
