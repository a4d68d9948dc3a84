"""What every kind of stage has: options, cycles, resources, a component, a timing model."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..errors import UserError
from ..gateware.mvtu import most_registers

__all__ = ["BufferOptions", "BufferedStage", "ElementwiseStage", "FoldingError", "LanesOptions", "Options", "Stage",
           "TreeOptions", "divisors"]


class FoldingError(UserError, ValueError):
    """Options that a stage cannot take; the message names the stage, what is allowed and what came."""


class Options(BaseModel):
    """Base of the options of a kind of stage: its table in plan.toml."""
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LanesOptions(Options):
    """Options of an :class:`ElementwiseStage`: elements per cycle."""
    kind: Literal["input", "threshold", "thermometer", "affine", "add"]
    lanes: int


class BufferOptions(Options):
    """Options of a stage with a buffer of its input: ``depth``, the words that it holds; None leaves that to the plan.
    ``slices``: whether registers stand behind its memories."""
    depth: int | None = None
    slices: bool = False


class TreeOptions(BufferOptions):
    """Options of a stage that counts products: ``registers``, those inside the tree that counts."""
    registers: int = 0


def divisors(size):
    """All divisors of ``size``, rising."""
    small = [d for d in range(1, math.isqrt(size) + 1) if size % d == 0]
    return small + [size // d for d in reversed(small) if d * d != size]


class Stage:
    """One stage of the hardware, as far as the network fixes it; how parallel it is comes with its options.

    Attributes
    ----------
    name : str
        Of the module in the Verilog and the table in plan.toml: the network's operation.
    sources : tuple of str
        Stages whose output it takes; empty for the one that takes the input.
    edge : str or None
        The network's edge that its output carries; None where a rewrite made it, so that the network does not know it.
    elements_in, elements_out : int
        Elements of a frame at each input and at the output.
    bits_in, bits_out : int
        Width of an element there; ``bits(port)`` for stages with several inputs.
    inner : sequence of str
        Edges of the network that it carries inside, each in one word; its component's ``seen`` has their wires.
    tasks : int
        Banks that it has: with more than one its component has a member ``task``, which takes a number for each frame.
    """
    kind = None
    inner = ()
    tasks = 1

    def __init__(self, name, sources, edge, *, elements_in, bits_in, elements_out, bits_out):
        self.name, self.sources, self.edge = name, tuple(sources), edge
        self.elements_in, self.bits_in = elements_in, bits_in
        self.elements_out, self.bits_out = elements_out, bits_out

    def bits(self, port):
        """Width of an element at input ``port``."""
        return self.bits_in

    def refuse(self, option, allowed, value):
        """Raise the :exc:`FoldingError` for an option's wrong value."""
        raise FoldingError(f"layer {self.name!r}: {option} must be one of {list(allowed)}, not {value!r}")

    # Each kind defines the following; `options` is one of its Options.

    def parse(self, table):
        """Options from a table of plan.toml (a dict). Raises :exc:`FoldingError` or pydantic's ValidationError."""
        raise NotImplementedError

    def folding_space(self):
        """Iterate over all options that it can take."""
        raise NotImplementedError

    def lanes(self, options):
        """Elements per word at each input and at the output, (int, int)."""
        raise NotImplementedError

    def cycles(self, options):
        """Cycles per frame in which it is busy: the least interval between frames."""
        raise NotImplementedError

    def resources(self, options):
        """What it takes by design: ``lanes`` (multiplications per cycle), ``bram_words`` (list of (bits, words))."""
        raise NotImplementedError

    def build(self, options):
        """The Amaranth component, with members ``i`` and ``o``."""
        raise NotImplementedError

    def timing(self, options):
        """A fresh timing model (:mod:`bnnhw.stages.timing`)."""
        raise NotImplementedError


class BufferedStage(Stage):
    """Base of stages with a buffer of their input, the :class:`BufferOptions` of which say how deep it is."""

    def live(self, options):
        """The least depth that works."""
        raise NotImplementedError

    def rate(self, options, period):
        """A depth with which it keeps up with an image every ``period`` cycles."""
        raise NotImplementedError

    def depth(self, options):
        """Words of the buffer."""
        return self.rate(options, 0) if options.depth is None else options.depth

    def faster(self, options):
        """Iterate over ``options`` with registers in one more place each, where they can make the longest path shorter: only the
        latency and the area are others."""
        if not options.slices:
            yield options.model_copy(update={"slices": True})
        if isinstance(options, TreeOptions) and options.registers < most_registers(options.simd):
            yield options.model_copy(update={"registers": options.registers + 1})

    def check_lanes(self, table, key, size):
        """Raise :exc:`FoldingError` unless the lanes ``key`` of ``table``, where they are given, are from 1 to ``size``."""
        lanes = table.get(key, 1)
        if not isinstance(lanes, int) or not 1 <= lanes <= size:
            raise FoldingError(f"layer {self.name!r}: {key.upper()} must be from 1 to {size}, not {lanes!r}")

    def check_depth(self, options):
        """``options``, unless their depth is too small: then :exc:`FoldingError`."""
        if options.depth is not None and options.depth < self.live(options):
            raise FoldingError(f"layer {self.name!r}: depth must be at least {self.live(options)}, not {options.depth}")
        return options

    def check_registers(self, options):
        """``options``, unless they ask for more registers than the tree has levels for: then :exc:`FoldingError`."""
        most = most_registers(options.simd)
        if not 0 <= options.registers <= most:
            raise FoldingError(f"layer {self.name!r}: registers must be from 0 to {most} with SIMD {options.simd}, not "
                               f"{options.registers}")
        return options


class ElementwiseStage(Stage):
    """Base of stages that take ``lanes`` elements per cycle and give as many: their one option."""
    def parse(self, table):
        options = LanesOptions(**table)
        if options.lanes not in divisors(self.elements_in):
            self.refuse("lanes", divisors(self.elements_in), options.lanes)
        return options

    def folding_space(self):
        for lanes in divisors(self.elements_in):
            yield LanesOptions(kind=self.kind, lanes=lanes)

    def lanes(self, options):
        return options.lanes, options.lanes

    def cycles(self, options):
        return self.elements_in // options.lanes

    def resources(self, options):
        return {"lanes": options.lanes, "bram_words": []}
