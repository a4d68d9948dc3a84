"""Drives a component with members ``i`` and ``o`` and checks the rules of a stream while it does."""

import random

from amaranth.sim import Simulator

# Chances that a payload is offered and taken in a cycle: none stalls, either, both, both heavily.
STALLS = [(1.0, 1.0), (0.4, 1.0), (1.0, 0.4), (0.6, 0.6), (0.15, 0.8)]


def run(dut, payloads, *, count, p_valid=1.0, p_ready=1.0, max_cycles=20_000, domain="sync"):
    """Feed ``dut.i``; return the first ``count`` payloads of ``dut.o`` and the cycles they took.

    Each cycle a payload is offered with chance ``p_valid`` and taken with chance ``p_ready``. A payload that was
    offered and not taken must stand unchanged in the next cycle.
    """
    taken, times = trace(dut, payloads, count=count, p_valid=p_valid, p_ready=p_ready, max_cycles=max_cycles,
                         domain=domain)
    return taken, times[-1] + 1 if times else 0


def trace(dut, payloads, *, count, p_valid=1.0, p_ready=1.0, max_cycles=20_000, domain="sync"):
    """As :func:`run`, but gives the cycle in which each payload was taken."""
    async def source(ctx):
        rng = random.Random("source")
        for payload in payloads:
            while rng.random() >= p_valid:
                await ctx.tick(domain)
            ctx.set(dut.i.payload, payload)
            ctx.set(dut.i.valid, 1)
            await ctx.tick(domain).until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    taken, times = [], []

    async def sink(ctx):
        rng, held, cycle = random.Random("sink"), None, 0
        while len(taken) < count:
            ready = rng.random() < p_ready
            ctx.set(dut.o.ready, ready)
            *_, valid, payload = await ctx.tick(domain).sample(dut.o.valid, dut.o.payload)
            assert cycle < max_cycles, f"{len(taken)} of {count} payloads in {cycle} cycles"
            assert held in (None, (valid, payload)), f"{held} became {(valid, payload)} untaken"
            held = (valid, payload) if valid and not ready else None
            if valid and ready:
                taken.append(payload)
                times.append(cycle)
            cycle += 1

    sim = Simulator(dut)
    sim.add_clock(1e-6, domain=domain)
    sim.add_testbench(source, background=True)
    sim.add_testbench(sink)
    sim.run()
    return taken, times
