"""Automatic folding: for a target rate, the cheapest options of each stage that keep up with it."""

from .devices import DEVICES
from .plan import Plan, PlanError
from .stages import divisors
from .stages.dense import FoldedOptions
from .stages.threshold import ThresholdOptions

__all__ = ["fold", "check_memory"]

# Cells of an iCE40 per lane (XNOR and popcount) and per accumulator bit: rounded from the benchmark `popcount`.
CELLS_PER_LANE = 2.5
CELLS_PER_ACCUMULATOR_BIT = 2.2
CELLS_PER_BLOCK_RAM = 100       # an exchange rate: a UP5K has 5,280 cells and 30 block RAMs, ECP5 about the same ratio
SIMD_FOR_SPEED = 32             # a popcount of more inputs than this would set the clock
LUT_ROM_BITS = 1024             # weight memories up to this size are tables: a block RAM would be mostly empty


def _cells(stage, options):
    words = stage.elements_in // options.simd
    accumulator = stage.elements_in.bit_length() + 1
    cells = options.pe * (CELLS_PER_LANE * options.simd + CELLS_PER_ACCUMULATOR_BIT * accumulator)
    if options.memory == "bram":
        depth = words * stage.elements_out // options.pe
        cells += CELLS_PER_BLOCK_RAM * DEVICES["up5k"].block_rams(options.pe * options.simd, depth)
    return cells


def _dense(stage, budget):
    """The cheapest folding within ``budget`` cycles; among equals the faster one, then the one with more neurons at once."""
    memory = "lut" if stage.weights.size <= LUT_ROM_BITS else "bram"
    space = [FoldedOptions(pe=pe, simd=simd, memory=memory)
             for pe in divisors(stage.elements_out) for simd in divisors(stage.elements_in)]
    fitting = [options for options in space if stage.cycles(options) <= budget]
    if not fitting:
        raise PlanError(f"layer {stage.name!r}: {budget} cycles per image are not enough: "
                        f"even fully parallel it takes {min(map(stage.cycles, space))}")
    quick = [options for options in fitting if options.simd <= SIMD_FOR_SPEED] or fitting
    return min(quick, key=lambda options: (_cells(stage, options), stage.cycles(options), -options.pe))


def fold(network, stages, *, clock_hz, fps):
    """A plan that gives at least ``fps`` images per second at ``clock_hz``, each stage as cheap as that allows.

    Stages are chosen one by one; what a device has room for is not looked at.

    Raises
    ------
    PlanError
        The rate cannot be met; the message names the stage.
    """
    budget = int(clock_hz // fps)
    if budget < 1:
        raise PlanError(f"{fps:,.0f} images/s at {clock_hz / 1e6:g} MHz: at most one image per cycle is possible")
    options = {}
    for stage in stages:
        if stage.kind == "dense":
            options[stage.name] = _dense(stage, budget)
        elif stage.kind == "threshold":
            lanes = [lanes for lanes in divisors(stage.elements_in) if stage.elements_in // lanes <= budget]
            options[stage.name] = ThresholdOptions(lanes=lanes[0])
        else:
            options[stage.name] = next(stage.folding_space())
            if stage.cycles(options[stage.name]) > budget:
                raise PlanError(f"layer {stage.name!r}: {budget} cycles per image are not enough: "
                                f"it takes {stage.cycles(options[stage.name])}")
    return Plan(network, stages, options, int(clock_hz))


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
        bits = sum(stage.weights.size for stage in plan.stages if stage.kind == "dense")
        raise PlanError(f"the {bits:,} weights take {total} block RAMs as folded, but {device.name} has {device.brams} "
                        f"({device.brams * device.bram_shapes[0][0] * device.bram_shapes[0][1]:,} bits); "
                        f"layer {most!r} alone takes {needed[most]}")
    return total
