"""Pools: the greatest (or least) value or the sum of each window, channel by channel."""

from typing import Literal

from ..gateware.pool import MaxPool, SumPool
from . import timing
from .base import BufferOptions, divisors
from .unit_timing import buffered
from .windowed import WindowStage

__all__ = ["PoolOptions", "MaxPoolStage", "SumPoolStage"]

NO_PADDING = (0, 0, 0, 0)


class PoolOptions(BufferOptions):
    kind: Literal["maxpool", "sumpool"]
    lanes: int


class _PoolStage(WindowStage):
    """Either kind, without padding."""
    def __init__(self, name, sources, edge, *, image, channels, kernel, stride, bits, bits_out):
        super().__init__(name, sources, edge, image=image, channels=channels, channels_out=channels, kernel=kernel,
                         stride=stride, padding=NO_PADDING, fill=0, bits=bits, bits_out=bits_out)

    def parse(self, table):
        options = PoolOptions(**table)
        if options.lanes not in divisors(self.channels):
            self.refuse("lanes", divisors(self.channels), options.lanes)
        return self.check_depth(options)

    def folding_space(self):
        for lanes in divisors(self.channels):
            yield PoolOptions(kind=self.kind, lanes=lanes)

    def lanes(self, options):
        return options.lanes, options.lanes

    def cycles(self, options):
        groups = self.channels // options.lanes
        return max(self.elements_in // options.lanes, self.windows * groups * self.taps)

    def resources(self, options):
        return {"lanes": options.lanes, "bram_words": [], "buffer_words": (options.lanes * self.bits_in, self.depth(options))}

    def timing(self, options):
        return buffered(self.window_model(options), timing.Gathering(self.taps), options.slices)


class MaxPoolStage(_PoolStage):
    """The greatest value of each window; the least in channels that ``minimum`` (list of bool) names."""
    kind = "maxpool"

    def __init__(self, name, sources, edge, *, minimum, bits, **more):
        super().__init__(name, sources, edge, bits=bits, bits_out=bits, **more)
        self.minimum = minimum

    def build(self, options):
        return MaxPool(image=self.image, kernel=self.kernel, stride=self.stride, bits=self.bits_in, lanes=options.lanes,
                       minimum=self.minimum, depth=self.depth(options), slices=options.slices)


class SumPoolStage(_PoolStage):
    """The sum of each window's codes, ``width`` bits."""
    kind = "sumpool"

    def __init__(self, name, sources, edge, *, width, **more):
        super().__init__(name, sources, edge, bits_out=width, **more)

    def build(self, options):
        return SumPool(image=self.image, kernel=self.kernel, stride=self.stride, bits=self.bits_in, lanes=options.lanes,
                       channels=self.channels, width=self.bits_out, depth=self.depth(options),
                       slices=options.slices)
