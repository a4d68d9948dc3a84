# amaranth: UnusedElaboratable=no
"""The parts of the board's link on their own."""
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware import link as link_module
from bnnhw.gateware.chunks import BeatPacker
from bnnhw.gateware.link import identity_of
from bnnhw.gateware.results import ResultRing, slots_of
from bnnhw.protocol import Identity

from . import streams

NETWORK = bytes(range(0xB0, 0xD0))


@settings(max_examples=30, deadline=None)
@given(lanes=st.integers(1, 6), sizes=st.lists(st.integers(1, 15), min_size=1, max_size=5),
       stalls=st.sampled_from(streams.STALLS))
def test_beat_packer(lanes, sizes, stalls):
    frames = [random.Random(size).randbytes(size) for size in sizes]
    inputs = [{"data": byte, "last": k == len(frame) - 1} for frame in frames for k, byte in enumerate(frame)]
    expected = []
    for frame in frames:
        padded = frame + bytes(-len(frame) % lanes)
        expected += [(int.from_bytes(padded[k:k + lanes], "little"), k + lanes == len(padded))
                     for k in range(0, len(padded), lanes)]
    taken, cycles = streams.run(BeatPacker(lanes), inputs, count=len(expected), p_valid=stalls[0], p_ready=stalls[1])
    assert [(beat.data, beat.last) for beat in taken] == expected
    if stalls == (1.0, 1.0):
        assert cycles == (lanes + 1) * len(expected), "one byte per cycle, one cycle per beat"


@pytest.mark.parametrize("beats, width, slots", [(1, 1, 64), (11, 1, 32), (11, 2, 16), (15, 1, 32), (16, 1, 16), (100, 2, 16)])
def test_slots(beats, width, slots):
    assert slots_of(beats * width + 1) == ResultRing(beats, width).slots == slots


def test_wrong_parameters():
    with pytest.raises(TypeError, match=r"^lanes must be a positive integer, not 0$"):
        BeatPacker(0)
    with pytest.raises(TypeError, match=r"^bytes_per_beat must be a positive integer, not 0$"):
        ResultRing(1, 0)
    identity = identity_of(NETWORK, clock_hz=1, frame_bytes=4, lanes=1, result_beats=1, bytes_per_beat=1, scores=0)
    with pytest.raises(ValueError, match=r"^the identity must say 64 slots and chunks of 252 bytes, not 16 and 252$"):
        link_module.Link(Identity(**{**identity.__dict__, "slots": 16}))
