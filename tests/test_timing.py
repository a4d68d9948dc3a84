# amaranth: UnusedElaboratable=no
"""Every component keeps its timing model to the cycle, whatever its neighbours do."""
import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.affine import AffineUnit
from bnnhw.gateware.argmax import ClassResult, ScoresResult
from bnnhw.gateware.dense import FoldedDense
from bnnhw.gateware.neurons import Neurons
from bnnhw.gateware.streams import RegisterSlice, StreamFifo
from bnnhw.gateware.threshold import ThresholdUnit
from bnnhw.gateware.width import DownConverter, UpConverter
from bnnhw.stages import timing


def folded(words, folds, depth):
    weights = np.ones((folds, words * 2), int)
    return FoldedDense(weights, [3] * folds, pe=1, simd=2, memory="lut", depth=depth)


PAIRS = {
    "slice": lambda n, k: (RegisterSlice(3), timing.Slice()),
    "fifo": lambda n, k: (StreamFifo(3, n), timing.Fifo(n)),
    "up": lambda n, k: (UpConverter(2, k, n + 1), timing.Up(n + 1)),
    "down": lambda n, k: (DownConverter(2, k, n + 1), timing.Down(n + 1)),
    "threshold": lambda n, k: (ThresholdUnit(bits=3, levels=[2] * k, falling=[False] * k, lanes=n), timing.Pipeline(0)),
    "affine": lambda n, k: (AffineUnit(bits=3, scale=[2] * n, offset=[1] * n), timing.Elastic()),
    "class": lambda n, k: (ClassResult(score=3, classes=n, width=8), timing.Gathering(n)),
    "scores": lambda n, k: (ScoresResult(score=3, classes=n, width=8, lo=0, step=1), timing.Closing(n)),
    "folded": lambda n, k: (folded(n, k, 2 * n), timing.Folded(n, k, 2 * n)),
    "folded, live": lambda n, k: (folded(n, k, n), timing.Folded(n, k, n)),
    "neurons": lambda n, k: (Neurons(np.ones((2, 5)), [2, 3], [False, True], stages=n), timing.Pipeline(n - 1)),
}


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 5), k=st.integers(1, 4), p_valid=st.floats(0.1, 1), p_ready=st.floats(0.1, 1), seed=st.integers(0, 9))
def test_model(kind, n, k, p_valid, p_ready, seed):
    dut, model = PAIRS[kind](n, k)

    async def compare(ctx):
        rng, offered = random.Random(seed), False
        for _ in range(3):              # the weight memory's first word after reset
            await ctx.tick()
        for cycle in range(150):
            offered = offered or rng.random() < p_valid
            taking = rng.random() < p_ready
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.o.ready, taking)
            assert (ctx.get(dut.i.ready), ctx.get(dut.o.valid)) == (model.ready, model.valid), f"cycle {cycle}"
            push, pop = offered and model.ready, model.valid and taking
            model.step(push, pop)
            offered = offered and not push
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(compare)
    sim.run()


def test_stuck_chain():
    class Never(timing.Slice):
        ready = False
    with pytest.raises(RuntimeError, match="nothing has moved for 51 cycles; 0 words were given"):
        timing.run([timing.Slice(), Never()], 1, 1, 1, limit=50)
