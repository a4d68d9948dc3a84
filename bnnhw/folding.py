"""Automatic folding: for a target rate, the cheapest options of each stage that keep up with it."""

import numpy as np

from .buffers import with_buffers
from .devices import DEVICES
from .gateware.weights import style_for
from .plan import Plan, PlanError
from .stages.dense import weight_bits

__all__ = ["fold", "check_fabric", "check_memory", "usual_fps"]

# Cells of an iCE40 per lane (XNOR and popcount) and per accumulator bit: rounded from the benchmark `popcount`.
CELLS_PER_LANE = 2.5
CELLS_PER_ACCUMULATOR_BIT = 2.2
CELLS_PER_BLOCK_RAM = 100       # an exchange rate: a UP5K has 5,280 cells and 30 block RAMs, ECP5 about the same ratio
USUAL_LANES = 768               # about half of a UP5K's cells
SIMD_FOR_SPEED = 32             # a popcount of more inputs than this would set the clock
# Cells of an unfolded layer per weight that is not 0, times the fourth root of the number of inputs: within 15 % of the figures
# in docs/baked.md.
CELLS_PER_WEIGHT = {"ice40": 1.85, "ecp5": 1.71, "gowin": 1.92, "xc7": 0.90}
CELLS_PER_END = 2               # for each bit at the ends of an unfolded layer: whole vectors are put together and taken apart
LEVEL_NS = {"ice40": 10, "ecp5": 5, "gowin": 8, "xc7": 4}       # of a table or chain in a large design, wires included
ANY_FABRIC = "ice40"            # of stages that are always cells of some fabric, where no device is known


def _candidates(stage, fabric, clock_hz):
    """The options to choose from. Of layers with weights folded ones with the memory that suits the number of weights, and where
    the fabric is known unfolded ones, as deep as the clock allows."""
    for options in stage.folding_space():
        if getattr(options, "style", "") == "unfolded":
            if options.fabric == fabric:
                yield options.model_copy(update={"depth": max(1, int(1e9 / clock_hz / LEVEL_NS[fabric]))})
        elif hasattr(stage, "weights"):
            if options.memory == style_for(stage.weights.size):
                yield options
        elif getattr(options, "fabric", fabric) in (fabric, None if fabric else ANY_FABRIC):
            yield options


def _cells(stage, options):
    """What a layer with weights costs, in cells."""
    if getattr(options, "style", "") == "unfolded":
        ends = stage.elements_in + stage.elements_out * stage.bits_out
        return (CELLS_PER_WEIGHT[options.fabric] * np.count_nonzero(stage.weights) / stage.elements_in ** 0.25
                + CELLS_PER_END * ends)
    simd = getattr(options, "simd", 1)
    accumulator = max(stage.reach).bit_length() + 1
    cells = options.pe * (CELLS_PER_LANE * simd * stage.bits_in + CELLS_PER_ACCUMULATOR_BIT * accumulator)
    if options.memory == "bram":
        width = weight_bits(stage.weights) * options.pe * simd
        depth = stage.weights.size // (options.pe * simd)
        cells += CELLS_PER_BLOCK_RAM * DEVICES["up5k"].block_rams(width, depth)
    return cells


def _choose(stage, budget, clock_hz, fabric=None):
    """The cheapest options within ``budget`` cycles; among equals the faster ones, then those with more neurons at once."""
    space = list(_candidates(stage, fabric, clock_hz))
    fitting = [options for options in space if stage.cycles(options) <= budget]
    if not fitting:
        least = min(map(stage.cycles, space))
        how = "it takes" if len(space) == 1 else "even fully parallel it takes"
        raise PlanError(f"layer {stage.name!r}: {budget} cycles per image are not enough: {how} {least}")
    if not hasattr(stage, "weights"):
        return min(fitting, key=stage.lanes)
    quick = [options for options in fitting if getattr(options, "simd", 1) <= SIMD_FOR_SPEED] or fitting
    return min(quick, key=lambda options: (_cells(stage, options), stage.cycles(options), -getattr(options, "pe", 0)))


def usual_fps(stages, clock_hz):
    """Images per second to build for where nobody says: the greatest of 100,000, 30,000, 10,000, ... for which
    :data:`USUAL_LANES` are enough."""
    for exponent in range(5, -1, -1):
        for fps in (10**exponent, 3 * 10**(exponent - 1)):
            budget = int(clock_hz // fps)
            try:
                options = [_choose(stage, budget, clock_hz) for stage in stages]
            except PlanError:
                continue
            if sum(_lanes(stage, own) for stage, own in zip(stages, options, strict=True)) <= USUAL_LANES:
                return fps
    return 1


def _lanes(stage, options):
    """Products of one bit per cycle."""
    return options.pe * getattr(options, "simd", 1) * stage.bits_in if hasattr(stage, "weights") else 0


def fold(network, stages, *, clock_hz, fps=None, buffers="rate", fabric=None):
    """A plan that gives at least ``fps`` images per second at ``clock_hz``, each stage as cheap as that allows.

    Without ``fps`` it is :func:`usual_fps`. With ``fabric``, a device's family, dense layers may be unfolded, too: that is
    cheapest where few cycles per image are left. Estimates decide; circuits are built for the layers that were chosen.

    Stages are chosen one by one; what a device has room for is not looked at. With ``buffers="live"`` buffers of windows and
    branches are as small as works, and the rate may be less.

    Raises
    ------
    PlanError
        The rate cannot be met; the message names the stage.
    """
    fps = fps or usual_fps(stages, clock_hz)
    budget = int(clock_hz // fps)
    if budget < 1:
        raise PlanError(f"{fps:,.0f} images/s at {clock_hz / 1e6:g} MHz: at most one image per cycle is possible")
    options = {stage.name: _choose(stage, budget, clock_hz, fabric) for stage in stages}
    return with_buffers(Plan(network, stages, options, int(clock_hz)), buffers)


def check_fabric(plan, device):
    """Refuse a plan with circuits of another family's cells than ``device`` has: :exc:`PlanError`, naming the layer."""
    for name, own in plan.options.items():
        fabric = getattr(own, "fabric", device.family)
        if fabric != device.family:
            raise PlanError(f"layer {name!r}: it is of cells of fabric {fabric!r}, but {device.name} is of {device.family!r}: "
                            f"change its fabric")


def check_memory(plan, device):
    """Refuse a plan whose weight memories cannot fit ``device``, before any synthesis.

    Returns
    -------
    int
        Block RAMs that the weights take.

    Raises
    ------
    PlanError
        Naming what is needed, what there is, and the layer that takes most.
    """
    needed = {stage.name: sum(device.block_rams(*size) for size in stage.resources(plan.options[stage.name])["bram_words"])
              for stage in plan.stages}
    total = sum(needed.values())
    if total > device.brams:
        most = max(needed, key=needed.get)
        bits = sum(stage.weights.size for stage in plan.stages if hasattr(stage, "weights"))
        raise PlanError(f"the {bits:,} weights take {total} block RAMs as folded, but {device.name} has {device.brams} "
                        f"({device.brams * device.bram_shapes[0][0] * device.bram_shapes[0][1]:,} bits); "
                        f"layer {most!r} alone takes {needed[most]}")
    return total
