"""What the stages of a lowered network compute, in numpy integers: no cycles, no wires, but each number that the hardware keeps.

A stage's arrays are codes, int64 (N, elements). Layers with weights are read off the components that the stages build: words
of weights, what fills up short words, where accumulators begin and how wide they are, which row goes with a border. An unfolded
layer is taken as a folded one of all lanes, and tables as they are, not as circuits. Streams and cycles are left to simulation.
"""

import functools

import numpy as np
from amaranth.hdl import Shape, signed, unsigned

from bnnhw import stages as kinds
from bnnhw.gateware.conv import DepthwiseConv
from bnnhw.gateware.mvtu import Signs, start_words


class WidthError(AssertionError):
    """A number that its wires cannot carry; the message says which."""


def check_width(values, shape, what):
    """``values``, unless one of them does not fit ``shape``: then :exc:`WidthError`."""
    shape, values = Shape.cast(shape), np.asarray(values)
    low, high = (-(1 << shape.width - 1), (1 << shape.width - 1) - 1) if shape.signed else (0, (1 << shape.width) - 1)
    if values.size and not low <= int(values.min()) <= int(values.max()) <= high:
        raise WidthError(f"{what}: {int(values.min())} to {int(values.max())} in {low} to {high}")
    return values


def interpret(stages, options, codes, task=None):
    """Run ``stages`` (as :func:`bnnhw.lower.lower` gives them) on frames.

    Parameters
    ----------
    options : dict name -> Options
    codes : int array (N, elements)
        What the first stage takes.
    task : int array (N,), optional

    Returns
    -------
    dict name -> int array (N, elements)
        What each stage gives, codes but for scores; with the edges that stages carry inside, by their names.
    """
    found = {}
    for stage in stages:
        inputs = [found[source] for source in stage.sources] or [codes]
        for port, values in enumerate(inputs):
            check_width(values, unsigned(stage.bits(port)), f"{stage.name}: input {port}")
        *inner, result = compute(stage, options[stage.name], task, *inputs)
        found |= dict(zip(stage.inner, inner, strict=True))
        width = signed(stage.bits_out) if isinstance(stage, kinds.ScoresStage) else unsigned(stage.bits_out)
        found[stage.name] = check_width(result, width, f"{stage.name}: result")
        assert result.shape == (len(codes), stage.elements_out), (stage.name, result.shape)
    return found


@functools.singledispatch
def compute(stage, options, task, *inputs):
    """What ``stage`` carries inside, then its result: a sequence of int arrays (N, elements)."""
    raise NotImplementedError(type(stage).__name__)


@compute.register
def _(stage: kinds.InputStage, options, task, x):
    return (x & (1 << stage.bits_out) - 1,)


@compute.register
def _(stage: kinds.ThresholdStage, options, task, x):
    levels, falling = in_turn(stage.levels, x), in_turn(stage.falling, x)[:, None]
    return (np.where(falling, x[..., None] <= levels, x[..., None] >= levels).sum(axis=2),)


@compute.register
def _(stage: kinds.ThermometerStage, options, task, x):
    return ((x[..., None] >= in_turn(stage.levels, x)).reshape(len(x), -1).astype(np.int64),)


@compute.register
def _(stage: kinds.AffineStage, options, task, x):
    return (x * in_turn(stage.scale, x) + in_turn(stage.offset, x),)


@compute.register
def _(stage: kinds.BankAffineStage, options, task, x):
    scale, offset = (np.reshape(flat, (stage.tasks, -1))[task] for flat in (stage.scale, stage.offset))
    return (x * scale + offset,)


@compute.register
def _(stage: kinds.AddStage, options, task, x, y):
    return (stage.scales[0] * x + stage.scales[1] * y,)


@compute.register
def _(stage: kinds.MaxPoolStage, options, task, x):
    views = windows(stage, stage.build(options).window, x)
    return (np.where(stage.minimum, views.min(axis=2), views.max(axis=2)).reshape(len(x), -1),)


@compute.register
def _(stage: kinds.SumPoolStage, options, task, x):
    return (windows(stage, stage.build(options).window, x).sum(axis=2).reshape(len(x), -1),)


@compute.register
def _(stage: kinds.DenseStage, options, task, x):
    row = task if stage.tasks > 1 else np.zeros(len(x), int)
    if options.style == "unfolded":
        options = stage.parse({"pe": stage.elements_out, "simd": stage.elements_in, "memory": "lut"})
    part = stage.build(options)
    words = fill(x[:, None, :], part.columns, 0)
    return (matched(part.unit, part.source, words.reshape(len(x), 1, 1, -1), row[:, None])[:, 0, :stage.elements_out],)


@compute.register(kinds.ConvStage)
@compute.register(kinds.DepthwiseStage)
def _(stage, options, task, x):
    part = stage.build(options)
    views = windows(stage, part.window, x)
    if isinstance(part, DepthwiseConv):
        lanes = views.swapaxes(2, 3)
    else:
        lanes = fill(views, part.columns, part.fill).reshape(*views.shape[:2], 1, -1)
    rows = borders(part.window) if part.unit.borders > 1 else np.zeros(views.shape[1], int)
    found = matched(part.unit, part.source, lanes, np.broadcast_to(rows, views.shape[:2]))
    return (found[..., :stage.channels_out].reshape(len(x), -1),)


@compute.register
def _(stage: kinds.LookupStage, options, task, x):
    layers = []
    for indices, tables in stage.layers:
        addresses = (x[:, np.array(indices)] << np.arange(len(indices[0]))).sum(axis=2)
        x = np.array([[table >> address & 1 for table, address in zip(tables, row, strict=True)] for row in addresses.tolist()])
        layers.append(x)
    return *layers, x.reshape(len(x), stage.groups, -1).sum(axis=2)


@compute.register
def _(stage: kinds.LookupClassStage, options, task, x):
    *layers, votes = compute.dispatch(kinds.LookupStage)(stage, options, task, x)
    return *layers, votes, votes.argmax(axis=1)[:, None]


@compute.register
def _(stage: kinds.ClassStage, options, task, x):
    return (x.argmax(axis=1)[:, None],)


@compute.register
def _(stage: kinds.ScoresStage, options, task, x):
    return (np.concatenate([stage.lo + stage.step * x, x.argmax(axis=1)[:, None]], axis=1),)


def in_turn(table, x):
    """The rows of ``table`` of each element of a frame: they take turns."""
    return np.asarray(table)[np.arange(x.shape[1]) % len(table)]


def windows(stage, buffer, x):
    """What a window buffer gives for each window: int array (N, windows, taps, channels); padded places have its fill."""
    (rows, columns), (down, right), padding = stage.kernel, stage.stride, np.reshape(stage.padding, (2, 2)).tolist()
    code = buffer.fill & (1 << stage.bits_in) - 1       # the same in every lane
    map = np.pad(x.reshape(len(x), *stage.image, stage.channels), [(0, 0), *padding, (0, 0)], constant_values=code)
    views = np.lib.stride_tricks.sliding_window_view(map, (rows, columns), axis=(1, 2))[:, ::down, ::right]
    assert views.shape[1:3] == (buffer.geometry.rows, buffer.geometry.columns), stage.name
    return views.transpose(0, 1, 2, 4, 5, 3).reshape(len(x), -1, rows * columns, stage.channels)


def borders(buffer):
    """The border that goes with each window: int array (windows,)."""
    (_, rows), (columns, across) = buffer.geometry.borders
    return np.add.outer(len(columns) * np.array(rows), across).reshape(-1)


def fill(vectors, grouping, code):
    """``vectors`` (..., size) in full words (..., words * lanes): a short one, the last, has ``code`` below its elements."""
    place = (grouping.words - 1) * grouping.lanes
    padding = np.full((*vectors.shape[:-1], grouping.missing), code)
    return np.concatenate([vectors[..., :place], padding, vectors[..., place:]], axis=-1)


def matched(unit, source, lanes, row):
    """What a matrix-vector unit makes of vectors.

    Parameters
    ----------
    unit : Mvtu
    source : RomSource
        Its words of weights.
    lanes : int array (N, V, neurons or 1, words * simd)
        The codes that each neuron takes, in the order in which they come.
    row : int array (N, V)
        The row of ``unit.result`` that applies.

    Returns
    -------
    int array (N, V, neurons)
    """
    weights, most = weights_of(unit, source), (1 << unit.bits) - 1
    check_width(lanes, unit.bits, "lanes")
    counts = np.where(weights > 0, lanes, np.where(weights < 0, most - lanes, 0)).sum(axis=-1)
    assert (counts <= unit.reach).all(), "more matches than the reach"
    starts, shapes = starts_of(unit)
    for neuron, shape in enumerate(shapes):
        check_width(starts[:, neuron], shape, f"start of neuron {neuron}")
    sums = starts[row] + unit.result.scale * counts
    if not isinstance(unit.result, Signs):
        return sums % (1 << unit.result.width)
    for neuron, shape in enumerate(shapes):
        check_width(sums[..., neuron], shape, f"accumulator of neuron {neuron}")
    turned = np.array(unit.result.opposite)[row] if unit.result.turned else False
    return ((sums >= 0) ^ turned).astype(np.int64)


def weights_of(unit, source):
    """The weights in the words of a memory: int array (neurons, inputs of each), -1, 0, +1."""
    size = unit.pe * unit.simd
    bits = np.array([[word >> k & 1 for k in range(source.width)] for word in source.words])
    assert bits.shape == (unit.folds * unit.words, size * (1 + unit.masked))
    signs, mask = bits[:, :size], bits[:, size:] if unit.masked else 1
    words = ((2 * signs - 1) * mask).reshape(unit.folds, unit.words, unit.pe, unit.simd)
    return words.swapaxes(1, 2).reshape(unit.folds * unit.pe, -1)


def starts_of(unit):
    """Where accumulators begin, int array (rows, neurons), and the shape of each neuron's."""
    rows, neurons = len(unit.result.starts), unit.folds * unit.pe
    if not unit.updatable:
        starts = np.array(unit.result.starts)
        lanes = [unit.result.accumulator(starts[:, k::unit.pe].reshape(-1).tolist(), max(unit.reach[k::unit.pe]))
                 for k in range(unit.pe)]
        return starts, lanes * unit.folds
    words, shape = start_words(unit.result, unit.pe, unit.words * unit.simd * ((1 << unit.bits) - 1))
    lanes = np.array([[word >> k * shape.width & (1 << shape.width) - 1 for k in range(unit.pe)] for word in words])
    starts = lanes.reshape(rows, neurons)
    return starts - (starts >> shape.width - 1 << shape.width if shape.signed else 0), [shape] * neurons
