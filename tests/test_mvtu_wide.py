# amaranth: UnusedElaboratable=no
"""The matrix-vector unit with codes of several bits, ternary weights, borders and an input of its own for each neuron."""
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.mvtu import Codes, DepthwiseMvtu, Mvtu, Signs
from bnnhw.gateware.weights import RomSource, weight_words

from . import streams


class Fed(wiring.Component):
    """A unit with its weights."""
    def __init__(self, unit, words, width):
        self.unit, self.source = unit, RomSource(words, width, "lut")
        members = unit.signature.members
        super().__init__({"i": In(members["i"].signature.flip()), "o": Out(members["o"].signature)})

    def elaborate(self, platform):
        m = Module()

        m.submodules.unit, m.submodules.source = self.unit, self.source
        wiring.connect(m, self.source.o, self.unit.weights)
        wiring.connect(m, wiring.flipped(self.i), self.unit.i)
        wiring.connect(m, self.unit.o, wiring.flipped(self.o))

        return m


def packed(values, bits):
    """Words of the rows of ``values``, the first in the least significant bits."""
    return [sum(int(v) << k * bits for k, v in enumerate(row)) for row in values]


def match_counts(codes, weights, bits):
    """By definition: the code where the weight is +1, what is missing to all ones where it is -1. Last axis summed."""
    return np.where(weights > 0, codes, np.where(weights < 0, 2**bits - 1 - codes, 0)).sum(axis=-1)


def draw_weights(rng, shape, ternary):
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], shape)
    if ternary:
        weights.flat[0] = 0
    return weights


def draw_result(rng, signs, reach, borders):
    """A result with random numbers for each border, and what it makes of match counts: (result, f(count, border))."""
    reach = np.array(reach)
    if signs:
        thresholds = rng.integers(0, reach + 2, (borders, len(reach)))
        thresholds[-1, :3] = [0, reach[1 % len(reach)] + 1, reach[2 % len(reach)]][:len(reach)]
        return Signs(thresholds.tolist()), lambda counts, border: (counts >= thresholds[border]).astype(int)
    scale, offsets = int(rng.integers(1, 6)), rng.integers(0, 20, (borders, len(reach)))
    width = int((offsets + scale * reach).max()).bit_length() or 1
    return Codes(offsets.tolist(), scale, width), lambda counts, border: offsets[border] + scale * counts


def dense_case(rng, *, pe, simd, words, folds, borders, bits, ternary, signs, vectors):
    n_out, n_in = pe * folds, simd * words
    weights = draw_weights(rng, (n_out, n_in), ternary)
    reach = (2**bits - 1) * np.abs(weights).sum(axis=1)
    codes = rng.integers(0, 2**bits, (vectors, n_in))
    codes[0], codes[-1] = (weights[0] > 0) * (2**bits - 1), (weights[-1] < 0) * (2**bits - 1)   # the greatest count, the least
    border = rng.integers(0, borders, vectors)
    result, give = draw_result(rng, signs, reach.tolist(), borders)
    unit = Mvtu(pe=pe, simd=simd, words=words, result=result, reach=reach.tolist(), bits=bits, masked=not weights.all())
    want = np.array([give(match_counts(code, weights, bits), b) for code, b in zip(codes, border, strict=True)])
    payloads = [{"word": word, "border": int(b)} for code, b in zip(codes, border, strict=True)
                for word in packed(code.reshape(words, simd), bits) * folds]
    return Fed(unit, *weight_words(weights, pe, simd)), payloads, want.reshape(-1, pe).tolist()


def depthwise_case(rng, *, pe, words, folds, borders, bits, ternary, signs, vectors):
    weights = draw_weights(rng, (pe * folds, words), ternary)
    reach = (2**bits - 1) * np.abs(weights).sum(axis=1)
    codes = rng.integers(0, 2**bits, (vectors, pe * folds, words))
    codes[0] = (weights > 0) * (2**bits - 1)
    border = rng.integers(0, borders, vectors)
    result, give = draw_result(rng, signs, reach.tolist(), borders)
    unit = DepthwiseMvtu(pe=pe, words=words, result=result, reach=reach.tolist(), bits=bits, masked=not weights.all())
    want = np.array([give(match_counts(code, weights, bits), b) for code, b in zip(codes, border, strict=True)])
    payloads = [{"word": word, "border": int(b)} for code, b in zip(codes, border, strict=True)
                for word in packed(code.reshape(folds, pe, words).transpose(0, 2, 1).reshape(-1, pe), bits)]
    return Fed(unit, *weight_words(weights, pe, 1)), payloads, want.reshape(-1, pe).tolist()


def run(dut, payloads, want, **stalls):
    taken, cycles = streams.run(dut, payloads, count=len(want), **stalls)
    assert [list(word) for word in taken] == want
    return cycles


STALLS = dict(p_valid=st.sampled_from([1.0, 0.6, 0.2]), p_ready=st.sampled_from([1.0, 0.6, 0.2]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), pe=st.integers(1, 3), simd=st.integers(1, 7), words=st.integers(1, 4), folds=st.integers(1, 6),
       borders=st.integers(1, 4), bits=st.sampled_from([1, 2, 3, 8]), ternary=st.booleans(), signs=st.booleans(), **STALLS)
def test_any(seed, p_valid, p_ready, **facts):
    dut, payloads, want = dense_case(np.random.default_rng(seed), vectors=5, **facts)
    cycles = run(dut, payloads, want, p_valid=p_valid, p_ready=p_ready)
    if p_valid == p_ready == 1.0:
        assert cycles == 5 * facts["words"] * facts["folds"] + 5     # the first weights come a cycle after reset


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), pe=st.integers(1, 4), words=st.integers(1, 9), folds=st.integers(1, 3),
       borders=st.integers(1, 4), bits=st.sampled_from([1, 2, 8]), ternary=st.booleans(), signs=st.booleans(), **STALLS)
def test_any_depthwise(seed, p_valid, p_ready, **facts):
    dut, payloads, want = depthwise_case(np.random.default_rng(seed), vectors=5, **facts)
    cycles = run(dut, payloads, want, p_valid=p_valid, p_ready=p_ready)
    if p_valid == p_ready == 1.0:
        assert cycles == 5 * facts["words"] * facts["folds"] + 5


CORNER = dict(pe=2, simd=3, words=2, folds=3, borders=3, bits=2, ternary=True, vectors=6)


@pytest.mark.parametrize("wrong", ["a border", "a sign", "a mask"])
def test_what_is_wrong_shows(wrong):
    dut, payloads, want = dense_case(np.random.default_rng(3), signs=False, **CORNER)
    run(dut, payloads, want)
    dut, payloads, _ = dense_case(np.random.default_rng(3), signs=False, **CORNER)
    if wrong == "a border":
        payloads = [p | {"border": (p["border"] + 1) % 3} for p in payloads]
    else:
        # A sign matters where its mask is set.
        bit = next(k for k in range(6) if dut.source.words[0] >> 6 + k & 1) + (6 if wrong == "a mask" else 0)
        dut.source.words[0] ^= 1 << bit
    with pytest.raises(AssertionError):
        run(dut, payloads, want)


def test_accumulators_are_as_wide_as_weights_need():
    signs, codes = Signs([[3, 0], [4, 2]]), Codes([[5, 250]], 2, 8)
    assert signs.starts == [[-3, 0], [-4, -2]] and codes.starts == [[5, 250]]
    assert signs.accumulator([-3, -4], 6) == signed(3)      # -4 .. 3
    assert signs.accumulator([-3, -4], 7) == signed(4)      # -4 .. 4
    assert signs.accumulator([0, 0], 0) == signed(1)
    assert codes.accumulator([5, 250], 900) == unsigned(8)


@pytest.mark.parametrize("change, error, message", [
    (dict(pe=0), TypeError, "PE must be a positive integer, not 0"),
    (dict(pe=3), ValueError, "PE must divide the 4 neurons, not 3"),
    (dict(bits=0), TypeError, "bits must be a positive integer, not 0"),
    (dict(result=Signs([[1] * 4, [1] * 3])), ValueError, "every border's row must have 4 numbers"),
])
def test_refusals(change, error, message):
    facts = dict(pe=2, simd=2, words=2, result=Signs([[1] * 4]), reach=[4] * 4)
    with pytest.raises(error, match=f"^{message}"):
        Mvtu(**facts | change)
