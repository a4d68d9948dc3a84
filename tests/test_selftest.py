# amaranth: UnusedElaboratable=no
"""The board's self-test: its frames, its results and cycles on the complete board, and that it can fail."""
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import accelerator, folding, protocol, reference, selftest
from bnnhw.bitstream import identity
from bnnhw.gateware.link import identity_of
from bnnhw.gateware.selftest import SelfTest
from bnnhw.host import Board, unpack_records
from bnnhw.lower import lower
from bnnhw.protocol import TEST_FRAMES, Counters, Identity, Kind
from bnnhw.virtual import VirtualBoard

from . import networks
from .link_rig import NETWORK, Rig, make, record_of


def facts(frame_bytes, greatest=255, **others):
    return identity_of(NETWORK, **{"clock_hz": 1_000_000, "lanes": 1, "result_beats": 1, "bytes_per_beat": 1, "scores": 0,
                                   "frame_bytes": frame_bytes, "greatest": greatest} | others)


def test_frames():
    """Each code is 0 or has only bits of the greatest one, so it is one; frames differ; half of the bytes are 0."""
    frames = protocol.test_frames(facts(784))
    assert len(frames) == TEST_FRAMES == len(set(frames)) and {len(frame) for frame in frames} == {784}
    assert {byte for frame in frames for byte in frame} == {0, 255}
    assert 0.45 < sum(map(sum, frames)) / 255 / 784 / TEST_FRAMES < 0.55
    for greatest in (1, 2, 200, 256, 700, 65535, 70_000):
        size = len(protocol.greatest_bytes(greatest))
        for frame in protocol.test_frames(facts(12 * size, greatest)):
            codes = [int.from_bytes(frame[k:k + size], "little") for k in range(0, len(frame), size)]
            assert all(code <= greatest and code & ~greatest == 0 for code in codes) and len(set(codes)) > 1


@settings(max_examples=40, deadline=None)
@given(elements=st.integers(1, 40), greatest=st.sampled_from([1, 255, 199, 256, 65535, 70_000]), seed=st.integers(0, 999),
       p_valid=st.sampled_from([1.0, 0.4]), p_ready=st.sampled_from([1.0, 0.4]))
def test_generator(elements, greatest, seed, p_valid, p_ready):
    """Its frames, then what comes in; nothing of its own where it is not to run; cleared, it begins again."""
    size = elements * len(protocol.greatest_bytes(greatest))
    dut, rng = SelfTest(size, greatest), np.random.default_rng(seed)
    wanted = [(byte, k == size - 1) for frame in protocol.test_frames(facts(size, greatest)) for k, byte in enumerate(frame)]
    own = [(int(byte), bool(last)) for byte, last in zip(rng.integers(0, 256, 20), rng.random(20) < 0.3, strict=True)]

    async def bench(ctx):
        for run in (0, 1, 1):
            ctx.set(dut.clear, 1)
            ctx.set(dut.run, run)
            await ctx.tick().repeat(int(rng.integers(1, 4)))
            ctx.set(dut.clear, 0)
            seen, waiting, until = [], list(own), len(own) + run * len(wanted)
            if run and rng.random() < 0.5:
                until = int(rng.integers(1, until))     # broken off
            while len(seen) < until:
                ctx.set(dut.i.valid, bool(waiting) and rng.random() < p_valid)
                ctx.set(dut.i.payload, {"data": (waiting or [(0, 0)])[0][0], "last": (waiting or [(0, 0)])[0][1]})
                ctx.set(dut.o.ready, bool(rng.random() < p_ready))
                *_, took, gave, byte = await ctx.tick().sample(dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready,
                                                               dut.o.payload)
                if took:
                    waiting.pop(0)
                if gave:
                    seen.append((byte.data, bool(byte.last)))
            ctx.set(dut.i.valid, 0)
            assert seen == ((wanted if run else []) + own)[:until]
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


def test_wrong_size():
    with pytest.raises(ValueError, match="^a frame of elements of 2 bytes cannot have 5 bytes$"):
        SelfTest(5, 256)


@pytest.mark.parametrize("shape", [dict(frame_bytes=12, lanes=4, result_beats=3, bytes_per_beat=2),
                                   dict(frame_bytes=1, lanes=1, result_beats=1, bytes_per_beat=1)])
def test_link(shape):
    """TEST is a session: it may come again, its results are read as others, and the counter stands when they are there."""
    frames = protocol.test_frames(facts(shape["frame_bytes"]))

    async def host(rig):
        for session in 5, 6:
            for tag in range(3):
                reply = await rig.ask(Kind.TEST, session, tag)
                assert reply[:3] == (Kind.OPENED, session, tag)
            await rig.wait(300)
            assert rig.frames == frames
            for k, frame in enumerate(frames):
                reply = await rig.ask(Kind.READ, session, 1, k | 1 << 8)
                assert reply == (Kind.RESULT, session, 1, 0, TEST_FRAMES, k, record_of(frame, rig.identity))
            cycles = [Counters.unpack((await rig.ask(Kind.COUNTERS)).payload).cycles for _ in range(2)]
            assert cycles[0] == cycles[1] > TEST_FRAMES * shape["frame_bytes"]
            rig.frames.clear()
        await rig.frame(await rig.open(7), frames[3])
        await rig.wait(60)
        assert rig.frames == [frames[3]], "no longer a test"
        cycles = [Counters.unpack((await rig.ask(Kind.COUNTERS)).payload).cycles for _ in range(2)]
        assert cycles[1] > cycles[0]
    Rig(make(**shape), host, p_ready=0.6)


PLANS = {
    "image": (networks.dense_network((24, 7, 4), (8, 8, 1), affine=True, seed=2, spread=12), 1000, True),
    "fast": (networks.dense_network((10, 3), (6, 6, 2), seed=4), 1_000_000, False),
}


def planned(name):
    network, fps, scores = PLANS[name]
    return folding.fold(network, lower(network, scores=scores), clock_hz=10_000_000, fps=fps)


@pytest.mark.parametrize("name", PLANS)
def test_board(name):
    """On the complete board, behind its serial line: the golden model's results, in the plan's cycles; and again after frames."""
    plan = planned(name)
    want, text = selftest.expected(plan, identity(plan)), accelerator.verilog(plan)
    assert len({record for record in want.records}) > 1 or not plan.scores
    with VirtualBoard(text, identity(plan)) as virtual, Board(virtual.port) as board:
        for _ in range(2):
            records, cycles = board.self_test()
            assert (records, cycles) == (want.records, want.cycles)
            selftest.check(want, records, cycles)
            x = networks.images(plan.network, 5)
            assert board.classify(x).classes.tolist() == reference.run(plan.network, x)["class"].tolist()
    with VirtualBoard(text, identity(plan), flip=0.01, drop=0.01, seed=1) as virtual, Board(virtual.port) as board:
        assert board.self_test() == (want.records, want.cycles)
    beats, flags = unpack_records(want.records, identity(plan))
    assert beats.shape == (TEST_FRAMES, plan.result_beats) and not flags.any()


@pytest.mark.parametrize("layer, neurons, inputs", [("fc3", 0, 0), ("fc1", 24, 64)])
def test_wrong_bits(layer, neurons, inputs):
    """One wrong weight of the last layer shows, and a bit of the first layer's memory that is wrong in all words."""
    plan = planned("image")
    words = max(1, -(-neurons // plan.options[layer].pe) * -(-inputs // plan.options[layer].simd))
    want, (head, own, tail) = selftest.expected(plan, identity(plan)), re.split(
        rf"(^module \\bnnhw_top\.core\.{layer}\.source .*?^endmodule)", accelerator.verilog(plan), flags=re.M | re.S)
    wrong, count = re.subn(r"( rom\[\d+\] = \d+'h\w*)(\w)", lambda found: f"{found[1]}{int(found[2], 16) ^ 1:x}", own,
                           count=words)
    assert count == words
    with VirtualBoard(head + wrong + tail, identity(plan)) as virtual, Board(virtual.port) as board:
        records, cycles = board.self_test()
    assert cycles == want.cycles
    with pytest.raises(selftest.SelfTestError, match=r"^self-test: \d of 8 results differ from the golden model's, the first"):
        selftest.check(want, records, cycles)


def test_wrong_time():
    want = selftest.Expected([b"\1\0"] * TEST_FRAMES, 1234)
    selftest.check(want, want.records, 1234)
    with pytest.raises(selftest.SelfTestError, match=r"^self-test: the results are right \(signature \w{8}\), but took 1,235"):
        selftest.check(want, want.records, 1235)


def test_command():
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "bnnhw.run", *arguments], text=True, capture_output=True)
    done = run("--virtual", "--self-test")
    assert done.returncode == 0 and re.search(r"self-test: 8 frames, signature \w{8}, [\d,]+ cycles: as expected", done.stdout)
    done = run("--virtual", "--self-test", "--json")
    found = json.loads(done.stdout)
    assert found["frames"] == 8 and len(found["signature"]) == 8 and found["cycles"] > 8 * 784
    done = run("--virtual", "--self-test", "images.npy")
    assert done.returncode == 2 and done.stderr.startswith("error: --self-test takes no images: the board makes its own")


def test_identity_says_the_greatest_code():
    plan = planned("image")
    assert identity(plan).greatest == 255 and Identity.unpack(identity(plan).pack()) == identity(plan)
