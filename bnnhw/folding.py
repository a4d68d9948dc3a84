"""Automatic folding: for a target rate, the cheapest options of each stage that keep up with it."""

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


def _weighted(stage, options):
    """Whether ``options`` are such as to be looked at: folded, the memory that suits the number of weights."""
    return getattr(options, "style", "folded") == "folded" and options.memory == style_for(stage.weights.size)


def _cells(stage, options):
    """What a layer with weights costs, in cells."""
    simd = getattr(options, "simd", 1)
    accumulator = max(stage.reach).bit_length() + 1
    cells = options.pe * (CELLS_PER_LANE * simd * stage.bits_in + CELLS_PER_ACCUMULATOR_BIT * accumulator)
    if options.memory == "bram":
        width = weight_bits(stage.weights) * options.pe * simd
        depth = stage.weights.size // (options.pe * simd)
        cells += CELLS_PER_BLOCK_RAM * DEVICES["up5k"].block_rams(width, depth)
    return cells


def _choose(stage, budget):
    """The cheapest options within ``budget`` cycles; among equals the faster ones, then those with more neurons at once."""
    space = list(stage.folding_space())
    if hasattr(stage, "weights"):
        space = [options for options in space if _weighted(stage, options)]
    fitting = [options for options in space if stage.cycles(options) <= budget]
    if not fitting:
        least = min(map(stage.cycles, space))
        how = "it takes" if len(space) == 1 else "even fully parallel it takes"
        raise PlanError(f"layer {stage.name!r}: {budget} cycles per image are not enough: {how} {least}")
    if not hasattr(stage, "weights"):
        return min(fitting, key=stage.lanes)
    quick = [options for options in fitting if getattr(options, "simd", 1) <= SIMD_FOR_SPEED] or fitting
    return min(quick, key=lambda options: (_cells(stage, options), stage.cycles(options), -options.pe))


def usual_fps(stages, clock_hz):
    """Images per second to build for where nobody says: the greatest of 100,000, 30,000, 10,000, ... for which
    :data:`USUAL_LANES` are enough."""
    for exponent in range(5, -1, -1):
        for fps in (10**exponent, 3 * 10**(exponent - 1)):
            budget = int(clock_hz // fps)
            try:
                options = [_choose(stage, budget) for stage in stages]
            except PlanError:
                continue
            if sum(_lanes(stage, own) for stage, own in zip(stages, options, strict=True)) <= USUAL_LANES:
                return fps
    return 1


def _lanes(stage, options):
    """Products of one bit per cycle."""
    return options.pe * getattr(options, "simd", 1) * stage.bits_in if hasattr(stage, "weights") else 0


def fold(network, stages, *, clock_hz, fps=None, buffers="rate"):
    """A plan that gives at least ``fps`` images per second at ``clock_hz``, each stage as cheap as that allows.

    Without ``fps`` it is :func:`usual_fps`.

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
    options = {stage.name: _choose(stage, budget) for stage in stages}
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
