# amaranth: UnusedElaboratable=no
"""Folded convolutions against sums over windows in numpy, to the cycle of their models; zero padding of signs among them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.conv import DepthwiseConv, FoldedConv
from bnnhw.gateware.mvtu import Codes, Signs, most_registers
from bnnhw.gateware.padding import Grouping
from bnnhw.gateware.window import border_classes
from bnnhw.stages import timing, window_timing
from bnnhw.stages.dense import KEPT_IN
from bnnhw.stages.unit_timing import buffered, padded

from .beside import drive


def windows(x, kernel, stride, padding, fill):
    """(images, H', W', rows, columns, C) of ``x`` (images, H, W, C)."""
    (kh, kw), (down, right), (top, bottom, left, after) = kernel, stride, padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, after), (0, 0)), constant_values=fill)
    return np.stack([np.stack([x[:, y:y + kh, z:z + kw] for z in range(0, x.shape[2] - kw + 1, right)], axis=1)
                     for y in range(0, x.shape[1] - kh + 1, down)], axis=1)


def convolve(x, weights, stride, padding, fill):
    """(images, H', W', C_out), exact: each channel by itself with weights (C, rows, columns)."""
    found = windows(x, weights.shape[1:3], stride, padding, fill)
    return np.einsum("nyxabc,cab->nyxc" if weights.ndim == 3 else "nyxabc,oabc->nyxo", found, weights)


def bases(x_shape, weights, stride, padding, fill, lo, most):
    """(borders, C_out): what is to be added to match counts of code 0 at padded places, where they stand for ``fill``."""
    flat = weights.reshape(len(weights), -1)
    base = lo * flat.sum(axis=1) - most * (flat < 0).sum(axis=1)
    kernel = weights.shape[1:3]
    rows, columns = (border_classes(size, k, s, *pads)[0] for size, k, s, pads in zip(
        x_shape[1:3], kernel, stride, (padding[:2], padding[2:]), strict=True))
    taps = weights.reshape(*weights.shape[:3], -1).sum(axis=3)
    inside = [taps[:, a:kernel[0] - b, c:kernel[1] - d].sum(axis=(1, 2)) for a, b in rows for c, d in columns]
    return np.array([base + (fill - lo) * (taps.sum(axis=(1, 2)) - own) for own in inside])


def case(seed, *, image, kernel, stride, padding, pe, folds, simd, groups, bits, ternary, signs, fill, depthwise, more=0,
         images=3, registers=0, slices=False, fewer_out=0, fewer_in=0):
    """(component, model, words in, words out). ``fill`` is what padding stands for, None: the code ``2**bits - 1``. By
    ``fewer_out`` and ``fewer_in`` channels the last of ``folds`` and of ``groups`` is short."""
    rng = np.random.default_rng(seed)
    n_out = pe * folds - fewer_out
    lo, most, channels = int(rng.integers(-9, 2)), 2**bits - 1, n_out if depthwise else simd * groups - fewer_in
    step = 2 if bits == 1 else 1        # bits are signs
    lo = -1 if bits == 1 else lo
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], (n_out, *kernel) + (() if depthwise else (channels,)))
    codes = rng.integers(0, most + 1, (images, *image, channels))
    code = most if fill is None else 0
    x, border = lo + step * codes, lo + step * most if fill is None else fill
    sums = convolve(x, weights, stride, padding, border)
    assert sums.shape[-1] == n_out
    flat = weights.reshape(len(weights), -1)
    if fill is None:
        base = (lo * flat.sum(axis=1) - step * most * (flat < 0).sum(axis=1))[None]
    else:
        base = bases(x.shape, weights, stride, padding, fill, lo, step * most)
    reach = most * np.abs(flat).sum(axis=1)
    if signs:
        levels = sums[0, 0, 0]          # there it is just reached
        result, want = Signs((-(-(levels - base) // step)).tolist()), (sums >= levels).astype(int)
    else:
        offsets, scale = base - base.min(), step
        result = Codes(offsets.tolist(), scale, max(1, int((offsets + scale * reach).max()).bit_length()))
        want = sums - base.min()
    facts = dict(image=image, stride=stride, padding=padding)
    geometry = facts | dict(kernel=kernel, groups=folds if depthwise else groups) | ({} if depthwise else {"repeats": folds})
    depth = window_timing.live_depth(**geometry) + more
    registers = 0 if depthwise else min(registers, most_registers(simd))
    unit = timing.Unit(kernel[0] * kernel[1] * (1 if depthwise else groups), registers)
    model = buffered(window_timing.Window(depth=depth, **geometry), unit, slices)
    common = facts | dict(reach=reach.tolist(), fill=code, pe=pe, memory=KEPT_IN[seed % len(KEPT_IN)], depth=depth, bits=bits,
                          slices=slices)
    if depthwise:
        dut, lanes = DepthwiseConv(weights, result, **common), (pe, pe)
    else:
        rows, columns = Grouping(n_out, pe), Grouping(channels, simd)
        dut, lanes = FoldedConv(weights, result, simd=simd, registers=registers, **common), (columns.narrow, rows.narrow)
        model = padded(model, rows, columns)
    words = [sum(int(v) << k * bits for k, v in enumerate(row)) for row in codes.reshape(-1, lanes[0])]
    return dut, model, words, want.reshape(-1, lanes[1]).tolist()


def check(dut, model, words, want, p_valid=1.0, p_ready=1.0, seed=0):
    """Compare every word and, every cycle, who is ready and valid; the cycle in which each word was taken."""
    taken, times = drive(dut, model, words, len(want), p_valid=p_valid, p_ready=p_ready, seed=seed)
    assert [list(payload) for payload in taken] == want
    return times


@st.composite
def shapes(draw):
    image, kernel, padding = draw(st.tuples(st.integers(1, 5), st.integers(1, 5))), [], []
    for size in image:
        k = draw(st.integers(1, size + 1))
        before, after = draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))
        kernel.append(k)
        padding += [before, after] if size + before + after >= k else [k - 1, k - 1]
    return dict(image=image, kernel=tuple(kernel), padding=tuple(padding), stride=draw(st.tuples(*[st.integers(1, 3)] * 2)))


CHANCE = st.sampled_from([1.0, 0.6, 0.2])


@settings(max_examples=60, deadline=None)
@given(shape=shapes(), seed=st.integers(0, 999), pe=st.integers(1, 3), folds=st.integers(1, 3), simd=st.integers(1, 6),
       groups=st.integers(1, 3), bits=st.sampled_from([1, 2, 8]), ternary=st.booleans(), signs=st.booleans(),
       fill=st.sampled_from([None, 0, -3]), depthwise=st.booleans(), more=st.integers(0, 5), registers=st.integers(0, 2),
       slices=st.booleans(), p_valid=CHANCE, p_ready=CHANCE)
def test_any(shape, seed, p_valid, p_ready, **facts):
    check(*case(seed, images=2, **shape, **facts), p_valid, p_ready, seed)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), shape=shapes(), seed=st.integers(0, 999), pe=st.integers(1, 5), folds=st.integers(1, 3),
       simd=st.integers(1, 6), groups=st.integers(1, 3), bits=st.sampled_from([1, 2, 8]), ternary=st.booleans(),
       signs=st.booleans(), fill=st.sampled_from([None, 0, -3]), slices=st.booleans(), p_valid=CHANCE, p_ready=CHANCE)
def test_short_last_words(data, shape, seed, p_valid, p_ready, **facts):
    """PE and SIMD that do not divide their channels."""
    fewer = {name: data.draw(st.integers(0, lanes - 1 if turns > 1 else 0)) for name, lanes, turns in (
        ("fewer_out", facts["pe"], facts["folds"]), ("fewer_in", facts["simd"], facts["groups"]))}
    check(*case(seed, images=2, depthwise=False, **shape, **facts, **fewer), p_valid, p_ready, seed)


PLAIN = dict(image=(4, 4), kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1), pe=2, folds=2, simd=2, groups=2, bits=1,
             ternary=False, signs=True, fill=0, depthwise=False)
CORNERS = {
    "1x1 image": dict(image=(1, 1), kernel=(1, 1), padding=(0,) * 4), "1x1 image, padded": dict(image=(1, 1)),
    "kernel = image": dict(kernel=(4, 4), padding=(0,) * 4),
    "stride > kernel": dict(kernel=(2, 1), stride=(3, 2), padding=(0,) * 4),
    "1 channel": dict(pe=1, folds=1, simd=1, groups=1), "zero padding of signs": {}, "ternary": dict(ternary=True),
    "2 bits": dict(bits=2, signs=False), "8 bits": dict(bits=8, signs=False), "uneven padding": dict(padding=(2, 0, 0, 1)),
}


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("corner", CORNERS)
def test_corners(corner, depthwise):
    facts = PLAIN | CORNERS[corner] | {"depthwise": depthwise}
    check(*case(1, **facts))
    check(*case(2, **facts), 0.5, 0.5)


def test_zero_padding_needs_borders():
    """With the inner windows' thresholds everywhere, windows over the border are wrong: the correction is seen."""
    dut, model, words, want = case(5, **PLAIN)
    rows = dut.unit.result.thresholds
    assert len(rows) == 9
    rows[:] = [rows[4]] * 9
    with pytest.raises(AssertionError):
        check(dut, model, words, want)


def test_cycles():
    """An image every windows * folds * words cycles, the first result 6 cycles after the last word that it needs."""
    dut, model, words, want = case(0, **PLAIN | dict(more=40))
    times = check(dut, model, words, want)
    per_image = 4 * 4 * 2
    assert [b - a for a, b in zip(times, times[per_image:], strict=False)] == [4 * 4 * 2 * 9 * 2] * (2 * per_image)
    dut, model, words, want = case(0, **PLAIN | dict(image=(2, 2), kernel=(2, 1), padding=(0,) * 4, pe=4, folds=1, groups=1))
    # Words 0 and 2 are the first window: word 2 is taken in cycle 2.
    assert check(dut, model, words, want)[0] == 2 + 6
    facts = dict(image=(2, 2), kernel=(2, 1), padding=(0,) * 4, pe=4, folds=1, groups=1, simd=8, registers=2, slices=True)
    assert check(*case(0, **PLAIN | facts))[0] == 2 + 6 + 2 + 1


@pytest.mark.parametrize("kind, change, message", [
    (FoldedConv, dict(pe=5), "PE must be from 1 to 4, not 5"), (FoldedConv, dict(simd=0), "SIMD must be from 1 to 2, not 0"),
    (DepthwiseConv, dict(pe=3), "PE must divide 4, not 3"),
    (FoldedConv, dict(result=Signs([[1] * 4] * 2)), "result must have numbers for 1 or 9 borders, not 2"),
])
def test_refusals(kind, change, message):
    weights = np.ones((4, 3, 3) if kind is DepthwiseConv else (4, 3, 3, 2), int)
    facts = dict(result=Signs([[1] * 4]), reach=[18] * 4, image=(4, 4), stride=(1, 1), padding=(1,) * 4, fill=0, pe=2,
                 memory="lut", depth=40, bits=1) | ({} if kind is DepthwiseConv else {"simd": 1})
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(weights, **facts | change)
