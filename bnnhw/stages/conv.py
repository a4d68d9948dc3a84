"""Convolutions of maps, and of each channel by itself: a window buffer and a matrix-vector unit."""

import functools
import math
from typing import Literal

from ..gateware.conv import DepthwiseConv, FoldedConv
from ..gateware.padding import Grouping
from . import timing
from .base import BufferOptions, TreeOptions, divisors
from .dense import KEPT_IN, MEMORIES, memories
from .foldings import Sizes, foldings
from .unit_timing import buffered, padded
from .windowed import WindowStage

__all__ = ["ConvOptions", "ConvStage", "DepthwiseOptions", "DepthwiseStage"]


class ConvOptions(TreeOptions):
    kind: Literal["conv"] = "conv"
    pe: int
    simd: int
    memory: Literal[KEPT_IN]


class DepthwiseOptions(BufferOptions):
    kind: Literal["depthwise"] = "depthwise"
    pe: int
    memory: Literal[KEPT_IN]


class _ConvStage(WindowStage):
    def __init__(self, name, sources, edge, *, weights, result, reach, channels, bits, **more):
        super().__init__(name, sources, edge, channels=channels, channels_out=len(weights), kernel=weights.shape[1:3], bits=bits,
                         bits_out=result.width, **more)
        self.weights, self.result, self.reach = weights, result, reach

    def _check_memory(self, table):
        if table.get("memory", "bram") not in KEPT_IN:
            self.refuse("memory", KEPT_IN, table["memory"])

    def _arguments(self, options):
        """What :class:`FoldedConv` and :class:`DepthwiseConv` both take."""
        return dict(weights=self.weights, result=self.result, reach=self.reach, image=self.image, stride=self.stride,
                    padding=self.padding, fill=self.fill, bits=self.bits_in, pe=options.pe, memory=options.memory,
                    depth=self.depth(options), slices=options.slices)


class ConvStage(_ConvStage):
    """A convolution, with its threshold if bits follow.

    Parameters
    ----------
    weights : int8 array (C_out, rows, columns, C_in)
        -1, 0, +1.
    image, stride, padding, fill, bits
        As of :class:`~bnnhw.stages.windowed.WindowStage`.
    reach : list of int (C_out,)
        Greatest match counts.
    result : Signs or Codes
        What is made of match counts (:mod:`bnnhw.gateware.mvtu`).
    """
    kind = "conv"

    def __init__(self, name, sources, edge, *, weights, **more):
        super().__init__(name, sources, edge, weights=weights, channels=weights.shape[3], **more)

    def parse(self, table):
        self.check_lanes(table, "pe", self.channels_out)
        self.check_lanes(table, "simd", self.channels)
        self._check_memory(table)
        return self.check_registers(self.check_depth(ConvOptions(**table)))

    def folding_space(self):
        for pe, simd in foldings(self._sizes):
            for memory in MEMORIES:
                yield ConvOptions(pe=pe, simd=simd, memory=memory)

    @functools.cached_property
    def _sizes(self):
        return Sizes(self.channels_out, self.channels, self.taps, self.windows, math.prod(self.image))

    def groupings(self, options):
        """Of the channels of results and of inputs, into words of PE and SIMD."""
        return Grouping(self.channels_out, options.pe), Grouping(self.channels, options.simd)

    def lanes(self, options):
        rows, columns = self.groupings(options)
        return columns.narrow, rows.narrow

    def groups(self, options):
        return self.groupings(options)[1].words

    def words(self, options):
        """Words of a window."""
        return self.taps * self.groups(options)

    def folds(self, options):
        return self.groupings(options)[0].words

    def cycles(self, options):
        return self._sizes.cycles(options.pe, options.simd)

    def window(self, options):
        return self.geometry(options) | {"repeats": self.folds(options)}

    def resources(self, options):
        words = self.words(options)
        blocks = memories(self, options, words=words * self.folds(options), simd=options.simd, vector=words)
        return {"lanes": options.pe * options.simd * self.bits_in, "bram_words": blocks,
                "buffer_words": (options.simd * self.bits_in, self.depth(options))}

    def build(self, options):
        return FoldedConv(simd=options.simd, registers=options.registers, **self._arguments(options))

    def timing(self, options):
        model = buffered(self.window_model(options), timing.Unit(self.words(options), options.registers), options.slices)
        return padded(model, *self.groupings(options))


class DepthwiseStage(_ConvStage):
    """A convolution of each channel by itself, with its threshold if bits follow.

    Parameters
    ----------
    weights : int8 array (C, rows, columns)
        -1, 0, +1. The others as of :class:`ConvStage`.
    """
    kind = "depthwise"

    def __init__(self, name, sources, edge, *, weights, **more):
        super().__init__(name, sources, edge, weights=weights, channels=len(weights), **more)

    def parse(self, table):
        if "pe" in table and (not isinstance(table["pe"], int) or table["pe"] not in divisors(self.channels)):
            self.refuse("PE", divisors(self.channels), table["pe"])
        self._check_memory(table)
        return self.check_depth(DepthwiseOptions(**table))

    def folding_space(self):
        for pe in divisors(self.channels):
            for memory in MEMORIES:
                yield DepthwiseOptions(pe=pe, memory=memory)

    def lanes(self, options):
        return options.pe, options.pe

    def cycles(self, options):
        groups = self.channels // options.pe
        return max(self.elements_in // options.pe, self.windows * groups * self.taps)

    def resources(self, options):
        blocks = memories(self, options, words=self.channels // options.pe * self.taps, simd=1, vector=self.taps)
        return {"lanes": options.pe * self.bits_in, "bram_words": blocks,
                "buffer_words": (options.pe * self.bits_in, self.depth(options))}

    def build(self, options):
        return DepthwiseConv(**self._arguments(options))

    def timing(self, options):
        return buffered(self.window_model(options), timing.Unit(self.taps), options.slices)
