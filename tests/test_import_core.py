"""The core of all imports, against the real numbers that it stands for: fractions, computed one by one."""
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import reference
from bnnhw.importers import quantizers
from bnnhw.importers.exact import Builder
from bnnhw.importers.rational import REACHES, Inexpressible, common_divisor, distinct, fractions, root
from bnnhw.ir import TensorType

NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.1, -0.1, 0.5, 0.25, -2.5, 3.0, 1e-3, 1 / 3, -7.0]).map(np.float32)
LO, HI, STEP, C = -9, 9, 3, 3


def rounded(v, mode):
    """``v`` rounded to an integer: each mode in its own words."""
    down, up = math.floor(v), math.ceil(v)
    away, inward = (up, down) if v > 0 else (down, up)
    if mode in ("FLOOR", "CEIL", "DOWN", "UP"):
        return {"FLOOR": down, "CEIL": up, "DOWN": inward, "UP": away}[mode]
    if v - down != Fraction(1, 2):
        return down if v - down < Fraction(1, 2) else up
    return {"HALF_UP": away, "HALF_DOWN": inward}.get(mode, down if down % 2 == 0 else up)


def evaluated(build, value, x):
    """The real numbers of ``value`` for inputs ``x``: object array (N, C) in the foreign order."""
    t = reference.run(build.finish([value]), x)[value.edge]
    real = [[min(max(s * int(v) + o, low), high) for v, s, o, low, high in
             zip(row, value.scale, value.offset, value.low, value.high, strict=True)] for row in t]
    real = np.array(real, object)
    return real if value.order is None else real[:, value.order]


def every():
    """An input of three channels, the batch in which each takes all its values, and the builder."""
    build = Builder()
    value = build.input("x", TensorType((C,), LO, HI, STEP), "NC")
    t = np.arange(LO, HI + 1, STEP)
    return build, value, np.stack([t, t, t], axis=1)


@st.composite
def chains(draw):
    """Steps (method, arguments) of a value, each parameter one for all or one for each channel."""
    def parameter(zero=True):
        values = draw(st.lists(NUMBERS.filter(lambda v: zero or v != 0), min_size=C, max_size=C))
        return np.array(values if draw(st.booleans()) else values[:1], np.float32)
    steps = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["multiplied", "divided", "added", "clipped", "normalized"]))
        if kind == "clipped":
            low, high = sorted(draw(st.tuples(NUMBERS, NUMBERS)))
            steps.append((kind, (Fraction(float(low)), draw(st.sampled_from([math.inf, Fraction(float(high))])))))
        elif kind == "normalized":
            variance = np.array(draw(st.lists(st.sampled_from([0.25, 4.0, 3.0]), min_size=C, max_size=C)), np.float32)
            steps.append((kind, (parameter(), parameter(), parameter(), variance, np.float32(draw(st.sampled_from([0, 1e-5]))))))
        else:
            steps.append((kind, (parameter(zero=kind != "divided"),)))
    return steps


def real(kind, args, row):
    """One step on a row of real numbers, in plain arithmetic."""
    if kind == "clipped":
        return [min(max(v, args[0]), args[1]) for v in row]
    parts = [[Fraction(float(v)) for v in np.broadcast_to(part, C)] for part in args]
    if kind == "normalized":
        return [g * (v - m) / root(s + e) + b for v, g, b, m, s, e in zip(row, *parts, strict=True)]
    operation = {"multiplied": lambda v, p: v * p, "divided": lambda v, p: v / p, "added": lambda v, p: v + p}[kind]
    return [operation(v, p) for v, p in zip(row, parts[0], strict=True)]


def applied(value, steps):
    for kind, args in steps:
        value = getattr(value, kind)(*args)
    return value


@settings(max_examples=150, deadline=None)
@given(chains())
def test_a_value_is_its_real_number(steps):
    build, value, x = every()
    want = [[Fraction(int(v)) for v in row] for row in x]
    for kind, args in steps:
        want = [real(kind, args, row) for row in want]
    assert np.array_equal(evaluated(build, applied(value, steps), x), np.array(want, object))


@settings(max_examples=150, deadline=None)
@given(chains(), st.sampled_from(sorted(REACHES)), st.sampled_from([(0, 1), (-1, 1), (0, 3), (-4, 3), (-127, 127)]), st.data())
def test_quantizers(steps, mode, limits, data):
    build, value, x = every()
    value = applied(value, steps)
    reals = evaluated(build, value, x)
    scale = np.array(data.draw(st.lists(st.sampled_from([0.5, 1.0, 0.1, 2.0]), min_size=C, max_size=C)), np.float32)
    zero = np.float32(data.draw(st.sampled_from([0, 1, -3])))
    made = quantizers.quantized(build, "q", value, scale, zero, *limits, mode)
    want = [[(min(max(rounded(v / Fraction(float(s)) + int(zero), mode), limits[0]), limits[1]) - int(zero)) * Fraction(float(s))
             for v, s in zip(row, scale, strict=True)] for row in reals]
    assert np.array_equal(evaluated(build, made, x), np.array(want, object))

    signs = quantizers.bipolar(build, "b", value, scale)
    want = [[Fraction(float(s)) * (1 if v >= 0 else -1) for v, s in zip(row, scale, strict=True)] for row in reals]
    assert np.array_equal(evaluated(build, signs, x), np.array(want, object))
    assert np.array_equal(evaluated(build, quantizers.sign(build, "s", value), x), np.sign(reals))

    levels = np.array(data.draw(st.lists(NUMBERS, min_size=2, max_size=2)), np.float32)[None]
    made = quantizers.counted(build, "m", value, levels, scale[0], zero)
    want = sum(np.array([[int(v >= Fraction(float(t))) for v in row] for row in reals], object) for t in levels[0])
    assert np.array_equal(evaluated(build, made, x), want * Fraction(float(scale[0])) + int(zero))


@settings(max_examples=100, deadline=None)
@given(chains(), st.integers(0, 2**32 - 1))
def test_a_matrix_takes_up_scales_and_offsets(steps, seed):
    build, value, x = every()
    value = applied(value, steps)
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1.0, 0.0, 1.0], size=(4, C)) * rng.choice([0.1, 1.0, 3.0], size=(4, 1)).astype(np.float32)
    reals = evaluated(build, value, x)
    try:
        made = build.dense("fc", value, weights)
    except Inexpressible:
        return
    assert np.array_equal(evaluated(build, made, x), reals @ fractions("w", weights).T)


def test_most_matrices_are_taken():
    """So that the test above speaks of something."""
    build, value, x = every()
    value = value.multiplied(np.float32([0.5, -1, 0.25])).added(np.float32([0.1, 0, 3]))
    weights = np.array([[1.0, -1, 1], [2, 2, -2]])
    made = build.dense("fc", value, weights)
    assert [op.kind for op in build.operations.values()] == ["Input", "Affine", "Dense"]
    assert np.array_equal(evaluated(build, made, x), evaluated(build, value, x) @ fractions("w", weights).T)
    taken_up = build.dense("fc", value, np.array([[2.0, -1, 4], [4, 2, -8]]))  # magnitudes times scales agree
    assert [op.kind for op in build.operations.values()] == ["Input", "Affine", "Dense", "Dense"]
    weights = fractions("w", [[2.0, -1, 4], [4, 2, -8]])
    assert np.array_equal(evaluated(build, taken_up, x), evaluated(build, value, x) @ weights.T)


def maps(seed, shape=(4, 5, 3), channels_first=True):
    build = Builder()
    value = build.input("image", TensorType(shape, 0, 255), "NCHW" if channels_first else "NHWC")
    return build, value, np.random.default_rng(seed).integers(0, 256, (6, *shape))


def real_map(build, value, x):
    """float64 (N, H, W, C): exact, the test's numbers are small."""
    t = reference.run(build.finish([value]), x)[value.edge]
    low, high = (np.array([float(v) for v in part]) for part in (value.low, value.high))
    return np.clip(t * value.scale.astype(float) + value.offset.astype(float), low, high)


def convolved(x, weights, stride, padding, pad):
    top, bottom, left, right = padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=pad)
    rows, columns = ((size - k) // s + 1 for size, k, s in zip(x.shape[1:3], weights.shape[1:3], stride, strict=True))
    out = np.zeros((len(x), rows, columns, len(weights)))
    for r in range(rows):
        for c in range(columns):
            window = x[:, r * stride[0]:r * stride[0] + weights.shape[1], c * stride[1]:c * stride[1] + weights.shape[2]]
            out[:, r, c] = np.tensordot(window, weights, axes=([1, 2, 3], [1, 2, 3]))
    return out


@pytest.mark.parametrize("padding, pad", [((0, 0, 0, 0), 0), ((1, 1, 1, 1), 0), ((1, 0, 0, 1), -1), ((1, 1, 0, 0), 0.25)])
@pytest.mark.parametrize("scale, offset", [(1, 0), (0.5, 0), (-0.5, 1), (2, -1)])
def test_convolutions_pad_with_real_numbers(padding, pad, scale, offset):
    build, value, x = maps(1)
    value = value.multiplied(scale).added(offset)
    rng = np.random.default_rng(2)
    weights = rng.choice([-1.0, 0, 1], size=(4, 3, 2, 3)) * np.array([1, 0.5, 2, 4])[:, None, None, None]
    reals = real_map(build, value, x)
    made = build.conv("conv", value, weights, (1, 2), padding, pad)
    assert np.array_equal(real_map(build, made, x), convolved(reals, weights, (1, 2), padding, pad))
    weights = rng.choice([-1.0, 0, 1], size=(3, 2, 3)) * np.array([1, 0.5, 2])[:, None, None]
    made = build.depthwise("dw", value, weights, (2, 1), padding, pad)
    full = np.zeros((3, 2, 3, 3))
    full[np.arange(3), :, :, np.arange(3)] = weights
    assert np.array_equal(real_map(build, made, x), convolved(reals, full, (2, 1), padding, pad))


def test_pools_and_depthwise_ones():
    build, value, x = maps(3)
    value = value.multiplied([1, -2, 0]).added([0, 0, 5]).clipped(Fraction(-100), Fraction(101))
    reals = real_map(build, value, x)
    windows = np.lib.stride_tricks.sliding_window_view(reals, (2, 2), axis=(1, 2))
    made = build.max_pool("pool", value, (2, 2), (1, 1))
    assert build.operations["pool"].minimum.tolist() == [False, True, False]
    assert np.array_equal(real_map(build, made, x), windows.max(axis=(-1, -2)))
    build, value, x = maps(3)
    value = value.multiplied([1, -2, 0.5]).added([0, 0, 5])
    windows = np.lib.stride_tricks.sliding_window_view(real_map(build, value, x), (2, 2), axis=(1, 2))
    made = build.average_pool("mean", value, (2, 2), (1, 1))
    assert np.array_equal(real_map(build, made, x), windows.mean(axis=(-1, -2)))
    made = build.depthwise("sum", value, np.ones((3, 2, 2)) * 0.5)
    assert build.operations["sum"].kind == "SumPool2d"
    assert np.array_equal(real_map(build, made, x), windows.sum(axis=(-1, -2)) * 0.5)


@pytest.mark.parametrize("channels_first", [False, True])
def test_flatten_keeps_the_foreign_order(channels_first):
    build, value, x = maps(4, channels_first=channels_first)
    flat = build.flatten("flat", value.multiplied([1, 2, 4]).added([0, 1, 2]))
    foreign = (x * [1, 2, 4] + [0, 1, 2]).transpose(0, 3, 1, 2) if channels_first else x * [1, 2, 4] + [0, 1, 2]
    want = foreign.reshape(len(x), -1)
    assert np.array_equal(evaluated(build, flat, x), want)
    assert (flat.order is None) == (not channels_first)
    per_element = np.arange(flat.channels) % 7 - 3
    assert np.array_equal(evaluated(build, flat.added(per_element), x), want + per_element)
    weights = np.random.default_rng(1).choice([-1.0, 1], size=(5, flat.channels))
    scaled = build.flatten("again", value.multiplied([1, 2, 4]).added([0, 1, 2]))
    made = build.dense("fc", scaled, weights)
    assert np.array_equal(evaluated(build, made, x), want @ weights.T)
    tie = flat.float32(np.arange(2 * flat.channels).reshape(2, -1))
    expected = np.arange(2 * flat.channels).reshape(2, 4, 5, 3) * [1, 2, 4] + [0, 1, 2]
    assert np.array_equal(tie, expected.reshape(2, -1))


@pytest.mark.parametrize("first, second, kinds", [
    ((1, 0), (1, 0), ["Add"]), ((0.5, 1), (0.25, 3), ["Affine", "Add"]), ((np.float32(0.1), 0), (np.float32(0.3), 0), None),
    ((3, 0), (-2, 0.5), ["Affine", "Affine", "Add"]), (([1, 2, 3], 0), ([5, 7, 11], [1, 2, 3]), ["Affine", "Affine", "Add"])])
def test_sums_of_two_tensors(first, second, kinds):
    build, value, x = every()
    one, other = (value.multiplied(s).added(o) for s, o in (first, second))
    if kinds is None:
        with pytest.raises(Inexpressible, match="^its two sides have scales without a common unit"):
            build.add("sum", one, other)
        return
    made = build.add("sum", one, other)
    assert [op.kind for op in build.operations.values()][1:] == kinds
    assert np.array_equal(evaluated(build, made, x), evaluated(build, one, x) + evaluated(build, other, x))


def test_a_relu_between_layers():
    build, value, x = every()
    relu = value.multiplied(-0.5).clipped(Fraction(0), math.inf)
    made = build.dense("fc", relu, np.array([[1.0, -1, 1]]))
    assert np.array_equal(evaluated(build, made, x), evaluated(build, relu, x) @ np.array([[1], [-1], [1]]))
    with pytest.raises(Inexpressible, match="values are not evenly spaced"):
        build.dense("fc", value.added(1).clipped(Fraction(0), math.inf), np.ones((1, 3)))
    different = value.multiplied([1, -2, 0]).clipped(Fraction(-6), Fraction(6))
    made = build.dense("fc", different, np.array([[2.0, -1, 1]]))
    assert np.array_equal(evaluated(build, made, x), evaluated(build, different, x) @ np.array([[2], [-1], [1]]))
    with pytest.raises(Inexpressible, match="leaves a single value"):
        build.dense("fc", value.clipped(Fraction(50), Fraction(51)), np.ones((1, 3)))


@pytest.mark.parametrize("seed", range(6))
def test_classes_decide_as_real_scores_do(seed):
    rng = np.random.default_rng(seed)
    build, value, x = every()
    x = np.stack(np.meshgrid(x[:, 0], x[:, 0], x[:, 0]), axis=-1).reshape(-1, 3)
    scores = value.normalized(*rng.normal(size=(3, 3)).astype(np.float32), rng.uniform(1, 2, 3).astype(np.float32), 1e-5)
    if seed == 0:       # one scale for all decides nothing
        scores = value.multiplied(0.7).added(-3.3)
    if seed == 1:       # equals are equal
        scores = value.multiplied([1, 0.5, 0.25])
    made = build.argmax("class", scores)
    want = np.array([max(range(3), key=lambda c: (row[c], -c)) for row in evaluated(build, scores, x)])
    assert np.array_equal(reference.run(build.finish([made]), x)[made.edge], want)
    assert ("Affine" in [op.kind for op in build.operations.values()]) == (seed > 0)


def test_ties_between_float32_and_exact_arithmetic():
    build = Builder()
    value = build.input("x", TensorType((2,), 0, 20), "NC")
    # float32(0.1) is more than 1/10, so 10 times it is more than 1, but rounds to 1 in float32.
    quantizers.counted(build, "act", value.multiplied(np.float32(0.1)), np.nextafter(np.float32([[1]]), np.float32(2)))
    assert build.tied == 0
    quantizers.counted(build, "act", value.multiplied(np.float32(0.1)).added(np.float32(-1)), np.float32([[1e-9]]))
    assert build.tied == 2
    assert build.ties == [{"layer": "act_2", "channel": channel, "sum": 10} for channel in (0, 1)]


def test_roots_and_differences():
    assert root(Fraction(9, 4)) == Fraction(3, 2)
    assert root(Fraction(0)) == 0
    two = root(Fraction(2))
    assert 0 < 2 - two * two < Fraction(1, 2**500)
    assert 0 < Fraction(2, 10**60) - root(Fraction(2, 10**60))**2 < Fraction(1, 2**600)
    with pytest.raises(Inexpressible, match="^it comes nearer to its boundary"):
        distinct(two * two - 2, "it")
    assert distinct(Fraction(1, 2**300), "it") == Fraction(1, 2**300)
    assert common_divisor([Fraction(3, 4), Fraction(-1, 6), Fraction(0)]) == Fraction(1, 12)
    assert common_divisor([]) == 0


@pytest.mark.parametrize("make, message", [
    (lambda b, v: v.multiplied(np.float32([1, np.nan, 1])), "a factor is nan"),
    (lambda b, v: v.divided(0.0), "it divides by 0"),
    (lambda b, v: v.normalized(1, 0, 0, [1, 0, 1], 0), "channel 1: the batch norm's variance is 0.0 and epsilon 0.0"),
    (lambda b, v: v.normalized(1, 0, 0, [1, -1, 1], 2), "channel 1: the batch norm's variance is -1.0 and epsilon 2.0"),
    (lambda b, v: v.added([1, 2]), "a term has shape (2,)"),
    (lambda b, v: v.clipped(Fraction(2), Fraction(1)), "it clips to at least 2.0 and at most 1.0"),
    (lambda b, v: quantizers.quantized(b, "q", v, -1, 0, 0, 3), "a scale is -1.0"),
    (lambda b, v: quantizers.quantized(b, "q", v, 1, 0, 0, 3, "NEAREST"), "the rounding mode is 'NEAREST'"),
    (lambda b, v: quantizers.quantized(b, "q", v, 1, 0, 3, 3), "its integers reach from 3 to 3"),
    (lambda b, v: quantizers.counted(b, "m", v, np.zeros((2, 1))), "its levels have shape (2, 1)"),
    (lambda b, v: quantizers.counted(b, "m", v, np.zeros((1, 2000))), "it has 2000 levels"),
    (lambda b, v: b.dense("fc", v, np.array([[1.0, 2, 1]])), "output channel 0 has weights of magnitudes 1 and 2"),
    (lambda b, v: b.dense("fc", v, np.array([[1.0, np.inf, 1]])), "a weight is inf"),
    (lambda b, v: b.dense("fc", v, np.ones((2, 4))), "weights of shape (2, 4) for 3 inputs"),
    (lambda b, v: b.conv("c", v, np.ones((2, 1, 1, 3))), "its input has the dimensions NC"),
])
def test_refusals(make, message):
    build, value, _ = every()
    with pytest.raises(Inexpressible) as caught:
        make(build, value)
    assert str(caught.value).startswith(message)


def test_names():
    build, value, _ = every()
    assert build.name("x") == "x_2"
    assert [build.name(n) for n in ("/features/0/MatMul", "1conv", "", "ünit", "a.b")] == [
        "features_0_MatMul", "op1conv", "op", "nit", "a_b"]


def test_padding_of_a_finer_unit_than_the_scales():
    """Scales 1 and 1024, padding with 1/128: the sums are those of the real numbers."""
    build = Builder()
    scale = np.array([1.0, 1024.0])
    offset = 1 / 128 - scale
    value = build.input("x", TensorType((3, 3, 2), 0, 3, 1), "NCHW")
    out = build.conv("c", value.multiplied(scale).added(offset), np.ones((1, 3, 3, 2)), (1, 1), (1, 1, 1, 1), Fraction(1, 128))
    x = np.random.default_rng(0).integers(0, 4, (1, 3, 3, 2))
    found = reference.run(build.finish([out]), x, keep=[out.edge])[out.edge]
    real = np.pad(x[0] * scale + offset, ((1, 1), (1, 1), (0, 0)), constant_values=1 / 128)
    want = [[Fraction(real[i:i + 3, j:j + 3].sum()) for j in range(3)] for i in range(3)]
    assert [[out.scale[0] * int(v) + out.offset[0] for v in row] for row in found[0, :, :, 0]] == want


def test_scores_in_parts_of_an_odd_number():
    """Thirds with whole offsets have no binary fixed point that keeps every tie; their own unit does."""
    build = Builder()
    value = build.input("x", TensorType((3,), -9, 9, 1), "NC")
    value = value.multiplied(np.array([Fraction(1, 3)] * 3, object)).added(np.array([0, 1, 2]))
    network = build.finish([build.argmax("class", value)])
    x = np.random.default_rng(0).integers(-9, 10, (500, 3))
    want = [max(range(3), key=lambda c: (Fraction(int(row[c]), 3) + c, -c)) for row in x]
    assert reference.run(network, x)["class"].tolist() == want
