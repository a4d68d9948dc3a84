# amaranth: UnusedElaboratable=no
"""Folded dense layers against matrix products."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.dense import FoldedDense
from bnnhw.gateware.mvtu import Codes, Signs, most_registers
from bnnhw.gateware.weights import weight_words

from . import streams


def word(values, bits=1):
    return sum(int(v) << k * bits for k, v in enumerate(values))


def plain(n_out, n_in):
    """Match counts as they are."""
    return Codes([[0] * n_out], 1, n_in.bit_length())


def case(n_out, n_in, pe, simd, memory, depth, vectors, seed=0, sums=False, **pipeline):
    """A layer, its input words, and its output words by arithmetic on signs."""
    rng = np.random.default_rng(seed)
    weights, x = rng.choice([-1, 1], (n_out, n_in)), rng.choice([-1, 1], (vectors, n_in))
    x[0], x[-1] = weights[0], -weights[0]       # all agree, none does
    matches = (x @ weights.T + n_in) // 2
    words = [word(v > 0) for v in x.reshape(-1, simd)]
    facts = dict(reach=[n_in] * n_out, pe=pe, simd=simd, memory=memory, depth=depth, **pipeline)
    if sums:
        return FoldedDense(weights, plain(n_out, n_in), **facts), words, matches.reshape(-1, pe).tolist()
    thresholds = rng.integers(max(0, n_in // 2 - 3), min(n_in + 1, n_in // 2 + 3) + 1, n_out)
    thresholds[:2] = [0, n_in + 1][:n_out]                               # always, never
    dut = FoldedDense(weights, Signs([thresholds.tolist()]), **facts)
    return dut, words, (matches >= thresholds).astype(int).reshape(-1, pe).tolist()


def integers(rng, n_out, n_in, lo, hi, ternary, vectors):
    """Weights, inputs lo .. hi with the extremes among them, and their sums."""
    weights, x = rng.choice([-1, 0, 1] if ternary else [-1, 1], (n_out, n_in)), rng.integers(lo, hi + 1, (vectors, n_in))
    x[0], x[-1] = np.where(weights[0] > 0, hi, lo), np.where(weights[0] < 0, hi, lo)
    return weights, x, x @ weights.T


SHAPES = [  # n_out, n_in, PE, SIMD
    (1, 1, 1, 1), (1, 7, 1, 7), (3, 5, 1, 1), (3, 5, 3, 5), (6, 35, 2, 7), (10, 64, 1, 4), (16, 48, 4, 16), (4, 33, 4, 11),
]


@pytest.mark.parametrize("n_out, n_in, pe, simd", SHAPES)
@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("p_valid, p_ready", streams.STALLS)
def test_layer(n_out, n_in, pe, simd, sums, p_valid, p_ready):
    dut, words, want = case(n_out, n_in, pe, simd, "bram", 2 * n_in // simd, 6, sums=sums)
    taken, cycles = streams.run(dut, words, count=len(want), p_valid=p_valid, p_ready=p_ready)
    assert [list(p) for p in taken] == want
    if p_valid == p_ready == 1.0:
        # Six vectors at (n_out / PE) * (n_in / SIMD) cycles each, and the pipeline once.
        assert cycles == 6 * (n_out // pe) * (n_in // simd) + (5 if n_out == pe else 6)


@pytest.mark.parametrize("n_out, n_in, pe, simd", SHAPES)
@pytest.mark.parametrize("slices", [False, True])
def test_registers(n_out, n_in, pe, simd, slices):
    """Each register of the tree costs one cycle of latency, the slice behind the buffer another; the rate stays."""
    for registers in range(most_registers(simd) + 1):
        dut, words, want = case(n_out, n_in, pe, simd, "bram", 2 * n_in // simd, 6, registers=registers, slices=slices)
        taken, cycles = streams.run(dut, words, count=len(want))
        assert [list(p) for p in taken] == want
        assert cycles == 6 * (n_out // pe) * (n_in // simd) + registers + (5 + slices if n_out == pe else 6 + slices)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), folds=st.integers(1, 5), pe=st.integers(1, 4), words=st.integers(1, 5), simd=st.integers(1, 9),
       memory=st.sampled_from(["bram", "lut", "updatable"]), seed=st.integers(0, 99),
       p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1))
def test_any_folding(data, folds, pe, words, simd, memory, seed, p_valid, p_ready):
    depth = data.draw(st.integers(words, 2 * words))
    sums, slices = data.draw(st.booleans()), data.draw(st.booleans())
    registers = data.draw(st.integers(0, most_registers(simd)))
    dut, x, want = case(pe * folds, words * simd, pe, simd, memory, depth, 4, seed, sums, registers=registers, slices=slices)
    taken, _ = streams.run(dut, x, count=len(want), p_valid=p_valid, p_ready=p_ready)
    assert [list(p) for p in taken] == want


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99), folds=st.integers(1, 3), pe=st.integers(1, 3), words=st.integers(1, 3),
       simd=st.integers(1, 9), bits=st.sampled_from([1, 2, 8]), ternary=st.booleans(), signs=st.booleans(),
       p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1))
def test_integers(data, seed, folds, pe, words, simd, bits, ternary, signs, p_valid, p_ready):
    """Sums of integers lo .. lo + 2**bits - 1, as codes or compared with a level: base + match count is the sum."""
    rng = np.random.default_rng(seed)
    n_out, n_in, lo, most = folds * pe, words * simd, int(rng.integers(-130, 3)), 2**bits - 1
    weights, x, sums = integers(rng, n_out, n_in, lo, lo + most, ternary, 4)
    base = lo * weights.sum(axis=1) - most * (weights < 0).sum(axis=1)
    reach = most * np.abs(weights).sum(axis=1)
    if signs:
        levels = np.clip(sums[2] + rng.integers(-1, 2, n_out), base, base + reach + 1)
        result, want = Signs([(levels - base).tolist()]), (sums >= levels).astype(int)
    else:
        least = base.min()
        result = Codes([(base - least).tolist()], 1, max(1, int((base + reach - least).max()).bit_length()))
        want = sums - least
    dut = FoldedDense(weights, result, reach=reach.tolist(), pe=pe, simd=simd, memory="lut", depth=2 * words, bits=bits,
                      registers=data.draw(st.integers(0, most_registers(simd))))
    taken, _ = streams.run(dut, [word(v, bits) for v in (x - lo).reshape(-1, simd)], count=4 * folds, p_valid=p_valid,
                           p_ready=p_ready)
    assert [list(p) for p in taken] == want.reshape(-1, pe).tolist()


def test_weight_words():
    weights = np.array([[1, -1, -1, 1], [-1, -1, 1, 1]])
    assert weight_words(weights, 1, 2) == ([0b01, 0b10, 0b00, 0b11], 2)
    assert weight_words(weights, 2, 2) == ([0b0001, 0b1110], 4)
    assert weight_words(weights, 2, 4) == ([0b11001001], 8)
    weights[1, 0] = 0
    assert weight_words(weights, 2, 2) == ([0b1011_0001, 0b1111_1110], 8)


def test_a_flipped_weight_shows():
    dut, words, want = case(4, 8, 2, 4, "lut", 4, 8, sums=True)
    weights = np.random.default_rng(0).choice([-1, 1], (4, 8)) * np.where(np.arange(32) == 9, -1, 1).reshape(4, 8)
    altered = FoldedDense(weights, plain(4, 8), reach=[8] * 4, pe=2, simd=4, memory="lut", depth=4)
    assert [list(p) for p in streams.run(dut, words, count=len(want))[0]] == want
    assert [list(p) for p in streams.run(altered, words, count=len(want))[0]] != want


def test_wrong_folding():
    weights = np.ones((10, 64))
    facts = dict(reach=[64] * 10, memory="lut", depth=32)
    with pytest.raises(ValueError, match=r"^PE must be from 1 to 10, not 11$"):
        FoldedDense(weights, plain(10, 64), pe=11, simd=4, **facts)
    with pytest.raises(ValueError, match=r"^SIMD must be from 1 to 64, not 0$"):
        FoldedDense(weights, plain(10, 64), pe=1, simd=0, **facts)
    with pytest.raises(ValueError, match=r"^registers must be from 0 to 1 with SIMD 4, not 2$"):
        FoldedDense(weights, plain(10, 64), pe=1, simd=4, registers=2, **facts)
