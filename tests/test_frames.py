# amaranth: UnusedElaboratable=no
"""Input frames: whole whatever comes, one flag each, no cycle lost."""
import random

import pytest
from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnnhw.gateware.frames import FlagQueue, FrameGuard

from . import streams


def packets(lengths, lanes):
    """Beats (word, last) of packets of the given lengths in beats, with words of bytes that tell them apart."""
    beats, byte = [], 0
    for length in lengths:
        for k in range(length):
            beats.append(([(byte + j) % 255 + 1 for j in range(lanes)], k == length - 1))
            byte += lanes
    return beats


def frames(lengths, lanes, beats):
    """What the guard must make of them: (words, flags)."""
    words, flags, stream = [], [], iter(packets(lengths, lanes))
    for length in lengths:
        own = [next(stream)[0] for _ in range(length)]
        words += (own + [[0] * lanes] * beats)[:beats]
        flags.append(int(length != beats))
    return words, flags


def guard(dut, beats, words, flags, *, p_valid=1.0, p_ready=1.0, p_flag=1.0):
    """Run ``dut``; what came as words and as flags, and the cycle of each word and of each flag."""
    async def source(ctx):
        rng = random.Random("source")
        for word, last in beats:
            while rng.random() >= p_valid:
                await ctx.tick()
            ctx.set(dut.i.payload, {"data": word, "last": last})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    def sink(port, count, chance, taken, times):
        async def process(ctx):
            rng, held, cycle, ready = random.Random(f"sink {chance}"), None, 0, False
            while len(taken) < count:
                ready = ready or rng.random() < chance      # it stays until something is taken
                ctx.set(port.ready, ready)
                *_, valid, payload = await ctx.tick().sample(port.valid, port.payload)
                payload = payload if isinstance(payload, int) else list(payload)
                assert cycle < 20_000, f"{len(taken)} of {count} in {cycle} cycles"
                assert held in (None, (valid, payload)), f"{held} became {(valid, payload)} untaken"
                held = (valid, payload) if valid and not ready else None
                if valid and ready:
                    taken.append(payload)
                    times.append(cycle)
                    ready = False
                cycle += 1
            ctx.set(port.ready, 0)
        return process

    taken, times, raised, raise_times = [], [], [], []
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source)
    sim.add_testbench(sink(dut.o, words, p_ready, taken, times))
    sim.add_testbench(sink(dut.flags, flags, p_flag, raised, raise_times))
    sim.run()
    return taken, raised, times, raise_times


@settings(max_examples=60, deadline=None)
@given(lanes=st.integers(1, 3), beats=st.integers(1, 5), lengths=st.lists(st.integers(1, 8), min_size=1, max_size=12),
       p_valid=st.floats(0.2, 1), p_ready=st.floats(0.2, 1), p_flag=st.floats(0.05, 1))
@example(lanes=1, beats=1, lengths=[1, 1, 2, 1, 3, 1], p_valid=1, p_ready=1, p_flag=1)
@example(lanes=2, beats=4, lengths=[4, 3, 5, 4, 1, 8, 4], p_valid=1, p_ready=1, p_flag=0.1)
@example(lanes=1, beats=3, lengths=[4, 3, 2, 3], p_valid=0.5, p_ready=0.2, p_flag=1)
def test_frames(lanes, beats, lengths, p_valid, p_ready, p_flag):
    words, flags = frames(lengths, lanes, beats)
    dut = FrameGuard(lanes=lanes, frame_elements=lanes * beats)
    taken, raised, *_ = guard(dut, packets(lengths, lanes), len(words), len(flags), p_valid=p_valid,
                              p_ready=p_ready, p_flag=p_flag)
    assert (taken, raised) == (words, flags)


@pytest.mark.parametrize("lengths, cycles", [
    ([4, 4, 4], [4, 8, 12]),        # no cycle between frames
    ([4, 1, 4], [4, 8, 12]),        # filling up takes the missing beats' cycles
    ([4, 7, 4], [4, 8, 15]),        # dropping takes the surplus beats'
])
def test_timing(lengths, cycles):
    words, flags = frames(lengths, 2, 4)
    *_, times, raise_times = guard(FrameGuard(lanes=2, frame_elements=8), packets(lengths, 2), len(words), len(flags))
    assert [t + 1 for t in times[3::4]] == cycles
    assert [t + 1 for t in raise_times] == cycles       # the flag comes with the last beat


@pytest.mark.parametrize("arguments, error, message", [
    ({"lanes": 3, "frame_elements": 8}, ValueError, r"^lanes must divide the frame's 8 bytes, not be 3$"),
    ({"lanes": 0, "frame_elements": 8}, TypeError, r"^lanes must be a positive integer, not 0$"),
    ({"lanes": 1, "frame_elements": 2.0}, TypeError, r"^frame_elements must be a positive integer, not 2.0$"),
])
def test_wrong_sizes(arguments, error, message):
    with pytest.raises(error, match=message):
        FrameGuard(**arguments)


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize("p_valid, p_ready", streams.STALLS)
def test_queue(depth, p_valid, p_ready):
    bits = [random.Random(depth).getrandbits(1) for _ in range(60)]
    taken, cycles = streams.run(FlagQueue(depth), bits, count=60, p_valid=p_valid, p_ready=p_ready)
    assert taken == bits
    if p_valid == p_ready == 1.0 and depth > 1:
        assert cycles == 60 + 1


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_queue_holds_its_depth(depth):
    dut = FlagQueue(depth)

    async def fill(ctx):
        ctx.set(dut.i.valid, 1)
        for k in range(depth):
            assert ctx.get(dut.i.ready), f"full after {k}"
            await ctx.tick()
        assert not ctx.get(dut.i.ready)
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(fill)
    sim.run()


def test_queue_wrong_depth():
    with pytest.raises(TypeError, match=r"^depth must be a positive integer, not 0$"):
        FlagQueue(0)
