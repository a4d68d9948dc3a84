# amaranth: UnusedElaboratable=no
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.replay import Replay
from bnnhw.gateware.weights import RomSource

from . import streams


def expected(values, words, repeats):
    vectors = [values[k:k + words] for k in range(0, len(values), words)]
    return [word for vector in vectors for _ in range(repeats) for word in vector]


@settings(max_examples=60, deadline=None)
@given(words=st.integers(1, 7), repeats=st.integers(1, 5), extra=st.integers(0, 7),
       p_valid=st.floats(0.1, 1), p_ready=st.floats(0.1, 1))
def test_every_vector_is_repeated(words, repeats, extra, p_valid, p_ready):
    values = [random.Random(words).getrandbits(5) for _ in range(6 * words)]
    dut = Replay(width=5, words=words, repeats=repeats, depth=words + min(extra, words))
    want = expected(values, words, repeats)
    taken, _ = streams.run(dut, values, count=len(want), p_valid=p_valid, p_ready=p_ready)
    assert taken == want


@pytest.mark.parametrize("words, repeats", [(1, 2), (2, 2), (3, 4), (7, 2), (8, 8)])
def test_no_bubble_at_twice_the_words(words, repeats):
    values = list(range(8 * words))
    dut = Replay(width=8, words=words, repeats=repeats, depth=2 * words)
    want = expected(values, words, repeats)
    assert streams.run(dut, values, count=len(want)) == (want, len(want) + 2)


def test_depth_buys_time():
    """An input at about its average rate: room for the next vector while this one is replayed saves cycles."""
    values, want = list(range(30 * 4)), expected(list(range(30 * 4)), 4, 3)
    cycles = {depth: streams.run(Replay(width=8, words=4, repeats=3, depth=depth), values, count=len(want), p_valid=0.4)[1]
              for depth in (4, 8)}
    assert cycles[4] > cycles[8] >= len(want) + 2


def test_too_shallow():
    with pytest.raises(ValueError, match=r"^depth must be at least 4, the words of a vector, not 3$"):
        Replay(width=8, words=4, repeats=2, depth=3)


@pytest.mark.parametrize("style", ["bram", "lut"])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("p_ready", [1.0, 0.4])
def test_rom(style, count, p_ready):
    words = [random.Random(count).getrandbits(9) for _ in range(count)]

    class Driven(RomSource):        # the driver wants a member i
        def __init__(self):
            super().__init__(words, 9, style)
            from amaranth.lib import stream
            self.i = stream.Signature(1).flip().create()

    taken, cycles = streams.run(Driven(), [], count=3 * count, p_ready=p_ready)
    assert taken == words * 3
    if p_ready == 1.0:
        assert cycles == 3 * count + 1


def test_rom_style():
    with pytest.raises(ValueError, match=r"^style must be one of \['bram', 'lut', 'updatable'\], not 'spram'$"):
        RomSource([1], 1, "spram")
