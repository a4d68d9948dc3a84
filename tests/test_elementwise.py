# amaranth: UnusedElaboratable=no
"""The units that work element by element: thresholds, affine, class."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.affine import AffineUnit
from bnnhw.gateware.argmax import ClassResult, ScoresResult
from bnnhw.gateware.threshold import ThresholdUnit

from . import streams


def word(bits):
    return sum(1 << k for k in np.flatnonzero(bits).tolist())


@settings(max_examples=40, deadline=None)
@given(data=st.data(), bits=st.integers(1, 8), lanes=st.integers(1, 6), channels=st.integers(1, 6),
       p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1))
def test_threshold(data, bits, lanes, channels, p_valid, p_ready):
    levels = data.draw(st.lists(st.integers(-1, 2**bits), min_size=channels, max_size=channels))
    falling = data.draw(st.lists(st.booleans(), min_size=channels, max_size=channels))
    x = np.random.default_rng(lanes).integers(0, 2**bits, (12, lanes))
    channel = np.arange(x.size).reshape(x.shape) % channels
    t, f = np.array(levels)[channel], np.array(falling)[channel]
    want = np.where(f, x <= t, x >= t)
    dut = ThresholdUnit(bits=bits, levels=levels, falling=falling, lanes=lanes)
    taken, _ = streams.run(dut, x.tolist(), count=12, p_valid=p_valid, p_ready=p_ready)
    assert taken == [word(row) for row in want]


def test_threshold_timing():
    dut = ThresholdUnit(bits=8, levels=[128], falling=[False], lanes=2)
    assert streams.run(dut, [[127, 128]] * 10, count=10) == ([0b10] * 10, 11)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), bits=st.integers(1, 8), channels=st.integers(1, 5),
       p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1))
def test_affine(data, bits, channels, p_valid, p_ready):
    scale = data.draw(st.lists(st.integers(-300, 300), min_size=channels, max_size=channels))
    offset = data.draw(st.lists(st.integers(-3000, 3000), min_size=channels, max_size=channels))
    x = np.random.default_rng(bits).integers(0, 2**bits, 4 * channels)
    x[:2] = 0, 2**bits - 1
    want = x * np.tile(scale, 4) + np.tile(offset, 4)
    dut = AffineUnit(bits=bits, scale=scale, offset=offset)
    taken, cycles = streams.run(dut, [[v] for v in x.tolist()], count=len(x), p_valid=p_valid, p_ready=p_ready)
    assert [p[0] for p in taken] == want.tolist()


def test_affine_timing():
    dut = AffineUnit(bits=4, scale=[3, -1], offset=[0, 5])
    assert streams.run(dut, [[k] for k in range(8)], count=8)[1] == 8 + 2


@settings(max_examples=40, deadline=None)
@given(classes=st.integers(1, 11), signed=st.booleans(), spread=st.integers(1, 30), p_valid=st.floats(0.2, 1),
       p_ready=st.floats(0.2, 1))
def test_class(classes, signed, spread, p_valid, p_ready):
    low = -spread if signed else 0
    scores = np.random.default_rng(classes).integers(low, spread + 1, (9, classes))   # few values: many ties
    from amaranth.hdl import Shape
    shape = Shape.cast(range(low, spread + 1))
    taken, _ = streams.run(ClassResult(score=shape, classes=classes, width=8), [[v] for v in scores.ravel().tolist()],
                           count=9, p_valid=p_valid, p_ready=p_ready)
    assert [(p.data, p.last) for p in taken] == [(int(c), 1) for c in scores.argmax(axis=1)]

    beats = [(-7 + 2 * int(v), 0) if k < classes else (int(v), 1)
             for row in scores for k, v in enumerate([*row, row.argmax()])]
    taken, _ = streams.run(ScoresResult(score=shape, classes=classes, width=8, lo=-7, step=2),
                           [[v] for v in scores.ravel().tolist()],
                           count=len(beats), p_valid=p_valid, p_ready=p_ready)
    assert [(p.data, p.last) for p in taken] == beats


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_class_timing(classes):
    scores = [[k % 3] for k in range(5 * classes)]
    assert streams.run(ClassResult(score=2, classes=classes, width=8), scores, count=5)[1] == 5 * classes + 1
    assert streams.run(ScoresResult(score=2, classes=classes, width=8, lo=0, step=1), scores,
                       count=5 * (classes + 1))[1] == 5 * (classes + 1) + 1
