"""Drives a component beside its timing model, under random stalls: in every cycle both are ready and valid alike.

What is valid and not taken stands unchanged in the next cycle.
"""

import random

from amaranth.hdl import Value
from amaranth.sim import Simulator

LIMIT = 100_000


def drive(dut, model, words, count, *, p_valid=1.0, p_ready=1.0, seed=0, start=0, patience=None):
    """Send ``words`` (integers) into ``dut.i`` and take ``count`` payloads of ``dut.o``.

    ``start`` cycles pass first, in which nothing is offered: a weight memory reads its first word. An idle model stands still.
    With ``patience`` it ends after as many cycles in which nothing moved.

    Returns
    -------
    payloads : list
        As Amaranth's simulator gives them.
    times : list of int
        The cycle in which each was taken, from the first in which a word may be offered.
    """
    taken, times = [], []

    async def compare(ctx):
        rng, offered, sent, cycle, quiet, held = random.Random(seed), False, 0, 0, 0, None
        for _ in range(start):
            model.step(False, False)
            await ctx.tick()
        while len(taken) < count and quiet != patience:
            assert cycle < LIMIT, f"{len(taken)} of {count} words"
            offered = sent < len(words) and (offered or rng.random() < p_valid)
            taking = rng.random() < p_ready
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, words[sent])
            ctx.set(dut.o.ready, taking)
            assert (ctx.get(dut.i.ready), ctx.get(dut.o.valid)) == (model.ready, model.valid), f"cycle {cycle}"
            payload = ctx.get(Value.cast(dut.o.payload)) if model.valid else None
            assert held in (None, payload), f"cycle {cycle}: {held} became {payload} untaken"
            held = None if taking else payload
            push, pop = offered and model.ready, model.valid and taking
            if pop:
                taken.append(ctx.get(dut.o.payload))
                times.append(cycle)
            if push or pop or not model.idle:
                model.step(push, pop)
            sent, offered, cycle = sent + push, offered and not push, cycle + 1
            quiet = 0 if push or pop else quiet + 1
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(compare)
    sim.run()
    return taken, times
