# amaranth: UnusedElaboratable=no
"""PE and SIMD that do not divide: layers against integer arithmetic, to the cycle of their models; the parts that make it up."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.dense import FoldedDense
from bnnhw.gateware.mvtu import Codes, Signs, most_registers
from bnnhw.gateware.padding import Fill, Grouping, Trim, padded_layer
from bnnhw.stages.base import divisors
from bnnhw.stages.dense import KEPT_IN, DenseStage, FoldedOptions
from bnnhw.stages.foldings import Sizes, foldings

from . import streams
from .beside import drive
from .test_dense import integers, word

CHANCE = st.sampled_from([1.0, 0.6, 0.2])
SHAPES = [  # n_out, n_in, PE, SIMD
    (7, 5, 3, 4), (7, 7, 2, 5), (3, 2, 2, 1), (1, 13, 1, 4), (13, 1, 4, 1), (5, 8, 4, 8), (10, 9, 10, 6), (12, 18, 8, 12),
]


def layer(rng, n_out, n_in, pe, simd, *, bits=1, ternary=False, signs=True, memory="lut", deep=True, registers=0, slices=False,
          vectors=4):
    """(a dense stage, its options, words in, words out) with random weights and inputs."""
    lo, most = int(rng.integers(-130, 3)), 2**bits - 1
    weights, x, sums = integers(rng, n_out, n_in, lo, lo + most, ternary, vectors)
    base = lo * weights.sum(axis=1) - most * (weights < 0).sum(axis=1)
    reach = most * np.abs(weights).sum(axis=1)
    if signs:
        levels = np.clip(sums[min(2, vectors - 1)] + rng.integers(-1, 2, n_out), base, base + reach + 1)
        result, want = Signs([(levels - base).tolist()]), (sums >= levels).astype(int)
    else:
        least = base.min()
        result, want = Codes([(base - least).tolist()], 1, max(1, int((base + reach - least).max()).bit_length())), sums - least
    stage = DenseStage("fc", (), None, weights=weights.astype(np.int8), bits=bits, result=result, reach=reach.tolist())
    options = FoldedOptions(pe=pe, simd=simd, memory=memory, registers=registers, slices=slices,
                            depth=Grouping(n_in, simd).words * (1 + deep))
    give, take = stage.lanes(options)[1], stage.lanes(options)[0]
    words = [word(v, bits) for v in (x - lo).reshape(-1, take)]
    return stage, options, words, want.reshape(-1, give).tolist()


def check(stage, options, words, want, p_valid=1.0, p_ready=1.0, seed=0):
    """Every word, and in every cycle who is ready and valid; the cycle in which each word was taken."""
    dut, model = stage.build(options), stage.timing(options)
    taken, times = drive(dut, model, words, len(want), p_valid=p_valid, p_ready=p_ready, seed=seed, start=3)
    assert [list(payload) for payload in taken] == want
    return times


@pytest.mark.parametrize("n_out, n_in, pe, simd", SHAPES)
@pytest.mark.parametrize("bits, signs", [(1, True), (1, False), (3, True), (8, False)])
@pytest.mark.parametrize("p_valid, p_ready", [(1.0, 1.0), (0.6, 0.6), (0.2, 0.9)])
def test_layer(n_out, n_in, pe, simd, bits, signs, p_valid, p_ready):
    stage, options, words, want = layer(np.random.default_rng(7), n_out, n_in, pe, simd, bits=bits, signs=signs, vectors=6)
    times = check(stage, options, words, want, p_valid, p_ready)
    if p_valid == p_ready == 1.0:       # vectors follow each other every so many cycles
        per_vector = len(want) // 6
        steps = [after - before for before, after in zip(times[2 * per_vector:], times[3 * per_vector:], strict=False)]
        assert set(steps) == {stage.cycles(options)}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999), n_out=st.integers(1, 14), n_in=st.integers(1, 17),
       bits=st.sampled_from([1, 2, 8]), ternary=st.booleans(), signs=st.booleans(), memory=st.sampled_from(KEPT_IN),
       deep=st.booleans(), slices=st.booleans(), p_valid=CHANCE, p_ready=CHANCE)
def test_any(data, seed, n_out, n_in, p_valid, p_ready, **facts):
    pe, simd = data.draw(st.integers(1, n_out)), data.draw(st.integers(1, n_in))
    registers = data.draw(st.integers(0, most_registers(simd)))
    found = layer(np.random.default_rng(seed), n_out, n_in, pe, simd, registers=registers, **facts)
    check(*found, p_valid, p_ready, seed)


@pytest.mark.parametrize("broken", ["a padded weight", "a padded input"])
def test_what_is_padded_has_to_add_nothing(broken, monkeypatch):
    """A weight of -1, or a code of 1, in a lane that is filled up, is seen."""
    stage, options, words, want = layer(np.random.default_rng(3), 4, 5, 2, 4, signs=False)
    dut = stage.build(options)
    assert [list(p) for p in streams.run(dut, words, count=len(want))[0]] == want
    if broken == "a padded weight":
        real = np.insert
        monkeypatch.setattr(np, "insert", lambda array, place, value, axis: real(array, place, -value, axis))
    else:
        real = Fill.__init__
        monkeypatch.setattr(Fill, "__init__", lambda self, grouping, bits, code: real(self, grouping, bits, 1))
    assert [list(p) for p in streams.run(stage.build(options), words, count=len(want))[0]] != want


@given(size=st.integers(1, 200), data=st.data())
def test_grouping(size, data):
    found = Grouping(size, data.draw(st.integers(1, size)))
    assert found.lanes % found.narrow == size % found.narrow == 0
    assert ((found.words - 1) * found.ratio + found.last) * found.narrow == size and 1 <= found.last <= found.ratio
    assert found.words * found.lanes == size + found.missing and found.missing < found.lanes
    assert (found.missing == 0) == (size % found.lanes == 0) == (found.ratio == 1)


GROUPINGS = [(5, 2), (7, 3), (12, 8), (9, 6), (11, 10), (64, 5), (18, 12)]


@pytest.mark.parametrize("size, lanes", GROUPINGS)
@pytest.mark.parametrize("p_valid, p_ready", streams.STALLS)
def test_fill_and_trim(size, lanes, p_valid, p_ready):
    grouping = Grouping(size, lanes)
    vectors = np.random.default_rng(size).integers(0, 8, (4, size))
    narrow = [word(v, 3) for v in vectors.reshape(-1, grouping.narrow)]
    place, code = (grouping.words - 1) * lanes, 5
    wide = np.insert(vectors, np.full(grouping.missing, place), code, axis=1).reshape(-1, lanes)
    found, cycles = streams.run(Fill(grouping, 3, code), narrow, count=len(wide), p_valid=p_valid, p_ready=p_ready)
    assert found == [word(v, 3) for v in wide]
    if p_valid == p_ready == 1.0:
        assert cycles == len(narrow)                # one narrow word per cycle
    # And back, where what is too much is at the end.
    wide = np.pad(vectors, ((0, 0), (0, grouping.missing)), constant_values=6).reshape(-1, lanes)
    dut = Trim(grouping, 3)
    found, cycles = streams.run(dut, [word(v, 3) for v in wide], count=len(narrow), p_valid=p_valid, p_ready=p_ready)
    assert found == narrow
    if p_valid == p_ready == 1.0:
        assert cycles == len(narrow) + 1


def test_a_layer_that_lanes_divide_is_as_it_was():
    weights, result, reach = np.arange(24).reshape(4, 2, 3), Signs([[1, 2, 3, 4]]), [5, 6, 7, 8]
    found = padded_layer(weights, result, reach, 2, 3, 7)
    assert (found[0] == weights.reshape(4, 6)).all() and found[1:] == (result, reach)


def test_padded_layer():
    weights = np.array([[[-1, 0, 1], [1, 1, -1]], [[1, -1, 1], [-1, 0, 0]], [[0, 0, 1], [-1, 1, 0]]])
    wide, result, reach = padded_layer(weights, Codes([[10, 20, 30]], 3, 8), [4, 5, 6], 2, 2, code=1)
    assert wide.tolist() == [[-1, 0, 1, 1, 1, 1, 1, -1], [1, -1, 1, 1, -1, 0, 1, 0], *[[0, 0, 1, 1, -1, 1, 1, 0]] * 2]
    assert (result, reach) == (Codes([[4, 14, 24, 24]], 3, 8), [6, 7, 8, 8])
    assert padded_layer(weights, Signs([[1, 0, 7]]), [4, 5, 6], 3, 2, code=1)[1] == Signs([[3, 2, 9]])


@pytest.mark.parametrize("lanes", [{"pe": 0}, {"pe": 8}, {"simd": 6}, {"simd": 2.0}])
def test_wrong_lanes(lanes):
    (name, value), most = *lanes.items(), 7 if "pe" in lanes else 5
    with pytest.raises(ValueError, match=f"^{name.upper()} must be from 1 to {most}, not {value}$"):
        FoldedDense(np.ones((7, 5)), Signs([[1] * 7]), reach=[5] * 7, memory="lut", depth=9, **{"pe": 2, "simd": 2} | lanes)


@settings(max_examples=60, deadline=None)
@given(n_out=st.integers(1, 40), n_in=st.integers(1, 40), taps=st.integers(1, 4), results=st.integers(1, 4),
       arrivals=st.integers(1, 4))
def test_foldings(n_out, n_in, taps, results, arrivals):
    """All divisors are there; whatever is not is beaten by something that is; what is padded is beaten by nothing."""
    sizes = Sizes(n_out, n_in, taps, results, arrivals)
    found = foldings(sizes)
    assert list(found) == sorted(set(found))
    even = {(pe, simd) for pe in divisors(n_out) for simd in divisors(n_in)}
    assert even <= set(found)
    figures = np.array([(sizes.cycles(pe, simd), pe * simd, pe) for pe, simd in found])
    for pe in range(1, n_out + 1):
        for simd in range(1, n_in + 1):
            own = np.array([sizes.cycles(pe, simd), pe * simd, pe])
            assert (figures <= own).all(axis=1).any(), (pe, simd)
            if (pe, simd) in found and (pe, simd) not in even:
                assert (figures <= own).all(axis=1).sum() == 1, (pe, simd)


def test_there_are_not_many_foldings():
    """Beside 105 and 100 pairs of divisors, and 50,176 and 262,144 pairs in all."""
    assert len(foldings(Sizes(64, 784))) < 300 and len(foldings(Sizes(512, 512))) < 400
