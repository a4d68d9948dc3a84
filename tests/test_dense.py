# amaranth: UnusedElaboratable=no
"""Folded dense layers against matrix products."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.dense import FoldedDense, weight_words

from . import streams


def word(bits):
    return sum(1 << k for k in np.flatnonzero(bits).tolist())


def case(n_out, n_in, pe, simd, memory, depth, vectors, seed=0, sums=False):
    """A layer, its input words, and its output words by arithmetic on signs."""
    rng = np.random.default_rng(seed)
    weights, x = rng.choice([-1, 1], (n_out, n_in)), rng.choice([-1, 1], (vectors, n_in))
    x[0], x[-1] = weights[0], -weights[0]       # all agree, none does
    matches = (x @ weights.T + n_in) // 2
    words = [word(v > 0) for v in x.reshape(-1, simd)]
    if sums:
        dut = FoldedDense(weights, None, pe=pe, simd=simd, memory=memory, depth=depth)
        return dut, words, matches.reshape(-1, pe).tolist()
    thresholds = rng.integers(max(0, n_in // 2 - 3), min(n_in + 1, n_in // 2 + 3) + 1, n_out)
    thresholds[:2] = [0, n_in + 1][:n_out]                               # always, never
    dut = FoldedDense(weights, thresholds.tolist(), pe=pe, simd=simd, memory=memory, depth=depth)
    return dut, words, [word(v) for v in (matches >= thresholds).reshape(-1, pe)]


SHAPES = [  # n_out, n_in, PE, SIMD
    (1, 1, 1, 1), (1, 7, 1, 7), (3, 5, 1, 1), (3, 5, 3, 5), (6, 35, 2, 7), (10, 64, 1, 4), (16, 48, 4, 16), (4, 33, 4, 11),
]


@pytest.mark.parametrize("n_out, n_in, pe, simd", SHAPES)
@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("p_valid, p_ready", streams.STALLS)
def test_layer(n_out, n_in, pe, simd, sums, p_valid, p_ready):
    dut, words, want = case(n_out, n_in, pe, simd, "bram", 2 * n_in // simd, 6, sums=sums)
    taken, cycles = streams.run(dut, words, count=len(want), p_valid=p_valid, p_ready=p_ready)
    assert [p if isinstance(p, int) else list(p) for p in taken] == want
    if p_valid == p_ready == 1.0:
            # Six vectors at (n_out / PE) * (n_in / SIMD) cycles each, and the pipeline once.
        assert cycles == 6 * (n_out // pe) * (n_in // simd) + (5 if n_out == pe else 6)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), folds=st.integers(1, 5), pe=st.integers(1, 4), words=st.integers(1, 5), simd=st.integers(1, 9),
       memory=st.sampled_from(["bram", "lut"]), seed=st.integers(0, 99), p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1))
def test_any_folding(data, folds, pe, words, simd, memory, seed, p_valid, p_ready):
    depth = data.draw(st.integers(words, 2 * words))
    sums = data.draw(st.booleans())
    dut, x, want = case(pe * folds, words * simd, pe, simd, memory, depth, 4, seed, sums)
    taken, _ = streams.run(dut, x, count=len(want), p_valid=p_valid, p_ready=p_ready)
    assert [p if isinstance(p, int) else list(p) for p in taken] == want


def test_weight_words():
    weights = np.array([[1, -1, -1, 1], [-1, -1, 1, 1]])
    assert weight_words(weights, 1, 2) == [0b01, 0b10, 0b00, 0b11]
    assert weight_words(weights, 2, 2) == [0b0001, 0b1110]
    assert weight_words(weights, 2, 4) == [0b11001001]


def test_a_flipped_weight_shows():
    dut, words, want = case(4, 8, 2, 4, "lut", 4, 8, sums=True)
    altered = FoldedDense(np.random.default_rng(0).choice([-1, 1], (4, 8)) * np.where(np.arange(32) == 9, -1, 1).reshape(4, 8),
                          None, pe=2, simd=4, memory="lut", depth=4)
    assert [list(p) for p in streams.run(dut, words, count=len(want))[0]] == want
    assert [list(p) for p in streams.run(altered, words, count=len(want))[0]] != want


def test_wrong_folding():
    weights = np.ones((10, 64))
    with pytest.raises(ValueError, match=r"^PE must divide 10, not 3$"):
        FoldedDense(weights, None, pe=3, simd=4, memory="lut", depth=32)
    with pytest.raises(ValueError, match=r"^SIMD must divide 64, not 5$"):
        FoldedDense(weights, None, pe=1, simd=5, memory="lut", depth=32)
    with pytest.raises(ValueError, match=r"^thresholds must be 0 to 65, not 66$"):
        FoldedDense(weights, [66] * 10, pe=1, simd=4, memory="lut", depth=32)
