# amaranth: UnusedElaboratable=no
"""The units that work element by element: thresholds, affine, class."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.affine import AffineUnit
from bnnhw.gateware.argmax import ClassOfWord, ClassResult, ScoresResult
from bnnhw.gateware.threshold import ThresholdUnit

from . import streams


def reached(x, levels, falling):
    """Number of its channel's levels that each element of (groups, lanes) reaches."""
    channel = np.arange(x.size).reshape(x.shape) % len(levels)
    t, f = np.array(levels)[channel], np.array(falling)[channel]
    return np.where(f[..., None], x[..., None] <= t, x[..., None] >= t).sum(axis=-1)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bits=st.integers(1, 8), lanes=st.integers(1, 6), channels=st.integers(1, 6), count=st.integers(1, 7),
       p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1))
def test_threshold(data, bits, lanes, channels, count, p_valid, p_ready):
    own = st.lists(st.integers(-2, 2**bits + 1), min_size=count, max_size=count)
    levels = data.draw(st.lists(own, min_size=channels, max_size=channels))
    falling = data.draw(st.lists(st.booleans(), min_size=channels, max_size=channels))
    x = np.random.default_rng(lanes).integers(0, 2**bits, (12, lanes))
    x[:2] = [[0], [2**bits - 1]]
    x[2] = np.clip([levels[(2 * lanes + lane) % channels][0] for lane in range(lanes)], 0, 2**bits - 1)     # just reached
    dut = ThresholdUnit(bits=bits, levels=levels, falling=falling, lanes=lanes)
    taken, _ = streams.run(dut, x.tolist(), count=12, p_valid=p_valid, p_ready=p_ready)
    assert [list(word) for word in taken] == reached(x, levels, falling).tolist()


@pytest.mark.parametrize("channels, lanes", [(64, 1), (65, 4), (96, 3)])
def test_levels_in_block_ram(channels, lanes):
    """Tables that are large enough for one, more than once through."""
    rng = np.random.default_rng(channels)
    levels, falling = rng.integers(0, 4096, (channels, 3)).tolist(), rng.choice([False, True], channels).tolist()
    x = rng.integers(0, 4096, (3 * channels // lanes, lanes))
    dut = ThresholdUnit(bits=12, levels=levels, falling=falling, lanes=lanes)
    taken, _ = streams.run(dut, x.tolist(), count=len(x), p_valid=0.7, p_ready=0.7)
    assert [list(word) for word in taken] == reached(x, levels, falling).tolist()


def test_threshold_timing():
    dut = ThresholdUnit(bits=8, levels=[[128]], falling=[False], lanes=2)
    taken, cycles = streams.run(dut, [[127, 128]] * 10, count=10)
    assert ([list(word) for word in taken], cycles) == ([[0, 1]] * 10, 11)
    dut = ThresholdUnit(bits=8, levels=[[128, 12, 4]], falling=[False], lanes=2)
    taken, cycles = streams.run(dut, [[5, 128]] * 10, count=10)
    assert ([list(word) for word in taken], cycles) == ([[1, 3]] * 10, 12)


@pytest.mark.parametrize("change, error, message", [
    (dict(falling=[False]), ValueError, "falling must have 2 channels, not 1"),
    (dict(levels=[[1], [1, 2]]), ValueError, "every channel must have the same number of levels, at least one"),
    (dict(lanes=0), TypeError, "lanes must be a positive integer, not 0"),
])
def test_threshold_refusals(change, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        ThresholdUnit(**dict(bits=3, levels=[[1], [2]], falling=[False] * 2, lanes=1) | change)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bits=st.integers(1, 8), channels=st.integers(1, 5), lanes=st.integers(1, 4), equal=st.booleans(),
       p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1))
def test_affine(data, bits, channels, lanes, equal, p_valid, p_ready):
    def draw(most):
        return data.draw(st.lists(st.integers(-most, most), min_size=channels, max_size=channels))
    scale, shift = ([data.draw(st.integers(-300, 300))] * channels if equal else draw(300)), draw(3000)
    x = np.random.default_rng(bits).integers(0, 2**bits, (3 * channels, lanes))
    x[:2] = [[0], [2**bits - 1]]
    channel = np.arange(x.size).reshape(x.shape) % channels
    # The caller takes the least value away, so that results count from 0.
    least = min(b + min(0, a * (2**bits - 1)) for a, b in zip(scale, shift, strict=True))
    most = max(b + max(0, a * (2**bits - 1)) for a, b in zip(scale, shift, strict=True))
    offset = [b - least for b in shift]
    dut = AffineUnit(bits=bits, scale=scale, offset=offset, width=max(1, (most - least).bit_length()), lanes=lanes)
    taken, _ = streams.run(dut, x.tolist(), count=len(x), p_valid=p_valid, p_ready=p_ready)
    assert [list(p) for p in taken] == (np.array(scale)[channel] * x + np.array(offset)[channel]).tolist()


def test_affine_timing():
    dut = AffineUnit(bits=4, scale=[3, -1], offset=[0, 15], width=6, lanes=1)
    assert streams.run(dut, [[k] for k in range(8)], count=8)[1] == 8 + 3       # the table's first word a cycle after reset
    dut = AffineUnit(bits=4, scale=[3], offset=[1], width=6, lanes=2)
    assert streams.run(dut, [[k, k] for k in range(8)], count=8)[1] == 8 + 2


def test_affine_has_channels():
    with pytest.raises(ValueError, match="^scale and offset must have the same number of channels, not 2 and 1$"):
        AffineUnit(bits=4, scale=[3, 1], offset=[0], width=6, lanes=1)


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

    if not signed:
        dut = ClassOfWord(score=shape, classes=classes, width=8)
        taken, _ = streams.run(dut, scores.tolist(), count=9, p_valid=p_valid, p_ready=p_ready)
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
    assert streams.run(ClassResult(score=2, classes=classes, width=8), scores, count=5)[1] == 5 * classes + 2
    words = [[k % 3] * classes for k in range(5)]
    assert streams.run(ClassOfWord(score=2, classes=classes, width=8), words, count=5)[1] == 5 + {1: 1, 2: 2, 10: 5}[classes]
    assert streams.run(ScoresResult(score=2, classes=classes, width=8, lo=0, step=1), scores,
                       count=5 * (classes + 1))[1] == 5 * (classes + 1) + 1
