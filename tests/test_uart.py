# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.uart import UartReceiver, UartTransmitter

CORNERS = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80]


def simulate(dut, *benches, background=()):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    for bench in background:
        sim.add_testbench(bench, background=True)
    for bench in benches:
        sim.add_testbench(bench)
    sim.run()


def levels(data, *, stop=1):
    """The line, bit by bit, for ``data``."""
    return [bit for byte in data for bit in [0, *(byte >> k & 1 for k in range(8)), stop]]


async def drive(ctx, pin, bits, period):
    """Put bits on a pin, ``period`` cycles each; fractions of a cycle add up."""
    elapsed = 0.0
    for bit in bits:
        ctx.set(pin, bit)
        before = round(elapsed)
        elapsed += period
        await ctx.tick().repeat(round(elapsed) - before)


def receive(divisor, bits, *, period=None, p_ready=1.0):
    """Bytes and errors that a receiver reports for the levels ``bits``."""
    dut, taken, errors = UartReceiver(divisor), [], 0

    async def line(ctx):
        await ctx.tick().repeat(5)
        await drive(ctx, dut.rx, bits, period or divisor)
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(12 * divisor)

    async def sink(ctx):
        nonlocal errors
        rng = random.Random("sink")
        while True:
            ctx.set(dut.o.ready, rng.random() < p_ready)
            *_, valid, ready, payload, error = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload, dut.error)
            errors += error
            if valid and ready:
                taken.append(payload)

    async def idle(ctx):
        ctx.set(dut.rx, 1)
    simulate(dut, idle, line, background=[sink])
    return taken, errors


def transmit(divisor, data, gaps):
    """Levels, one per cycle, that a transmitter puts on the line for ``data``, and the cycles between transfers."""
    dut, line, transfers = UartTransmitter(divisor), [], []

    async def source(ctx):
        for byte, gap in zip(data, gaps, strict=True):
            for _ in range(gap):
                await ctx.tick()
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(12 * divisor)

    async def watch(ctx):
        while True:
            *_, tx, valid, ready = await ctx.tick().sample(dut.tx, dut.i.valid, dut.i.ready)
            if valid and ready:
                transfers.append(len(line))
            line.append(tx)
    simulate(dut, source, background=[watch])
    return line, transfers


@settings(max_examples=25, deadline=None)
@given(divisor=st.integers(4, 19), data=st.lists(st.integers(0, 255), min_size=1, max_size=6), clock=st.floats(0.962, 1.04))
def test_receiver(divisor, data, clock):
    """Any divisor, any bytes back to back, the sender's clock 4 % off (with few cycles per bit, less can be said)."""
    period = divisor * clock if divisor >= 16 else divisor
    assert receive(divisor, levels(CORNERS + data), period=period) == (CORNERS + data, 0)


def test_receiver_stalls():
    """A byte may wait for 9 bits."""
    assert receive(8, levels(CORNERS), p_ready=0.1) == (CORNERS, 0)


def test_receiver_overrun():
    taken, errors = receive(4, levels(CORNERS), p_ready=0.0)
    assert (taken, errors) == ([], len(CORNERS) - 1)


def test_receiver_broken_stop_bit():
    taken, errors = receive(6, levels([0x5A]) + levels([0x5A], stop=0) + [1] * 12 + levels([0x77]))
    assert (taken, errors) == ([0x5A, 0x77], 1)


def test_receiver_ignores_a_spike():
    """A low pulse of less than half a bit is no start bit."""
    dut, taken = UartReceiver(10), []

    async def line(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(20)
        ctx.set(dut.rx, 0)
        await ctx.tick().repeat(3)
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(200)
        await drive(ctx, dut.rx, levels([0x3C]) + [1, 1], 10)

    async def sink(ctx):
        async for _, _, valid, error, payload in ctx.tick().sample(dut.o.valid, dut.error, dut.o.payload):
            assert not error
            if valid:
                taken.append(payload)
    simulate(dut, line, background=[sink])
    assert taken == [0x3C]


@settings(max_examples=20, deadline=None)
@given(divisor=st.integers(4, 12), data=st.lists(st.integers(0, 255), max_size=4), gap=st.integers(0, 200))
def test_transmitter(divisor, data, gap):
    data = CORNERS + data
    line, transfers = transmit(divisor, data, [gap] + [0] * (len(data) - 1))
    start = transfers[0] + 1
    sent = [level for bit in levels(data) for level in [bit] * divisor]
    assert line[:start] == [1] * start
    assert line[start:start + len(sent)] == sent
    assert set(line[start + len(sent):]) <= {1}
    assert transfers == [transfers[0] + 10 * divisor * k for k in range(len(data))], "10 bits per byte, no more"


@pytest.mark.parametrize("divisor", [4, 5, 7, 16])
def test_loop(divisor):
    """What the transmitter sends the receiver hears."""
    class Loop(wiring.Component):
        def __init__(self):
            self.transmitter, self.receiver = UartTransmitter(divisor), UartReceiver(divisor)
            super().__init__({"i": wiring.In(self.transmitter.i.signature.flip()), "o": wiring.Out(self.receiver.o.signature)})

        def elaborate(self, platform):
            m = Module()
            m.submodules.transmitter, m.submodules.receiver = self.transmitter, self.receiver
            wiring.connect(m, wiring.flipped(self.i), self.transmitter.i)
            wiring.connect(m, self.receiver.o, wiring.flipped(self.o))
            m.d.comb += self.receiver.rx.eq(self.transmitter.tx)
            return m

    from . import streams
    data = random.Random(divisor).randbytes(20)
    taken, _ = streams.run(Loop(), list(data), count=20, p_valid=0.3)
    assert bytes(taken) == data


@pytest.mark.parametrize("part", [UartReceiver, UartTransmitter])
def test_wrong_divisor(part):
    with pytest.raises(TypeError, match=r"^divisor must be an integer of at least 4 cycles per bit, not 3$"):
        part(3)
