"""What a network's stages can be on a device, and what each of that costs: the search's :class:`~.search.Problem`.

Two things are known only once the whole plan is there, and are taken as they will most likely be:

- A window buffer holds nearly the same number of pixels however the map is cut into words and however slow its source is; the
  most of what was computed for a few paces is taken (:func:`buffer_words`).
- The buffer of a branch holds what comes in while the longer branch fills its windows (:func:`branch_words`).
"""

import functools
import math
from fractions import Fraction

from .. import estimate
from ..estimate.figures import whole
from ..families import FAMILIES, MANY_CELLS
from ..stages.base import BufferOptions
from ..stages.dense import weight_bits
from ..stages.windowed import WindowStage
from .search import Choice, Problem, Step

__all__ = ["branch_words", "buffer_words", "candidates", "choices_of", "lag", "tables"]

ANY_FABRIC = "ice40"
# A table or chain between registers: a circuit is of a fabric, and as deep as the fabric's slowest device has time for. A faster
# one, the HX8K, gets the same circuit; what it reaches there is bnnhw.estimate's to say.
LEVEL_NS = {"ice40": 8, "ecp5": 5, "gowin": 8, "xc7": 4}
HALF = 0.5                  # of a device's cells
# Cells of a block of a layer of constants, in a layer of more than MANY_CELLS on an ECP5: as those of TFC's first layer, which is
# routed in eleven (benchmarks/unfolded.py) and in one is not. What it takes for wires shows in its clock: 62.2 MHz at depth 2 on
# a ULX3S-85F, and less than 60 at depth 3. A layer of more than a third of such a device leaves no room for the others and for
# rows held free.
BLOCK_CELLS = 1_500
BLOCK_LEVEL_NS = 8
PART = 1 / 3
# Bits side by side of weights in logic: one address drives all tables, over the whole device. At 3,584 bits TFC on an ECP5-25F
# was routed for 46 MHz where its paths, without that, let expect 79; its 20,306 cells took nextpnr's router of large designs:
# its wires are slower, and the two have not been told apart.
WIDEST_TABLE = 1024
# Where a block RAM is slow beside a table, and flip-flops come with the tables: registers behind memories (docs/timing.md).
SLOW_MEMORIES = ("ecp5",)
PACES = (1.0, 1.05, 1.2)    # of a window buffer's source, in intervals of its own: at others it holds no more words
LEAST_GAIN = 0.02           # of a path: less is no reason for registers
FORK_WORDS = 4              # that a branch holds besides: they are on their way through its stages


def candidates(stage, fabric, clock_hz, updatable=False):
    """Options of ``stage``: circuits of constants of ``fabric`` only, as deep as the clock allows, those of lookups at most as
    deep as they come. With None for a fabric none are unfolded, and what can be nothing else is of :data:`ANY_FABRIC`. Tables of
    weights are at most :data:`WIDEST_TABLE` bits wide. ``updatable`` layers are folded, and what was trained is in block RAM."""
    if updatable and hasattr(stage, "weights"):
        for options in stage.folding_space():
            if getattr(options, "memory", "") == "bram":
                yield options.model_copy(update={"memory": "updatable"})
        return
    bits = weight_bits(stage.weights) if hasattr(stage, "weights") else 0
    for options in stage.folding_space():
        style, own = getattr(options, "style", ""), getattr(options, "fabric", None)
        if own not in (None, fabric) and (fabric or style == "unfolded" or own != ANY_FABRIC):
            continue
        if getattr(options, "memory", "") == "lut":
            width = bits * options.pe * getattr(options, "simd", 1)
            if WIDEST_TABLE < width < bits * stage.weights.size:
                continue
        if style in ("unfolded", "lut"):
            deepest = max(1, int(1e9 / clock_hz / LEVEL_NS[own]))
            yield options.model_copy(update={"depth": deepest if style == "unfolded" else min(options.depth, deepest)})
        else:
            yield options


@functools.lru_cache(256)
def _pixels(stage):
    """The most pixels that a window buffer holds: one more than with a whole pixel per word."""
    whole = max(stage.folding_space(), key=stage.lanes)
    return max(stage.rate(whole, int(pace * stage.cycles(whole))) for pace in PACES) + 1


def buffer_words(stage, options):
    """Words of a stage's own buffer, as a plan will most likely have it."""
    if isinstance(stage, WindowStage):
        return _pixels(stage) * stage.groups(options)
    return stage.rate(options, 0)


def lag(stage):
    """The part of a frame that has come in when the first result goes out: what the first window covers, padding apart."""
    if not isinstance(stage, WindowStage):
        return Fraction(0)
    (rows, columns), (top, _, left, _), (_, width) = stage.kernel, stage.padding, stage.image
    return Fraction((rows - 1 - top) * width + columns - left, math.prod(stage.image))


def branch_words(stages):
    """{stage with several takers: for each of them, in order, the part of a frame that waits in front of it}."""
    begin, end, takers = {}, {}, {}
    for stage in stages:
        begin[stage.name] = max((end[source] for source in stage.sources), default=Fraction(0))
        end[stage.name] = begin[stage.name] + lag(stage)
        for source in stage.sources:
            takers.setdefault(source, []).append(stage)

    def wait(name, taker):
        """How long what goes from ``name`` to ``taker`` waits there or further on, before it goes to several."""
        if begin[taker.name] > end[name] or len(takers.get(taker.name, ())) != 1:
            return begin[taker.name] - end[name]
        return wait(taker.name, takers[taker.name][0])
    return {name: [wait(name, taker) for taker in own] for name, own in takers.items() if len(own) > 1}


def tables(stages, choices, device, around):
    """The :class:`~.search.Problem` of ``stages`` on ``device``. ``choices(stage)`` gives what each can be, ``around(lanes)`` the
    estimate of what stands around the stages where the input comes in words of so many elements.

    Raises
    ------
    EstimateError
        There are no figures for the device.
    """
    by_name = {stage.name: stage for stage in stages}
    waits = branch_words(stages)

    def convert(name, port, have, want):
        if have == want:
            return 0
        cost, taker = estimate.of_converter(by_name[name].bits(port), have, want, device), by_name[name]
        # A whole vector that is put together in front of lookup tables stands in nobody's part of the device, and its wires are
        # what an ECP5 lacks (docs/sparse.md): its flip-flops count as cells, so that tables gather their inputs where they can.
        return math.ceil(max(cost.luts, cost.ffs) if hasattr(taker, "clusters") else cost.luts)

    def fork(name, give):
        stage = by_name[name]
        words = stage.elements_out // give
        depths = tuple(math.ceil(part * words) + FORK_WORDS if part else 0 for part in waits[name])
        cost = estimate.of_fork(give * stage.bits_out, depths, device)
        return math.ceil(cost.luts), cost.brams

    def rounded(lanes):
        cost = around(lanes)
        return math.ceil(cost.luts), cost.brams
    return Problem([Step(stage.name, stage.sources, choices(stage)) for stage in stages], convert, fork, rounded)


def choices_of(stage, device, fabric, *, clock_hz, path_ns, register_ns, updatable=False):
    """What ``stage`` can be on ``device``: a tuple of :class:`~.search.Choice`. ``fabric`` is as of :func:`candidates`.

    Options whose estimated path is longer than ``register_ns`` have registers in more places, as long as that makes it shorter.
    Of a stage's options only those whose estimated path is at most ``path_ns`` are taken, or where none is those with the
    shortest; circuits of constants have registers as a clock of ``clock_hz`` needs them, and on an ECP5 large layers are in
    blocks of :data:`BLOCK_CELLS`.

    Raises
    ------
    EstimateError
        There are no figures for the device.
    """
    found, paths = [], {}
    for options in candidates(stage, fabric, clock_hz, updatable):
        choice = _choice(stage, options, device)
        if getattr(options, "style", "") == "unfolded" and choice.luts > MANY_CELLS and FAMILIES[device.family].held_rows:
            if choice.luts > PART * device.luts:
                continue
            blocks = min(stage.elements_out, math.ceil(choice.luts / BLOCK_CELLS))
            depth = max(1, int(1e9 / clock_hz / BLOCK_LEVEL_NS))
            choice = _choice(stage, options.model_copy(update={"blocks": blocks, "depth": depth}), device)
        if not hasattr(options, "fabric"):
            own = _path_ns(choice, device)
            if own > register_ns and isinstance(options, BufferOptions):
                choice, own = _registered(stage, choice, own, device, register_ns)
            paths[choice] = own
        found.append(choice)
    enough = max([path_ns, *([min(paths.values())] if paths else [])])
    return tuple(choice for choice in found if paths.get(choice, 0) <= enough)


def _choice(stage, options, device):
    sized = options
    if isinstance(options, BufferOptions):
        sized = options.model_copy(update={"depth": buffer_words(stage, options)})
    cost = estimate.of_stage(stage, sized, device)
    want, give = stage.lanes(options)
    return Choice(options, stage.cycles(options), want, give, math.ceil(cost.luts), cost.brams, path_ns=cost.path_ns)


def _registered(stage, choice, own, device, register_ns):
    """``choice``, whose path is ``own`` ns, and that path, with as few more registers as make it ``register_ns`` or less; where
    none do, those that make it shortest."""
    while own > register_ns:
        others = [_choice(stage, options, device) for options in stage.faster(choice.options)
                  if options.slices <= (device.family in SLOW_MEMORIES)]
        paths = {_path_ns(other, device): other for other in others}
        if min(paths, default=own) > (1 - LEAST_GAIN) * own:
            break
        own = min(paths)
        choice = paths[own]
    return choice, own


def _path_ns(choice, device):
    """The longest path of ``choice`` in a design that takes :data:`HALF` of the device or more: wires are longer there."""
    own = estimate.Estimate(choice.luts, 0, choice.brams, choice.path_ns)
    return whole([own, estimate.Estimate(max(0, HALF * device.luts - choice.luts))], device).path_ns
