# amaranth: UnusedElaboratable=no
"""Pooling units and pools of maps: exact, to the cycle of their models, minima where they are asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.pool import MaxPool, PoolUnit, SumPool, SumPoolUnit
from bnnhw.stages import timing, unit_timing, window_timing

from . import streams
from .beside import drive


def packed(codes, bits):
    """A word of codes, the first in the least significant bits."""
    return sum(int(code) << bits * lane for lane, code in enumerate(codes))


def reduced(kind, values, minimum):
    """``values`` (..., taps, C) to (..., C)."""
    if kind == "sum":
        return values.sum(axis=-2)
    return np.where(minimum, values.min(axis=-2), values.max(axis=-2))


STALLS = st.sampled_from([1.0, 0.6, 0.2])


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["max", "sum"]), bits=st.integers(1, 9), lanes=st.integers(1, 4), taps=st.integers(1, 9),
       groups=st.integers(1, 5), p_valid=STALLS, p_ready=STALLS, seed=st.integers(0, 99))
def test_units(kind, bits, lanes, taps, groups, p_valid, p_ready, seed):
    rng, results = np.random.default_rng(seed), 2 * groups + 3
    # Few different codes, with the greatest and the least among them, so that there are ties.
    codes = rng.choice([0, (1 << bits) - 1, *rng.integers(0, 1 << bits, 4)], (results, taps, lanes))
    minimum = rng.random((groups, lanes)) < rng.choice([0, 0.5, 1])
    want = reduced(kind, codes, minimum[np.arange(results) % groups])
    dut = (SumPoolUnit(bits=bits, lanes=lanes, taps=taps) if kind == "sum" else
           PoolUnit(bits=bits, lanes=lanes, taps=taps, groups=groups, minimum=minimum.ravel().tolist()))
    words = codes.reshape(-1, lanes).tolist()
    got, times = drive(dut, timing.Gathering(taps), words, results, p_valid=p_valid, p_ready=p_ready, seed=seed)
    assert [list(payload) for payload in got] == want.tolist()
    if p_valid == p_ready == 1.0:
        assert times[-1] == results * taps


def test_greatest_sum():
    """All places at their greatest: 9 * 255 takes 12 bits; where codes go up to 2, 5 bits of 18 are asked for."""
    dut = SumPoolUnit(bits=8, lanes=1, taps=9)
    assert dut.width == 12
    assert streams.run(dut, [[255]] * 9, count=1)[0][0][0] == 9 * 255
    assert streams.run(SumPoolUnit(bits=2, lanes=1, taps=9, width=5), [[2]] * 9, count=1)[0][0][0] == 18


def make(kind, facts, bits, channels, lanes, minimum, depth, slices):
    own = dict(image=facts["image"], kernel=facts["kernel"], stride=facts["stride"], bits=bits, lanes=lanes, depth=depth,
               slices=slices)
    dut = SumPool(channels=channels, **own) if kind == "sum" else MaxPool(minimum=minimum, **own)
    taps = facts["kernel"][0] * facts["kernel"][1]
    return dut, unit_timing.buffered(window_timing.Window(depth=depth, **facts), timing.Gathering(taps), slices)


def check(kind, image, kernel, stride, groups, lanes, bits, more=0, images=3, p_valid=1.0, p_ready=1.0, seed=0,
          slices=False):
    rng, channels = np.random.default_rng(seed), groups * lanes
    maps = rng.integers(0, 1 << bits, (images, *image, channels))
    minimum = (rng.random(channels) < 0.5).tolist()
    (kh, kw), (down, right) = kernel, stride
    want = [reduced(kind, picture[y:y + kh, x:x + kw].reshape(-1, channels), minimum).reshape(groups, lanes).tolist()
            for picture in maps for y in range(0, image[0] - kh + 1, down) for x in range(0, image[1] - kw + 1, right)]
    facts = dict(image=image, groups=groups, kernel=kernel, stride=stride, padding=(0, 0, 0, 0))
    dut, model = make(kind, facts, bits, channels, lanes, minimum, window_timing.live_depth(**facts) + more,
                      slices)
    words = [packed(codes, bits) for codes in maps.reshape(-1, lanes)]
    got, times = drive(dut, model, words, len(want) * groups, p_valid=p_valid, p_ready=p_ready, seed=seed)
    assert [list(payload) for payload in got] == [codes for window in want for codes in window]
    return times[-1] + 1


@st.composite
def shapes(draw):
    image = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    return image, tuple(draw(st.integers(1, size)) for size in image), draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(["max", "sum"]), shape=shapes(), groups=st.integers(1, 3), lanes=st.integers(1, 3),
       bits=st.integers(1, 4), more=st.integers(0, 5), p_valid=STALLS, p_ready=STALLS, seed=st.integers(0, 99),
       slices=st.booleans())
def test_maps(kind, shape, groups, lanes, bits, more, p_valid, p_ready, seed, slices):
    check(kind, *shape, groups, lanes, bits, more, 2, p_valid, p_ready, seed, slices)


@pytest.mark.parametrize("kind", ["max", "sum"])
@pytest.mark.parametrize("shape", [
    ((1, 1), (1, 1), (1, 1)), ((5, 4), (5, 4), (1, 1)), ((7, 5), (2, 2), (3, 3)), ((5, 5), (3, 3), (2, 2)),
])
def test_corners(kind, shape):
    check(kind, *shape, 1, 1, 1)
    check(kind, *shape, 3, 2, 3, p_valid=0.5, p_ready=0.5)


def test_rate():
    """2x2 of 8x8, 2 groups: at its rate depth a map follows the other after as many cycles as it has words."""
    facts = dict(image=(8, 8), groups=2, kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0))
    more = window_timing.rate_depth(**facts) - window_timing.live_depth(**facts)
    times = [check("max", (8, 8), (2, 2), (2, 2), 2, 3, 1, more, images) for images in (2, 3, 4)]
    assert np.diff(times).tolist() == [128, 128]


def test_latency():
    dut = MaxPool(image=(1, 1), kernel=(1, 1), stride=(1, 1), bits=2, lanes=1, minimum=[False], depth=2)
    assert streams.run(dut, [3], count=1)[1] == 1 + 3


@pytest.mark.parametrize("unit, facts, message", [
    (PoolUnit, dict(bits=0, groups=1, minimum=[False] * 2), "bits must be a positive integer, not 0"),
    (PoolUnit, dict(bits=1, groups=2, minimum=[False] * 2), "minimum must have 4 channels, not 2"),
    (SumPoolUnit, dict(bits=1, width=0), "width must be a positive integer, not 0"),
])
def test_refusals(unit, facts, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        unit(lanes=2, taps=4, **facts)


def test_wrong_lanes():
    for lanes in (0, 2, 4):
        with pytest.raises(ValueError, match=f"^lanes must divide the 3 channels, not be {lanes}$"):
            MaxPool(image=(2, 2), kernel=(2, 2), stride=(1, 1), bits=1, lanes=lanes, minimum=[False] * 3, depth=9)
