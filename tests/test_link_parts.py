# amaranth: UnusedElaboratable=no
"""The parts of the board's link on their own."""
import random

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware import link as link_module
from bnnhw.gateware.chunks import BeatPacker
from bnnhw.gateware.link import identity_of
from bnnhw.gateware.packets import RequestReceiver
from bnnhw.gateware.results import ResultRing, slots_of
from bnnhw.protocol import END, ESC, ESC_END, ESC_ESC, Identity, Kind, request

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


def test_a_header_stands_until_its_request_has_acted():
    """Whatever comes behind a packet at once: the header is the same for two cycles after ``good``."""
    dut, seen = RequestReceiver(), []
    packets = [request(Kind.DATA, 7, tag, 9, bytes(5)).strip(bytes([END])).replace(bytes([ESC, ESC_END]), bytes([END])).replace(
        bytes([ESC, ESC_ESC]), bytes([ESC])) for tag in (1, 2, 3)]
    tokens = [token for packet in packets for token in [*({"data": byte, "end": 0, "bad": 0} for byte in packet),
                                                        {"data": 0, "end": 1, "bad": 0}]]

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        while tokens:
            ctx.set(dut.i.payload, tokens[0])
            *_, ready, good, tag = await ctx.tick().sample(dut.i.ready, dut.good, dut.header.tag)
            seen.append((good, tag))
            if ready:
                tokens.pop(0)
        ctx.set(dut.i.valid, 0)
        for _ in range(4):
            *_, good, tag = await ctx.tick().sample(dut.good, dut.header.tag)
            seen.append((good, tag))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    starts = [k for k, (good, _) in enumerate(seen) if good]
    assert [[tag for _, tag in seen[k:k + 3]] for k in starts] == [[1] * 3, [2] * 3, [3] * 3]


def test_counters_carry():
    """Through every carry into the upper part, also when a count is cleared just before one."""
    m, counter, event, clear = Module(), Signal(32), Signal(), Signal()
    link_module._count_up(m, counter, event, clear)

    async def bench(ctx):
        expected, rng = 0, random.Random("carry")
        for cycle in range(20_000):
            happens, clears = rng.random() < 0.9, expected == 12287
            ctx.set(event, happens)
            ctx.set(clear, clears)
            await ctx.tick()
            expected = 0 if clears else expected + happens
            assert ctx.get(counter) == expected, cycle
        assert 4096 < expected < 12287      # it was cleared, and carried again
    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
