# amaranth: UnusedElaboratable=no
"""Replies tell a state that the board was in, however fast it changes while they go out."""
import random

import pytest
from amaranth.sim import Simulator

from bnnhw import protocol
from bnnhw.gateware.packets import ReplySender


def replies(first, step, p_ready, count=12):
    """Replies sent while ``expected`` grows by ``step`` in every cycle, with the value that it had at start and end."""
    dut, found = ReplySender(4), []

    async def bench(ctx):
        rng, expected = random.Random(first), first

        async def tick():
            nonlocal expected
            expected = (expected + step) % 2**16
            ctx.set(dut.header, {"kind": protocol.Kind.STATUS, "session": 5, "tag": 7, "expected": expected, "done": 1})
            await ctx.tick()
        for _ in range(count):
            while ctx.get(dut.busy):
                await tick()
            ctx.set(dut.start, 1)
            begin, body = expected, bytearray()
            while True:
                ready = rng.random() < p_ready
                ctx.set(dut.o.ready, ready)
                taken = ready and ctx.get(dut.o.valid)
                payload = ctx.get(dut.o.payload) if taken else None
                await tick()
                ctx.set(dut.start, 0)
                if taken and payload.end:
                    break
                if taken:
                    body.append(payload.data)
            found.append((begin, bytes(body), expected))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return found


@pytest.mark.parametrize("p_ready", [1.0, 0.3])
@pytest.mark.parametrize("first, step", [(0x41F0, 1), (0xFF00, 3), (0, 9), (0x80FE, 1)])
def test_expected_is_whole(first, step, p_ready):
    """Low and high byte are of the same cycle: a value between those at the reply's start and end."""
    for begin, body, end in replies(first, step, p_ready):
        reply = protocol.REPLY.unpack_from(body)
        expected = reply[protocol.Reply._fields.index("expected")]
        assert (expected - begin) % 2**16 <= (end - begin) % 2**16
