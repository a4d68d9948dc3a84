"""Stages as sums of components: what a stage contains with given options, told from its numbers alone."""

import functools

import numpy as np

from ..gateware.mvtu import STARTS_IN_MULTIPLEXER, start_words
from ..gateware.padding import Grouping
from ..gateware.thermometer import changing, columns
from ..gateware.threshold import turns
from ..gateware.weights import pages, style_for
from ..gateware.window import Geometry
from ..stages.dense import weight_bits
from . import parts
from .figures import EstimateError, Parts
from .memory import mapped
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
def _starts(stage, pe, more):
    """Starts of accumulators, int array (borders, folds, pe), and greatest counts (folds, pe); ``more`` is what padded inputs add
    to counts."""
    missing = Grouping(len(stage.reach), pe).missing
    starts = np.array(stage.result.raised(more).repeated(missing).starts, np.int64)
    reach = np.pad(np.array(stage.reach, np.int64) + more, (0, missing), mode="edge")
    return starts.reshape(len(starts), -1, pe), reach.reshape(-1, pe)


@functools.lru_cache(maxsize=1024)
def _weight_bits(stage):
    return weight_bits(stage.weights)


@functools.lru_cache(maxsize=4096)
def _start_table(stage, pe, more):
    """Of the tables of a layer's starts, ``pe`` neurons at a time: how many entries; the widths of all accumulators; the bits
    that change; those that are different."""
    starts, reach = _starts(stage, pe, more)
    table = starts.reshape(-1, pe)
    if stage.result.scale == 1 and stage.result.width == 1:
        low = np.minimum(table.min(axis=0), -1)
        high = np.maximum(table.max(axis=0) + reach.max(axis=0), 0)
        widths = [max(bits(~int(a)), bits(int(b))) + 1 for a, b in zip(low, high, strict=True)]
    else:
        widths = [stage.result.width] * pe
    return len(table), sum(widths), *_different(table & (1 << np.array(widths)) - 1)


@functools.lru_cache(maxsize=4096)
def _starts_in_memory(stage, pe, more, family):
    """Block RAMs that synthesis takes for tables of starts without being asked: each neuron's table has a register behind it, and
    long ones cost less there."""
    starts, _ = _starts(stage, pe, more)
    table = starts.reshape(-1, pe)
    if len(table) <= STARTS_IN_MULTIPLEXER:
        return 0
    found, differ = 0, np.bitwise_or.reduce(table ^ table[0])
    for different, most in zip(differ.tolist(), np.abs(table).max(axis=0).tolist(), strict=True):
        changing_ = (different & (2 << bits(most)) - 1).bit_count()
        if changing_:
            memory = mapped(family, changing_, len(table), rom=True)
            found += memory.cells if memory.kind == "block" else 0
    return found


@functools.lru_cache(maxsize=4096)
def _kept_starts(stage, pe, most):
    """Of starts in block RAM: words, bits of all accumulators."""
    words, shape = start_words(stage.result.repeated(Grouping(len(stage.reach), pe).missing), pe, most)
    return len(words), shape.width * pe


def _layer(stage, options, simd, words, folds, family, more=0):
    """A layer's unit and its memories: ``words`` weight words of a vector, ``folds`` times over; padded inputs add ``more``."""
    if options.memory != "updatable":
        brams, table = _starts_in_memory(stage, options.pe, more, family), _start_table(stage, options.pe, more)
        found = _matrix_vector(stage, options, simd, words, (1, table[1], 0, 0) if brams else table)
        found += _weights(stage, simd, words * folds, options, family)
        found.brams += brams
        return found
    entries, accumulators = _kept_starts(stage, options.pe, words * simd * ((1 << stage.bits_in) - 1))
    found = _matrix_vector(stage, options, simd, words, (1, accumulators, 0, 0))
    found += _weights(stage, simd, pages(words * folds), options, family)
    found.brams += parts.rom(accumulators, pages(entries), "bram", family).brams
    return found


def _matrix_vector(stage, options, simd, words, starts):
    """The unit of a layer with weights; ``starts`` is as of :func:`_start_table`."""
    pe, (entries, accumulators, changing_, different) = options.pe, starts
    return parts.matrix_vector(
        pe=pe, simd=simd, bits_in=stage.bits_in, words=words, folds=-(-len(stage.reach) // pe), accumulators=accumulators,
        width=stage.result.width, start_bits=changing_, start_columns=different, entries=entries, scale=stage.result.scale,
        masked=_weight_bits(stage) == 2, registers=getattr(options, "registers", 0))


def _weights(stage, simd, words, options, family):
    width = _weight_bits(stage) * options.pe * simd
    found = parts.rom(width, words, "lut" if options.memory == "lut" else "bram", family)
    return parts.registered(found, width) if options.slices else found


def _padding(stage, options):
    """What joins and splits words, where the last one of a layer's inputs or results is short."""
    found, (rows, columns) = Parts(), stage.groupings(options)
    if columns.missing:
        found += parts.fill(columns.narrow * stage.bits_in, columns.ratio, columns.words)
    if rows.missing:
        found += parts.trim(rows.narrow * stage.bits_out, rows.ratio, rows.words)
    return found


def _dense(stage, options, family):
    words, folds = (grouping.words for grouping in reversed(stage.groupings(options)))
    found = _layer(stage, options, options.simd, words, folds, family) + _padding(stage, options)
    if folds > 1:
        width = options.simd * stage.bits_in
        buffer = parts.replay(width, words, folds, stage.depth(options), family)
        found += parts.sliced(buffer, width) if options.slices else buffer
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
    groups = -(-stage.channels // lanes)
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
    found = parts.window(
        width=lanes * stage.bits_in, depth=depth, loops=[count for count, _ in loops], small=max(rows, across) <= 2,
        address_jump=bits(reach) + 1,
        ahead=bits(depth + geometry.words + reach) + 1, room=bits(depth + geometry.words), freed=freed, places=places,
        borders=borders, family=family)
    return parts.sliced(found, lanes * stage.bits_in + bits(borders - 1)) if options.slices else found


@functools.lru_cache(maxsize=1024)
def _borders(stage):
    """Kinds of borders that matter: 1 where accumulators start the same at each, and nothing is made of what a window says."""
    return len({tuple(row) for row in stage.result.starts})


def _conv(stage, options, family):
    words, folds = stage.words(options), stage.folds(options)
    more = stage.taps * stage.groupings(options)[1].missing * stage.fill
    return (_layer(stage, options, options.simd, words, folds, family, more) + _padding(stage, options)
            + _window(stage, options, options.simd, family, repeats=folds, borders=_borders(stage)))


def _depthwise(stage, options, family):
    groups = stage.channels // options.pe
    return (_layer(stage, options, 1, stage.taps, groups, family)
            + _window(stage, options, options.pe, family, borders=_borders(stage)))


def _pool(stage, options, family):
    lanes, groups = options.lanes, stage.channels // options.lanes
    minimum = getattr(stage, "minimum", [False] * stage.channels)
    mixed = sum(len(set(minimum[lane::lanes])) > 1 for lane in range(lanes))
    unit = parts.pool(bits_in=stage.bits_in, lanes=lanes, taps=stage.taps, width=stage.bits_out, mixed=mixed, groups=groups,
                      kind=stage.kind, slices=options.slices)
    return unit + _window(stage, options, lanes, family, borders=1)


def _input(stage, options, family):
    return parts.slice_(options.lanes * stage.bits_out)


@functools.lru_cache(maxsize=1024)
def _levels(stage):
    """What each channel's comparators compare with (C, L), and whether their outcome is turned over (C, 1)."""
    falling = np.array(stage.falling, np.int64)[:, None]
    return np.clip(np.array(stage.levels, object).astype(np.int64) + falling, 0, 1 << stage.bits_in), falling


def _different(table):
    """Of the bits of a table's numbers, int array (words, numbers a word), how many change at all, and how many of those are no
    bit of the address nor like another."""
    words = len(table)
    columns_ = np.concatenate([(table >> bit & 1).T for bit in range(bits(int(table.max(initial=0))))] or [np.zeros((0, words))])
    changing_ = np.packbits(columns_[columns_.any(axis=1) & ~columns_.all(axis=1)].astype(bool), axis=1)
    address = np.packbits(np.arange(words) >> np.arange(bits(words - 1))[:, None] & 1, axis=1)
    return len(changing_), len({own.tobytes() for own in changing_} - {own.tobytes() for own in address})


def _turns(values, lanes):
    """What belongs to the channels, int array (C, numbers), as words of ``lanes`` channels that take turns: (turns, numbers)."""
    count = turns(len(values), lanes)
    return values[np.arange(count * lanes) % len(values)].reshape(count, -1)


@functools.lru_cache(maxsize=4096)
def _threshold_table(stage, lanes):
    """Turns of a table of levels; its bits that change, those that are different."""
    levels, falling = _levels(stage)
    table = _turns(np.concatenate([levels, falling], axis=1), lanes)
    return len(table), *_different(table)


def _threshold(stage, options, family):
    count, changing_, different = _threshold_table(stage, options.lanes)
    return parts.comparators(bits_in=stage.bits_in, lanes=options.lanes, levels=len(stage.levels[0]), turns=count,
                             changing=changing_, columns=different, family=family, width=stage.bits_out)


def _thermometer(stage, options, family):
    found = columns(stage.levels, options.lanes, stage.bits_in)
    differ, words = len(changing(found)), len(found[0])
    return parts.thermometer(bits_in=stage.bits_in, lanes=options.lanes, levels=stage.count, changing=differ, turns=words,
                             columns=_different(np.array(found).T)[1], family=family, memory=style_for(differ * words, words))


def _used(values):
    """The bits that are 1 in any of some numbers, as one number."""
    return int(np.bitwise_or.reduce(values, axis=None))


@functools.lru_cache(maxsize=4096)
def _affine_parts(stage, lanes):
    """What :func:`.parts.affine` wants to know about scales and offsets."""
    scale, offset = (_turns(np.array(vector, np.int64)[:, None], lanes) for vector in (stage.scale, stage.offset))
    words = len(scale)
    width = [max(bits(int(own.max())), bits(~int(own.min()))) + int(own.min() < 0) for own in (scale, offset)]
    scale, offset = scale & (1 << width[0]) - 1, offset & (1 << width[1]) - 1
    changing = [column for own in (scale, offset) for column in own.T if len(set(column.tolist())) > 1]
    return {"turns": words, "scale_bits": width[0], "constant": not (scale ^ scale[0]).any(),
            "partial": sum(_used(column).bit_count() for column in scale.T),
            "added": sum(_used(column ^ column[0]).bit_count() for column in offset.T),
            "columns": _different(np.stack(changing, axis=1))[1] if changing else 0,
            "changing": sum(_used(column).bit_length() for column in changing)}


def _affine(stage, options, family):
    found = _affine_parts(stage, options.lanes)
    return parts.affine(bits_in=stage.bits_in, width=stage.bits_out, lanes=options.lanes, family=family, **found,
                        memory=style_for(found["changing"] * found["turns"], found["turns"]))


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
