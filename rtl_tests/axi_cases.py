"""Cases for an accelerator's AXI4-Stream ports, run by cocotb; buses by cocotbext-axi, so that others check our handshakes.

The environment variable BNNHW_CASES names a JSON file with what the design is and what it must give:
``packets`` (a list of ``bytes``, ``values``, ``error``), ``whole`` (how many of them, from the first, are whole frames),
``lanes``, ``frame_bytes``, ``bytes_per_beat``, ``interval``, ``latency``.
"""

import itertools
import json
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

PERIOD_NS = 10
TIMEOUT_US = 20_000


def pauses(chance, seed):
    """For every cycle whether to pause: not with probability ``chance``."""
    rng = random.Random(seed)
    while True:
        yield rng.random() >= chance


class Bench:
    """The design with a source and a sink, and a monitor of the rules of the output."""

    def __init__(self, dut):
        with open(os.environ["BNNHW_CASES"]) as file:
            vars(self).update(json.load(file))
        self.dut, self.rng = dut, random.Random(cocotb.RANDOM_SEED)
        Clock(dut.aclk, PERIOD_NS, unit="ns").start()
        dut.aresetn.value = 0
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn,
                                      reset_active_level=False)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn,
                                  reset_active_level=False)
        cocotb.start_soon(self.watch())
        self.cycle, self.first_in, self.ends = 0, None, []

    async def watch(self):
        """Every cycle: what was offered and not taken must stand; nothing is offered or taken in reset."""
        dut, held, in_reset = self.dut, None, False
        while True:
            await FallingEdge(dut.aclk)     # between the edges all is settled
            await Timer(PERIOD_NS / 4, "ns")
            running = bool(dut.aresetn.value)
            valid, ready = bool(dut.m_axis_tvalid.value), bool(dut.m_axis_tready.value)
            shown = tuple(int(getattr(dut, f"m_axis_{name}").value) for name in ("tdata", "tlast", "tuser"))
            if in_reset and not running:
                assert not valid, "m_axis_tvalid in reset"
                assert not dut.s_axis_tready.value, "s_axis_tready in reset"
            if running and not in_reset:
                assert held is None or (valid and shown == held), f"{held} was not taken and became {shown}, valid {valid}"
            held = shown if running and valid and not ready else None
            in_reset = not running
            if running and dut.s_axis_tvalid.value and dut.s_axis_tready.value and self.first_in is None:
                self.first_in = self.cycle
            if running and valid and ready and shown[1]:
                self.ends.append(self.cycle)
            self.cycle += 1

    async def reset(self, cycles=3):
        self.dut.aresetn.value = 0
        self.source.clear()
        for _ in range(cycles):
            await RisingEdge(self.dut.aclk)
        self.sink.clear()
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)
        self.first_in, self.ends = None, []

    def stall(self, p_valid, p_ready):
        """Both sides pause at random; 1 is never."""
        for side, chance in ((self.source, p_valid), (self.sink, p_ready)):
            seed = self.rng.getrandbits(32)
            side.set_pause_generator(None)
            side.pause = False
            if chance < 1:
                side.set_pause_generator(pauses(chance, seed))

    async def send(self, packets):
        for packet in packets:
            await self.source.send(AxiStreamFrame(bytes(packet["bytes"])))

    async def expect(self, packets):
        """The next results are those of ``packets``: values, ends, flags."""
        for number, packet in enumerate(packets):
            frame = await with_timeout(self.sink.recv(compact=False), TIMEOUT_US, "us")
            size = self.bytes_per_beat
            data = bytes(frame.tdata)
            values = [int.from_bytes(data[k:k + size], "little", signed=True) for k in range(0, len(data), size)]
            values[-1] &= (1 << 8 * size) - 1
            assert values == packet["values"], f"packet {number}: {values} instead of {packet['values']}"
            flags = {int(flag) for flag in ([frame.tuser] if isinstance(frame.tuser, int) else frame.tuser)}
            assert flags == {int(packet["error"])}, f"packet {number}: tuser {flags} instead of {packet['error']}"

    async def quiet(self, cycles):
        """No further result comes."""
        for _ in range(cycles):
            await RisingEdge(self.dut.aclk)
        assert self.sink.empty(), "a result too many"

    @property
    def frames(self):
        return self.packets[:self.whole]

    def choose(self, count):
        return [self.rng.choice(self.packets) for _ in range(count)]


@cocotb.test()
async def back_to_back(dut):
    """Frames without a gap: exact, in order, and at the planned interval and latency to the cycle."""
    bench = Bench(dut)
    await bench.reset()
    await bench.send(bench.frames)
    await bench.expect(bench.frames)
    steps = {b - a for a, b in zip(bench.ends[len(bench.ends) // 2:], bench.ends[len(bench.ends) // 2 + 1:], strict=False)}
    assert steps == {bench.interval}, f"intervals {steps}, planned {bench.interval}"
    assert bench.ends[0] - bench.first_in + 1 == bench.latency, "latency"
    await bench.quiet(300)


@cocotb.test()
async def one_at_a_time(dut):
    """Each frame alone in the pipeline takes the planned latency."""
    bench = Bench(dut)
    await bench.reset()
    for frame in bench.frames[:4]:
        bench.first_in = None
        await bench.send([frame])
        await bench.expect([frame])
        assert bench.ends[-1] - bench.first_in + 1 == bench.latency
        await bench.quiet(bench.rng.randrange(50))


@cocotb.test()
@cocotb.parametrize(chances=[(0.3, 1.0), (1.0, 0.1), (0.5, 0.5), (0.9, 0.3), (0.1, 0.9)])
async def stalls(dut, chances):
    """Random pauses on both sides, frames of every kind."""
    bench = Bench(dut)
    bench.stall(*chances)
    await bench.reset()
    packets = bench.choose(25)
    await bench.send(packets)
    await bench.expect(packets)
    await bench.quiet(300)


@cocotb.test()
async def short_and_long(dut):
    """Every short and every long packet gives one flagged result, and whole ones around it stay exact and unflagged."""
    bench = Bench(dut)
    await bench.reset()
    wrong = bench.packets[bench.whole:]
    short = {len(packet["bytes"]) < bench.frame_bytes for packet in wrong}
    assert short == ({True, False} if bench.frame_bytes > bench.lanes else {False})
    packets = [packet for pair in zip(wrong, itertools.cycle(bench.frames), strict=False) for packet in pair]
    packets += wrong        # and without whole ones between them
    await bench.send(packets)
    await bench.expect(packets)
    await bench.quiet(300)


@cocotb.test()
async def reset_in_a_frame(dut):
    """A reset at any moment, frames and results under way: what comes after it is exact, and nothing comes from before."""
    bench = Bench(dut)
    for round in range(20):
        bench.stall(*bench.rng.choice([(1.0, 1.0), (0.6, 0.4), (1.0, 0.05)]))
        await bench.reset(cycles=bench.rng.randrange(1, 5))
        await bench.send(bench.choose(6))
        for _ in range(bench.rng.randrange(1, 3 * bench.latency)):
            await RisingEdge(dut.aclk)
        bench.stall(1.0, 1.0)
        await bench.reset(cycles=1 if round % 2 else 3)
        packets = bench.choose(3)
        await bench.send(packets)
        await bench.expect(packets)
        await bench.quiet(60)


@cocotb.test()
async def blocked_output(dut):
    """A sink that takes nothing for long: the input stops, nothing is lost, and it goes on where it was."""
    bench = Bench(dut)
    await bench.reset()
    bench.sink.pause = True
    await bench.send(bench.frames)
    for _ in range(30 * bench.interval + 3 * bench.latency):
        await RisingEdge(dut.aclk)
    assert dut.s_axis_tvalid.value and not dut.s_axis_tready.value, "the input was never stopped"
    assert dut.m_axis_tvalid.value
    before = get_sim_time("ns")
    bench.sink.pause = False
    await bench.expect(bench.frames)
    assert get_sim_time("ns") > before
    await bench.quiet(300)
