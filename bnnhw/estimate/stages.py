"""Stages as sums of components: what a stage contains with given options, told from its numbers alone."""

import functools

import numpy as np

from ..gateware.thermometer import changing, columns
from ..gateware.threshold import turns
from ..gateware.weights import style_for
from ..gateware.window import Geometry
from ..stages.dense import weight_bits
from . import parts
from .figures import EstimateError
from .parts import bits

__all__ = ["parts_of"]


def parts_of(stage, options, family):
    """The :class:`.figures.Parts` of a stage as folded.

    Raises
    ------
    EstimateError
        No formula is for its kind or style.
    """
    if stage.kind not in KINDS or getattr(options, "style", "folded") != "folded":
        style = getattr(options, "style", stage.kind)
        raise EstimateError(f"layer {stage.name!r}: there is no formula for style {style!r}, its circuit must be made")
    return KINDS[stage.kind](stage, options, family)


@functools.lru_cache(maxsize=1024)
def _starts(stage):
    """Starts of accumulators, int array (borders, n_out), and greatest counts (n_out,)."""
    return np.array(stage.result.starts, np.int64), np.array(stage.reach, np.int64)


@functools.lru_cache(maxsize=1024)
def _weight_bits(stage):
    return weight_bits(stage.weights)


def _matrix_vector(stage, pe, simd, words):
    """The unit of a layer with weights, ``pe`` neurons at a time."""
    starts, reach = _starts(stage)
    borders, n_out = starts.shape
    folds = n_out // pe
    table = starts.reshape(borders * folds, pe)
    if stage.result.scale == 1 and stage.result.width == 1:
        low = np.minimum(table.min(axis=0), -1)
        high = np.maximum(table.max(axis=0) + reach.reshape(folds, pe).max(axis=0), 0)
        widths = [max(bits(~int(a)), bits(int(b))) + 1 for a, b in zip(low, high, strict=True)]
    else:
        widths = [stage.result.width] * pe
    differ = np.bitwise_or.reduce(table ^ table[0], axis=0)
    start_bits = sum((int(d) & (1 << width) - 1).bit_count() for d, width in zip(differ, widths, strict=True))
    return parts.matrix_vector(
        pe=pe, simd=simd, bits_in=stage.bits_in, words=words, folds=folds, accumulators=sum(widths), width=stage.result.width,
        start_bits=start_bits, entries=borders * folds, scale=stage.result.scale, masked=_weight_bits(stage) == 2)


def _weights(stage, pe, simd, words, memory, family):
    return parts.rom(_weight_bits(stage) * pe * simd, words, memory, family)


def _dense(stage, options, family):
    words, folds = stage.elements_in // options.simd, stage.elements_out // options.pe
    found = _matrix_vector(stage, options.pe, options.simd, words)
    found += _weights(stage, options.pe, options.simd, words * folds, options.memory, family)
    if folds > 1:
        found += parts.replay(options.simd * stage.bits_in, words, folds, stage.depth(options), family)
    return found


@functools.lru_cache(maxsize=4096)
def _geometry(stage, groups):
    """Geometry of a stage's windows; bits of what is freed; window classes at the border."""
    geometry = Geometry(stage.image, groups, stage.kernel, stage.stride, stage.padding)
    last = geometry.columns - 1
    freed = bits(max(geometry.released(0, last), geometry.released(geometry.rows - 1, last), geometry.released(0, 0)))
    rows, columns_ = geometry.borders
    return geometry, freed, len(rows[0]) * len(columns_[0])


def _depth(stage, options, geometry):
    """Words of the ring; where the plan has not decided, about what it will decide: the exact depth takes a while to find."""
    if options.depth is not None:
        return options.depth
    (rows, across), groups = geometry.kernel, geometry.groups
    least = ((rows - 1) * geometry.image[1] + across) * groups
    return least if any(geometry.padding) else 2 * least


def _window(stage, options, lanes, family, *, repeats=1, borders):
    groups = stage.channels // lanes
    geometry, freed, _ = _geometry(stage, groups)
    (height, width), (rows, across), (down, right) = geometry.image, geometry.kernel, geometry.stride
    per_row = width * groups
    loops = [(groups, 1), (across, groups), (rows, per_row), (repeats, 0), (geometry.columns, right * groups),
             (geometry.rows, down * per_row)]
    back, reach = 0, 0
    for count, step in loops:
        reach = max(reach, abs(step - back))
        back += step * (count - 1)
    reach = max(reach, abs(geometry.words - back))
    depth = _depth(stage, options, geometry)
    places = 0
    if any(stage.padding):
        places = sum(bits(size + kernel) + 1 for size, kernel in ((height, rows), (width, across)))
    return parts.window(
        width=lanes * stage.bits_in, depth=depth, loops=[count for count, _ in loops], address_jump=bits(reach) + 1,
        ahead=bits(depth + geometry.words + reach) + 1, room=bits(depth + geometry.words), freed=freed, places=places,
        borders=borders, family=family)


def _conv(stage, options, family):
    words, folds = stage.words(options), stage.folds(options)
    borders = len(stage.result.starts)
    return (_matrix_vector(stage, options.pe, options.simd, words)
            + _weights(stage, options.pe, options.simd, words * folds, options.memory, family)
            + _window(stage, options, options.simd, family, repeats=folds, borders=borders))


def _depthwise(stage, options, family):
    groups = stage.channels // options.pe
    borders = len(stage.result.starts)
    return (_matrix_vector(stage, options.pe, 1, stage.taps)
            + _weights(stage, options.pe, 1, groups * stage.taps, options.memory, family)
            + _window(stage, options, options.pe, family, borders=borders))


def _pool(stage, options, family):
    lanes, groups = options.lanes, stage.channels // options.lanes
    minimum = getattr(stage, "minimum", [False] * stage.channels)
    mixed = sum(len(set(minimum[lane::lanes])) > 1 for lane in range(lanes))
    unit = parts.pool(bits_in=stage.bits_in, lanes=lanes, taps=stage.taps, width=stage.bits_out, mixed=mixed, groups=groups,
                      kind=stage.kind)
    return unit + _window(stage, options, lanes, family, borders=1)


def _input(stage, options, family):
    return parts.slice_(options.lanes * stage.bits_out)


@functools.lru_cache(maxsize=1024)
def _levels(stage):
    """What each channel's comparators compare with (C, L), and whether their outcome is turned over (C, 1)."""
    falling = np.array(stage.falling, np.int64)[:, None]
    return np.clip(np.array(stage.levels, object).astype(np.int64) + falling, 0, 1 << stage.bits_in), falling


def _threshold(stage, options, family):
    levels, falling = _levels(stage)
    count = turns(len(levels), options.lanes)
    table = np.concatenate([levels, falling], axis=1)[np.arange(count * options.lanes) % len(levels)]
    table = table.reshape(count, -1)
    changing = sum(int(d).bit_count() for d in np.bitwise_or.reduce(table ^ table[0], axis=0))
    return parts.comparators(bits_in=stage.bits_in, lanes=options.lanes, levels=levels.shape[1], turns=count, changing=changing,
                             family=family, width=stage.bits_out)


def _thermometer(stage, options, family):
    found = columns(stage.levels, options.lanes, stage.bits_in)
    differ, words = len(changing(found)), len(found[0])
    return parts.thermometer(bits_in=stage.bits_in, lanes=options.lanes, levels=stage.count, changing=differ, turns=words,
                             family=family, memory=style_for(differ * words, words))


def _affine(stage, options, family):
    count = turns(len(stage.scale), options.lanes)
    values = {name: [[int(vector[(k * options.lanes + lane) % len(vector)]) for k in range(count)]
                     for lane in range(options.lanes)] for name, vector in (("scale", stage.scale), ("offset", stage.offset))}
    def width(own):
        return max(bits(max(own)), bits(~min(own))) + (min(own) < 0)
    differ = sum(width(own) for lanes in values.values() for own in lanes if len(set(own)) > 1)
    scale_bits = max(map(width, values["scale"]))
    constant = all(len(set(own)) == 1 for own in values["scale"])
    return parts.affine(bits_in=stage.bits_in, width=stage.bits_out, lanes=options.lanes, scale_bits=scale_bits,
                        constant=constant, changing=differ, turns=count, memory=style_for(differ * count, count), family=family)


def _add(stage, options, family):
    return parts.adder_of_streams(bits_in=(stage.bits(0), stage.bits(1)), scales=stage.scales, width=stage.bits_out,
                                  lanes=options.lanes)


def _class(stage, options, family):
    if options.lanes > 1:
        return parts.tournament(score=stage.bits_in, classes=stage.classes)
    return parts.decision(score=stage.bits_in, classes=stage.classes, width=stage.bits_out, scores=False)


def _scores(stage, options, family):
    return parts.decision(score=stage.bits_in, classes=stage.classes, width=stage.bits_out, scores=True)


KINDS = {"dense": _dense, "conv": _conv, "depthwise": _depthwise, "maxpool": _pool, "sumpool": _pool, "input": _input,
         "threshold": _threshold, "thermometer": _thermometer, "affine": _affine, "add": _add, "class": _class,
         "scores": _scores}
