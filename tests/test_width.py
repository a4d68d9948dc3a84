# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.streams import RegisterSlice, StreamFifo
from bnnhw.gateware.width import DownConverter, UpConverter

from . import streams


def elements(count, bits, seed=0):
    rng = random.Random(seed)
    return [rng.getrandbits(bits) for _ in range(count)]


def groups(values, size):
    return [values[k:k + size] for k in range(0, len(values), size)]


@pytest.mark.parametrize("p_valid, p_ready", streams.STALLS)
@pytest.mark.parametrize("bits, lanes, ratio", [(1, 1, 2), (1, 3, 2), (8, 1, 3), (3, 2, 7), (1, 16, 4)])
def test_up(bits, lanes, ratio, p_valid, p_ready):
    values = elements(20 * lanes * ratio, bits)
    taken, cycles = streams.run(UpConverter(bits, lanes, ratio), groups(values, lanes), count=20,
                                p_valid=p_valid, p_ready=p_ready)
    assert [list(p) for p in taken] == groups(values, lanes * ratio)
    if p_valid == p_ready == 1.0:
        assert cycles == 20 * ratio + 1


@pytest.mark.parametrize("p_valid, p_ready", streams.STALLS)
@pytest.mark.parametrize("bits, lanes, ratio", [(1, 1, 2), (1, 3, 2), (8, 1, 3), (3, 2, 7), (1, 16, 4)])
def test_down(bits, lanes, ratio, p_valid, p_ready):
    values = elements(20 * lanes * ratio, bits)
    taken, cycles = streams.run(DownConverter(bits, lanes, ratio), groups(values, lanes * ratio), count=20 * ratio,
                                p_valid=p_valid, p_ready=p_ready)
    assert [list(p) for p in taken] == groups(values, lanes)
    if p_valid == p_ready == 1.0:
        assert cycles == 20 * ratio + 2


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 9), p_valid=st.floats(0.1, 1), p_ready=st.floats(0.1, 1), depth=st.integers(0, 9))
def test_slice_and_fifo_keep_order(width, p_valid, p_ready, depth):
    values = elements(60, width)
    dut = StreamFifo(width, depth) if depth else RegisterSlice(width)
    taken, cycles = streams.run(dut, values, count=60, p_valid=p_valid, p_ready=p_ready)
    assert taken == values


@pytest.mark.parametrize("depth, latency", [(None, 1), (2, 2), (7, 2), (16, 2)])
def test_throughput(depth, latency):
    values = elements(50, 8)
    dut = RegisterSlice(8) if depth is None else StreamFifo(8, depth)
    assert streams.run(dut, values, count=50) == (values, 50 + latency)


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_fifo_holds_its_depth(depth):
    dut = StreamFifo(8, depth)
    accepted = 0

    async def fill(ctx):
        nonlocal accepted
        ctx.set(dut.i.valid, 1)
        for _ in range(depth + 20):
            *_, ready = await ctx.tick().sample(dut.i.ready)
            accepted += ready

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(fill)
    sim.run()
    assert accepted == depth + 1


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"^ratio must be at least 2, not 1$"):
        UpConverter(1, 4, 1)
    with pytest.raises(TypeError, match=r"^lanes must be a positive integer, not 0$"):
        DownConverter(1, 0, 2)
    with pytest.raises(TypeError, match=r"^depth must be a positive integer, not 0$"):
        StreamFifo(8, 0)
