# amaranth: UnusedElaboratable=no
"""The AXI4-Stream wrapper: one result per packet, marked where the packet was wrong, no cycle lost, no hang."""
import random
import re

import numpy as np
import pytest
from amaranth import *
from amaranth.back import verilog
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnnhw import schedule, tools
from bnnhw.accelerator import top
from bnnhw.buffers import with_buffers
from bnnhw.gateware.axi_stream import AxiStreamTop
from bnnhw.ir import ArgMax, Conv2d, Dense, Flatten, Input, Network, TensorType
from bnnhw.lower import lower
from bnnhw.plan import Element, Plan, PlanError
from bnnhw.stages import timing
from bnnhw.stages.base import LanesOptions
from bnnhw.stages.conv import ConvOptions
from bnnhw.stages.dense import FoldedOptions
from bnnhw.stages.unit_timing import AxiStream

from . import axi_cores, streams


class Bench(wiring.Component):
    """The wrapper with its two buses as members ``i`` and ``o``, clocked by domain ``bench`` (``sync`` is its own)."""
    def __init__(self, top):
        self.top, self.aresetn = top, Signal(init=1)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"data": 8 * top.lanes, "last": 1}))),
            "o": Out(stream.Signature(data.StructLayout({
                "data": signed(8 * top.bytes_per_beat), "last": 1, "user": 1,
            }))),
        })

    def elaborate(self, platform):
        m = Module()
        m.domains.bench = ClockDomain(reset_less=True)
        m.submodules.top = top = self.top
        m.d.comb += [
            top.aclk.eq(ClockSignal("bench")), top.aresetn.eq(self.aresetn),
            top.s_axis_tdata.eq(self.i.p.data), top.s_axis_tlast.eq(self.i.p.last),
            top.s_axis_tvalid.eq(self.i.valid), self.i.ready.eq(top.s_axis_tready),
            self.o.p.data.eq(top.m_axis_tdata), self.o.p.last.eq(top.m_axis_tlast), self.o.p.user.eq(top.m_axis_tuser),
            self.o.valid.eq(top.m_axis_tvalid), top.m_axis_tready.eq(self.o.ready),
        ]
        return m


def beats_of(packet, lanes):
    words = [packet[k:k + lanes] for k in range(0, len(packet), lanes)]
    return [{"data": int.from_bytes(bytes(word), "little"), "last": k == len(words) - 1}
            for k, word in enumerate(words)]


def result_of(packet, lanes, beats):
    frame = (packet + [0] * lanes * beats)[:lanes * beats]
    values = axi_cores.sums(frame, lanes)
    return [(value, int(k == lanes), int(len(packet) != lanes * beats)) for k, value in enumerate(values)]


def packets_of(lengths, lanes):
    rng = random.Random(repr(lengths))
    return [[rng.randrange(256) for _ in range(length * lanes)] for length in lengths]


@settings(max_examples=50, deadline=None)
@given(lanes=st.integers(1, 3), beats=st.integers(1, 6), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
       depth=st.integers(1, 4), p_valid=st.floats(0.2, 1), p_ready=st.floats(0.1, 1))
@example(lanes=2, beats=4, lengths=[4, 3, 5, 4, 1, 9, 4], depth=1, p_valid=1, p_ready=0.1)
@example(lanes=1, beats=1, lengths=[1, 2, 1, 1, 3], depth=1, p_valid=1, p_ready=1)
def test_packets(lanes, beats, lengths, depth, p_valid, p_ready):
    packets = packets_of([*lengths, beats], lanes)      # a whole one at the end: whatever came before, it is exact
    expected = [beat for packet in packets for beat in result_of(packet, lanes, beats)]
    dut = Bench(axi_cores.sum_core_top(lanes, beats, depth))
    taken, _ = streams.run(dut, [beat for packet in packets for beat in beats_of(packet, lanes)],
                           count=len(expected), p_valid=p_valid, p_ready=p_ready, domain="bench")
    assert [(p.data, p.last, p.user) for p in taken] == expected


@pytest.mark.parametrize("lanes, beats", [(1, 4), (2, 4), (3, 5)])
def test_no_cycle_lost(lanes, beats):
    packets = packets_of([beats] * 6, lanes)
    dut = Bench(axi_cores.sum_core_top(lanes, beats))
    _, times = streams.trace(dut, [beat for packet in packets for beat in beats_of(packet, lanes)],
                             count=6 * (lanes + 1), domain="bench")
    ends = times[lanes::lanes + 1]
    assert {b - a for a, b in zip(ends, ends[1:], strict=False)} == {beats}
    # One cycle for the reset to be over, a slice, the frame, the core's slice, the result, a slice.
    assert ends[0] == 1 + 1 + (beats - 1) + 1 + lanes + 1


def test_timing_models():
    """The wrapper's model around the core's gives the cycles of the real thing."""
    dut = Bench(axi_cores.sum_core_top(2, 4))
    packets = packets_of([4] * 5, 2)
    _, times = streams.trace(dut, [beat for packet in packets for beat in beats_of(packet, 2)], count=15,
                             domain="bench")

    class Tally(timing.Gathering):      # the core: gives each word that it gathered in three beats
        def __init__(self):
            super().__init__(4)
            self.turn = 0

        def step(self, push, pop):
            self.turn = (self.turn + pop) % 3
            super().step(push, pop and self.turn == 0)

    elements = [Element("around", (None, "core"), ("in", "out"), None, lambda: AxiStream(4, 3), 1, 1),
                Element("core", ("in",), ("core",), None, Tally, 1, 1)]
    assert times == schedule.run(elements, 4, 3, 5).given


ROWS = Network([     # of an image's 11 the convolution needs no more than 7
    Input("x", TensorType((11, 8, 1), -1, 1, 2)), Conv2d("conv", "x", np.ones((2, 2, 2, 1)), stride=(5, 2)),
    Flatten("flat", "conv"), Dense("fc", "flat", np.ones((3, 16))), ArgMax("class", "fc")], "class")


@pytest.mark.parametrize("scores", [False, True])
def test_a_result_waits_for_the_whole_frame(scores):
    """Although it would be there before the image's last rows, which nothing needs; the plan knows it to the cycle."""
    stages = lower(ROWS, scores=scores)
    options = {stage.name: next(iter(stage.folding_space())) for stage in stages}
    options |= {"conv": ConvOptions(pe=2, simd=1, memory="lut"), "fc": FoldedOptions(pe=3, simd=16, memory="lut")}
    plan = with_buffers(Plan(ROWS, stages, options, 1_000_000))
    assert plan.latency_cycles == 88 + 3 + 3 * scores
    _, times = streams.trace(Bench(top(plan)), [beat for packet in packets_of([88] * 4, 1) for beat in beats_of(packet, 1)],
                             count=4 * plan.result_beats, domain="bench")
    assert times == schedule.run(plan.framed, plan.beats, plan.result_beats, 4).given


def test_scores_that_cannot_wait():
    """The first score of an image comes with its first element, and nothing holds the others."""
    network = Network([Input("x", TensorType((9,), 0, 7)), ArgMax("class", "x")], "class")

    def plan_of(scores, lanes):
        stages = lower(network, scores=scores)
        return with_buffers(Plan(network, stages, {"x": LanesOptions(kind="input", lanes=lanes),
                                                   "class": next(iter(stages[1].folding_space()))}, 1_000_000))
    assert plan_of(False, 1).latency_cycles == 14 and plan_of(True, 9).cycles_per_inference == 10
    with pytest.raises(PlanError, match=r"^deadlock: the scores of an image begin before all of it was taken, and wait for that: "
                                        r"only the class can be given$"):
        plan_of(True, 1)


@pytest.mark.parametrize("beats_before", [0, 1, 3, 4, 5, 9])
def test_reset_in_a_frame(beats_before):
    """Nothing that came before a reset can be seen in what comes after it, and no beat is taken in it."""
    dut = Bench(axi_cores.sum_core_top(2, 4))
    [packet] = packets_of([4], 2)
    results = []

    async def process(ctx):
        async def give(beat):
            ctx.set(dut.i.payload, beat)
            ctx.set(dut.i.valid, 1)
            while True:
                *_, ready, valid, payload = await ctx.tick("bench").sample(dut.i.ready, dut.o.valid, dut.o.payload)
                if valid:
                    results.append((payload.data, payload.last, payload.user))
                if ready:
                    break
            ctx.set(dut.i.valid, 0)
        for _ in range(beats_before):
            await give({"data": 0xffff, "last": 0})
        ctx.set(dut.aresetn, 0)
        await ctx.tick("bench")
        ctx.set(dut.i.valid, 1)         # a source that overlooks the reset
        for _ in range(3):
            assert not ctx.get(dut.i.ready) and not ctx.get(dut.o.valid)
            await ctx.tick("bench")
        ctx.set(dut.aresetn, 1)
        ctx.set(dut.i.valid, 0)
        ctx.set(dut.o.ready, 1)
        await ctx.tick("bench")
        results.clear()
        for beat in beats_of(packet, 2):
            await give(beat)
        for _ in range(20):
            *_, valid, payload = await ctx.tick("bench").sample(dut.o.valid, dut.o.payload)
            if valid:
                results.append((payload.data, payload.last, payload.user))
    sim = Simulator(dut)
    sim.add_clock(1e-6, domain="bench")
    sim.add_testbench(process)
    sim.run()
    assert results == result_of(packet, 2, 4)


@pytest.mark.parametrize("change, error, message", [
    ({"lanes": 3}, ValueError, r"^lanes must divide the frame's 8 bytes, not be 3$"),
    ({"lanes": 4}, ValueError, r"^the core's i must have 32 bits, not 16$"),
    ({"bytes_per_beat": 2}, ValueError, r"^the core's o must have 17 bits, not 9$"),
    ({"bytes_per_beat": 0}, TypeError, r"^bytes_per_beat must be a positive integer, not 0$"),
    ({"result_beats": 0}, TypeError, r"^result_beats must be a positive integer, not 0$"),
    ({"frames_in_flight": 0}, TypeError, r"^frames_in_flight must be a positive integer, not 0$"),
])
def test_wrong_sizes(change, error, message):
    sizes = {"lanes": 2, "frame_elements": 8, "result_beats": 3, "bytes_per_beat": 1, "frames_in_flight": 2}
    with pytest.raises(error, match=message):
        AxiStreamTop(axi_cores.SumCore(2, 4), **(sizes | change))


def crossing(source, folder):
    """Outputs that a combinational path reaches from an input other than clock and reset."""
    path = folder / "top.v"
    path.write_text(source)
    registers = "$dff,$sdff,$sdffe,$dffe,$sdffce,$mem_v2"
    script = (f"read_verilog {path}; hierarchy -top bnnhw_top; proc; flatten; opt -full; "
              f"select -list i:s_axis_* i:m_axis_* %u %co*:-{registers} o:* %i")
    output = tools.find("yosys").run(["-p", script]).stdout
    return sorted(line.split("/")[1] for line in output.splitlines() if line.startswith("bnnhw_top/"))


def test_no_combinational_path(tmp_path):
    text = verilog.convert(axi_cores.sum_core_top(2, 4), name="bnnhw_top", emit_src=False)
    assert crossing(text, tmp_path) == []
    leaking, count = re.subn(r"assign m_axis_tlast = .*;", "assign m_axis_tlast = m_axis_tready;", text)
    assert count == 1
    assert crossing(leaking, tmp_path) == ["m_axis_tlast"]
