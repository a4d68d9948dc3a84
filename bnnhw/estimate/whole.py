"""Estimates of stages, of what stands between them, of plans, of what a board adds."""

import functools
import math

import numpy as np

from .. import devices
from ..gateware.fork import Fork
from ..gateware.width import DownConverter, UpConverter
from . import parts
from .circuits import cached
from .figures import Estimate, EstimateError, Parts, alike, check, evaluate, speed, whole
from .memory import mapped
from .stages import parts_of

__all__ = ["of_converter", "of_element", "of_fifo", "of_fork", "of_plan", "of_stage", "of_wrapper"]

# Of circuits of constants that have not been synthesized: cells per weight that is not 0, times the fourth root of the number of
# inputs, within 15 % of the figures in docs/baked.md; per vote of a sparse network; per bit at the ends, where
# whole vectors are put together and taken apart; and what a table or chain takes in a large design, wires included.
CELLS_PER_WEIGHT = {"ice40": 1.85, "ecp5": 1.71, "gowin": 1.92, "xc7": 0.90}
CELLS_PER_VOTE = 1.75
CELL_INPUTS = {"ice40": 4, "ecp5": 4, "gowin": 4, "xc7": 6}
FREE_MULTIPLEXERS = {"ecp5"}        # between its LUT4s, up to six inputs
CELLS_PER_END = 2
# A table or chain between two registers, with the wires of a large design, by a device's delays. From rows in benchmarks/results:
# UP5K 8.3 (records.json, mnist-lut4 at depth 2: 60.27 MHz), 6.8 (boards.json, at depth 3: 48.92), 7.7 (settings.json, TFC's fc4);
# HX8K 3.9 (boards.json, mnist-lut4 at depth 2: 128.52); ECP5 5.0 (records.json, 6-input tables at depth 3: 67.26), 3.6
# (boards.json, mnist-lut4 at depth 3: 89.60 to 93.43), 3.4 (settings.json, fc4); grade 8 3.3 (boards.json, mnist-lut6: 101.70),
# 2.7 (mnist-lut4: 122.55); 5G 3.3 (mnist-lut6: 102.12), 2.4 (fashion-lut4: 140.53);
# GW1NR-9 6.2 (boards.json, fashion-lut4 at depth 2: 80.75), GW2A-18 3.2 (mnist-lut4: 154.68), and of larger tables there nothing
# is routed. Tables of a lookup layer that need no multiplexer between cells are quicker.
LEVEL_NS = {"ice40-u": 8, "ice40-hx": 4, "ecp5-6": 5, "ecp5-8": 3.4, "ecp5-5g": 3.3, "gowin-gw1n": 8, "gowin-gw2a": 8}
SMALL_LEVEL_NS = LEVEL_NS | {"ecp5-6": 3.7, "ecp5-8": 2.7, "ecp5-5g": 2.4, "gowin-gw1n": 6.2, "gowin-gw2a": 3.3}
# Of layers in blocks, which are routed without delays in view: 62.2 MHz on a ULX3S-85F (by hand), 5G as unfolded.json has it.
BLOCKS_LEVEL_NS = LEVEL_NS | {"ecp5-6": 8, "ecp5-5g": 6.1}
FRAMES = 5          # frames on their way at once, and two, for which the flags of frames have room: 4 to 7 in shipped networks


@functools.lru_cache(maxsize=1 << 16)
def _folded(stage, options, device):
    return evaluate(parts_of(stage, options, device.family), device)


def of_stage(stage, options, device):
    """One stage with the given options.

    A folded stage is estimated from formulas, in well under a millisecond. A stage of constants (style ``"unfolded"`` or
    ``"lut"``) has the figures that :func:`bnnhw.estimate.exact` found earlier, otherwise a rule of thumb.

    Parameters
    ----------
    stage : Stage
    options : Options
        Of ``stage``. Where a window buffer's depth is left open, about the depth that a plan would choose.
    device : Device

    Returns
    -------
    Estimate

    Raises
    ------
    EstimateError
        The device's family has not been calibrated.
    """
    check(device)
    if getattr(options, "style", "folded") == "folded":
        return _folded(stage, options, alike(device))
    found = cached(stage, options, device)
    small = not hasattr(stage, "weights") and all(len(inputs) <= CELL_INPUTS[device.family]
                                                  for layer, _ in stage.layers for inputs in layer)
    in_blocks = hasattr(stage, "weights") and options.blocks > 1        # of a lookup layer these are block RAMs
    depth_ns = options.depth * (SMALL_LEVEL_NS if small else BLOCKS_LEVEL_NS if in_blocks else LEVEL_NS)[speed(device)]
    if found is not None:
        return Estimate(found.luts, found.ffs, found.brams, depth_ns)
    if hasattr(stage, "weights"):
        cells = CELLS_PER_WEIGHT[device.family] * np.count_nonzero(stage.weights) / stage.elements_in ** 0.25
        ends, blocks = stage.elements_in + stage.elements_out * stage.bits_out, 0
        cells += CELLS_PER_END * ends
    else:
        cells = sum(_cells_per_table(len(inputs), device.family) for layer, _ in stage.layers for inputs in layer)
        cells += CELLS_PER_VOTE * len(stage.layers[-1][1])
        blocks, ends, memories = stage.held(options)
        blocks += sum(mapped(device.family, *size, rom=True, style="block").cells for size in memories)
        cells += ends
    return Estimate(float(cells), float(ends), blocks, depth_ns)


def _cells_per_table(inputs, family):
    """Cells of a lookup table of so many inputs, in Shannon form where it is larger than a cell."""
    pieces = 2 ** max(0, inputs - CELL_INPUTS[family])
    return pieces if family in FREE_MULTIPLEXERS else 2 * pieces - 1


@functools.lru_cache(maxsize=1 << 14)
def of_converter(bits, have, want, device):
    """What takes words of ``have`` elements of ``bits`` bits to words of ``want``, through their least common multiple as a plan
    does; equal is nothing."""
    check(device)
    common = math.lcm(have, want)
    found = Parts()
    if common > have:
        found += parts.up(bits * have, common // have)
    if common > want:
        found += parts.down(bits * want, common // want)
    return evaluate(found, device)


@functools.lru_cache(maxsize=1 << 14)
def of_fifo(bits, depth, device):
    """A branch's buffer of ``depth`` words of ``bits`` bits; 0 is a register slice."""
    check(device)
    return evaluate(parts.fifo(bits, depth, device.family) if depth else parts.slice_(bits), device)


@functools.lru_cache(maxsize=1 << 14)
def of_fork(bits, depths, device):
    """One stream of words of ``bits`` bits to as many branches as there are ``depths`` (tuple) of their buffers."""
    check(device)
    return evaluate(parts.fork(bits, depths, device.family), device)


def of_element(element, options, device):
    """An :class:`bnnhw.plan.Element` of a plan: a stage with its ``options``, a fork or a width converter."""
    if element.stage is not None:
        return of_stage(element.stage, options, device)
    kind, arguments = element.build.func, element.build.args
    if kind is Fork:
        return of_fork(*arguments, device)
    bits, lanes, ratio = arguments
    narrow, wide = lanes, lanes * ratio
    if kind is UpConverter:
        return of_converter(bits, narrow, wide, device)
    if kind is DownConverter:
        return of_converter(bits, wide, narrow, device)
    raise EstimateError(f"element {element.name!r}: there is no estimate for {kind.__name__}")


def of_ends(plan, device):
    """The AXI4-Stream ports around a plan's stages."""
    lanes = plan.input_lanes * plan.element_bytes
    return evaluate(parts.top(lanes=lanes, beats=plan.frame_elements // plan.input_lanes, result=8 * plan.bytes_per_beat,
                              frames=FRAMES), device)


def of_plan(plan, device):
    """A whole accelerator, :func:`bnnhw.accelerator.verilog` of ``plan``: stages, converters, forks, ends.

    Raises
    ------
    EstimateError
        The device's family has not been calibrated.
    """
    own = [of_element(element, plan.options.get(element.name), device) for element in plan.elements]
    design = Parts().add(design=1, up__bit=-2 * _unread(plan))
    return whole([*own, of_ends(plan, device), evaluate(design, device)], device)


def _unread(plan):
    """Bits of vectors put together for lookup tables that no table reads: synthesis leaves most of them out of the two registers
    that a width converter has for each."""
    givers = {stream: element for element in plan.elements for stream in element.streams}
    return sum(stage.elements_in - sum(map(len, stage.clusters)) for element in plan.elements
               if hasattr(stage := element.stage, "clusters") and plan.options[stage.name].lanes == stage.elements_in
               and getattr(givers.get(element.sources[0]), "stage", stage) is None)


def of_wrapper(board, plan):
    """What ``board`` adds to the accelerator of ``plan``: link, serial line, clock, reset."""
    device = devices.find(board.device)
    check(device)
    return evaluate(parts.link(lanes=plan.input_lanes * plan.element_bytes, result_beats=plan.result_beats,
                               bytes_per_beat=plan.bytes_per_beat, family=device.family), device)
